"""Overlap of two masks, soft or hard: the sums that Dice, IoU and their losses divide."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from basrelief.functional.reduce import known


class Overlap(NamedTuple):
    """Sums over known pixels, each (N, K): ``both`` = Σ p·t, ``pred`` = Σ p, ``target`` = Σ t, ``pixels`` = Σ 1."""

    both: Tensor
    pred: Tensor
    target: Tensor
    pixels: Tensor


def overlap(pred: Tensor, target: Tensor, valid: Tensor | None = None) -> Overlap:
    """Return the sums for each image and class.

    Parameters
    ----------
    pred, target
        (N, K, H, W) with values in [0, 1].
    valid
        Bool (N, 1, H, W) or (N, K, H, W); None: every pixel is known.
    """
    pred, weights = known(pred, valid)
    target, _ = known(target, valid)
    pixels = (-2, -1)
    return Overlap((pred * target).sum(pixels), pred.sum(pixels), target.sum(pixels), weights.sum(pixels))
