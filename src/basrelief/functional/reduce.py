"""Means that leave unknown pixels out, for losses and metrics alike."""

from __future__ import annotations

import torch
from torch import Tensor


def known(values: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return ``values`` with unknown places set to 0, and the places' weights (0 or 1), both of ``values``' shape.

    Selecting, not multiplying: an unknown place may hold NaN, and NaN times 0 is NaN, in the gradient as well.
    """
    if valid is None:
        return values, torch.ones_like(values)
    valid = valid.expand_as(values)
    return torch.where(valid, values, torch.zeros_like(values)), valid.to(values.dtype)


def mean_per_image(values: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return each image's mean over its known places, (N,), and whether it has any, bool (N,). No place known: 0."""
    if valid is None:
        return values.flatten(1).mean(1), torch.ones(values.shape[0], dtype=torch.bool, device=values.device)
    values, weights = known(values, valid)
    count = weights.flatten(1).sum(1)
    return values.flatten(1).sum(1) / count.clamp_min(1), count > 0


def mean_over_images(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of (N,) or (N, K) values over the counted ones; 0, still connected to them, where none is."""
    weights = counted.to(values.dtype)
    kept = torch.where(counted, values, torch.zeros_like(values))
    return kept.sum() / weights.sum().clamp_min(1)
