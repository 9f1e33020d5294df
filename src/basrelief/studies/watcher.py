"""What somebody who watches a study is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from basrelief.engine.watcher import Watcher
from basrelief.studies.plan import Trial


@dataclass(frozen=True)
class Running:
    """A trial that another process trains: epochs behind and planned, and what the last epoch said.

    ``score`` is that of the shared metric on validation; it and the speed are None before the first epoch's end.
    """

    trial: Trial
    epoch: int
    epochs: int
    score: float | None = None
    images_per_second: float | None = None


class StudyWatcher(Watcher, Protocol):
    """A watcher of training that is also told what was picked, how packing goes, and which trial is on."""

    def packing(self, done: int, total: int) -> None:
        """``done`` of ``total`` samples are packed."""

    def trial(self, number: int, total: int, trial: Trial, outcome: str) -> None:
        """Trial ``number`` of ``total`` is "training", "finished, …", "kept" (from before) or "failed".

        Of trials that train at once, ``number`` counts those that are over.
        """

    def running(self, trials: Sequence[Running], left: float | None) -> None:
        """These trials are being trained in other processes; all is over in some ``left`` seconds. About each second.

        An empty sequence ends it.
        """
