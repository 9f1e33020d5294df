"""``basrelief lr-range``: its document, its files, its page; nothing overwritten."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

import basrelief as br
from basrelief.errors import UsageError
from basrelief.report import LrContents, render_lr_range
from commands import run

SMALL = ["--network", "masknet", "--resolution", 16, "--batch-size", 4, "--precision", "fp32", "--steps", 20]
TWO = ["--loss", "bce(mask)", "--loss", "mine = 2*dice(mask)"]


def test_it_writes_document_curves_and_page_and_the_same_again_finds_them(
    capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    words = ["lr-range", discs, *TWO, *SMALL, "--repeats", 2, "--lr-max", 10, "--out", out]
    code, printed, _ = run(capsys, *words, "--json")
    document = json.loads(printed)
    assert code == 0
    assert document["out"] == str(out)
    assert [(row["name"], row["loss"]) for row in document["losses"]] == [
        ("bce(mask)", "bce(mask)"), ("mine", "2*dice(mask)"),
    ]  # fmt: skip
    for row in document["losses"]:
        assert row["reason"]
        assert len(row["tests"]) == 2
        for test in row["tests"]:
            assert (test["low"], test["high"], test["steps"]) == (1e-6, 10, 20)
            assert {"lowest_at", "diverged_at", "suggestion"} <= test.keys()
    assert json.loads((out / "lr_range.json").read_text())["losses"] == document["losses"]
    with (out / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["name", "repeat", "step", "lr", "loss", "smoothed", "smoothed_lr"]
    assert {(row["name"], row["repeat"]) for row in rows} == {(n, r) for n in ("bce(mask)", "mine") for r in "12"}
    page = (out / "lr_range.html").read_text()
    ours = page.partition('id="figures-data"')[0]  # what follows is plotly.js, which the page's policy keeps in bounds
    assert not re.search(r'(?:src|href)="(?!#|data:)', ours), "the page fetches nothing"
    assert "default-src 'none'" in ours

    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.name != ".lock"}
    code, printed, _ = run(capsys, *words)
    assert code == 0
    assert "mine" in printed
    assert document["losses"][0]["reason"] in printed
    assert {path: path.stat().st_mtime_ns for path in out.iterdir() if path.name != ".lock"} == before
    code, _, said = run(capsys, *words[:-2], "--seed", 3, "--out", out)
    assert code == 1
    assert "holds another lr-range (train.seed: 0 there, 3 asked for)" in said
    code, _, said = run(capsys, "report", out)
    assert code == 1
    assert "holds no study" in said


def test_files_of_others_stay(capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text("mine")
    code, _, said = run(capsys, "lr-range", discs, *TWO, *SMALL, "--out", tmp_path)
    assert code == 1
    assert "holds other files" in said
    assert (tmp_path / "curve.csv").read_text() == "mine"


def test_a_loss_that_learns_at_no_rate_is_said_and_ends_with_1(
    capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path
) -> None:
    words = ["--loss", "bce(mask)", *SMALL, "--lr-min", 1e-12, "--lr-max", 1e-11, "--optimizer", "sgd"]
    code, printed, _ = run(capsys, "lr-range", discs, *words, "--out", tmp_path / "r", "--json")
    (row,) = json.loads(printed)["losses"]
    assert code == 1
    assert row["suggestion"] is None
    assert "never fell" in row["reason"]
    assert "--lr-max" in row["reason"]
    assert (tmp_path / "r" / "lr_range.html").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--lr", "1e-3"], 2, "--lr"),
        (["--lr-min", 1], 2, "--lr-min 1 and --lr-max 1"),
        (["--lr-max", -1], 2, "--lr-max"),
        (["--steps", 3], 2, "--steps"),
        (["--repeats", 0], 2, "--repeats"),
        (["--loss", "bce(mask) +"], 2, "bce(mask) +"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(
    capsys: pytest.CaptureFixture[str], discs: Path, tmp_path: Path, words: list[object], code: int, said: str
) -> None:
    ended, _, err = run(capsys, "lr-range", discs, "--network", "masknet", *words, "--out", tmp_path / "r")
    assert ended == code
    assert said in err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", ["lr", "epochs", "seeds"])
def test_python_refuses_what_a_test_does_not_have(discs: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"no {name}"):
        br.lr_range(discs, **{name: 3})


def test_hostile_names_stay_text_on_the_page() -> None:
    name = '</script><img src=x onerror="throw 1">'
    test = {"low": 1e-6, "high": 1.0, "steps": 2, "lowest_at": None, "diverged_at": None, "suggestion": None}
    loss = {"name": name, "loss": name, "suggestion": 1e-3, "reason": name, "tests": [test]}
    rows = [{"repeat": 1, "step": 1, "lr": 1e-6, "loss": None, "smoothed": None, "smoothed_lr": 1e-6}]
    page = render_lr_range(LrContents(name, [loss], {name: rows}, [("Data", name)], [name], name))
    assert "<img src=x" not in page
    assert "NaN" not in page.split('id="figures-data">')[1].split("</script>")[0]


def test_a_course_of_stages_is_tested_at_its_last(tmp_path: Path) -> None:
    """What --lr search does for such a course, so that its curve can be looked at."""
    given = {"network": "masknet", "precision": "fp32", "device": "cpu", "resolution": "16:8x1,24:5x1"}
    found = br.lr_range("scenes:24", out=tmp_path / "t", losses=("bce(mask)",), steps=20, **given)
    assert found["losses"][0]["tests"][0]["steps"] == 20


def test_a_test_that_was_stopped_is_not_made_again(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from basrelief.studies import lr_tests

    made: list[str] = []
    lr_range = lr_tests.lr_range

    def counted(plan, *rest, **options):  # type: ignore[no-untyped-def]
        made.append(plan.loss)
        if len(made) == 2:
            raise KeyboardInterrupt
        return lr_range(plan, *rest, **options)

    monkeypatch.setattr(lr_tests, "lr_range", counted)
    asked = {
        "losses": ("bce(mask)", "dice(mask)"),
        "network": "masknet",
        "resolution": 16,
        "steps": 20,
        "batch_size": 4,
    }
    with pytest.raises(KeyboardInterrupt):
        br.lr_range(discs, out=tmp_path / "r", **asked)
    document = br.lr_range(discs, out=tmp_path / "r", **asked)
    assert made == ["bce(mask)", "dice(mask)", "dice(mask)"]
    assert [row["name"] for row in document["losses"]] == ["bce(mask)", "dice(mask)"]
    assert not (tmp_path / "r" / lr_tests.KEPT).exists()
