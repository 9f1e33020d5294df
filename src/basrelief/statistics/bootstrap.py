"""The crossed bootstrap: seeds and units drawn together, for all losses at once, beside the verdict's interval."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from basrelief.statistics.intervals import Floats, difference, group_sums

DRAWS = 2000
CHUNK_BYTES = 64_000_000  # of unit weights at a time

Bounds = tuple[float, float]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Bootstrap:
    """Percentile intervals by numbers of losses; None where fewer than two seeds or two units are there.

    Attributes
    ----------
    losses
        For each loss, of its mean.
    pairs
        (i, j) with i < j -> of the mean of i − j, over the seeds and images that both have.
    """

    losses: tuple[Bounds | None, ...]
    pairs: Mapping[tuple[int, int], Bounds | None]


def bootstrap_interval(
    a: ArrayLike, b: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95, draws: int = DRAWS
) -> Bounds | None:
    """Return the crossed bootstrap's interval for the mean of ``a - b``; arguments as ``paired_interval``'s."""
    return bootstrap_intervals(difference(a, b)[None], groups=groups, level=level, draws=draws).losses[0]


def bootstrap_intervals(
    scores: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Bootstrap:
    """Return the intervals of every loss and of every pair, from the same draws.

    A draw takes as many seeds and as many units as there are, with replacement, the same for all losses, and the mean
    of their cells (A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007). With three seeds
    it is too short where the seeds' noise rules, which is why the verdict does not stand on it.

    Parameters
    ----------
    scores
        (losses, seeds, images), row i of all from one seed, column j of all from one image. A row that is all NaN
        is a seed that this loss has not; an image that any other row of a loss has no score for is left out for it.
    groups
        One label for each image; groups are then drawn as a whole.
    pairs
        Numbers (i, j) of the losses to compare, i < j; all where not given.
    level
        Share of the draws within the bounds.
    draws
        Their number.
    seed
        Of the draws: the same arguments give the same bounds.
    """
    y = np.asarray(scores, dtype=np.float64)
    if y.ndim != 3 or 0 in y.shape:
        raise ValueError(f"Scores have the shape {y.shape}; it must be (losses, seeds, images), one or more of each.")
    labels = None if groups is None else np.asarray(groups)
    if labels is not None and labels.shape != y.shape[2:]:
        raise ValueError(
            f"groups has the shape {labels.shape}; it must have one label for each of {y.shape[2]} images."
        )
    finite = np.isfinite(y)
    there: Flags = np.any(finite, axis=2)
    known: Flags = np.all(finite | ~there[:, :, None], axis=1)
    count = len(y)
    alone = [(i, i) for i in range(count)]
    by_images: dict[bytes, list[tuple[int, int]]] = {}
    for i, j in [*alone, *(itertools.combinations(range(count), 2) if pairs is None else pairs)]:
        by_images.setdefault((known[i] & known[j]).tobytes(), []).append((i, j))
    bounds: dict[tuple[int, int], Bounds | None] = {}
    for members in by_images.values():  # most often one: the same images are known everywhere
        losses = sorted({loss for pair in members for loss in pair})
        images = known[members[0][0]] & known[members[0][1]]
        part = y[losses] if images.all() else y[losses][:, :, images]
        means, seeds = _draw(np.where(there[losses][:, :, None], part, 0), labels, images, draws, seed)
        for i, j in members:
            both = there[i] & there[j]
            one, two = means[:, losses.index(i)], means[:, losses.index(j)]
            bounds[i, j] = _bounds(one if i == j else one - two, seeds * both, int(both.sum()), level)
    differences = {pair: found for pair, found in bounds.items() if pair[0] != pair[1]}
    return Bootstrap(tuple(bounds[i, i] for i in range(count)), differences)


def _draw(y: Floats, groups: NDArray | None, images: Flags, draws: int, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return each draw's means over its units (draws, losses, seeds), and how often it takes a seed (draws, seeds)."""
    rng = np.random.default_rng(seed)
    losses, count, size = y.shape
    flat = y.reshape(losses * count, size)
    weights = np.ones(size)
    if groups is not None and size:
        flat, weights = group_sums(flat, groups[images])
    units = len(weights)
    seeds = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    means = np.full((draws, losses * count), np.nan)
    if units > 1:
        step = max(1, CHUNK_BYTES // (8 * units))
        for start in range(0, draws, step):
            rows = range(start, min(start + step, draws))
            taken = np.stack([np.bincount(rng.integers(0, units, units), minlength=units) for _ in rows])
            drawn = taken.astype(np.float64)
            means[start : rows.stop] = (drawn @ flat.T) / (drawn @ weights)[:, None]
    return means.reshape(draws, losses, count), seeds


def _bounds(means: Floats, seeds: NDArray[np.int64], count: int, level: float) -> Bounds | None:
    taken = seeds.sum(axis=1)
    drawn = taken > 0  # a draw may miss every seed that both have
    if count < 2 or np.isnan(means).any():
        return None
    values = (means * seeds).sum(axis=1)[drawn] / taken[drawn]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
