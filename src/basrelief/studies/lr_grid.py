"""Which learning rates are tried with short trainings, and which of them is taken: rules without any data or network.

Rates are numbers of two digits, so that a training can be found again by its rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

APART = math.sqrt(10)  # neighbouring rates of the first three
Tried = Mapping[float, float | None]  # rate -> score, higher being better; None where the training failed


def first_rates(centre: float, bound: float = math.inf) -> list[float]:
    """Return three rates half a decade apart around ``centre``, moved down until all lie below ``bound``."""
    top = centre * APART
    while top >= bound:
        top /= APART
    return sorted({_short(top / APART**place) for place in range(3)})


def next_rate(tried: Tried, bound: float = math.inf) -> float:
    """Return the rate to try next: beside the best so far, so that a poor first guess is left behind.

    Where the best is the lowest or highest rate that was tried, the next lies half a decade beyond it; but none lies at
    or above ``bound``, nor at or above a rate whose training failed. Otherwise it lies in the wider gap beside the
    best, and of equally wide ones on the side of the better neighbour. Where none has trained, it is a decade below.
    """
    rates = sorted(tried)
    scores = {rate: score for rate, score in tried.items() if score is not None}
    if not scores:
        return _short(rates[0] / 10)
    best = max(scores, key=lambda rate: (scores[rate], -rate))
    if best == rates[0]:
        return _short(best / APART)
    limit = min([bound, *(rate for rate in rates if rate > best and tried[rate] is None)])
    if best == max(scores) and best * APART < limit:
        return _short(best * APART)
    place = rates.index(best)
    below, above = rates[place - 1], rates[place + 1] if place + 1 < len(rates) else None
    if above is None or above not in scores:
        beside = below
    else:
        wider = math.log(above / best) - math.log(best / below)
        better = (tried[below] is None) or scores[above] > scores[below]
        beside = above if wider > 0.1 or (wider > -0.1 and better) else below
    found = _short(math.sqrt(best * beside))
    return found if found not in tried else _short(rates[0] / APART)


def choose_rate(tried: Tried, alike: Callable[[float, float], bool]) -> tuple[float, list[float]] | None:
    """Return the rate to take, and those that are as good as the best; None where no training succeeded.

    As good are the neighbours of the best, on either side up to the first that ``alike(best, rate)`` says scores
    clearly worse. The one in the middle of them, along a logarithmic scale, is taken; of two, the lower: it is the
    safer in a long training, and farther from where training breaks.
    """
    scores = {rate: score for rate, score in tried.items() if score is not None}
    if not scores:
        return None
    rates = sorted(tried)
    best = max(scores, key=lambda rate: (scores[rate], -rate))
    place = rates.index(best)
    low = high = place
    while low > 0 and rates[low - 1] in scores and alike(best, rates[low - 1]):
        low -= 1
    while high + 1 < len(rates) and rates[high + 1] in scores and alike(best, rates[high + 1]):
        high += 1
    among = rates[low : high + 1]
    middle = math.sqrt(among[0] * among[-1])
    return min(among, key=lambda rate: (round(abs(math.log(rate / middle)), 1), rate)), among


def _short(rate: float) -> float:
    return float(f"{rate:.2g}")
