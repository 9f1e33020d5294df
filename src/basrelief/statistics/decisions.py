"""From intervals to decisions: which of two losses is better, and how many runs may fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from basrelief.statistics.intervals import Interval

Decision = Literal["a", "b", "equal", "undecided"]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the order given (S. Holm, Scand. J. Statist. 6, 1979)."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(np.asarray(p_values), kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def holm_limits(p_values: Sequence[float], *, level: float = 0.95) -> list[float]:
    """Return for each p-value the limit below which it counts as significant, the others being what they are.

    It is (1 − level) / (m − k) with m p-values, k of the others rejected by Holm's steps: what a pair's own p-value may
    be compared with where only this pair changes, as when an image is left out.
    """
    m, limits = len(p_values), []
    for index in range(m):
        others = sorted(p for i, p in enumerate(p_values) if i != index)
        rejected = 0
        while rejected < len(others) and others[rejected] < (1 - level) / (m - rejected):
            rejected += 1
        limits.append((1 - level) / (m - rejected))
    return limits


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


def failure_bound(seeds: int, failed: int, *, level: float = 0.95) -> float:
    """Return the largest share of failing runs that ``failed`` of ``seeds`` is still compatible with, one-sided.

    Clopper and Pearson, Biometrika 26, 1934; with no failure it is 1 − (1 − level)^(1/seeds).

    >>> round(failure_bound(3, 0), 2)
    0.63
    """
    return 1.0 if failed >= seeds else float(stats.beta.ppf(level, failed + 1, seeds - failed))
