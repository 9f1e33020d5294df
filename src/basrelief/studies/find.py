"""Which run to use: the one named, or the one that a study decided for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from basrelief.errors import DataError
from basrelief.files import read_json
from basrelief.metrics import higher_is_better
from basrelief.studies.trials import outcome_of


@dataclass(frozen=True)
class FoundRun:
    """A run directory; the directory that holds its plan and data; how it was found, in a sentence ("" if named)."""

    folder: Path
    home: Path
    note: str


def find_run(path: Path) -> FoundRun:
    """Return the run directory for ``path``: a run, a trial of a study, or a study.

    Of a study it is the winning loss, or, where none won, the one with the best mean on test; of its seeds the one with
    the best score on validation. Nothing is computed and nothing written: the trials' own results are read.
    """
    path = path.resolve()
    if not path.exists():
        raise DataError(f"{path} is not there. Expected the directory of a run or a study.")
    if (path / "run.json").exists():
        return FoundRun(path, path if (path / "plan.json").exists() else path.parents[2], "")
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
    chosen = max(seeds, key=lambda place: goodness([seeds[place]["val_metrics"].get(metric)]))
    why = "the study's winner" if won else "no loss won; the best mean"
    fold = chosen.name.partition("-fold-")[2]
    which = f"seed {runs[chosen]['seed']}{f', fold {fold}' if fold else ''} (its best on validation)"
    return FoundRun(chosen, path, f"Using {runs[chosen]['loss']} ({why}), {which}.")
