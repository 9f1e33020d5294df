"""How far a study is: its trials, what they said, and how to go on. Nothing is computed and nothing written."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import polars as pl

from basrelief.errors import DataError
from basrelief.studies.extend import is_study
from basrelief.studies.results import read_race
from basrelief.studies.stored import reopen
from basrelief.studies.trials import describe_outcome, outcome_of


def study_status(folder: Path) -> dict[str, Any]:
    """Return the state of the study in ``folder``.

    Returns
    -------
    dict
        ``out``, ``factor``, ``counts`` (finished, failed, dropped, begun, waiting), ``trials`` (name, seed, fold,
        state, epochs, of, score, seconds, says), ``seconds`` (of training so far), and ``next``, the command that goes
        on, or None.

    Raises
    ------
    DataError
        When there is no study.
    """
    if not is_study(folder):
        raise DataError(f"{folder} holds no study. Expected the directory that basrelief study left.")
    plan = reopen(folder).plan
    race = read_race(folder) or {}
    dropped = {row["name"]: row["seeds"] for row in race.get("dropped", ())}
    raced = race["seeds"] if race.get("over") else len(plan.seeds)
    trials: list[dict[str, Any]] = []
    for trial in plan.trials():
        place = folder / trial.folder
        row: dict[str, Any] = {"name": trial.name, "seed": trial.seed, "fold": trial.fold}
        row |= {"epochs": 0, "of": trial.changes.get("epochs", plan.train.epochs), "score": None, "seconds": 0.0}
        outcome = outcome_of(place)
        if outcome is not None:
            row |= {"state": "failed" if "why" in outcome else "finished", "says": describe_outcome(outcome)}
            if "why" in outcome:
                row["says"] = outcome["why"]
            else:
                row |= {"epochs": len(outcome["curve"]), "seconds": outcome["seconds"]}
                row["score"] = outcome["val_metrics"].get(plan.train.metric)
        elif plan.seeds.index(trial.seed) >= dropped.get(trial.name, raced):
            row |= {"state": "dropped", "says": "can no longer win" if trial.name in dropped else "the race is over"}
        elif (place / "run.json").exists():
            row |= {"state": "begun", "says": "", **_so_far(place, str(plan.train.metric))}
        else:
            row |= {"state": "waiting", "says": ""}
        trials.append(row)
    states = ("finished", "failed", "dropped", "begun", "waiting")
    counts = {state: sum(row["state"] == state for row in trials) for state in states}
    unfinished = counts["begun"] + counts["waiting"]
    return {
        "out": str(folder),
        "factor": plan.factor,
        "metric": plan.train.metric,
        "counts": counts,
        "trials": trials,
        "seconds": sum(row["seconds"] for row in trials),
        "next": f"basrelief study {shlex.quote(str(folder))}" if unfinished else None,
    }


def _so_far(place: Path, metric: str) -> dict[str, Any]:
    """Return what a training that is not finished has behind it, by its record of epochs."""
    path = place / "history.parquet"
    try:
        history = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):  # before the first epoch
        return {}
    column = f"val/{metric}"
    score = history[column][-1] if column in history.columns and len(history) else None
    return {"epochs": len(history), "score": score, "seconds": float(history["seconds"].sum())}
