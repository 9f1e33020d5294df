"""The race: losses that can no longer win are stopped early, and the verdict stays honest.

After every finished block (one more seed of every loss that still runs) the losses are looked at. Two rules share the
error rate α = 1 − level among the looks, whatever the looks have in common (Bonferroni over looks: alpha
spending as of K. K. G. Lan and D. L. DeMets, Biometrika 70, 1983, without use of the looks' correlation): half of α is
spent evenly on the looks before the last, half on the last, when all planned seeds are there.

* A loss is **dropped** when another is better at p < w·α/(L − 1), with L losses and the look's weight w. The best loss
  has L − 1 rivals, so it is dropped with a probability of at most α/2 (as in J. C. Hsu's comparisons with the best,
  Annals of Statistics 9, 1981).
* A **pair** is decided on the smallest p/w of the looks at which both ran, adjusted by Holm over all pairs.

Three to five seeds say little about a pair's own variance, and nothing about the far tails that such small limits ask
for. So at early looks, p comes from the variance pooled over the pairs that still run. A loss whose runs spread far
more than the others' must not be taken for a steady one: for dropping, p is at least a fiftieth of the pair's own
p-value (``paired_interval``'s), for deciding a pair at least that itself. The last look uses each pair's own. How often
this errs, with equal and unequal spreads, is simulated by benchmarks/verdict.py and given in docs/verdict.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from basrelief.statistics.decisions import Decision, decide, holm
from basrelief.statistics.intervals import (
    Floats,
    Interval,
    MeanSquares,
    by_group,
    error_of_mean,
    half_and_p,
    mean_squares,
    paired_interval,
    two_sided,
)

FIRST_LOOK = 3  # seeds; two say nothing about their own variance
EARLY_SHARE = 0.5  # of the error rate, spent before the last look
BORNE_OUT = 50  # by how much the pooled variance may lower a pair's own p-value

Margin = float | Callable[[str, str], float]


@dataclass(frozen=True)
class Dropped:
    """A loss that was stopped: after how many seeds, what was better, by how much (> 0), and how sure that is.

    ``p_value`` is adjusted for the looks and the rivals: below 1 − level.
    """

    name: str
    after: int
    by: str
    behind: float
    p_value: float


@dataclass(frozen=True)
class Race:
    """Where a race stands: the losses that still run, those dropped in their order, seeds looked at, and its end.

    ``over``: one loss is left, or all planned seeds are there.
    """

    live: tuple[str, ...]
    dropped: tuple[Dropped, ...]
    seeds: int
    over: bool


@dataclass(frozen=True)
class RacedPair:
    """A pair after a race.

    Attributes
    ----------
    interval
        Of a − b on the seeds both have, as of any pair, neither adjusted for the looks nor for the other pairs; None
        where they have none in common.
    p_adjusted
        For looks and pairs; where ``by_race``, that of the loser's being dropped. None where no look had both.
    decision
        As ``decide`` gives it; a pair with a dropped loss is never "equal".
    by_race
        Whether it was decided because the loser was dropped and the other beat all that were left.
    """

    interval: Interval | None
    p_adjusted: float | None
    decision: Decision
    by_race: bool


class Look(NamedTuple):
    """All pairs (in the order of ``itertools.combinations``) at one look; NaN where a pair has too few seeds."""

    mean: Floats
    squares: MeanSquares


class Finish(NamedTuple):
    """What a race came to, by numbers of losses: (loss, look, rival, p) of the dropped; each pair's p over looks."""

    dropped: list[tuple[int, int, int, float]]
    p_values: Floats
    looked: int


