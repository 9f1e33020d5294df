"""Everything one training depends on, and the network it starts with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from basrelief.config import TrainSettings
from basrelief.data.store import Store
from basrelief.engine.machine import Machine
from basrelief.models import create_model
from basrelief.models.network import Network
from basrelief.seeding import stream_seed


@dataclass(frozen=True)
class RunPlan:
    """Everything that one training depends on; two runs with equal plans on one CPU give equal bits.

    Attributes
    ----------
    settings
        With nothing left open: network, resolution, epochs and metric are filled in.
    loss
        A loss expression.
    seed
        For initial weights, batch order and dropout.
    heads
        The targets the network gives; a loss may train only some of them.
    background
        Whether the network takes backgrounds.
    machine
        Where it computes.
    split
        The split's fingerprint; the rows are handed over apart.
    """

    settings: TrainSettings
    loss: str
    seed: int
    heads: tuple[str, ...]
    background: bool
    machine: Machine
    split: str = ""

    def document(self, store: Store) -> dict[str, Any]:
        """Return the plan as JSON, with the data it is for."""
        facts = store.facts
        return {
            "settings": self.settings.model_dump(mode="json", exclude={"seed"}),
            "loss": self.loss,
            "seed": self.seed,
            "heads": list(self.heads),
            "background": self.background,
            "machine": dataclasses.asdict(self.machine),
            "split": self.split,
            "data": {"location": facts.location, "format": facts.format, "fingerprint": facts.fingerprint},
        }


def build_model(plan: RunPlan, store: Store) -> Network:
    """Return the network with the seed's initial weights, whatever the state of torch's own generator."""
    assert plan.settings.network is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(plan.seed, "weights"))
        model = create_model(
            plan.settings.network,
            mask_classes=len(store.facts.classes) if "mask" in plan.heads else 0,
            depth="depth" in plan.heads,
            background=plan.background,
        )
    if plan.settings.mask_values:
        model.regress_labels(plan.settings.mask_values)
    return model
