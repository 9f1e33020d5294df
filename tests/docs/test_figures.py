"""The pictures of the documentation and what is said beside them agree with the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_layers_names_every_layer_and_what_is_on_the_disk(figures: ModuleType) -> None:
    shown = re.findall(r"<tspan>(\w+)</tspan>", (DOCS / "figures" / "layers.svg").read_text())
    assert shown == [name for layer in figures.read_layers() for name in layer], "run python docs/figures.py"
    home = ROOT / "src" / "basrelief"
    there = {path.stem for path in home.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert set(shown) == there - {"__init__"}


def test_the_words_about_the_layers_name_each_of_them(figures: ModuleType) -> None:
    block = re.search(r"In words:\n\n((?:\|.+\n)+)", (DOCS / "architecture.md").read_text())
    assert block is not None
    said = set(re.findall(r"\w+", block[1]))
    assert not {name for layer in figures.read_layers() for name in layer} - said


def test_modules_that_the_architecture_names_exist() -> None:
    for package, module in re.findall(r"`([a-z]+)\.([a-z_]+)`", (DOCS / "architecture.md").read_text()):
        home = ROOT / "src" / "basrelief" / package
        if home.is_dir():
            inside = (home / f"{module}.py").exists() or re.search(rf"\b{module}\b", (home / "__init__.py").read_text())
            assert inside, f"{package}.{module}"


def test_the_explained_verdict_shows_what_the_statistics_give(figures: ModuleType) -> None:
    page = (DOCS / "verdict-explained.md").read_text()
    words = {"a": "{a} better", "b": "{b} better", "equal": "practically equal", "undecided": "undecided"}
    for a, b, mean, low, high, _, decision in figures.describe_pairs():
        said = words[decision].format(a=a, b=b)
        numbers = [f"{value:+.4f}".replace("-", "−") for value in (mean, low, high)]
        begun = f"| {a} − {b} | {numbers[0]} | {numbers[1]} to {numbers[2]} |"
        line = next((line for line in page.splitlines() if line.startswith(begun)), "no such line")
        assert line.endswith(f"| {said} |"), f"{begun} … | {said} |: {line}"
