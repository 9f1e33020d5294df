"""Running the trainings of a study, or one alone: each once, whatever interrupts it."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basrelief.config import ExecutionSettings, RunSettings, StudySettings, WatchSettings
from basrelief.engine import processes
from basrelief.engine.trackers import check_trackers
from basrelief.engine.train import train_run
from basrelief.errors import BasreliefError, DataError, TrainingError
from basrelief.folders import only_writer
from basrelief.studies.clock import StudyClock
from basrelief.studies.execute import run_trials
from basrelief.studies.extend import extend_plan, is_study
from basrelief.studies.lr_search import Rates, search_rates
from basrelief.studies.plan import Trial
from basrelief.studies.prepare import list_data, prepare
from basrelief.studies.progress import Part
from basrelief.studies.race import block_length, look, running
from basrelief.studies.stored import Prepared, reopen
from basrelief.studies.trials import mark_failed
from basrelief.studies.watcher import StudyWatcher


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
    started = time.monotonic()
    check_trackers(settings.watch.tracker)
    source = list_data(settings)
    with only_writer(folder):
        clock = StudyClock(folder, started)
        prepared = prepare(folder, settings, source, watcher, started)
        return _run(folder, prepared, settings.execution, settings.watch, watcher, clock)


def continue_study(
    folder: Path,
    execution: ExecutionSettings,
    watch: WatchSettings,
    watcher: StudyWatcher,
    *,
    seeds: int = 0,
    losses: Sequence[str] = (),
) -> Prepared:
    """Go on with the study in ``folder`` as it was planned, after adding seeds and losses to its plan.

    Raises
    ------
    DataError
        When there is no study.
    UsageError
        When these cannot be added.
    """
    clock = StudyClock(folder, time.monotonic())
    check_trackers(watch.tracker)
    if not is_study(folder):
        raise DataError(f"{folder} holds no study. Expected the directory that basrelief study left.")
    with only_writer(folder):
        prepared = extend_plan(folder, seeds=seeds, losses=losses) if seeds or losses else reopen(folder)
        return _run(folder, prepared, execution, watch, watcher, clock)


def _run(
    folder: Path,
    prepared: Prepared,
    execution: ExecutionSettings,
    watch: WatchSettings,
    watcher: StudyWatcher,
    clock: StudyClock,
) -> Prepared:
    """Train block after block of seeds, and return the study with the seeds that it came to have."""
    rates = search_rates(folder, prepared, execution, watch, watcher)
    done, standing, part = 0, None, Part()
    while True:
        plan, seeds = clock.another_block(prepared.plan, done, execution, watcher)
        prepared = dataclasses.replace(prepared, plan=plan)
        if not seeds or (standing and standing["over"]):
            return prepared
        seeds = seeds[: block_length(plan, done)]
        names = running(plan, standing, done)
        trials = [trial for trial in _ready(folder, prepared, rates) if trial.seed in seeds and trial.name in names]
        done += len(seeds)
        part.after = (len(plan.seeds) - done) * plan.folds * len(names)
        run_trials(folder, prepared, trials, execution, watch, watcher, part)
        part.before += len(trials)
        if plan.race:
            standing = look(folder, prepared, watcher)


def _ready(folder: Path, prepared: Prepared, rates: Rates) -> list[Trial]:
    """Return the study's trials at their learning rates; one without any has failed."""
    trials = []
    for trial in prepared.plan.trials():
        try:
            trials.append(trial if "lr" in trial.changes else trial.at(lr=rates.of(trial.name, trial.fold)))
        except TrainingError as error:
            mark_failed(folder, trial, str(error))
            trials.append(trial)
    return trials


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
        trial = prepared.plan.trial(next(iter(prepared.plan.losses)))
        rates = search_rates(folder, prepared, ExecutionSettings(jobs=1), settings.watch, watcher)
        watcher.trial(1, 1, trial, "training")
        return train_run(
            folder,
            prepared.run_plan(trial.at(lr=rates.of(trial.name))),
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
