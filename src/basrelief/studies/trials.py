"""One trial of a study: trained into its directory, and what that directory says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from basrelief.config import WatchSettings
from basrelief.engine.checkpoint import remove_checkpoints
from basrelief.engine.train import train_run
from basrelief.engine.watcher import Watcher
from basrelief.errors import OutOfMemoryError, TrainingError
from basrelief.files import read_json, write_json
from basrelief.folders import only_writer
from basrelief.studies.plan import Trial
from basrelief.studies.stored import Prepared

PATIENCE = 60.0  # seconds to wait for a process whose study is over; it ends within one, on Ray within some


def train_trial(folder: Path, prepared: Prepared, trial: Trial, watch: WatchSettings, watcher: Watcher) -> str:
    """Train one trial of the study in ``folder``, and return how it went, in words.

    A trial whose loss stops being finite leaves ``failed.json``, and is not tried again. Its directory is held
    meanwhile: where a process that its study's end has not reached yet still writes there, that one is waited for.

    Raises
    ------
    OutOfMemoryError
        When memory runs out; the trial does not count as failed.
    OutputError
        When another process trains it, and goes on with it.
    """
    place = folder / trial.folder
    with only_writer(place, wait=PATIENCE):
        outcome = outcome_of(place)  # that other process may just have finished it
        said = describe_outcome(outcome) if outcome else _train(folder, prepared, trial, watch, watcher)
        remove_checkpoints(place)  # needed for resuming alone, and thrice the weights' size
    return said


def _train(folder: Path, prepared: Prepared, trial: Trial, watch: WatchSettings, watcher: Watcher) -> str:
    try:
        run = train_run(
            folder / trial.folder,
            prepared.run_plan(trial),
            prepared.store,
            prepared.split_of(trial),
            smaller=prepared.smaller,
            watch=watch,
            draw=False,  # the report has pictures of every loss
            watcher=watcher,
        )
    except OutOfMemoryError:
        raise  # the machine's doing, so the same command tries this trial again
    except TrainingError as error:
        mark_failed(folder, trial, str(error))
        return "failed"
    return describe_outcome(run)


def mark_failed(folder: Path, trial: Trial, why: str) -> None:
    """Note that a trial failed, for good."""
    place = folder / trial.folder
    place.mkdir(parents=True, exist_ok=True)
    write_json(place / "failed.json", {"loss": trial.expression, "seed": trial.seed, "why": why})


def outcome_of(place: Path) -> dict[str, Any] | None:
    """Return what a trial's directory holds: its finished ``run.json``, its ``failed.json``, or None."""
    if (place / "failed.json").exists():
        return {"why": "unknown", **read_json(place / "failed.json")}
    if (place / "run.json").exists():
        run = read_json(place / "run.json")
        return run if run.get("status") == "finished" and (place / "best.safetensors").exists() else None
    return None


def describe_outcome(outcome: dict[str, Any]) -> str:
    """Return how a trial went, in words."""
    if "why" in outcome:
        return "failed"
    metric = outcome["settings"]["metric"]
    score = outcome["val_metrics"].get(metric)
    chosen = "" if score is None else f", {metric} {score:.3f} on val"
    return f"finished, best epoch {outcome['best_epoch']}{chosen}"
