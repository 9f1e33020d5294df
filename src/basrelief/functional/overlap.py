"""Overlap of two masks, soft or hard: the sums that Dice, IoU and their losses divide."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Soft = Literal["product", "minimum"]
"""What two soft values share: p·t, or the smaller of p and t. For binary targets both are the same."""


class Overlap(NamedTuple):
    """Sums over known pixels, each (N, K): ``both`` = Σ p·t, ``pred`` = Σ p, ``target`` = Σ t, ``pixels`` = Σ 1."""

    both: Tensor
    pred: Tensor
    target: Tensor
    pixels: Tensor


def overlap(
    pred: Tensor, target: Tensor, valid: Tensor | None = None, *, soft: Soft = "product", squared: bool = False
) -> Overlap:
    """Return the sums for each image and class.

    Parameters
    ----------
    pred, target
        (N, K, H, W) with values in [0, 1].
    valid
        Bool (N, 1, H, W) or (N, K, H, W); None: every pixel is known. Unknown places may hold anything, NaN as well.
    soft
        ``both`` as Σ p·t or as Σ min(p, t). With the minimum a soft target is matched best by itself.
    squared
        ``pred`` and ``target`` as Σ p² and Σ t².
    """
    pixels = pred.new_full(pred.shape[:2], pred.shape[2] * pred.shape[3])
    if valid is not None:
        unknown = ~valid.expand_as(target)
        pred, target = pred.masked_fill(unknown, 0), target.masked_fill(unknown, 0)
        pixels = pixels - unknown.sum((-2, -1))
    both = torch.minimum(pred, target) if soft == "minimum" else pred * target
    if squared:
        pred, target = pred.square(), target.square()
    return Overlap(both.sum((-2, -1)), pred.sum((-2, -1)), target.sum((-2, -1)), pixels)
