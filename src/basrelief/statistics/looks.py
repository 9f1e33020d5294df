"""The rule of the race: when a loss can no longer win, and what may be said in the end.

After every finished block (one more seed of every loss that still runs) the losses are looked at. Two rules share the
error rate α = 1 − level among the looks, whatever the looks have in common (Bonferroni over looks: alpha
spending as of K. K. G. Lan and D. L. DeMets, Biometrika 70, 1983, without use of the looks' correlation): half of α is
spent evenly on the looks before the last, half on the last, when all planned seeds are there.

* A loss is **dropped** when another is better at p < w·α/(L − 1), with L losses and the look's weight w. The best loss
  has L − 1 rivals, so it is dropped with a probability of at most α/2 (as in J. C. Hsu's comparisons with the best,
  Annals of Statistics 9, 1981).
* A **pair** is decided on the smallest p/w of the looks at which both ran. Of two losses that are left in the end it is
  adjusted by Holm over the pairs of those left, for nothing is claimed of the others but by who beat them; of any other
  pair, over all pairs.

Three to five seeds say little about a pair's own variance, and nothing about the far tails that such small limits ask
for. So at early looks, p comes from the variance pooled over the pairs that still run. A loss whose runs spread far
more than the others' must not be taken for a steady one: for dropping, p is at least a hundredth of the pair's own
p-value (``paired_interval``'s), for deciding a pair at least that itself. The last look uses each pair's own. How often
this errs, with equal and unequal spreads, is simulated by benchmarks/verdict.py and given in docs/verdict.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from basrelief.statistics.decisions import holm
from basrelief.statistics.intervals import Floats, MeanSquares, half_width, mean_squares, p_value

FIRST_LOOK = 3  # seeds; two say nothing about their own variance
EARLY_SHARE = 0.5  # of the error rate, spent before the last look
BORNE_OUT = 100  # by how much the pooled variance may lower a pair's own p-value


class Look(NamedTuple):
    """All pairs (in the order of ``itertools.combinations``) at one look; NaN where a pair has too few seeds."""

    mean: Floats
    squares: MeanSquares


class Finish(NamedTuple):
    """What a race came to, by numbers of losses and, for pairs, in the order of ``itertools.combinations``.

    ``dropped``: (loss, look, rival, p) of each. ``p_values``: smallest p/w, infinite where no look had the pair.
    ``ahead``: the better loss at the pair's last look, or −1. ``equal``: practically so at the last look of all.
    """

    dropped: list[tuple[int, int, int, float]]
    p_values: Floats
    ahead: NDArray[np.int64]
    equal: NDArray[np.bool_]
    looked: int


class Claims(NamedTuple):
    """What is said of each pair: its p-value for looks and pairs, the better loss or −1, and whether by the race."""

    p_values: Floats
    better: NDArray[np.int64]
    by_race: NDArray[np.bool_]


def look_weights(planned: int) -> dict[int, float]:
    """Return the share of the error rate that each look has, by the number of seeds it comes after; 1 in all."""
    early = range(FIRST_LOOK, planned)
    if not early:
        return {planned: 1.0}
    return {**{seeds: EARLY_SHARE / len(early) for seeds in early}, planned: 1 - EARLY_SHARE}


def run_looks(
    looks: Mapping[int, Look], *, losses: int, planned: int, higher_is_better: bool, margins: Floats, level: float
) -> Finish:
    """Go through the looks there are, in their order, and drop what each look allows."""
    first, second = np.triu_indices(losses, 1)
    live = np.ones(losses, dtype=bool)
    p_values = np.full(len(first), np.inf)
    ahead, equal = np.full(len(first), -1), np.zeros(len(first), dtype=bool)
    dropped: list[tuple[int, int, int, float]] = []
    looked = 0
    for seeds, weight in look_weights(planned).items():
        if seeds not in looks or live.sum() < 2:
            break
        looked = seeds
        runs = live[first] & live[second] & np.isfinite(looks[seeds].mean)
        mean, squares = looks[seeds].mean[runs], MeanSquares(*(part[runs] for part in looks[seeds].squares))
        p = p_value(mean, squares)
        first_wins = (mean > 0) == higher_is_better
        ahead[runs] = np.where(first_wins, first[runs], second[runs])
        within = np.abs(mean) + half_width(squares, (1 - level) / 2) <= margins[runs]
        equal[:], equal[runs] = False, within
        pooled = p if seeds == planned else _pooled_p(mean, squares)
        p_values[runs] = np.minimum(p_values[runs], np.maximum(pooled, p) / weight)
        if seeds == planned:
            break
        adjusted = np.maximum(pooled, p / BORNE_OUT) * (losses - 1) / weight
        apart = (adjusted < 1 - level) & ~within
        rival = ahead[runs]
        loser = first[runs] + second[runs] - rival
        for loss in np.unique(loser[apart]):
            against = np.flatnonzero(apart & (loser == loss))
            strongest = against[np.argmin(adjusted[against])]
            dropped.append((int(loss), seeds, int(rival[strongest]), float(adjusted[strongest])))
        live[loser[apart]] = False
    equal &= live[first] & live[second]
    return Finish(dropped, p_values, ahead, equal, looked)


def look_at(d: Floats) -> Look:
    """Return the look at differences (…, pairs, seeds, units)."""
    squares = mean_squares(d)
    mean = d.mean(axis=(-2, -1))
    return Look(mean, MeanSquares(*(np.broadcast_to(part, mean.shape) for part in squares)))


def _pooled_p(mean: Floats, squares: MeanSquares) -> Floats:
    """Return p-values with mean squares averaged over the pairs.

    Among L losses the mean over pairs is twice the mean square of loss and seed together, with L − 1 times the degrees
    of freedom of a pair.
    """
    pairs = len(mean)
    losses = (1 + math.sqrt(1 + 8 * pairs)) / 2
    seed, unit, rest = (np.full(pairs, part.mean() if pairs else 0.0) for part in squares[:3])
    return p_value(mean, MeanSquares(seed, unit, rest, squares.seeds, squares.units), pooled=losses - 1)


def settle(finish: Finish, *, losses: int, level: float) -> Claims:
    """Return what may be said of every pair, from what the looks found.

    Pairs with a dropped loss count as decided by the race where one of the others is better than all that are left.
    """
    first, second = np.triu_indices(losses, 1)
    adjusted = np.array(holm(finish.p_values.tolist()))
    out = {loss: p for loss, _, _, p in finish.dropped}
    live = [loss for loss in range(losses) if loss not in out]
    left = np.isin(first, live) & np.isin(second, live)
    adjusted[left] = holm(finish.p_values[left].tolist())
    better = np.where((adjusted < 1 - level) & ~finish.equal, finish.ahead, -1)
    by_race = np.zeros(len(first), dtype=bool)
    for best in live:
        beaten = {*first[better == best], *second[better == best]} - {best}
        if not out or not {*live} - {best} <= beaten:
            continue
        for pair in np.flatnonzero((first == best) | (second == best)):
            loser = int(first[pair] + second[pair] - best)
            if loser in out and better[pair] != best:
                better[pair], by_race[pair], adjusted[pair] = best, True, out[loser]
    return Claims(adjusted, better, by_race)
