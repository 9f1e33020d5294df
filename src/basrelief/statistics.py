"""Paired intervals and decisions between losses, from one score for every image and every seed.

Two losses are trained on the same seeds and scored on the same images; d[seed, image] is their difference. Seeds and
images are both samples: a verdict should hold for another seed and for another image. So the interval is that of a
two-way random-effects model, d = μ + seed + image + rest, whose variance of the mean adds both sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

MOST_SEEDS = 100  # beyond this many further seeds the advice is: seeds will not decide it

Decision = Literal["a", "b", "equal", "undecided"]


@dataclass(frozen=True)
class Interval:
    """The mean of d[seed, image] with its interval and what it rests on.

    Attributes
    ----------
    difference
        The mean over seeds and images.
    low, high
        Bounds at ``level``; None where one seed or one image alone leaves the variance unknown.
    p_value
        Two-sided, against a mean of 0; None likewise.
    seeds, units
        Number of seeds, and of images or groups.
    seed_variance, unit_variance, rest_variance
        Variance components: between seeds, between images (or groups), and what is left in a cell.
    level
        Coverage aimed at.
    """

    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    seeds: int
    units: int
    seed_variance: float = 0.0
    unit_variance: float = 0.0
    rest_variance: float = 0.0
    level: float = 0.95


def paired_interval(a: ArrayLike, b: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95) -> Interval:
    """Return the interval for the mean of ``a - b`` over further seeds and further images.

    Parameters
    ----------
    a, b
        Scores (seeds, images), row i of both from one seed, column j of both from one image.
    groups
        One label for each image. Images with the same label (of one scene, say) are not independent; the groups then
        take the images' place, each weighted by its number of images.
    level
        Coverage, in (0, 1).

    Returns
    -------
    Interval
        From a two-way random-effects analysis of variance with Satterthwaite's degrees of freedom (F. E. Satterthwaite,
        "An approximate distribution of estimates of variance components", Biometrics Bulletin 2(6), 1946).

    Raises
    ------
    ValueError
        When the shapes differ or are not two-dimensional, a score is not finite, or the level is out of range.

    Notes
    -----
    With three seeds it is provisional: simulated coverage at 0.95 is about 0.93 where the seeds' noise rules. Skewed
    seed effects (collapsed runs) break it, as they break every method; count collapses apart, by ``failure_bound``.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"a has the shape {a.shape} and b {b.shape}; both must be (seeds, images) alike.")
    return mean_interval(a - b, groups=groups, level=level)


