"""``--lr search``: before the trainings, one range test of the same length for each loss, kept with the study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basrelief.config import SEARCH
from basrelief.engine.lr_range import lr_range
from basrelief.errors import DataError, TrainingError
from basrelief.files import read_json, write_json
from basrelief.studies.plan import StudyPlan
from basrelief.studies.prepare import Prepared, StudyWatcher

LR_SEARCH = "lr_search.json"
BUDGET: dict[str, Any] = {"low": 1e-6, "high": 10.0, "steps": 100, "repeats": 1}  # the same for every loss


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


def search_rates(folder: Path, prepared: Prepared, watcher: StudyWatcher) -> Rates:
    """Return the rates to train with; those to be searched are searched on training samples, once, and kept.

    Every loss gets the same budget: as many steps, from the initial weights and in the batch order of the first seed.
    With folds each has a search of its own, so that no rate rests on images that judge it. What is found is written to
    ``lr_search.json`` in ``folder`` after each search, and taken from there later.
    """
    plan = prepared.plan
    if plan.train.lr != SEARCH:
        assert isinstance(plan.train.lr, float)
        return Rates(plan.train.lr, {})
    entries = read_searches(folder)
    known = {(entry["name"], entry["fold"]) for entry in entries}
    waiting = [(name, fold) for fold in range(plan.folds) for name in plan.losses if (name, fold) not in known]
    for name, fold in waiting:
        fold_named = f", fold {fold + 1}" if plan.folds > 1 else ""
        watcher.begin(f"Learning rate of {name}", str(plan.train.metric), BUDGET["steps"] * BUDGET["repeats"], 0)
        asked = prepared.run_plan(plan.trial(name, fold=fold))
        found = lr_range(asked, prepared.store, prepared.splits[fold], progress=watcher.step, **BUDGET)
        shown = "none" if found.suggestion is None else f"{found.suggestion:g}"
        watcher.say(f"Learning rate of {name}{fold_named}: {shown}. {found.reason}")
        entry = {"name": name, "fold": fold, "lr": found.suggestion, **found.document()}
        entry |= {"steps": found.steps, "seconds": found.seconds, "curve": list(found.rows())}
        entries.append({key: value for key, value in entry.items() if key != "suggestion"})
        write_json(folder / LR_SEARCH, {**BUDGET, "losses": entries})
    return Rates(None, {(entry["name"], entry["fold"]): _rate(entry) for entry in entries})


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
    for entry in read_searches(folder):
        found.setdefault(entry["name"], []).append("none" if entry["lr"] is None else f"{entry['lr']:g}")
    listed = "; ".join(f"{name} {', '.join(rates)}" for name, rates in found.items())
    budget = read_json(folder / LR_SEARCH) if found else BUDGET
    return f"searched, {budget['steps'] * budget['repeats']} steps for each loss: {listed}"


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
