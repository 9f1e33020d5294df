"""How far trials are that train elsewhere, told from their directories alone: the same wherever they run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from basrelief.studies.plan import Trial
from basrelief.studies.shared import Shared
from basrelief.studies.stored import Prepared
from basrelief.studies.trials import describe_outcome, outcome_of
from basrelief.studies.watcher import Running, StudyWatcher


@dataclass
class Part:
    """Where trials stand in a study that hands them over in parts: how many came before, and may follow.

    ``pace_said`` is whether it has been said how long the rest takes, which is said once.
    """

    before: int = 0
    after: int = 0
    pace_said: bool = False

    def say_pace(self, watcher: StudyWatcher, left: int, seconds: float) -> None:
        """Say how long the ``left`` trials of this part and all that follow take, ``seconds`` in all."""
        left += self.after
        if left and not self.pace_said:
            self.pace_said = True
            others = f"{left} trainings take" if left > 1 else "training takes"
            watcher.say(f"At that pace the other {others} some {seconds / 60:.1f} minutes.")


class Account:
    """Keeps account of trials that train in other processes, and tells the watcher.

    Parameters
    ----------
    folder, prepared
        The study.
    trials
        Those of its trials that are wanted.
    watcher
        Who is told.
    shared
        The URL at which the study is kept, if it is.
    part
        Which part of the study's trials these are; all, if not given.
    """

    def __init__(
        self,
        folder: Path,
        prepared: Prepared,
        trials: Sequence[Trial],
        watcher: StudyWatcher,
        shared: Shared | None = None,
        part: Part | None = None,
    ) -> None:
        self.folder, self.prepared, self.trials, self.watcher = folder, prepared, trials, watcher
        self.shared = shared
        self.part = part or Part()
        self._ended = 0
        self._seen: dict[str, tuple[int, Running]] = {}
        self._left: dict[str, Trial] = {}
        for trial in trials:
            if outcome_of(folder / trial.folder) is None:
                self._left[trial.folder] = trial
            else:
                self._say(trial, "kept")
        self._begun = time.perf_counter()
        self._epochs_before = sum(self.running(trial).epoch for trial in self._left.values())
        self._epochs_ended = 0

    def left(self) -> list[Trial]:
        """Return the trials that are not over, in their order."""
        return list(self._left.values())

    def start(self, trial: Trial) -> None:
        """Take note that a trial is given to another process."""
        self._tell(trial, "training")

    def end(self, trial: Trial) -> bool:
        """Take note that a trial is over, if its directory says so, and tell whether it does."""
        if self.shared is not None:
            self.shared.sync_trial(self.folder, trial.folder)
        outcome = outcome_of(self.folder / trial.folder)
        if outcome is None:
            return False
        if self._left.pop(trial.folder, None) is not None:
            self._epochs_ended += self.running(trial).epoch
            self._say(trial, describe_outcome(outcome))
            seconds = self.seconds_left()
            if seconds is not None:
                self.part.say_pace(self.watcher, len(self._left), seconds)
        return True

    def show(self, trials: Iterable[Trial]) -> None:
        """Tell the watcher how far these are, which are being trained, and how long all will take."""
        self.watcher.running([self.running(trial) for trial in trials], self.seconds_left())

    def begun(self) -> list[Trial]:
        """Return the trials that are not over and have a record already."""
        return [trial for trial in self.left() if (self.folder / trial.folder / "run.json").exists()]

    def running(self, trial: Trial) -> Running:
        """Return how far a trial is, by its record of epochs."""
        settings = self.prepared.plan.train
        epochs = int(trial.changes.get("epochs", settings.epochs))
        path = self.folder / trial.folder / "history.parquet"
        try:
            written = path.stat().st_mtime_ns
            if trial.folder not in self._seen or self._seen[trial.folder][0] != written:
                last = pl.read_parquet(path).tail(1).to_dicts()[0]
                score = last.get(f"val/{settings.metric}")
                found = Running(trial, last["epoch"], epochs, score, last["images_per_second"])
                self._seen[trial.folder] = written, found
        except (OSError, IndexError, KeyError, pl.exceptions.PolarsError):  # before the first epoch
            return Running(trial, 0, epochs)
        return self._seen[trial.folder][1]

    def seconds_left(self) -> float | None:
        """Return how long the rest takes at the pace so far, which counts epochs; None while there is none."""
        rows = [self.running(trial) for trial in self._left.values()]
        left = sum(max(0, row.epochs - row.epoch) for row in rows)
        left += self.part.after * int(self.prepared.plan.train.epochs or 0)
        done = self._epochs_ended + sum(row.epoch for row in rows) - self._epochs_before
        if not left or done <= 0:
            return None
        return left * (time.perf_counter() - self._begun) / done

    def _say(self, trial: Trial, outcome: str) -> None:
        self._ended += 1
        self._tell(trial, outcome)

    def _tell(self, trial: Trial, outcome: str) -> None:
        before, after = self.part.before, self.part.after
        self.watcher.trial(before + self._ended, before + len(self.trials) + after, trial, outcome)
