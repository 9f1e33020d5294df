"""Histograms that are filled as values come, of a range that nobody knows beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 512  # at most so many are kept
SHOWN = 40  # at most so many are given
_COUNTED = 2**16  # values of one map that are counted
_FINEST = 24  # a bin is at least 2**-24 of the largest value, which is as fine as float32 is


@dataclass(frozen=True)
class Tally:
    """Counts of values in bins of width 2**exponent, from ``first * 2**exponent`` on.

    The width is a power of two and bins begin at its multiples, so that two tallies add up exactly, and in any order:
    bins that are too fine for both are joined in pairs.

    Attributes
    ----------
    low, high
        The lowest and the highest value.
    """

    exponent: int
    first: int
    counts: np.ndarray
    low: float
    high: float

    def __add__(self, other: Tally) -> Tally:
        low, high = min(self.low, other.low), max(self.high, other.high)
        exponent = _exponent(low, high)
        first = math.floor(math.ldexp(low, -exponent))
        counts = np.zeros(math.floor(math.ldexp(high, -exponent)) - first + 1, dtype=np.int64)
        for tally in (self, other):
            bins = (tally.first + np.arange(len(tally.counts))) >> (exponent - tally.exponent)
            np.add.at(counts, bins - first, tally.counts)
        return Tally(exponent, first, counts, low, high)

    def quantile(self, share: float) -> float:
        """Return the upper edge of the bin that the quantile lies in, between the lowest and the highest value."""
        place = int(np.searchsorted(np.cumsum(self.counts), share * self.counts.sum()))
        edge = math.ldexp(self.first + min(place, len(self.counts) - 1) + 1, self.exponent)
        return min(max(edge, self.low), self.high)


def tally(values: np.ndarray) -> Tally | None:
    """Return the tally of the finite ones of float32 values (H, W); None without any.

    Of more than 65,536 values every n-th row counts, n times, so that a large map takes no longer; the lowest and the
    highest value are those of all.
    """
    if not values.size:
        return None
    low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))  # without NaN
    if math.isinf(low) or math.isinf(high):
        return tally(np.where(np.isfinite(values), values, np.float32(np.nan)))
    if math.isnan(low):
        return None
    exponent = _exponent(low, high)
    first = math.floor(math.ldexp(low, -exponent))
    size = math.floor(math.ldexp(high, -exponent)) - first + 1
    exact = np.float32 if abs(exponent) < 100 else np.float64  # beyond, the power of two leaves float32's range
    step = -(-values.size // _COUNTED)
    rows = values[::step]
    # NaN becomes the lowest value, and is taken out at the end: picking the others would take longer.
    bins = np.multiply(np.fmax(rows, rows.dtype.type(low)), 2.0**-exponent, dtype=exact)
    np.floor(bins, out=bins)
    bins -= first  # whole numbers below 2**24, so exact
    counts = np.bincount(bins.ravel().astype(np.intp), minlength=size)
    counts[0] -= np.count_nonzero(np.isnan(rows))
    return Tally(exponent, first, counts * step, low, high)


def _exponent(low: float, high: float) -> int:
    """Return the exponent of the finest width that needs at most 512 bins; it never falls as the range grows."""
    largest = math.frexp(max(abs(low), abs(high)))[1]
    exponent = largest - _FINEST
    if high > low:
        exponent = max(exponent, math.frexp(high - low)[1] - BINS.bit_length())
    while math.floor(math.ldexp(high, -exponent)) - math.floor(math.ldexp(low, -exponent)) >= BINS:
        exponent += 1
    return exponent


def show_tally(found: Tally) -> dict[str, Any]:
    """Return a tally as plain "edges" and "counts", joined to at most 40 bins."""
    join = -(-len(found.counts) // (SHOWN - 1))
    start = found.first // join * join
    padded = np.zeros(-(-(found.first + len(found.counts) - start) // join) * join, dtype=np.int64)
    padded[found.first - start : found.first - start + len(found.counts)] = found.counts
    counts = padded.reshape(-1, join).sum(axis=1)
    edges = [math.ldexp(start + place * join, found.exponent) for place in range(len(counts) + 1)]
    return {"edges": edges, "counts": counts.tolist()}


def show_shares(values: Sequence[float] | np.ndarray, bins: int = 25) -> dict[str, Any]:
    """Return the histogram of shares in [0, 1] as plain "edges" and "counts", from 0 to a round end above the largest.

    The ends are 0.01, 0.02, 0.05, 0.1, 0.2, 0.5 and 1.
    """
    shares = np.asarray(values, dtype=np.float64)
    largest = float(shares.max()) if shares.size else 1.0
    end = next((end for end in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if largest <= end), 1.0)
    counts, edges = np.histogram(shares, bins=bins, range=(0.0, end))
    return {"edges": [float(edge) for edge in edges], "counts": counts.tolist()}


def total(histogram: Mapping[str, Any]) -> int:
    """Return how many values a plain histogram counts."""
    return int(sum(histogram["counts"]))
