"""Errors of depth from sums over known pixels: fn(sums) -> (N, K).

Ratios and logarithms are of depths above a floor of one millionth of the depth maximum. A prediction below it counts as
the floor; a pixel whose true depth is not above it has no ratio and is left out of these metrics.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from basrelief.metrics.spec import Planes, nan_where_none, sum_pixels, sum_products

FLOOR = 1e-6  # of the depth maximum
DELTA = 1.25


class Errors(NamedTuple):
    """Σ |p − t| and Σ (p − t)² in the data's unit, and Σ 1, each (N, K)."""

    absolute: Tensor
    squared: Tensor
    pixels: Tensor

    @classmethod
    def of(cls, planes: Planes) -> Errors:
        """Return the sums over known pixels."""
        error = planes.pred - planes.target
        absolute = planes.unit * sum_pixels(error.abs())
        return cls(absolute, planes.unit**2 * sum_products(error, error), planes.pixels)


class Ratios(NamedTuple):
    """Sums over the known pixels whose truth is above the floor, each (N, K).

    ``relative`` = Σ |p − t| / t, ``squared_relative`` = Σ (p − t)² / t in the data's unit; ``log``, ``log_absolute``
    and ``log_squared`` = Σ g, Σ |g| and Σ g² with g = ln(p / t); ``within1`` to ``within3`` = how many have
    max(p / t, t / p) < 1.25^k; ``pixels`` = Σ 1.
    """

    relative: Tensor
    squared_relative: Tensor
    log: Tensor
    log_absolute: Tensor
    log_squared: Tensor
    within1: Tensor
    within2: Tensor
    within3: Tensor
    pixels: Tensor

    @classmethod
    def of(cls, planes: Planes) -> Ratios:
        """Return the sums."""
        usable = planes.target > FLOOR  # unknown pixels are 0
        # A pixel left out is 1 in both planes: no error, and within every factor until it is counted off again.
        pred = torch.where(usable, planes.pred.clamp_min(FLOOR), 1)
        target = torch.where(usable, planes.target, 1)
        height, width = target.shape[-2:]
        pixels = sum_pixels(usable.to(target.dtype))
        left_out = height * width - pixels
        error = (pred - target).abs_()
        ratio = pred / target
        factor = torch.maximum(ratio, target / pred)
        log = ratio.log()
        relative = error / target
        within = [sum_pixels((factor < DELTA**k).to(target.dtype)) - left_out for k in (1, 2, 3)]
        return cls(
            relative=sum_pixels(relative),
            squared_relative=planes.unit * sum_products(error, relative),
            log=sum_pixels(log),
            log_absolute=sum_pixels(log.abs()),
            log_squared=sum_products(log, log),
            within1=within[0],
            within2=within[1],
            within3=within[2],
            pixels=pixels,
        )


def mae(sums: Errors) -> Tensor:
    """Return mean |p − t|, (N, K), in the data's unit; NaN where no pixel is known."""
    return _mean(sums.absolute, sums.pixels)


def rmse(sums: Errors) -> Tensor:
    """Return sqrt(mean (p − t)²), (N, K), in the data's unit; NaN where no pixel is known."""
    return _mean(sums.squared, sums.pixels).sqrt()


def abs_rel(sums: Ratios) -> Tensor:
    """Return mean |p − t| / t, (N, K); NaN where no pixel counts."""
    return _mean(sums.relative, sums.pixels)


def sq_rel(sums: Ratios) -> Tensor:
    """Return mean (p − t)² / t, (N, K), in the data's unit; NaN where no pixel counts."""
    return _mean(sums.squared_relative, sums.pixels)


def log10(sums: Ratios) -> Tensor:
    """Return mean |log10 p − log10 t|, (N, K); NaN where no pixel counts."""
    return _mean(sums.log_absolute, sums.pixels) / math.log(10)


def rmse_log(sums: Ratios) -> Tensor:
    """Return sqrt(mean (ln p − ln t)²), (N, K); NaN where no pixel counts."""
    return _mean(sums.log_squared, sums.pixels).sqrt()


def silog(sums: Ratios) -> Tensor:
    """Return sqrt(mean g² − (mean g)²) with g = ln p − ln t, (N, K); NaN where no pixel counts.

    Eigen, Puhrsch and Fergus, NeurIPS 2014, eq. 1, under a root: lambda is 1, which alone leaves a factor between
    prediction and truth without effect, and it is not multiplied by 100.
    """
    variance = _mean(sums.log_squared, sums.pixels) - _mean(sums.log, sums.pixels).square()
    return variance.clamp_min(0).sqrt()  # rounding can turn a variance of 0 negative


def delta1(sums: Ratios) -> Tensor:
    """Return the share of pixels with max(p / t, t / p) < 1.25, (N, K); NaN where no pixel counts."""
    return _mean(sums.within1, sums.pixels)


def delta2(sums: Ratios) -> Tensor:
    """Return the share of pixels with max(p / t, t / p) < 1.25², (N, K); NaN where no pixel counts."""
    return _mean(sums.within2, sums.pixels)


def delta3(sums: Ratios) -> Tensor:
    """Return the share of pixels with max(p / t, t / p) < 1.25³, (N, K); NaN where no pixel counts."""
    return _mean(sums.within3, sums.pixels)


def _mean(total: Tensor, count: Tensor) -> Tensor:
    return nan_where_none(total / count.clamp_min(1), count)
