"""Which loss is better by one metric, on all test images or on some: pairs, winner, and the order of the means."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from basrelief.metrics import higher_is_better, is_in_unit
from basrelief.metrics.table import base_metric
from basrelief.statistics import Decision, Interval, decide, holm, race_pairs
from basrelief.studies.results import StudyResults, compare, loss_interval

SCORE_MARGIN = 0.005  # practically equal, for scores in [0, 1]
ERROR_MARGIN = 0.01  # likewise for errors, as a share of the better mean
_SHARES = ("mask/ece", "mask/checkerboard", "depth/checkerboard")  # lower is better, and they lie in [0, 1]
_SIGNED = ("mask/ssim", "depth/ssim")  # higher is better, and they lie in [-1, 1]


@dataclass(frozen=True)
class Pair:
    """Two losses compared: the interval of a − b, the p-value after Holm's correction, and what follows.

    ``by_race``: the race dropped one of them, and the other beat all that were left.
    """

    a: str
    b: str
    interval: Interval | None
    p_adjusted: float | None
    decision: Decision
    margin: float
    by_race: bool = False

    @property
    def better(self) -> tuple[str, str] | None:
        """The better and the worse loss, None where neither is better."""
        if self.decision == "a":
            return self.a, self.b
        return (self.b, self.a) if self.decision == "b" else None


@dataclass(frozen=True)
class Decided:
    """All pairs of one metric, the losses' means with intervals, and the winner."""

    pairs: tuple[Pair, ...]
    means: Mapping[str, Interval | None]
    winner: str | None
    best: str | None

    @property
    def tested(self) -> int:
        """Number of pairs that share the error rate."""
        return max(1, sum(pair.p_adjusted is not None for pair in self.pairs))


def decide_all(results: StudyResults, metric: str, images: NDArray[np.bool_] | None = None) -> Decided:
    """Compare all losses by a metric, on the test images that ``images`` marks (all, where None)."""
    names = list(results.plan.losses)
    means = {name: loss_interval(results, name, metric, images) for name in names}
    couples = list(itertools.combinations(names, 2))
    found = {(a, b): compare(results, a, b, metric, images) for a, b in couples}
    p_values = {couple: interval.p_value for couple, interval in found.items() if interval is not None}
    known = {couple: p for couple, p in p_values.items() if p is not None}
    adjusted = dict(zip(known, holm(list(known.values())), strict=True))
    margins = {couple: _pair_margin(results, metric, means, couple) for couple in couples}
    pairs = []
    for couple in couples:
        interval, p = found[couple], adjusted.get(couple)
        decision: Decision = "undecided"
        if interval is not None:
            decision = decide(interval, p, margin=margins[couple], higher_is_better=higher_is_better(metric))
        pairs.append(Pair(*couple, interval, p, decision, margins[couple]))
    if results.race is not None and metric == results.plan.train.metric and images is None:
        pairs = _raced(results, metric)
    best = best_of({name: None if i is None else i.difference for name, i in means.items()}, metric)
    return Decided(tuple(pairs), means, winner_of(names, pairs, means, metric), best)


def _raced(results: StudyResults, metric: str) -> list[Pair]:
    """Return the pairs of a study whose losses were stopped early, by the rule that stopped them."""
    scores, margins, groups = race_inputs(results, metric)
    raced = race_pairs(
        scores,
        planned=len(results.plan.seeds),
        higher_is_better=higher_is_better(metric),
        margin=lambda a, b: margins[a, b],
        groups=groups,
    )
    return [
        Pair(a, b, pair.interval, pair.p_adjusted, pair.decision, margins[a, b], pair.by_race)
        for (a, b), pair in raced.items()
    ]


def race_inputs(
    results: StudyResults, metric: str
) -> tuple[dict[str, NDArray[np.float64]], dict[tuple[str, str], float], NDArray[np.int64] | None]:
    """Return what a race looks at: each loss's scores (seeds, images), the margin of each pair, the images' groups.

    A failed training is a row of NaN. The margins are those of the first look, so that a look is
    the same when it is looked at again.
    """
    seeds = results.plan.seeds
    scores: dict[str, NDArray[np.float64]] = {}
    images = len(results.scores.rows())
    for name in results.plan.losses:
        values, finished = results.scores.matrix(name, metric), results.seeds_of(name)
        tried = [place for place, seed in enumerate(seeds) if (name, seed) in {*results.runs, *results.failures}]
        rows = np.full((max(tried, default=-1) + 1, images), np.nan)
        if values.size:
            rows[[seeds.index(seed) for seed in finished]] = values
        scores[name] = rows
    if results.race is not None:
        margins = {(row["a"], row["b"]): float(row["margin"]) for row in results.race["margins"]}
    else:
        means = {name: loss_interval(results, name, metric) for name in results.plan.losses}
        couples = itertools.combinations(results.plan.losses, 2)
        margins = {couple: _pair_margin(results, metric, means, couple) for couple in couples}
    return scores, margins, results.scores.units(np.ones(images, bool))


