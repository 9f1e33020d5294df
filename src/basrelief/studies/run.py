"""Running the trainings of a study, or one alone: each once, whatever interrupts it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from basrelief.config import RunSettings, StudySettings, WatchSettings
from basrelief.engine import processes
from basrelief.engine.checkpoint import remove_checkpoints
from basrelief.engine.trackers import check_trackers
from basrelief.engine.train import train_run
from basrelief.errors import BasreliefError, OutOfMemoryError, TrainingError
from basrelief.files import only_writer, read_json, write_json
from basrelief.studies.lr_search import Rates, search_rates
from basrelief.studies.plan import Trial
from basrelief.studies.prepare import Prepared, StudyWatcher, list_data, prepare, reopen


def run_study(folder: Path, settings: StudySettings, watcher: StudyWatcher) -> Prepared:
    """Train every trial that is not finished yet. Called again after an interruption, it goes on where it was.

    A trial whose loss stops being finite, or for whose loss no learning rate was found where one is searched, counts as
    failed and is not tried again. The study's directory then holds
    ``plan.json``, the store in ``data/``, ``splits.csv``, ``lr_search.json`` where rates were searched, and a run
    directory a trial under ``trials/``.

    Raises
    ------
    OutputError
        When ``folder`` holds another study, or anything else.
    OutOfMemoryError
        When memory runs out; the trial at hand does not count as failed.
    """
    check_trackers(settings.watch.tracker)
    source = list_data(settings)
    with only_writer(folder):
        prepared = prepare(folder, settings, source, watcher)
        trials = prepared.plan.trials()
        rates = search_rates(folder, prepared, watcher)
        waiting = sum(outcome_of(folder / "trials" / trial.folder) is None for trial in trials)
        first = True
        for number, trial in enumerate(trials, 1):
            place = folder / "trials" / trial.folder
            if outcome_of(place):
                watcher.trial(number, len(trials), trial, "kept")
            else:
                watcher.trial(number, len(trials), trial, "training")
                started = time.perf_counter()
                outcome = _train_trial(place, trial, prepared, rates, settings.watch, watcher)
                watcher.trial(number, len(trials), trial, outcome)
                waiting -= 1
                if first and waiting:
                    minutes = waiting * (time.perf_counter() - started) / 60
                    others = f"{waiting} trainings take" if waiting > 1 else "training takes"
                    watcher.say(f"At that pace the other {others} some {minutes:.1f} minutes.")
                first = False
            remove_checkpoints(place)  # needed for resuming alone, and thrice the weights' size
        return prepared


def _train_trial(
    place: Path, trial: Trial, prepared: Prepared, rates: Rates, watch: WatchSettings, watcher: StudyWatcher
) -> str:
    """Train one trial, and return how it went, in words."""
    try:
        run = train_run(
            place,
            prepared.run_plan(trial.expression, trial.seed, trial.fold, rates.of(trial.name, trial.fold)),
            prepared.store,
            prepared.splits[trial.fold],
            smaller=prepared.smaller,
            watch=watch,
            draw=False,  # the report has pictures of every loss
            watcher=watcher,
        )
    except OutOfMemoryError:
        raise  # the machine's doing, so the same command tries this trial again
    except TrainingError as error:
        write_json(place / "failed.json", {"loss": trial.expression, "seed": trial.seed, "why": str(error)})
        return "failed"
    score = run["val_metrics"].get(run["settings"]["metric"])
    chosen = "" if score is None else f", {run['settings']['metric']} {score:.3f} on val"
    return f"finished, best epoch {run['best_epoch']}{chosen}"


def run_training(folder: Path, settings: RunSettings, watcher: StudyWatcher) -> dict[str, Any]:
    """Train one network; return its ``run.json``. Stopped and called again, it goes on where it was.

    In several processes, each calls it; the first prepares the data, and the others open what it prepared.
    """
    with contextlib.ExitStack() as held:
        if processes.is_first():
            prepared = _prepared_by_first(folder, settings, watcher, held)
        else:
            error, place = processes.from_first((None, ""))
            if error is not None:
                raise error
            prepared = reopen(Path(place))
            folder = Path(place)
        (name, expression), *_ = prepared.plan.losses.items()
        seed = prepared.plan.seeds[0]
        rates = search_rates(folder, prepared, watcher)
        watcher.trial(1, 1, Trial(name, expression, seed, ""), "training")
        return train_run(
            folder,
            prepared.run_plan(expression, seed, lr=rates.of(name)),
            prepared.store,
            prepared.split,
            smaller=prepared.smaller,
            watch=settings.watch,
            watcher=watcher,
        )


def _prepared_by_first(
    folder: Path, settings: RunSettings, watcher: StudyWatcher, held: contextlib.ExitStack
) -> Prepared:
    """Prepare while other processes wait, and tell them where, or that it cannot be done."""
    error: BasreliefError | None = None
    try:
        check_trackers(settings.watch.tracker)
        source = list_data(settings)
        held.enter_context(only_writer(folder))
        return prepare(folder, settings, source, watcher)
    except BasreliefError as found:
        error = found
        raise
    finally:
        processes.from_first((error, str(folder.absolute())))


def outcome_of(place: Path) -> dict[str, Any] | None:
    """Return what a trial's directory holds: its finished ``run.json``, its ``failed.json``, or None."""
    if (place / "failed.json").exists():
        return {"why": "unknown", **read_json(place / "failed.json")}
    if (place / "run.json").exists():
        run = read_json(place / "run.json")
        return run if run.get("status") == "finished" and (place / "best.safetensors").exists() else None
    return None
