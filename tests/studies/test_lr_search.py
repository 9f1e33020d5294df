"""``--lr search``: one rate a loss, found before the trials without a test image, kept, and said in the report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import basrelief as br
from basrelief.engine.lr_curve import Suggestion
from basrelief.engine.lr_range import LrRange, lr_range
from basrelief.engine.train import train_run
from basrelief.errors import DataError, TrainingError, UsageError
from basrelief.studies import lr_budget, lr_search, trials
from basrelief.studies.lr_budget import SearchBudget
from basrelief.studies.stored import reopen

SMALL: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "epochs": 1, "batch_size": 4, "precision": "fp32", "threads": 1,
}  # fmt: skip
TWO = ("bce(mask)", "d = dice(mask)")
THREE = SearchBudget(range_steps=20, trainings=3, epochs=1, images=6, steps=2)
FIVE = dataclasses.replace(THREE, trainings=5)


class StopError(Exception):
    """Stands for a power cut."""


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Make searches short, also before trials that are too short for any, and note each range test's (loss, seed)."""
    made: list[tuple[str, int]] = []

    def noted(plan: Any, store: Any, split: Any, **options: Any) -> LrRange:
        made.append((plan.loss, plan.seed))
        assert set(split.rows) == {"train", "val", "test"}
        return lr_range(plan, store, split, **options)

    monkeypatch.setattr(lr_search, "search_budget", lambda train, images: THREE)
    monkeypatch.setattr(lr_budget, "search_budget", lambda train, images: THREE)
    monkeypatch.setattr(lr_search, "lr_range", noted)
    return made


def searches(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "lr_search.json").read_text())["losses"])


def test_a_study_searches_unless_told_otherwise_trains_at_what_it_found_and_says_so(
    discs: Path, tmp_path: Path, calls: list[tuple[str, int]]
) -> None:
    out = tmp_path / "s"
    verdict = br.study(discs, out=out, losses=TWO, seeds=2, seed=5, **SMALL)
    assert [loss for loss, _ in calls] == ["bce(mask)", "dice(mask)"], "one range test a loss"
    found = {entry["name"]: entry for entry in searches(out)}
    assert list(found) == ["bce(mask)", "d"]
    for number, entry in enumerate(found.values()):
        assert entry["steps"] == len(entry["curve"]) <= 20
        assert entry["seconds"] > 0
        assert entry["grid_steps"] == 3 * 2
        tried = [line["lr"] for line in entry["grid"]]
        assert tried == sorted(set(tried))
        assert len(tried) == 3, "as many for every loss"
        assert entry["lr"] in tried
        assert all(line["epochs"] == 1 and 0 <= line["score"] <= 1 for line in entry["grid"])
        for place in (out / "trials").glob(f"{number:02d}-*/seed-*"):
            assert json.loads((place / "run.json").read_text())["settings"]["lr"] == entry["lr"]
    plan = json.loads((out / "plan.json").read_text())
    assert plan["asked"]["train"]["lr"] is None
    assert plan["plan"]["train"]["lr"] == "search"
    assert "a learning rate searched for each loss" in verdict["summary"]
    assert not any("one learning rate" in warning for warning in verdict["warnings"])
    page = (out / "report.html").read_text()
    budget = "for each loss a range test of 20 steps and 3 short trainings of 2 steps"
    assert f"searched, {budget}: bce(mask) {found['bce(mask)']['lr']:g}; d {found['d']['lr']:g}" in page

    kept = (out / "lr_search.json").read_bytes()
    again = br.study(discs, out=out, losses=TWO, seeds=2, seed=5, **SMALL)
    assert len(calls) == 2
    assert again["losses"] == verdict["losses"]
    assert (out / "lr_search.json").read_bytes() == kept


def test_the_search_sees_no_test_image_and_no_seed_of_the_study_and_leaves_no_weights(
    discs: Path, tmp_path: Path, calls: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, dict[str, int]]] = []

    def watched(folder: Path, plan: Any, store: Any, split: Any, **options: Any) -> Any:
        if "search" in folder.parts:
            seen.append((plan.seed, {name: len(rows) for name, rows in split.rows.items()}))
        return train_run(folder, plan, store, split, **options)

    monkeypatch.setattr(trials, "train_run", watched)
    br.study(discs, out=tmp_path / "s", losses=("bce(mask)",), seeds=2, **SMALL)
    seeds = {seed for seed, _ in seen} | {seed for _, seed in calls}
    assert len(seen) == 3
    assert len(seeds) == 1
    assert not seeds & {0, 1}
    assert all(counts["test"] == 0 and counts["train"] == 6 and counts["val"] > 0 for _, counts in seen)
    left = {item.name for item in (tmp_path / "s" / "search").glob("*/lr-*/*")}
    assert left == {"run.json", "history.csv"}
    assert json.loads(next((tmp_path / "s" / "search").glob("*/lr-*/run.json")).read_text())["metrics"] == {}


