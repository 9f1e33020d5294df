"""Everything that changes while a network is trained: saved together, and restored to the bit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from basrelief.engine.checkpoint import (
    BEFORE,
    BEST,
    LAST,
    newest_checkpoint,
    restore_model,
    restore_optimizer,
    save_checkpoint,
)
from basrelief.engine.records import RunningShares, RunningTerms
from basrelief.errors import DataError
from basrelief.losses.loss import Loss


@dataclass
class TrainingState:
    """A training between two steps.

    Attributes
    ----------
    model
        The bare network.
    average
        The running average of its weights, or None.
    loss
        With the weights that it keeps.
    optimizer, scaler
        The scaler is that of fp16's gradients, or None.
    terms, shares
        The account of the epoch at hand.
    epoch, batch
        Epochs behind, and batches behind of the epoch at hand.
    step
        Steps behind since the beginning.
    seconds
        Spent on the epoch at hand.
    history
        A record for each epoch behind.
    best
        {"epoch", "value"} of the checkpoint kept so far.
    """

    model: nn.Module
    average: nn.Module | None
    loss: Loss
    optimizer: torch.optim.Optimizer
    scaler: Any
    terms: RunningTerms
    shares: RunningShares = field(default_factory=RunningShares)
    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=lambda: {"epoch": 0, "value": None})

    @property
    def judged(self) -> nn.Module:
        """The network that is scored and kept: the average where there is one."""
        return self.model if self.average is None else self.average

    def save(self, folder: Path, trackers: dict[str, Any]) -> None:
        """Write ``last.safetensors``, keeping the one before; ``trackers`` is what these want back."""
        facts = {
            **{name: getattr(self, name) for name in _NUMBERS},
            "terms": self.terms.state(),
            "shares": self.shares.state(),
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "trackers": trackers,
        }
        path = folder / LAST
        save_checkpoint(path, self.model, facts, self.optimizer, self.loss, self.average, keep=folder / BEFORE)

    def save_best(self, folder: Path, scores: dict[str, Any]) -> None:
        """Write ``best.safetensors``: the weights that are judged, and what they scored on val."""
        save_checkpoint(folder / BEST, self.judged, {"epoch": self.epoch, "val": scores})

    def restore(self, folder: Path) -> dict[str, Any] | None:
        """Go on from the newest whole checkpoint in ``folder``; return what the trackers want back, None without one.

        Where none is whole, or the best one so far is gone, the run starts again, and ends in the same weights.

        Raises
        ------
        DataError
            When it is the checkpoint of another network, or none that a run goes on from.
        """
        found = newest_checkpoint(folder)
        if found is None:
            return None
        path = folder / LAST
        if not {*_NUMBERS, "terms", "shares", "scaler", "trackers"} <= found.facts.keys():
            raise DataError(
                f"{path} is no checkpoint that a run goes on from, as {BEST} is none. Remove it, and the run starts "
                "again."
            )
        if found.facts["best"]["epoch"] and not (folder / BEST).exists():
            return None
        restore_model(self.model, found.model, path)
        restore_model(self.loss, found.loss, path)
        if self.average is not None:
            restore_model(self.average, found.average, path)
        restore_optimizer(self.optimizer, found.optimizer)
        if self.scaler is not None and found.facts["scaler"] is not None:
            self.scaler.load_state_dict(found.facts["scaler"])
        for name in _NUMBERS:
            setattr(self, name, found.facts[name])
        self.terms.restore(found.facts["terms"])
        self.shares.restore(found.facts["shares"])
        return dict(found.facts["trackers"])


_NUMBERS = ("epoch", "batch", "step", "seconds", "history", "best")
