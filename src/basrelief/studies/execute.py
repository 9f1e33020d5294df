"""Running many trials: each once, whatever interrupts it, wherever it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from basrelief.config import ExecutionSettings, WatchSettings
from basrelief.engine.checkpoint import remove_checkpoints
from basrelief.studies.cards import cards_of
from basrelief.studies.plan import Trial
from basrelief.studies.progress import Account, Part
from basrelief.studies.shared import Shared, open_shared
from basrelief.studies.stored import Prepared
from basrelief.studies.trials import outcome_of, train_trial
from basrelief.studies.watcher import StudyWatcher


def run_trials(
    folder: Path,
    prepared: Prepared,
    trials: Sequence[Trial],
    execution: ExecutionSettings,
    watch: WatchSettings,
    watcher: StudyWatcher,
    part: Part | None = None,
) -> None:
    """Train every one of these trials of the study in ``folder`` that is not finished yet.

    Where they run changes no bit of what they leave: the plan says how each computes. Trials are begun in their order.
    ``part`` says where they stand among others, so that they are counted through.

    Raises
    ------
    OutOfMemoryError
        When memory runs out, however few train at once; no trial counts as failed for it.
    TrainingError
        When a process that trained alone was killed.
    MissingExtraError
        For Ray, where it is not installed.
    """
    part = part or Part()
    shared = open_shared(folder)
    if shared is not None:
        shared.push_study(folder)
        for trial in trials:
            shared.sync_trial(folder, trial.folder)
    waiting = [trial for trial in trials if outcome_of(folder / trial.folder) is None]
    for trial in trials:
        if trial not in waiting:
            remove_checkpoints(folder / trial.folder)  # of one that was killed just after its training's end
    jobs = prepared.plan.jobs if execution.jobs == "auto" else execution.jobs
    if execution.executor == "ray" and waiting:
        from basrelief.studies.on_ray import train_on_ray

        train_on_ray(execution, watch, Account(folder, prepared, trials, watcher, shared, part))
    elif min(jobs, len(waiting)) > 1:
        from basrelief.studies.local import train_in_processes

        cards = cards_of(prepared.plan.train.device)
        train_in_processes(jobs, cards, watch, Account(folder, prepared, trials, watcher, shared, part))
    else:
        _train_here(folder, prepared, trials, watch, watcher, shared, part)


def _train_here(
    folder: Path,
    prepared: Prepared,
    trials: Sequence[Trial],
    watch: WatchSettings,
    watcher: StudyWatcher,
    shared: Shared | None,
    part: Part,
) -> None:
    """Train one after another in this process, which knows of every step."""
    waiting = sum(outcome_of(folder / trial.folder) is None for trial in trials)
    total = part.before + len(trials) + part.after
    for number, trial in enumerate(trials, part.before + 1):
        if outcome_of(folder / trial.folder):
            watcher.trial(number, total, trial, "kept")
            continue
        watcher.trial(number, total, trial, "training")
        started = time.perf_counter()
        outcome = train_trial(folder, prepared, trial, watch, watcher)
        if shared is not None:
            shared.sync_trial(folder, trial.folder)
        watcher.trial(number, total, trial, outcome)
        waiting -= 1
        part.say_pace(watcher, waiting, (waiting + part.after) * (time.perf_counter() - started))
