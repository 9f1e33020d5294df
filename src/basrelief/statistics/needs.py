"""How many more seeds, or images, would decide an undecided pair, and how sure that number is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from basrelief.statistics.intervals import Floats, Interval, MeanSquares, errors_of_mean, half_width

MOST_SEEDS = 100  # beyond this many further seeds the advice is: seeds will not decide it
MOST_TIMES = 100  # beyond this many times the images there are: nor will images
DRAWS = 400


@dataclass(frozen=True)
class Need:
    """How many further seeds, or images, would decide a pair.

    Attributes
    ----------
    number
        If the difference and variances found are right: with that many the pair is about as likely decided as not.
        None: no number up to ``limit``.
    low, high
        Range of that number at ``level``, from the uncertainty of the difference and the variances. None: more than
        ``limit``.
    limit
        The largest number looked at.
    level
        Share of the draws within the range.
    """

    number: int | None
    low: int | None
    high: int | None
    limit: int
    level: float = 0.8


def more_seeds(interval: Interval, *, margin: float, comparisons: int = 1) -> int | None:
    """Return how many further seeds would decide an undecided pair, if the difference and variances found are right.

    None where the variances are unknown, or where no number up to ``MOST_SEEDS`` would: the images are too few, or the
    difference is too small. ``comparisons`` is the number of pairs that share the error rate.
    """
    if interval.low is None:
        return None
    found = _fewest(interval, _as_found(interval), "seeds", MOST_SEEDS, margin, comparisons)
    return _number(found[0], MOST_SEEDS)


def seeds_needed(
    interval: Interval, *, margin: float, comparisons: int = 1, level: float = 0.8, limit: int = MOST_SEEDS
) -> Need | None:
    """Return how many further seeds would decide an undecided pair, with the range of that number.

    The range is that of studies whose difference and variances are drawn from what this one leaves open: mean squares
    from scaled χ² distributions, the difference from a normal one round its value (the generalised pivots of K.-W. Tsui
    and S. Weerahandi, J. Amer. Statist. Assoc. 84, 1989). The draws are the same for the same interval.

    Parameters
    ----------
    interval
        What was found. None is returned where it has no bounds.
    margin
        Of practical equality, in the score's unit: being shown equal counts as decided.
    comparisons
        Number of pairs that share the error rate.
    level
        Share of the draws that the range holds.
    limit
        Largest number of further seeds looked at.
    """
    return _need(interval, "seeds", limit, margin, comparisons, level)


def images_needed(
    interval: Interval, *, margin: float, comparisons: int = 1, level: float = 0.8, limit: int | None = None
) -> Need | None:
    """Return how many further images (groups, where they are the units) would decide a pair; as ``seeds_needed``.

    ``limit`` is ``MOST_TIMES`` times the number there is, unless given.
    """
    return _need(interval, "units", MOST_TIMES * interval.units if limit is None else limit, margin, comparisons, level)


@dataclass(frozen=True)
class _Truth:
    """What further studies are assumed to follow: arrays of one length."""

    difference: Floats
    seed: Floats
    unit: Floats
    rest: Floats


def _need(interval: Interval, axis: str, limit: int, margin: float, comparisons: int, level: float) -> Need | None:
    if interval.low is None:
        return None
    found = _fewest(interval, _as_found(interval), axis, limit, margin, comparisons)
    drawn = np.sort(_fewest(interval, _drawn(interval), axis, limit, margin, comparisons))
    low, high = (drawn[round(share * (DRAWS - 1))] for share in ((1 - level) / 2, (1 + level) / 2))
    return Need(_number(found[0], limit), _number(low, limit), _number(high, limit), limit, level)


def _number(found: np.int64, limit: int) -> int | None:
    return int(found) if found <= limit else None


def _as_found(interval: Interval) -> _Truth:
    parts = (interval.difference, interval.seed_variance, interval.unit_variance, interval.rest_variance)
    return _Truth(*(np.array([part]) for part in parts))


def _drawn(interval: Interval) -> _Truth:
    """Return differences and variance components that this interval is compatible with."""
    rng = np.random.default_rng(0)
    n, m = interval.seeds, interval.units
    seed = (interval.rest_variance + m * interval.seed_variance) * _scale(rng, n - 1)
    unit = (interval.rest_variance + n * interval.unit_variance) * _scale(rng, m - 1)
    rest = interval.rest_variance * _scale(rng, (n - 1) * (m - 1))
    error = errors_of_mean(MeanSquares(seed, unit, rest, np.array(float(n)), np.array(float(m))))[0][0]
    shifted = interval.difference + error * rng.standard_normal(DRAWS)
    return _Truth(shifted, np.maximum(0, (seed - rest) / m), np.maximum(0, (unit - rest) / n), rest)


def _scale(rng: np.random.Generator, df: int) -> Floats:
    """Return what a mean square must be multiplied by to have a true value that it is compatible with."""
    scale: Floats = df / rng.chisquare(df, DRAWS)
    return scale


def _fewest(
    interval: Interval, truth: _Truth, axis: str, limit: int, margin: float, comparisons: int
) -> NDArray[np.int64]:
    """Return the fewest further seeds or units that decide, for each truth; limit + 1 where none up to limit does."""
    tail = (1 - interval.level) / 2 / comparisons
    size = np.abs(truth.difference)

    def decided(further: NDArray[np.int64]) -> NDArray[np.bool_]:
        more = further.astype(np.float64)
        n, m = interval.seeds + more * (axis == "seeds"), interval.units + more * (axis == "units")
        squares = MeanSquares(truth.rest + m * truth.seed, truth.rest + n * truth.unit, truth.rest, n, m)
        half = half_width(squares, tail)
        return np.asarray((size > half) | (size + half <= margin))

    return _first_true(decided, len(size), limit)


def _first_true(holds: Callable[[NDArray[np.int64]], NDArray[np.bool_]], count: int, limit: int) -> NDArray[np.int64]:
    """Return the smallest of 1 to ``limit`` at which ``holds``, which stays true once it is; else limit + 1."""
    low, high = np.zeros(count, dtype=np.int64), np.full(count, limit + 1, dtype=np.int64)
    while (high - low > 1).any():
        middle = (low + high) // 2
        true = holds(np.maximum(middle, 1)) & (middle > low)
        high = np.where(true, middle, high)
        low = np.where(true | (middle == low), low, middle)
    return high
