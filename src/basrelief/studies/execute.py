"""Running many trials: each once, whatever interrupts it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from basrelief.config import ExecutionSettings, WatchSettings
from basrelief.engine.checkpoint import remove_checkpoints
from basrelief.studies.plan import Trial
from basrelief.studies.prepare import Prepared, StudyWatcher
from basrelief.studies.trials import outcome_of, train_trial


def run_trials(
    folder: Path,
    prepared: Prepared,
    trials: Sequence[Trial],
    execution: ExecutionSettings,
    watch: WatchSettings,
    watcher: StudyWatcher,
) -> None:
    """Train every one of these trials of the study in ``folder`` that is not finished yet."""
    waiting = sum(outcome_of(folder / trial.folder) is None for trial in trials)
    first = True
    for number, trial in enumerate(trials, 1):
        place = folder / trial.folder
        if outcome_of(place):
            watcher.trial(number, len(trials), trial, "kept")
        else:
            watcher.trial(number, len(trials), trial, "training")
            started = time.perf_counter()
            outcome = train_trial(folder, prepared, trial, watch, watcher)
            watcher.trial(number, len(trials), trial, outcome)
            waiting -= 1
            if first and waiting:
                minutes = waiting * (time.perf_counter() - started) / 60
                others = f"{waiting} trainings take" if waiting > 1 else "training takes"
                watcher.say(f"At that pace the other {others} some {minutes:.1f} minutes.")
            first = False
        remove_checkpoints(place)  # needed for resuming alone, and thrice the weights' size
