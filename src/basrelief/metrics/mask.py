"""Scores of masks, one for each image: hard masks against the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from basrelief.functional.overlap import Overlap


def iou(sums: Overlap) -> Tensor:
    """Return Σp·t / (Σp + Σt − Σp·t), the shape of the sums; 1 where both are empty, NaN where no pixel is known."""
    return _ratio(sums.both, sums.pred + sums.target - sums.both, sums.pixels)


def dice(sums: Overlap) -> Tensor:
    """Return 2·Σp·t / (Σp + Σt), the shape of the sums; 1 where both are empty, NaN where no pixel is known."""
    return _ratio(2 * sums.both, sums.pred + sums.target, sums.pixels)


def _ratio(above: Tensor, below: Tensor, pixels: Tensor) -> Tensor:
    score = torch.where(below > 0, above / below.clamp_min(1), torch.ones_like(above))
    return torch.where(pixels > 0, score, torch.full_like(score, float("nan")))
