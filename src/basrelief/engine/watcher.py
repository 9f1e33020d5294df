"""Who is told how a training goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Watcher(Protocol):
    """What wants to know how a training goes: a progress bar, or nothing."""

    def say(self, text: str) -> None:
        """Something a user wants to know, a sentence."""

    def begin(self, title: str, metric: str, steps: int, done: int) -> None:
        """Training starts, with ``done`` of ``steps`` behind it; ``metric`` chooses its checkpoint."""

    def step(self, done: int, loss: float) -> None:
        """``done`` steps are behind; ``loss`` is that of the last one. Called at every step, or every few on a GPU."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """An epoch ended; ``record`` is its line of the history."""


class Silent:
    """A watcher that does nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""

    def begin(self, title: str, metric: str, steps: int, done: int) -> None:
        """Do nothing."""

    def step(self, done: int, loss: float) -> None:
        """Do nothing."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Do nothing."""
