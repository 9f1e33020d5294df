"""``--lr search``: one rate a loss, found on training samples before the trainings, kept, and said in the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import basrelief as br
from basrelief.engine.lr_curve import Suggestion
from basrelief.engine.lr_range import LrRange, lr_range
from basrelief.errors import DataError, TrainingError, UsageError
from basrelief.studies import lr_search
from basrelief.studies.prepare import reopen

SMALL: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "epochs": 1, "batch_size": 4, "precision": "fp32", "lr": "search",
}  # fmt: skip
TWO = ("bce(mask)", "d = dice(mask)")


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Make searches short, and note each (loss, seed)."""
    made: list[tuple[str, int]] = []

    def noted(plan: Any, store: Any, split: Any, **options: Any) -> LrRange:
        made.append((plan.loss, plan.seed))
        assert set(split.rows) == {"train", "val", "test"}
        return lr_range(plan, store, split, **options)

    monkeypatch.setitem(lr_search.BUDGET, "steps", 20)
    monkeypatch.setattr(lr_search, "lr_range", noted)
    return made


def searches(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "lr_search.json").read_text())["losses"])


def test_a_study_searches_once_a_loss_trains_at_what_it_found_and_says_so(
    discs: Path, tmp_path: Path, calls: list[tuple[str, int]]
) -> None:
    out = tmp_path / "s"
    verdict = br.study(discs, out=out, losses=TWO, seeds=2, seed=5, **SMALL)
    assert calls == [("bce(mask)", 5), ("dice(mask)", 5)], "one search a loss, with the first seed"
    found = {entry["name"]: entry for entry in searches(out)}
    assert list(found) == ["bce(mask)", "d"]
    for number, entry in enumerate(found.values()):
        assert entry["seconds"] > 0
        assert entry["steps"] == len(entry["curve"]) <= 20
        for place in (out / "trials").glob(f"{number:02d}-*/seed-*"):
            assert json.loads((place / "run.json").read_text())["settings"]["lr"] == entry["lr"]
    plan = json.loads((out / "plan.json").read_text())
    assert plan["plan"]["train"]["lr"] == plan["asked"]["train"]["lr"] == "search"
    assert "a learning rate searched for each loss" in verdict["summary"]
    assert not any("one learning rate" in warning for warning in verdict["warnings"])
    page = (out / "report.html").read_text()
    assert f"searched, 20 steps for each loss: bce(mask) {found['bce(mask)']['lr']:g}; d {found['d']['lr']:g}" in page

    kept = (out / "lr_search.json").read_bytes()
    again = br.study(discs, out=out, losses=TWO, seeds=2, seed=5, **SMALL)
    assert len(calls) == 2
    assert again["losses"] == verdict["losses"]
    assert (out / "lr_search.json").read_bytes() == kept


def test_an_interrupted_search_goes_on_with_the_losses_that_lack_one(
    discs: Path, tmp_path: Path, calls: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopError(Exception):
        pass

    noted = lr_search.lr_range

    def stopping(plan: Any, *args: Any, **options: Any) -> LrRange:
        if plan.loss == "dice(mask)":
            raise StopError
        return noted(plan, *args, **options)

    monkeypatch.setattr(lr_search, "lr_range", stopping)
    with pytest.raises(StopError):
        br.study(discs, out=tmp_path / "s", losses=TWO, seeds=1, **SMALL)
    monkeypatch.setattr(lr_search, "lr_range", noted)
    br.study(discs, out=tmp_path / "s", losses=TWO, seeds=1, **SMALL)
    assert calls == [("bce(mask)", 0), ("dice(mask)", 0)]


def test_initial_weights_are_the_same_with_and_without_a_search(discs: Path, tmp_path: Path) -> None:
    searched = br.train(discs, out=tmp_path / "a", loss="bce(mask)", **SMALL)
    given = br.train(discs, out=tmp_path / "b", loss="bce(mask)", **{**SMALL, "lr": searched["settings"]["lr"]})
    assert searched["initial_weights"] == given["initial_weights"]
    assert searched["metrics"] == given["metrics"], "the search leaves no trace in the training"


def test_a_loss_without_a_rate_fails_alone_and_the_others_go_on(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = lr_search.lr_range

    def failing(plan: Any, *args: Any, **options: Any) -> LrRange:
        if plan.loss == "bce(mask)":
            none = Suggestion(None, "The loss diverged at once, at 1e-06.", None, 1e-6)
            return LrRange(plan.loss, none.rate, none.reason, (), 1, 0.1)
        return noted(plan, *args, **options)

    monkeypatch.setattr(lr_search, "lr_range", failing)
    verdict = br.study(discs, out=tmp_path / "s", losses=TWO, seeds=1, **SMALL)
    rows = {row["name"]: row for row in verdict["losses"]}
    assert (rows["bce(mask)"]["failed"], rows["d"]["failed"]) == (1, 0)
    assert rows["d"]["mean"] is not None
    why = json.loads(next((tmp_path / "s").glob("trials/00-*/seed-0/failed.json")).read_text())["why"]
    assert "No learning rate was found for bce(mask). The loss diverged at once" in why
    assert "--lr" in why
    with pytest.raises(TrainingError, match="No learning rate was found"):
        br.train(discs, out=tmp_path / "t", loss="bce(mask)", **SMALL)


def test_folds_search_on_their_own_training_samples(discs: Path, tmp_path: Path, calls: list[tuple[str, int]]) -> None:
    br.study(discs, out=tmp_path / "s", losses=("bce(mask)",), seeds=1, folds=3, **SMALL)
    assert len(calls) == 3
    rates = {entry["fold"]: entry["lr"] for entry in searches(tmp_path / "s")}
    for place in (tmp_path / "s" / "trials").glob("*/seed-*"):
        fold = int(place.name.rpartition("-")[2]) - 1
        assert json.loads((place / "run.json").read_text())["settings"]["lr"] == rates[fold]


@pytest.mark.parametrize("damage", ['{"losses": [{"name": "bce(mask)", "lr": -1}]}', "{", '{"losses": 3}'])
def test_a_damaged_search_is_named_and_not_trained_with(discs: Path, tmp_path: Path, damage: str) -> None:
    br.train(discs, out=tmp_path / "s", loss="bce(mask)", **SMALL)
    (tmp_path / "s" / "lr_search.json").write_text(damage)
    with pytest.raises(DataError, match="lr_search"):
        br.train(discs, out=tmp_path / "s", loss="bce(mask)", **SMALL)


def test_a_given_rate_makes_no_search(discs: Path, tmp_path: Path, calls: list[tuple[str, int]]) -> None:
    br.train(discs, out=tmp_path / "s", loss="bce(mask)", **{**SMALL, "lr": "2e-3"})
    assert not calls
    assert not (tmp_path / "s" / "lr_search.json").exists()
    assert reopen(tmp_path / "s").plan.train.lr == 2e-3


@pytest.mark.parametrize("wrong", ["find", "0", "-1", "nan", "inf", "", "1e-3 search", [1]])
def test_another_word_or_number_is_refused_with_what_is_meant(discs: Path, tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"--lr .*: expected a number above 0, such as 1e-3, or the word search"):
        br.train(discs, out=tmp_path / "s", **{**SMALL, "lr": wrong})
    assert not (tmp_path / "s").exists()
