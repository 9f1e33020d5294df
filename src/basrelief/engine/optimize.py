"""Optimizers and the course of their learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from basrelief.config import TrainSettings
from basrelief.losses.loss import Loss


def build_optimizer(model: nn.Module, loss: Loss, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return the optimizer of the network's weights, and of the weights that the loss learns itself."""
    groups: list[dict[str, Any]] = [{"params": [p for p in model.parameters() if p.requires_grad]}]
    learned = list(loss.parameters())
    if learned:
        groups.append({"params": learned, "weight_decay": 0.0})  # decay would pull learned weights back to 1
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups, settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True
        )
    return torch.optim.AdamW(groups, settings.lr, weight_decay=settings.weight_decay, fused=True)


def learning_rate(schedule: str, lr: float, step: int, steps: int) -> float:
    """Return the rate of a step (from 0) of ``steps``.

    "step" divides by ten after each third. "one-cycle" rises from lr/25 over the first 30 % and falls to lr/10,000,
    both along a cosine (L. N. Smith and N. Topin, "Super-convergence", 2019).
    """
    if schedule == "step":
        return float(lr * 0.1 ** (3 * step // steps))
    if schedule == "one-cycle":
        rise = max(1, round(0.3 * steps))
        low, share = (lr / 25, step / rise) if step < rise else (lr / 10_000, 1 - (step - rise) / max(1, steps - rise))
        return low + (lr - low) * (1 - math.cos(math.pi * share)) / 2
    return lr
