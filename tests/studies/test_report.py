"""What the report gathers from a study's directory, and the kinds it is written as."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import basrelief as br
from basrelief.app_report import REPORTS, report
from basrelief.errors import OutputError, UsageError
from basrelief.studies.repeat import repeat_command
from basrelief.studies.report import study_contents
from basrelief.studies.results import collect
from basrelief.studies.stored import reopen
from chromium import CHROMIUM

SMALL: dict[str, Any] = {"network": "masknet", "resolution": (16, 16), "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "s"
    losses = ("bce(mask)", "both = bce(mask) + dice(mask)")
    br.study("scenes:24", out=out, losses=losses, seeds=2, epochs=2, lr=3e-3, threads=1, **SMALL)
    return out


@pytest.fixture
def contents(folder: Path) -> Any:
    prepared = reopen(folder)
    results = collect(folder, prepared)
    return study_contents(folder, prepared, results, json.loads((folder / "verdict.json").read_text()))


def test_spreads_are_of_test_images_and_agree_with_the_means(contents: Any) -> None:
    by_loss = {spread.loss: spread for spread in contents.spreads}
    rows = {row.name: row.scores["mask/iou"][0] for row in contents.losses}
    assert by_loss.keys() == rows.keys()
    for name, spread in by_loss.items():
        assert len(spread.scores) == spread.images  # few images: all of them
        assert np.mean(spread.scores) == pytest.approx(rows[name])
    best = max(rows, key=lambda name: rows[name])
    (other,) = set(rows) - {best}
    assert not by_loss[best].differences
    assert by_loss[other].against == best
    assert np.mean(by_loss[other].differences) == pytest.approx(rows[other] - rows[best])


def test_costs_count_the_steps_of_all_seeds(contents: Any, folder: Path) -> None:
    train = json.loads(next(folder.glob("trials/*/seed-0/run.json")).read_text())["samples"]["train"]
    steps = -(-train // reopen(folder).plan.train.batch_size) * 2 * 2  # epochs, seeds
    assert [(cost.trainings, cost.steps, cost.search_steps) for cost in contents.costs] == [(2, steps, None)] * 2


def test_the_training_loss_and_the_terms_are_there(contents: Any) -> None:
    assert [(curve.loss, curve.seed, len(curve.values)) for curve in contents.training] == [
        (name, seed, 2) for seed in (0, 1) for name in ("bce(mask)", "both")
    ]
    assert [term.term for term in contents.terms if term.loss == "both"] == ["bce(mask)", "dice(mask)"]
    assert dict(contents.data)["Leaks"]
    assert "train" in dict(contents.data)["Split"]


@pytest.mark.parametrize("kind", ["html", "markdown", "md", "png", "badge", "json"])
def test_every_kind_is_written_where_it_says(folder: Path, kind: str) -> None:
    found = report(folder, to=kind)
    assert found["written"] == str(folder / REPORTS[kind])
    assert (folder / REPORTS[kind]).stat().st_size
    assert not list(folder.glob(".partial-*"))


@pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium")
def test_a_pdf_is_printed(folder: Path) -> None:
    report(folder, to="pdf")
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_kind_that_is_not_known_is_refused_with_those_that_are(folder: Path) -> None:
    with pytest.raises(UsageError, match="'docx' is not known: use html, markdown, md, pdf, png, badge, json"):
        report(folder, to="docx")


def test_a_pdf_without_a_browser_leaves_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (folder / "report.pdf").write_text("old")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutputError, match="Install"):
        report(folder, to="pdf")
    assert (folder / "report.pdf").read_text() == "old"


def test_the_command_of_a_study_of_another_factor_asks_for_the_same(tmp_path: Path) -> None:
    from basrelief import cli

    machine = {"threads": 1, "epochs": 1, "seeds": 1}
    asked = SMALL | machine | {"vary": "lr", "lr": ("slow = 1e-4", "1e-2"), "losses": ("bce(mask)",)}
    br.study("scenes:12", out=tmp_path / "s", **asked)
    plan = json.loads((tmp_path / "s" / "plan.json").read_text())
    words = shlex.split(repeat_command(plan))
    assert words[words.index("--vary") + 1] == "lr"
    assert [words[n + 1] for n, word in enumerate(words) if word == "--lr"] == ["slow = 0.0001", "0.01"]
    assert words.count("--loss") == 1
    cli.app([*words[1:], "--out", str(tmp_path / "again")], standalone_mode=False)
    again = json.loads((tmp_path / "again" / "plan.json").read_text())
    for name in ("factor", "changes", "losses", "train", "seeds"):
        assert again["plan"][name] == plan["plan"][name]
    assert "Which learning rate for scenes:12?" in (tmp_path / "s" / "report.html").read_text()