def race(
    scores: Mapping[str, ArrayLike],
    *,
    planned: int,
    higher_is_better: bool,
    margin: Margin = 0.0,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Race:
    """Return which losses still run and which are dropped, from the scores that are there.

    Call it after every block; it depends on the scores alone, so a race that was interrupted goes on as it would have.
    What a dropped loss has beyond the look that dropped it changes nothing.

    Parameters
    ----------
    scores
        Name -> (blocks, images): row i of all from the study's i-th seed, NaN throughout where that training failed; an
        image without a score in a row of either loss is left out for that pair. Dropped losses have fewer rows.
    planned
        Seeds planned.
    higher_is_better
        Of the metric.
    margin
        Of practical equality, in the score's unit, or what gives it for two names. A loss is not dropped for one that
        it is practically equal to.
    groups
        One label for each image.
    level
        One less the error rate of the whole study.
    """
    names, finish = _run(scores, planned, higher_is_better, margin, groups, level)
    dropped = tuple(
        Dropped(names[loss], after, names[by], _behind(scores, names[loss], names[by], after), p)
        for loss, after, by, p in finish.dropped
    )
    live = tuple(name for name in names if name not in {one.name for one in dropped})
    return Race(live, dropped, finish.looked, len(live) == 1 or finish.looked >= planned)


def race_pairs(
    scores: Mapping[str, ArrayLike],
    *,
    planned: int,
    higher_is_better: bool,
    margin: Margin = 0.0,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> dict[tuple[str, str], RacedPair]:
    """Return the decision on every pair after a race; arguments as ``race``'s, pairs in the order of the names.

    If one of the losses left is better than all others left, it is the best of all: then it is better than every loss
    dropped, also than those it was never tested against on as many seeds. This is wrong only if the best loss was
    dropped or the last test erred, which together have the study's error rate.
    """
    names, finish = _run(scores, planned, higher_is_better, margin, groups, level)
    out = {loss: p for loss, _, _, p in finish.dropped}
    after = {loss: look for loss, look, _, _ in finish.dropped}
    live = [number for number in range(len(names)) if number not in out]
    combinations = list(itertools.combinations(range(len(names)), 2))
    adjusted = dict(zip(combinations, holm(finish.p_values.tolist()), strict=True))
    arrays = [_rows(scores[name], after.get(number)) for number, name in enumerate(names)]
    pairs: dict[tuple[int, int], RacedPair] = {}
    for i, j in combinations:
        interval = _interval(arrays[i], arrays[j], groups, level)
        tested = interval is not None and np.isfinite(finish.p_values[combinations.index((i, j))])
        p = adjusted[i, j] if tested else None
        decision: Decision = "undecided"
        if interval is not None:
            width = _margin(margin, names[i], names[j])
            decision = decide(interval, p, margin=width, higher_is_better=higher_is_better)
            decision = "undecided" if decision == "equal" and (i in out or j in out) else decision
        pairs[i, j] = RacedPair(interval, p, decision, False)
    best = [k for k in live if all(_wins(pairs, k, other) for other in live if other != k)]
    for loser in out if best else ():
        i, j = sorted((best[0], loser))
        p = min(out[loser], 1.0 if pairs[i, j].p_adjusted is None else pairs[i, j].p_adjusted or 0.0)
        if not _wins(pairs, best[0], loser):
            pairs[i, j] = RacedPair(pairs[i, j].interval, p, "a" if i == best[0] else "b", True)
    return {(names[i], names[j]): pair for (i, j), pair in pairs.items()}


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
    dropped: list[tuple[int, int, int, float]] = []
    looked = 0
    for seeds, weight in look_weights(planned).items():
        if seeds not in looks or live.sum() < 2:
            break
        looked = seeds
        runs = live[first] & live[second] & np.isfinite(looks[seeds].mean)
        mean, squares = looks[seeds].mean[runs], MeanSquares(*(part[runs] for part in looks[seeds].squares))
        half, p = half_and_p(mean, squares, level)
        pooled = p if seeds == planned else _pooled_p(mean, squares)
        p_values[runs] = np.minimum(p_values[runs], np.maximum(pooled, p) / weight)
        if seeds == planned:
            break
        adjusted = np.maximum(pooled, p / BORNE_OUT) * (losses - 1) / weight
        apart = (adjusted < 1 - level) & (np.abs(mean) + half > margins[runs])
        first_wins = (mean > 0) == higher_is_better
        loser, rival = np.where(first_wins, second[runs], first[runs]), np.where(first_wins, first[runs], second[runs])
        for loss in np.unique(loser[apart]):
            against = np.flatnonzero(apart & (loser == loss))
            strongest = against[np.argmin(adjusted[against])]
            dropped.append((int(loss), seeds, int(rival[strongest]), float(adjusted[strongest])))
        live[loser[apart]] = False
    return Finish(dropped, p_values, looked)


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
    error, df = error_of_mean(MeanSquares(seed, unit, rest, squares.seeds, squares.units), pooled=losses - 1)
    return two_sided(mean, error, df)


def _run(
    scores: Mapping[str, ArrayLike],
    planned: int,
    higher_is_better: bool,
    margin: Margin,
    groups: ArrayLike | None,
    level: float,
) -> tuple[list[str], Finish]:
    """Look at the scores block by block, as far as every loss that still runs has them."""
    names = list(scores)
    arrays = [_rows(scores[name], None) for name in names]
    count = len(names)
    margins = np.array([_margin(margin, one, two) for one, two in itertools.combinations(names, 2)])
    looks: dict[int, Look] = {}
    finish = Finish([], np.full(len(margins), np.inf), 0)
    live = set(range(count))
    for seeds in look_weights(planned):
        if len(live) < 2 or any(len(arrays[loss]) < seeds for loss in live):
            break
        looks[seeds] = _look(arrays, live, seeds, groups)
        finish = run_looks(
            looks, losses=count, planned=planned, higher_is_better=higher_is_better, margins=margins, level=level
        )
        live -= {loss for loss, _, _, _ in finish.dropped}
    return names, finish


def _look(arrays: Sequence[Floats], live: set[int], seeds: int, groups: ArrayLike | None) -> Look:
    """Return the look at the first ``seeds`` rows; NaN for pairs that do not run or have under two seeds or units."""
    nothing = MeanSquares(*(np.array(np.nan) for _ in MeanSquares._fields))
    looks = []
    for i, j in itertools.combinations(range(len(arrays)), 2):
        found = Look(np.array(np.nan), nothing)
        if i in live and j in live:
            common = _common(arrays[i][:seeds], arrays[j][:seeds], groups)
            if common is not None:
                d = by_group(common[0] - common[1], common[2])
                found = look_at(d) if min(d.shape) > 1 else found
        looks.append(found)
    squares = MeanSquares(*(np.array([float(look.squares[k]) for look in looks]) for k in range(5)))
    return Look(np.array([float(look.mean) for look in looks]), squares)


def _rows(scores: ArrayLike, first: int | None) -> Floats:
    rows: Floats = np.asarray(scores, dtype=np.float64)[:first]
    if rows.ndim != 2:
        raise ValueError(f"Scores have the shape {rows.shape}; it must be (seeds, images) for each loss.")
    return rows


def _common(a: Floats, b: Floats, groups: ArrayLike | None) -> tuple[Floats, Floats, NDArray | None] | None:
    """Return the seeds and images that both have scores for, with the images' groups; None where there are none."""
    length = min(len(a), len(b))
    a, b = a[:length], b[:length]
    seeds = np.isfinite(a).any(axis=1) & np.isfinite(b).any(axis=1)
    images = np.isfinite(a[seeds]).all(axis=0) & np.isfinite(b[seeds]).all(axis=0)
    if not seeds.any() or not images.any():
        return None
    labels = None if groups is None else np.asarray(groups)[images]
    return a[seeds][:, images], b[seeds][:, images], labels


def _interval(a: Floats, b: Floats, groups: ArrayLike | None, level: float) -> Interval | None:
    common = _common(a, b, groups)
    return None if common is None else paired_interval(common[0], common[1], groups=common[2], level=level)


def _behind(scores: Mapping[str, ArrayLike], loser: str, rival: str, after: int) -> float:
    common = _common(_rows(scores[loser], after), _rows(scores[rival], after), None)
    return 0.0 if common is None else abs(float((common[0] - common[1]).mean()))


def _margin(margin: Margin, a: str, b: str) -> float:
    return float(margin(a, b)) if callable(margin) else float(margin)


def _wins(pairs: Mapping[tuple[int, int], RacedPair], one: int, other: int) -> bool:
    return pairs[min(one, other), max(one, other)].decision == ("a" if one < other else "b")
