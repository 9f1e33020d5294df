"""Errors of depth, one for each image, in the data's unit."""

from __future__ import annotations

import torch
from torch import Tensor

from basrelief.functional.reduce import known


def error_sums(pred: Tensor, target: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return Σ|p − t|, Σ(p − t)² and the number of known pixels of each image, each (N,), summed in float64."""
    difference, weights = known(pred - target, valid)
    difference = difference.flatten(1).double()
    return difference.abs().sum(1), difference.square().sum(1), weights.flatten(1).sum(1).double()


def mean_or_nan(total: Tensor, count: Tensor) -> Tensor:
    """Return total / count, NaN where nothing was counted."""
    return torch.where(count > 0, total / count.clamp_min(1), torch.full_like(total, float("nan")))