def mean_interval(scores: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95) -> Interval:
    """Return the interval for the mean of scores (seeds, images); as ``paired_interval``, of one array."""
    d = np.asarray(scores, dtype=np.float64)
    if d.ndim != 2 or 0 in d.shape:
        raise ValueError(f"Scores have the shape {d.shape}; it must be (seeds, images), with at least one of each.")
    if not np.isfinite(d).all():
        raise ValueError("Scores must be finite; leave out images that have no score.")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1.")
    mean = float(d.mean())
    if groups is not None:
        d = _by_group(d, np.asarray(groups))
    seeds, units = d.shape
    if seeds < 2 or units < 2:
        return Interval(mean, None, None, None, seeds, units, level=level)
    rows, columns = d.mean(axis=1), d.mean(axis=0)
    center = d.mean()
    ms_seed = units * float(np.square(rows - center).sum()) / (seeds - 1)
    ms_unit = seeds * float(np.square(columns - center).sum()) / (units - 1)
    rest = np.square(d - rows[:, None] - columns[None, :] + center)
    ms_rest = float(rest.sum()) / ((seeds - 1) * (units - 1))
    variance, df = _variance_of_mean(ms_seed, ms_unit, ms_rest, seeds, units)
    error = math.sqrt(variance)
    half = float(stats.t.ppf(0.5 + level / 2, df)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, df)) if error > 0 else float(mean == 0)
    return Interval(
        mean,
        mean - half,
        mean + half,
        p_value,
        seeds,
        units,
        max(0.0, (ms_seed - ms_rest) / units),
        max(0.0, (ms_unit - ms_rest) / seeds),
        ms_rest,
        level,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the order given (S. Holm, Scand. J. Statist. 6, 1979)."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(np.asarray(p_values), kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def decide(interval: Interval, p_adjusted: float | None, *, margin: float, higher_is_better: bool) -> Decision:
    """Return which of a and b is better, or "equal" within the margin, or "undecided".

    Equal: the whole interval lies within ±``margin``. Better: the adjusted p-value is below 1 − level.
    """
    if interval.low is None or interval.high is None or p_adjusted is None:
        return "undecided"
    if -margin <= interval.low and interval.high <= margin:
        return "equal"
    if p_adjusted >= 1 - interval.level:
        return "undecided"
    return "a" if (interval.difference > 0) == higher_is_better else "b"


def more_seeds(interval: Interval, *, margin: float, comparisons: int = 1) -> int | None:
    """Return how many further seeds would decide an undecided pair, if the difference and variances found are right.

    None where the variances are unknown, or where no number up to ``MOST_SEEDS`` would: the images are too few, or the
    difference is too small. ``comparisons`` is the number of pairs that share the error rate.
    """
    if interval.low is None:
        return None
    rest, units = interval.rest_variance, interval.units
    for seeds in range(interval.seeds + 1, interval.seeds + MOST_SEEDS + 1):
        ms_seed = rest + units * interval.seed_variance
        ms_unit = rest + seeds * interval.unit_variance
        variance, df = _variance_of_mean(ms_seed, ms_unit, rest, seeds, units)
        half = float(stats.t.isf((1 - interval.level) / 2 / comparisons, df)) * math.sqrt(variance)
        size = abs(interval.difference)
        if size > half or size + half <= margin:
            return seeds - interval.seeds
    return None


def failure_bound(seeds: int, failed: int, *, level: float = 0.95) -> float:
    """Return the largest share of failing runs that ``failed`` of ``seeds`` is still compatible with, one-sided.

    Clopper and Pearson, Biometrika 26, 1934; with no failure it is 1 − (1 − level)^(1/seeds).

    >>> round(failure_bound(3, 0), 2)
    0.63
    """
    return 1.0 if failed >= seeds else float(stats.beta.ppf(level, failed + 1, seeds - failed))


def _variance_of_mean(ms_seed: float, ms_unit: float, ms_rest: float, seeds: int, units: int) -> tuple[float, float]:
    """Return the variance of the grand mean from the mean squares, and Satterthwaite's degrees of freedom.

    Where the rest's mean square exceeds another, that component's estimate would be negative; the rest then counts only
    as much as the smaller of the others, so the variance never falls below either, and nothing jumps.
    """
    ms_rest = min(ms_rest, ms_seed, ms_unit)
    total = ms_seed + ms_unit - ms_rest
    squares = ms_seed**2 / (seeds - 1) + ms_unit**2 / (units - 1) + ms_rest**2 / ((seeds - 1) * (units - 1))
    return total / (seeds * units), total**2 / squares if squares > 0 else 1.0


def _by_group(d: NDArray[np.float64], groups: NDArray) -> NDArray[np.float64]:
    """Return (seeds, groups) values whose mean is that of ``d``, and whose spread is that of the groups' sums."""
    if groups.shape != d.shape[1:]:
        raise ValueError(
            f"groups has the shape {groups.shape}; it must have one label for each of {d.shape[1]} images."
        )
    labels, index = np.unique(groups, return_inverse=True)
    center = d.mean()
    sums = np.zeros((d.shape[0], len(labels)))
    np.add.at(sums.T, index, (d - center).T)
    values: NDArray[np.float64] = center + sums * (len(labels) / d.shape[1])
    return values
