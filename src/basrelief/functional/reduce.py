"""Means that leave unknown pixels out, for losses and metrics alike."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from basrelief.errors import unknown_name

Over = Literal["image", "batch"]
"""What a loss averages or pools over: each image first and then the images, or all pixels of the batch together."""


def check_over(over: str) -> None:
    """Raise UsageError unless ``over`` is "image" or "batch"."""
    if over not in ("image", "batch"):
        raise unknown_name("value of over", over, ("image", "batch"))


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


def mean_of_pixels(values: Tensor, valid: Tensor | None, over: Over = "image") -> Tensor:
    """Return the mean of pixel values (N, C, H, W): over each image's known pixels and then over the images that have
    any, or (``over="batch"``) over all known pixels together. 0, still connected, where nothing is known.
    """
    check_over(over)
    if valid is None:
        return values.mean()  # images are of one size, so both means are the same
    if over == "image":
        return mean_over_images(*mean_per_image(values, valid))
    values, weights = known(values, valid)
    return values.sum() / weights.sum().clamp_min(1)
