"""Small trainings, stopped where a test wants, for the tests of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import torch

from basrelief.config import TrainSettings
from basrelief.engine.checkpoint import load_checkpoint
from basrelief.engine.machine import choose_machine
from basrelief.engine.run_plan import RunPlan
from basrelief.engine.watcher import Silent


def plan(
    loss: str = "bce(mask)", *, seed: int = 0, machine: tuple[str, str] = ("cpu", "fp32"), **settings: Any
) -> RunPlan:
    known = {
        "network": "masknet(dropout=0.1)",
        "resolution": (32, 32),
        "epochs": 2,
        "batch_size": 6,
        "metric": "mask/iou",
        "lr": 1e-3,
    }
    return RunPlan(TrainSettings(**{**known, **settings}), loss, seed, ("mask",), True, choose_machine(*machine))


class StopError(Exception):
    pass


class StopAfter(Silent):
    """Ends the process's work in the middle, as a signal would: after some epochs, or some steps into one."""

    def __init__(self, epochs: int, steps: int = 0) -> None:
        self.epochs, self.steps = epochs, steps

    def epoch(self, record: Mapping[str, Any]) -> None:
        self.epochs -= 1
        if self.epochs == 0 and not self.steps:
            raise StopError

    def step(self, done: int, loss: float) -> None:
        if self.epochs <= 0:
            self.steps -= 1
            if self.steps == 0:
                raise StopError


def weights(folder: Path, which: str = "best") -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / f"{which}.safetensors").model


def history(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "history.csv").drop("seconds", "images_per_second")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