def _pair_margin(
    results: StudyResults, metric: str, means: Mapping[str, Interval | None], couple: tuple[str, str]
) -> float:
    both = [means[name] for name in couple]
    return margin_of(results, metric, [mean.difference for mean in both if mean is not None])


def winner_of(
    names: Sequence[str], pairs: Sequence[Pair], means: Mapping[str, Interval | None], metric: str
) -> str | None:
    """Return the loss that is better than, or practically equal to, every other and better than at least one.

    Two losses that are practically equal may both beat the rest; the better mean of them is named.
    """
    better: dict[str, set[str]] = {name: set() for name in names}
    equal: dict[str, set[str]] = {name: set() for name in names}
    for pair in pairs:
        if pair.better is not None:
            better[pair.better[0]].add(pair.better[1])
        elif pair.decision == "equal":
            equal[pair.a].add(pair.b)
            equal[pair.b].add(pair.a)
    winners = [name for name in names if better[name] and len(better[name] | equal[name]) == len(names) - 1]
    found = {name: means[name] for name in winners}
    return best_of({name: None if i is None else i.difference for name, i in found.items()}, metric)


def best_of(means: Mapping[str, float | None], metric: str) -> str | None:
    """Return the name with the best mean, the first of equals; None where there is no mean."""
    known = {name: mean for name, mean in means.items() if mean is not None}
    if not known:
        return None
    choose = max if higher_is_better(metric) else min
    return choose(known, key=lambda name: known[name])


def order_of(decided: Decided, metric: str) -> list[str]:
    """Return the losses that have a mean, the best first."""
    known = {name: interval.difference for name, interval in decided.means.items() if interval is not None}
    return sorted(known, key=lambda name: known[name], reverse=higher_is_better(metric))


def order_holds(whole: Decided, other: Decided, other_metric: str) -> bool | None:
    """Tell whether the losses that the whole tells apart have means in that order elsewhere too.

    Only pairs of which the whole decides that one is better count: the order of others is luck. None where there is no
    such pair, or none of them has means elsewhere.
    """
    sign = 1 if higher_is_better(other_metric) else -1
    found = []
    for pair in whole.pairs:
        if pair.better is not None:
            ahead, behind = (other.means.get(name) for name in pair.better)
            if ahead is not None and behind is not None:
                found.append(sign * (ahead.difference - behind.difference) > 0)
    return all(found) if found else None


def agreement(whole: Decided, other: Decided, metric: str, other_metric: str) -> float | None:
    """Return Kendall's tau-b between two orders of means, 1 where they agree; None with fewer than two losses.

    M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33(3), 1945.
    """
    signs = [1 if higher_is_better(name) else -1 for name in (metric, other_metric)]
    both = [
        (signs[0] * mean.difference, signs[1] * there.difference)
        for name, mean in whole.means.items()
        if mean is not None and (there := other.means.get(name)) is not None
    ]
    if len(both) < 2:
        return None
    tau = float(stats.kendalltau(*zip(*both, strict=True)).statistic)
    return tau if np.isfinite(tau) else None  # all means alike


def margin_of(results: StudyResults, metric: str, means: Iterable[float]) -> float:
    """Return up to which difference losses with these means are practically equal, in the metric's unit."""
    if results.plan.margin is not None and metric == results.plan.train.metric:
        return results.plan.margin
    if higher_is_better(metric):
        return SCORE_MARGIN
    return ERROR_MARGIN * min(map(abs, means), default=0.0)


def bounds(metric: str) -> tuple[float | None, float | None]:
    """Return the least and the largest value that a metric can have; None: without bound."""
    base = base_metric(metric)
    if base in _SIGNED:
        return -1.0, 1.0
    if higher_is_better(metric) or base in _SHARES:
        return 0.0, 1.0
    return 0.0, None


def shown_interval(
    low: float | None, high: float | None, mean: float, least: float | None, most: float | None
) -> list[float | None]:
    """Return an interval as it is shown: cut at the bounds of what it is the interval of."""
    if low is not None and least is not None:
        low = max(low, min(least, mean))
    if high is not None and most is not None:
        high = min(high, max(most, mean))
    return [low, high]


def difference_bounds(metric: str) -> tuple[float | None, float | None]:
    """Return the bounds of a difference between two values of a metric."""
    low, high = bounds(metric)
    if low is None or high is None or is_in_unit(metric):
        return None, None
    return low - high, high - low
