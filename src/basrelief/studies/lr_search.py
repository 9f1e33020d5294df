"""``--lr search``: before the trials each loss has a range test and a few short trainings, which validation judges.

All losses have the same budget, and none of it touches a test image. What is found is kept with the study.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from basrelief.config import ExecutionSettings, WatchSettings
from basrelief.engine.lr_range import lr_range
from basrelief.engine.run_plan import build_model
from basrelief.errors import DataError, TrainingError
from basrelief.files import read_json, write_json
from basrelief.metrics import metric_spec, unpooled_name
from basrelief.option_texts import SEARCH
from basrelief.seeding import stream_seed
from basrelief.studies.execute import run_trials
from basrelief.studies.lr_budget import RANGE, SearchBudget, search_budget
from basrelief.studies.lr_grid import FIRST, Tried, choose_rate, first_rates, next_rates
from basrelief.studies.plan import StudyPlan, Trial, own_rate
from basrelief.studies.stored import Prepared
from basrelief.studies.trials import outcome_of
from basrelief.studies.watcher import StudyWatcher

LR_SEARCH = "lr_search.json"
SEARCHES = "search"  # the folder of the short trainings, in the study's
RANGE_TEST = "range_test.json"
KEPT = ("run.json", "failed.json", "history.csv")  # of a short training, once the rate is chosen


@dataclass(frozen=True)
class Rates:
    """The learning rate of each loss and fold; where the search found none, the sentence that says so."""

    given: float | None
    found: Mapping[tuple[str, int], float | str]

    def of(self, loss: str, fold: int = 0) -> float:
        """Return the rate to train with.

        Raises
        ------
        TrainingError
            Where the search found none.
        """
        rate = self.found[loss, fold] if self.given is None else self.given
        if isinstance(rate, str):
            raise TrainingError(rate)
        return rate


@dataclass(frozen=True)
class _Search:
    """The search of one loss or level, in one fold."""

    folder: Path
    prepared: Prepared
    budget: SearchBudget
    name: str
    fold: int

    @property
    def seed(self) -> int:
        """A seed that is none of the study's, so that no trial has been searched with."""
        return search_seed(self.prepared.plan)

    @property
    def place(self) -> str:
        """The folder of the search, in the study's."""
        of_fold = f"-fold-{self.fold + 1}" if self.prepared.plan.folds > 1 else ""
        return f"{SEARCHES}/{Path(self._trial.folder).parent.name}{of_fold}"

    @property
    def _trial(self) -> Trial:
        return self.prepared.plan.trial(self.name, self.seed, self.fold)

    def test(self, watcher: StudyWatcher) -> dict[str, Any]:
        """Make the range test, or find it as it was made."""
        path = self.folder / self.place / RANGE_TEST
        if path.exists():
            return read_json(path)
        asked = self.prepared.run_plan(self._trial.at(lr=1e-3))  # which the test does not look at
        options = RANGE | {"steps": self.budget.range_steps}
        watcher.begin(f"Range test of {self.name}", str(asked.settings.metric), options["steps"], 0)
        split = self.prepared.splits[self.fold]
        found = lr_range(asked, self.prepared.store, split, progress=watcher.step, **options)
        entry = {"name": self.name, "fold": self.fold, "lr": None, **found.document()}
        entry |= {"steps": found.steps, "seconds": found.seconds, "curve": list(found.rows())}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, entry)
        return entry

    def training(self, rate: float) -> Trial:
        """Return the short training that tries a rate."""
        trial = dataclasses.replace(
            self._trial,
            name=f"{self.name} at {rate:g}",
            folder=f"{self.place}/lr-{rate:g}",
            judged=False,
            images=self.budget.images,
        )
        return trial.at(lr=rate, epochs=self.budget.epochs, stages=())

    @cached_property
    def sign(self) -> int:
        """1 where higher scores are better, else -1."""
        metric = str(self.prepared.plan.train.metric)
        return 1 if metric_spec(metric, self.prepared.store.facts.classes).higher_is_better else -1

    def score(self, rate: float) -> float | None:
        """Return what a training scored on the validation images; None where it failed."""
        outcome = outcome_of(self.folder / self.training(rate).folder)
        assert outcome is not None
        score = None if "why" in outcome else outcome["val_metrics"].get(self.prepared.plan.train.metric)
        return None if score is None else float(score)

    def alike(self, best: float, rate: float) -> bool:
        """Tell whether a rate scored no worse than the best by more than one standard error of the difference.

        The rule of one standard error is that of L. Breiman et al., "Classification and regression trees", 1984,
        section 3.4.3; here the error is that of the mean over validation images of paired differences. A pooled metric
        has no score of an image; the metric that it pools stands for it.
        """
        higher, lower = self.score(best), self.score(rate)
        assert higher is not None
        assert lower is not None
        metric = unpooled_name(str(self.prepared.plan.train.metric))
        frames = [self._scores(one) for one in (best, rate)]
        if not all(metric in frame.columns for frame in frames):
            return higher == lower
        both = frames[0].select("row", a=metric).join(frames[1].select("row", b=metric), on="row").drop_nulls()
        apart = (both["a"] - both["b"]).to_numpy()
        error = float(np.std(apart, ddof=1)) / math.sqrt(len(apart)) if len(apart) > 1 else 0.0
        return abs(higher - lower) <= error

    def _scores(self, rate: float) -> pl.DataFrame:
        path = self.folder / self.training(rate).folder / "scores.parquet"
        return pl.read_parquet(path).filter(pl.col("split") == "val")


