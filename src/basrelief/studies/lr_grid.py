"""Which learning rates are tried with short trainings, and which of them is taken: rules without any data or network.

Rates are numbers of two digits, so that a training can be found again by its rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

APART = math.sqrt(10)  # neighbouring rates of the first three
FIRST, THEN = 3, 2  # rates tried at first, and beside the best of them where there are steps enough
Tried = Mapping[float, float | None]  # rate -> score, higher being better; None where the training failed


def first_rates(suggested: float | None, own: float, bound: float = math.inf) -> list[float]:
    """Return three rates half a decade apart, moved down until all lie below ``bound``.

    The middle one is halfway, along a logarithmic scale, between what the range test suggests and ``own``, the rate
    that the network is known to train with: a short range test alone came out up to 20 times too high, and rates that
    are all too high look alike.
    """
    top = math.sqrt((suggested or own) * own) * APART
    while _short(top) >= bound:
        top /= APART
    return [_short(top / APART**place) for place in reversed(range(FIRST))]


def next_rates(tried: Tried, bound: float = math.inf) -> list[float]:
    """Return two rates beside the best of the first three.

    Where that is the highest or the lowest, they are half a decade and a decade beyond it; where it lies between, a
    quarter of a decade on either side of it. None lies at or above ``bound``, nor at or above a rate whose training
    failed: what would, is tried below the best. Where none has trained, they are a decade and two below all.
    """
    scores = {rate: score for rate, score in tried.items() if score is not None}
    if not scores:
        return [_short(min(tried) / 10**place) for place in reversed(range(1, 1 + THEN))]
    best = max(scores, key=lambda rate: (scores[rate], -rate))
    limit = min([bound, *(rate for rate in tried if rate > best and tried[rate] is None)])
    if best == min(tried):
        steps = (1 / APART, 1 / APART**2)
    elif best == max(tried):
        steps = (APART, APART**2)
    else:
        steps = (math.sqrt(APART), 1 / math.sqrt(APART))
    beside = (_short(best * step) for step in (*steps, 1 / math.sqrt(APART), 1 / APART**1.5))
    return sorted([rate for rate in dict.fromkeys(beside) if rate < limit][:THEN])


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