def test_a_search_killed_again_and_again_ends_with_the_same_rates_and_trains_nothing_twice(
    discs: Path, tmp_path: Path, calls: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(lr_search, "search_budget", lambda train, images: FIVE)
    moments = [0, 4, 7, 9]  # before all, among the first rates, and twice among those beside the best

    def counted(folder: Path, *args: Any, **options: Any) -> Any:
        if moments and len(made) == moments[0]:
            moments.pop(0)
            raise StopError
        run = train_run(folder, *args, **options)
        made.append(folder)
        return run

    monkeypatch.setattr(trials, "train_run", counted)
    while moments:
        with pytest.raises(StopError):
            br.study(discs, out=tmp_path / "s", losses=TWO, seeds=1, **SMALL)
    br.study(discs, out=tmp_path / "s", losses=TWO, seeds=1, **SMALL)
    assert len(calls) == 2
    assert len(made) == len(set(made)) == 2 * 5 + 2
    found = searches(tmp_path / "s")
    br.study(discs, out=tmp_path / "t", losses=TWO, seeds=1, **SMALL)
    for entry, other in zip(found, searches(tmp_path / "t"), strict=True):
        assert {**entry, "seconds": 0} == {**other, "seconds": 0}


def test_a_range_test_is_not_made_again_after_an_interruption(
    discs: Path, tmp_path: Path, calls: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert [loss for loss, _ in calls] == ["bce(mask)", "dice(mask)"]


def test_a_loss_that_is_added_is_searched_alike_and_the_others_keep_their_rates(
    discs: Path, tmp_path: Path, calls: list[tuple[str, int]]
) -> None:
    br.study(discs, out=tmp_path / "s", losses=("bce(mask)",), seeds=1, **SMALL)
    before = searches(tmp_path / "s")
    br.study(tmp_path / "s", add_losses=("d = dice(mask)",), add_seeds=1)
    after = searches(tmp_path / "s")
    assert after[:1] == before
    assert [entry["name"] for entry in after] == ["bce(mask)", "d"]
    assert len(after[1]["grid"]) == len(before[0]["grid"])
    assert calls[0][1] == calls[1][1], "from the same initial weights"


def test_rates_that_break_the_training_are_bad_rates_and_no_failure(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(folder: Path, plan: Any, *args: Any, **options: Any) -> Any:
        if plan.settings.lr > 1e-4:
            raise TrainingError("The loss is no longer finite.")
        return train_run(folder, plan, *args, **options)

    monkeypatch.setattr(lr_search, "search_budget", lambda train, images: FIVE)
    monkeypatch.setattr(trials, "train_run", breaking)
    verdict = br.study(discs, out=tmp_path / "s", losses=("bce(mask)",), seeds=1, **SMALL)
    (entry,) = searches(tmp_path / "s")
    assert entry["lr"] <= 1e-4
    assert [line["score"] is None for line in entry["grid"]] == [line["lr"] > 1e-4 for line in entry["grid"]]
    assert verdict["losses"][0]["failed"] == 0


def test_levels_of_another_factor_are_searched_each_and_rates_that_are_compared_are_not(
    discs: Path, tmp_path: Path, calls: list[tuple[str, int]]
) -> None:
    options = {**SMALL, "losses": ("bce(mask)",), "seeds": 1}
    br.study(discs, out=tmp_path / "a", vary="augmentation", augment=("none", "flip"), **options)
    assert [entry["name"] for entry in searches(tmp_path / "a")] == ["none", "flip"]
    assert len(calls) == 2
    br.study(discs, out=tmp_path / "b", vary="lr", lr=("1e-3", "1e-2"), **options)
    assert len(calls) == 2
    assert not (tmp_path / "b" / "lr_search.json").exists()


def test_without_validation_images_the_range_test_decides_alone(discs: Path, tmp_path: Path) -> None:
    br.study(discs, out=tmp_path / "s", losses=("bce(mask)",), seeds=1, split="80/0/20", **SMALL)
    (entry,) = searches(tmp_path / "s")
    assert (entry["grid"], entry["lr"]) == ([], entry["suggested"])
    assert "no validation images" in entry["reason"]


def test_initial_weights_are_the_same_with_and_without_a_search(discs: Path, tmp_path: Path) -> None:
    searched = br.train(discs, out=tmp_path / "a", loss="bce(mask)", lr="search", **SMALL)
    given = br.train(discs, out=tmp_path / "b", loss="bce(mask)", lr=searched["settings"]["lr"], **SMALL)
    assert searched["initial_weights"] == given["initial_weights"]
    assert searched["metrics"] == given["metrics"], "the search leaves no trace in the training"


def test_a_loss_that_no_rate_trains_fails_alone_with_the_reason_and_the_others_go_on(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = lr_search.lr_range

    def failing(plan: Any, *args: Any, **options: Any) -> LrRange:
        if plan.loss == "bce(mask)":
            none = Suggestion(None, "The loss diverged at once, at 1e-06.", None, 1e-6)
            return LrRange(plan.loss, none.rate, none.reason, (), 1, 0.1)
        return noted(plan, *args, **options)

    def breaking(folder: Path, plan: Any, *args: Any, **options: Any) -> Any:
        if plan.loss == "bce(mask)":
            raise TrainingError("The loss is no longer finite.")
        return train_run(folder, plan, *args, **options)

    monkeypatch.setattr(lr_search, "lr_range", failing)
    monkeypatch.setattr(trials, "train_run", breaking)
    verdict = br.study(discs, out=tmp_path / "s", losses=TWO, seeds=1, **SMALL)
    rows = {row["name"]: row for row in verdict["losses"]}
    assert (rows["bce(mask)"]["failed"], rows["d"]["failed"]) == (1, 0)
    assert rows["d"]["mean"] is not None
    why = json.loads(next((tmp_path / "s").glob("trials/00-*/seed-0/failed.json")).read_text())["why"]
    assert "No learning rate was found for bce(mask). None of 3 short trainings" in why
    assert "The loss diverged at once" in why
    assert "--lr" in why
    with pytest.raises(TrainingError, match="No learning rate was found"):
        br.train(discs, out=tmp_path / "t", loss="bce(mask)", lr="search", **SMALL)


def test_where_the_range_test_says_nothing_rates_are_tried_around_the_networks_own(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = LrRange("bce(mask)", None, "The loss never fell clearly.", (), 20, 0.1)
    monkeypatch.setattr(lr_search, "lr_range", lambda *args, **options: none)
    br.train(discs, out=tmp_path / "s", loss="bce(mask)", lr="search", **SMALL)
    (entry,) = searches(tmp_path / "s")
    assert 1e-3 in [line["lr"] for line in entry["grid"]]
    assert entry["suggested"] is None
    assert entry["lr"] is not None


def test_folds_search_on_their_own_training_samples(discs: Path, tmp_path: Path, calls: list[tuple[str, int]]) -> None:
    br.study(discs, out=tmp_path / "s", losses=("bce(mask)",), seeds=1, folds=3, **SMALL)
    assert len(calls) == 3
    rates = {entry["fold"]: entry["lr"] for entry in searches(tmp_path / "s")}
    assert "for each loss and fold a range test" in (tmp_path / "s" / "report.html").read_text()
    for place in (tmp_path / "s" / "trials").glob("*/seed-*"):
        fold = int(place.name.rpartition("-")[2]) - 1
        assert json.loads((place / "run.json").read_text())["settings"]["lr"] == rates[fold]


@pytest.mark.parametrize("damage", ['{"losses": [{"name": "bce(mask)", "lr": -1}]}', "{", '{"losses": 3}'])
def test_a_damaged_search_is_named_and_not_trained_with(discs: Path, tmp_path: Path, damage: str) -> None:
    br.train(discs, out=tmp_path / "s", loss="bce(mask)", lr="search", **SMALL)
    path = tmp_path / "s" / "lr_search.json"
    before = json.loads(path.read_text())
    path.write_text(damage)
    with pytest.raises(DataError, match="lr_search"):
        br.train(discs, out=tmp_path / "s", loss="bce(mask)", lr="search", **SMALL)
    path.unlink()  # as the message says
    br.train(discs, out=tmp_path / "s", loss="bce(mask)", lr="search", **SMALL)
    again = json.loads(path.read_text())
    assert [entry["grid"] for entry in again["losses"]] == [entry["grid"] for entry in before["losses"]]


def test_a_given_rate_makes_no_search(discs: Path, tmp_path: Path, calls: list[tuple[str, int]]) -> None:
    br.train(discs, out=tmp_path / "s", loss="bce(mask)", lr="2e-3", **SMALL)
    assert not calls
    assert not (tmp_path / "s" / "lr_search.json").exists()
    assert reopen(tmp_path / "s").plan.train.lr == 2e-3


@pytest.mark.parametrize("wrong", ["find", "0", "-1", "nan", "inf", "", "1e-3 search", [1]])
def test_another_word_or_number_is_refused_with_what_is_meant(discs: Path, tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"--lr .*: expected a number above 0, such as 1e-3, or the word search"):
        br.train(discs, out=tmp_path / "s", lr=wrong, **SMALL)
    assert not (tmp_path / "s").exists()