def search_seed(plan: StudyPlan) -> int:
    """Return the seed of the searches: drawn from the study's first, and none of those that it trains with."""
    return stream_seed(plan.seeds[0], "lr-search") % 2**32


def search_rates(
    folder: Path, prepared: Prepared, execution: ExecutionSettings, watch: WatchSettings, watcher: StudyWatcher
) -> Rates:
    """Return the rates to train with; those to be searched are searched once, and kept.

    Every loss gets the same budget (see ``lr_budget``): a range test on training images, and a few short
    trainings at rates around its suggestion (see ``lr_grid``), judged on validation images by the study's metric. Test
    images are not looked at, and the seed is none of the study's. With folds each has a search of its own, so that no
    rate rests on images that judge it.

    Stopped and called again, it goes on where it was. What is found is written to ``lr_search.json`` in ``folder``, and
    taken from there later; of the short trainings little more than their scores is kept.
    """
    plan = prepared.plan
    if plan.train.lr != SEARCH:
        assert isinstance(plan.train.lr, float)
        return Rates(plan.train.lr, {})
    entries = read_searches(folder)
    images = min(len(split.rows["train"]) for split in prepared.splits)
    budget = search_budget(plan.train, images)
    assert budget is not None, "trials too short for a search have had a rate since they were planned"
    known = {(entry["name"], entry["fold"]) for entry in entries}
    searched = [name for name in plan.losses if "lr" not in plan.changes.get(name, {})]
    everything = [_Search(folder, prepared, budget, name, fold) for fold in range(plan.folds) for name in searched]
    waiting = [search for search in everything if (search.name, search.fold) not in known]
    if waiting:
        entries += _search(waiting, execution, watch, watcher)
        grid: dict[str, Any] = {
            "trainings": budget.trainings,
            "epochs": budget.epochs,
            "images": budget.images,
            "steps": budget.steps,
        }
        grid |= {"seed": search_seed(plan), "metric": plan.train.metric}
        write_json(folder / LR_SEARCH, {**RANGE, "steps": budget.range_steps, "grid": grid, "losses": entries})
    for search in everything:
        _clear(folder / search.place)
    return Rates(None, {(entry["name"], entry["fold"]): _rate(entry) for entry in entries})


def _search(
    searches: Sequence[_Search], execution: ExecutionSettings, watch: WatchSettings, watcher: StudyWatcher
) -> list[dict[str, Any]]:
    """Make the range tests and then the short trainings, those of all losses together, and return what they say."""
    first = searches[0]
    budget, prepared = first.budget, first.prepared
    watcher.say(
        f"Learning rates are searched first: for each loss {budget.range_steps} steps of a range test and "
        f"{budget.trainings} short trainings of {budget.steps} steps, judged on validation images."
    )
    tests = [search.test(watcher) for search in searches]
    tried: list[dict[float, float | None]] = [{} for _ in searches]
    quiet = watch.model_copy(update={"tracker": ("none",)})
    judged = all(len(split.rows["val"]) for split in prepared.splits)
    rules = (_first_rates, _next_rates)[: 1 + (budget.trainings > FIRST)]
    for rule in rules if judged else ():
        rates = [rule(*each) for each in zip(searches, tests, tried, strict=True)]
        trials = [search.training(rate) for search, own in zip(searches, rates, strict=True) for rate in own]
        run_trials(first.folder, prepared, trials, execution, quiet, watcher)
        for search, own, behind in zip(searches, rates, tried, strict=True):
            scores = {rate: search.score(rate) for rate in own}
            behind |= {rate: None if score is None else search.sign * score for rate, score in scores.items()}
    entries = []
    for search, test, behind in zip(searches, tests, tried, strict=True):
        entry = _entry(search, test, behind)
        fold = f", fold {search.fold + 1}" if prepared.plan.folds > 1 else ""
        shown = "none" if entry["lr"] is None else f"{entry['lr']:g}"
        watcher.say(f"Learning rate of {search.name}{fold}: {shown}. {entry['reason']}")
        entries.append(entry)
    return entries


