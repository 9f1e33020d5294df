"""The examples run, do what they say, and stay short."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_examples_stay_short_and_all_run_here() -> None:
    files = sorted((ROOT / "examples").glob("*.py"))
    names = {
        "plain_loop",
        "lightning_loop",
        "own_loss",
        "study_from_python",
        "label_values",
        "onnx_consumer",
        "ask_server",
    }
    assert {file.stem for file in files} == names  # the last two in tests/exporting and tests/serving
    assert all(len(file.read_text().splitlines()) <= 60 for file in files)


def test_the_plain_loop_learns() -> None:
    totals = load("plain_loop").main(steps=12)
    assert totals[-1] < totals[0]


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_the_lightning_loop_learns_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load("lightning_loop").main(epochs=2, count=64) > 0.5  # the share of the squares is 0.25
    assert not list(tmp_path.iterdir())


def test_ones_own_loss() -> None:
    # At p = 1/2 the first term is -(1/2)^1.5·log(1/2), soft Dice is 1 - 2·(1/2·N/2) / (N/2 + N/2) = 1/2.
    expected = 0.5**1.5 * torch.log(torch.tensor(2.0)) + 0.5 * 0.5
    assert load("own_loss").main() == pytest.approx(expected.item(), abs=1e-5)


def test_label_values_are_balanced_as_by_hand() -> None:
    # The write-up chose between 200, 300 and 400; equal gradients ask for the same order of magnitude.
    assert 200 / 10 < load("label_values").main(blocks=8)["gradient"] < 400 * 10


def test_a_study_from_python(tmp_path: Path) -> None:
    assert load("study_from_python").main(tmp_path)["primary"] == "mask/iou"


def test_links_in_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
