"""Scores of masks from sums over their pixels: fn(sums) -> (N, K)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from basrelief.functional.boundary import boundary_f as boundary_f_per_image
from basrelief.functional.overlap import Overlap
from basrelief.metrics.spec import Planes, nan_where_none, sum_pixels, sum_products

BINS = 15


class HardOverlap(Overlap):
    """The sums of the hard mask and the truth."""

    @classmethod
    def of(cls, planes: Planes) -> HardOverlap:
        """Return the sums, each (N, K)."""
        both, pred = sum_products(planes.hard, planes.target), sum_pixels(planes.hard)
        return cls(both, pred, planes.truth, planes.pixels)


class SoftOverlap(Overlap):
    """The sums of the probabilities and the truth."""

    @classmethod
    def of(cls, planes: Planes) -> SoftOverlap:
        """Return the sums, each (N, K)."""
        both, pred = sum_products(planes.pred, planes.target), sum_pixels(planes.pred)
        return cls(both, pred, planes.truth, planes.pixels)


class Calibration(NamedTuple):
    """``gaps`` (N, K, 15) = Σ (p − t) over the pixels whose probability lies in each bin, ``pixels`` (N, K) = Σ 1."""

    gaps: Tensor
    pixels: Tensor

    @classmethod
    def of(cls, planes: Planes) -> Calibration:
        """Return the sums; a probability on the border of two bins counts in the lower one."""
        # The NaN of a network that diverged must reach whoever looks for it, and is in no bin until then.
        bins = (planes.pred * BINS).ceil_().sub_(1).nan_to_num_(0).clamp_(0, BINS - 1).long().flatten(2)
        # An unknown pixel is 0 in both planes, and so adds nothing to the bin that it falls in.
        gaps = (planes.pred - planes.target).flatten(2).to(planes.pixels.dtype)
        total = gaps.new_zeros(*gaps.shape[:2], BINS)
        return cls(total.scatter_add_(2, bins, gaps), planes.pixels)


def iou(sums: Overlap) -> Tensor:
    """Return Σp·t / (Σp + Σt − Σp·t), (N, K); 1 where both are empty, NaN where no pixel is known."""
    return _ratio(sums.both, sums.pred + sums.target - sums.both, sums)


def dice(sums: Overlap) -> Tensor:
    """Return 2·Σp·t / (Σp + Σt), (N, K); 1 where both are empty, NaN where no pixel is known."""
    return _ratio(2 * sums.both, sums.pred + sums.target, sums)


def precision(sums: Overlap) -> Tensor:
    """Return Σp·t / Σp, (N, K); with nothing predicted 1 where nothing is true, else 0; NaN where no pixel is known."""
    return _ratio(sums.both, sums.pred, sums)


def recall(sums: Overlap) -> Tensor:
    """Return Σp·t / Σt, (N, K); with nothing true 1 where nothing is predicted, else 0; NaN where no pixel is known."""
    return _ratio(sums.both, sums.target, sums)


def accuracy(sums: Overlap) -> Tensor:
    """Return the share of pixels that are right, (N, K); NaN where no pixel is known."""
    right = sums.pixels - sums.pred - sums.target + 2 * sums.both
    return nan_where_none(right / sums.pixels.clamp_min(1), sums.pixels)


def calibration_error(sums: Calibration) -> Tensor:
    """Return Σ_bins |Σ (p − t)| / Σ 1, (N, K); NaN where no pixel is known.

    It is the mean over pixels of |mean p − mean t| of the bin that the pixel is in: the expected calibration error
    (Naeini, Cooper and Hauskrecht, AAAI 2015) with 15 equal bins (Guo, Pleiss, Sun and Weinberger, ICML 2017), of the
    probability of the mask, not of the likelier of mask and ground.
    """
    return nan_where_none(sums.gaps.abs().sum(-1) / sums.pixels.clamp_min(1), sums.pixels)


def boundary_f(planes: Planes) -> Tensor:
    """Return the F-score of the hard mask's boundary, (N, K); see ``basrelief.functional.boundary``."""
    return boundary_f_per_image(planes.hard, planes.target, planes.valid)


def _ratio(above: Tensor, below: Tensor, sums: Overlap) -> Tensor:
    """Return above / below; where that is 0 / 0, 1 if both masks are empty and 0 if one is not."""
    empty = (sums.pred + sums.target == 0).to(above.dtype)
    return nan_where_none(torch.where(below == 0, empty, above / below), sums.pixels)