def _entry(search: _Search, test: Mapping[str, Any], tried: Tried) -> dict[str, Any]:
    """Choose a rate, and return what ``lr_search.json`` says of it."""
    budget, metric = search.budget, search.prepared.plan.train.metric
    grid = [{"lr": rate, "score": search.score(rate), "epochs": budget.epochs} for rate in sorted(tried)]
    chosen = choose_rate(tried, search.alike) if tried else None
    suggested = "nothing" if test["suggestion"] is None else f"{test['suggestion']:g}"
    if not tried:
        rate, reason = test["suggestion"], f"There are no validation images to judge rates by. {test['reason']}"
    elif chosen is None:
        rate = None
        reason = (
            f"None of {len(tried)} short trainings at {min(tried):g} to {max(tried):g} ended with a score, and the "
            f"range test suggested {suggested}: {test['reason']}"
        )
    else:
        rate, among = chosen
        best = max(score for score in tried.values() if score is not None)
        others = f", in the middle of {len(among)} that are within one standard error" if len(among) > 1 else ""
        reason = (
            f"The best of {len(tried)} short trainings at {min(tried):g} to {max(tried):g} has a {metric} of "
            f"{search.sign * best:.3g} on validation images{others}. The range test suggested {suggested}."
        )
    entry = {key: value for key, value in test.items() if key != "suggestion"}
    entry |= {"lr": rate, "reason": reason, "suggested": test["suggestion"], "range_reason": test["reason"]}
    paths = [search.folder / search.training(rate).folder / "run.json" for rate in tried]
    seconds = sum(read_json(path).get("seconds", 0.0) for path in paths if path.exists())
    return entry | {"grid": grid, "grid_steps": len(grid) * budget.steps, "seconds": test["seconds"] + seconds}


def _bound(test: Mapping[str, Any]) -> float:
    """Return the rate at which the range test broke; where it suggests nothing, it broke by accident or at once."""
    at = test["tests"][0]["diverged_at"] if test["suggestion"] is not None else None
    return math.inf if at is None else float(at)


def _first_rates(search: _Search, test: Mapping[str, Any], tried: Tried) -> list[float]:  # noqa: ARG001
    return first_rates(test["suggestion"], _own_rate(search), _bound(test))


def _next_rates(search: _Search, test: Mapping[str, Any], tried: Tried) -> list[float]:  # noqa: ARG001
    return next_rates(tried, _bound(test))


def _own_rate(search: _Search) -> float:
    """Return the rate that the network, or that of the level, is known to train with."""
    run = search.prepared.run_plan(search._trial.at(lr=1e-3))
    return own_rate(run.settings.optimizer, build_model(run, search.prepared.store))


def _clear(place: Path) -> None:
    """Remove what the trainings of a search needed until its rate was chosen."""
    for training in place.glob("lr-*"):
        for item in training.iterdir():
            if item.is_dir():
                shutil.rmtree(item)
            elif item.name not in KEPT:
                item.unlink()


def read_searches(folder: Path) -> list[dict[str, Any]]:
    """Return what ``lr_search.json`` holds of each loss and fold; nothing where there is none.

    Raises
    ------
    DataError
        When it is damaged.
    """
    path = folder / LR_SEARCH
    if not path.exists():
        return []
    document = read_json(path)
    entries = document.get("losses")
    whole = isinstance(entries, list) and all(_is_whole(entry) for entry in entries)
    if not whole or not {"steps", "repeats"} <= document.keys():
        raise DataError(f"{path} is damaged. Remove it: the same search is made again, with the same outcome.")
    return list(document["losses"])


def describe_rates(folder: Path, plan: StudyPlan) -> str:
    """Return which rates a study was trained with, in words."""
    if plan.train.lr != SEARCH:
        return f"the same for all: {plan.train.lr:g}"
    found: dict[str, list[str]] = {}
    entries = read_searches(folder)
    for entry in entries:
        found.setdefault(entry["name"], []).append("none" if entry["lr"] is None else f"{entry['lr']:g}")
    listed = "; ".join(f"{name} {', '.join(rates)}" for name, rates in found.items())
    return f"searched{_budget(folder) if found else ''}: {listed}"


def _budget(folder: Path) -> str:
    document = read_json(folder / LR_SEARCH)
    grid = document.get("grid")
    short = f" and {grid['trainings']} short trainings of {grid['steps']} steps" if grid else ""
    each = " and fold" if any(entry["fold"] for entry in document["losses"]) else ""
    return f", for each loss{each} a range test of {document['steps'] * document['repeats']} steps{short}"


def _rate(entry: Mapping[str, Any]) -> float | str:
    if entry["lr"] is not None:
        return float(entry["lr"])
    return (
        f"No learning rate was found for {entry['loss']}. {entry['reason']} Give one with --lr, or look at the curve "
        "with basrelief lr-range."
    )


def _is_whole(entry: Any) -> bool:
    if not isinstance(entry, dict) or not {"name", "loss", "fold", "lr", "reason"} <= entry.keys():
        return False
    return entry["lr"] is None or (isinstance(entry["lr"], float | int) and 0 < entry["lr"] < math.inf)
