"""Which run to use: the one named, or the one that a study decided for, or all seeds of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basrelief.errors import DataError, UsageError
from basrelief.files import read_json
from basrelief.metrics import higher_is_better
from basrelief.studies.trials import outcome_of


@dataclass(frozen=True)
class FoundRun:
    """A run directory; the directory that holds its plan and data; how it was found, in a sentence ("" if named)."""

    folder: Path
    home: Path
    note: str


@dataclass(frozen=True)
class FoundRuns:
    """The runs of one loss of a study, the best on validation first; the study's directory; how they were found."""

    folders: tuple[Path, ...]
    home: Path
    note: str


def find_run(path: Path) -> FoundRun:
    """Return the run directory for ``path``: a run, a trial of a study, or a study.

    Of a study it is the winning loss, or, where none won, the one with the best mean on test; of its seeds the one with
    the best score on validation. Nothing is computed and nothing written: the trials' own results are read.
    """
    path = _there(path)
    if (path / "run.json").exists():
        return FoundRun(path, path if (path / "plan.json").exists() else path.parents[2], "")
    seeds, why = _chosen(path)
    chosen, run = next(iter(seeds.items()))
    fold = chosen.name.partition("-fold-")[2]
    which = f"seed {run['seed']}{f', fold {fold}' if fold else ''} (its best on validation)"
    return FoundRun(chosen, path, f"Using {run['loss']} ({why}), {which}.")


def find_seeds(path: Path) -> FoundRuns:
    """Return the runs of all seeds (and folds) of the loss that ``find_run`` chooses of a study.

    Raises
    ------
    UsageError
        When ``path`` is a single run, which has no other seeds.
    """
    path = _there(path)
    if (path / "run.json").exists():
        if (path / "plan.json").exists():
            raise UsageError(
                f"--ensemble averages the seeds of a study, and {path} is a single run. Leave --ensemble out, or give "
                "a study's directory."
            )
        raise UsageError(
            f"--ensemble averages the seeds of a study, and {path} is one of its trials. Give the study: "
            f"{path.parents[2]}."
        )
    seeds, why = _chosen(path)
    names = sorted(place.name for place in seeds)
    loss = next(iter(seeds.values()))["loss"]
    if len(seeds) == 1:
        raise UsageError(
            f"--ensemble: {path} has a single finished run of {loss} ({why}), {names[0]}; there is nothing to average. "
            "Leave --ensemble out."
        )
    return FoundRuns(tuple(seeds), path, f"Averaging {len(seeds)} networks of {loss} ({why}): {', '.join(names)}.")


def _there(path: Path) -> Path:
    path = path.resolve()
    if not path.exists():
        raise DataError(f"{path} is not there. Expected the directory of a run or a study.")
    return path


def _chosen(path: Path) -> tuple[dict[Path, dict[str, Any]], str]:
    """Return the finished runs of a study's winner or best mean, the best on validation first, and why that loss."""
    if not (path / "plan.json").exists():
        raise DataError(f"{path} holds neither a run nor a study. Expected what basrelief train or study left.")
    if read_json(path / "plan.json").get("kind") == "lr-range":
        raise DataError(f"{path} holds a range test, which leaves no network. Give what basrelief train or study left.")
    outcomes = {place: outcome_of(place) or {} for place in sorted(path.glob("trials/*/seed-*"))}
    runs = {place: outcome for place, outcome in outcomes.items() if "metrics" in outcome}
    if not runs:
        failures = [outcome["why"] for outcome in outcomes.values() if "why" in outcome]
        if failures:
            raise DataError(f"No training of {path} ended well. The first said: {failures[0]}")
        raise DataError(f"No training of {path} has finished yet. Start the same command again to go on with it.")
    losses = list((read_json(path / "plan.json").get("plan") or {}).get("losses") or ())
    metric = str(next(iter(runs.values()))["settings"]["metric"])
    sign = 1 if higher_is_better(metric) else -1

    def goodness(values: list[float | None]) -> float:
        known = [value for value in values if value is not None]
        return sign * sum(known) / len(known) if known else -float("inf")

    tests: dict[Path, list[float | None]] = {}  # a loss has a folder with its seeds in it
    for place, run in runs.items():
        tests.setdefault(place.parent, []).append(run["metrics"].get(metric))
    verdict = path / "verdict.json"
    winner = read_json(verdict).get("winner") if verdict.exists() else None
    number = f"{losses.index(winner):02d}-" if winner in losses else None  # how its folder begins; see StudyPlan.trials
    won = [place.parent for place in runs if number is not None and place.parent.name.startswith(number)]
    loss = won[0] if won else max(tests, key=lambda folder: goodness(tests[folder]))
    seeds = {place: run for place, run in runs.items() if place.parent == loss}
    why = "the study's winner" if won else "no loss won; the best mean"
    best_first = sorted(seeds, key=lambda place: goodness([seeds[place]["val_metrics"].get(metric)]), reverse=True)
    return {place: seeds[place] for place in best_first}, why
