"""The race: losses that can no longer win are stopped early. ``looks`` holds its rule and the error rate."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from basrelief.statistics.decisions import Decision
from basrelief.statistics.intervals import Floats, Interval, MeanSquares, by_group, paired_interval
from basrelief.statistics.looks import Finish, Look, look_at, look_weights, run_looks, settle

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
        As ``decide`` gives it; a pair with a dropped loss is never "equal", and "equal" is said of the last look alone.
    by_race
        Whether it was decided because the loser was dropped and the other beat all that were left.
    """

    interval: Interval | None
    p_adjusted: float | None
    decision: Decision
    by_race: bool


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
    found = settle(finish, losses=len(names), level=level)
    after = {loss: look for loss, look, _, _ in finish.dropped}
    arrays = [_rows(scores[name], after.get(number)) for number, name in enumerate(names)]
    pairs = {}
    for pair, (i, j) in enumerate(itertools.combinations(range(len(names)), 2)):
        better = int(found.better[pair])
        decision: Decision = "undecided" if better < 0 else "a" if better == i else "b"
        pairs[names[i], names[j]] = RacedPair(
            _interval(arrays[i], arrays[j], groups, level),
            float(found.p_values[pair]) if finish.ahead[pair] >= 0 else None,
            "equal" if finish.equal[pair] else decision,
            bool(found.by_race[pair]),
        )
    return pairs


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
    finish = run_looks(
        {}, losses=count, planned=planned, higher_is_better=higher_is_better, margins=margins, level=level
    )
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
    if seeds.all() and images.all():
        return a, b, None if groups is None else np.asarray(groups)
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
