"""Whether the decision on a pair stands on its own, or hangs on one seed, one image or group, or one epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basrelief.metrics import higher_is_better
from basrelief.statistics import diagnose, holm_limits, influence
from basrelief.studies.behaviour import epochs_before
from basrelief.studies.decisions import Decided, Pair
from basrelief.studies.results import StudyResults, paired_scores

LATE = 0.25  # share of the epochs that count as late


def what_it_hangs_on(results: StudyResults, decided: Decided, pair: Pair) -> dict[str, Any] | None:
    """Return without what the decision on a pair would be another; None where nothing is decided, or nothing does that.

    Returns
    -------
    dict or None
        {"seed": its number}, else {"image": its name} or, where images belong to groups, {"group": its number}; the one
        that moves the difference most. Else {"last_epoch": True} where the better loss has the worse validation scores
        over the late epochs.
    """
    metric = str(results.plan.train.metric)
    if pair.decision == "undecided" or pair.p_adjusted is None:
        return None
    paired = paired_scores(results, pair.a, pair.b, metric)
    assert paired is not None  # or nothing would be decided
    one, two, known = paired
    groups = results.scores.units(known)
    found = influence(
        one,
        two,
        margin=pair.margin,
        higher_is_better=higher_is_better(metric),
        groups=groups,
        limit=_limit(decided, pair),
    )
    if found.decision == pair.decision:  # of a race it may have been an earlier look that decided
        if found.seeds:
            both = [seed for seed in results.seeds_of(pair.a) if seed in results.seeds_of(pair.b)]
            return {"seed": both[found.seeds[0]]}
        if found.units and groups is not None:
            return {"group": int(found.units[0])}
        if found.units:
            return {"image": results.scores.ids[int(results.scores.rows()[known][found.units[0]])]}
    return {"last_epoch": True} if pair.better and is_ahead_once(results, *pair.better) else None


def is_ahead_once(results: StudyResults, ahead: str, behind: str) -> bool:
    """Tell whether one loss is ahead of another at its chosen epochs alone.

    It is if, over the seeds that both finished, the mean validation score of the late epochs (the last quarter, two at
    least), without the last one and without the chosen ones, puts the other loss ahead.
    """
    seeds = [seed for seed in results.seeds_of(ahead) if seed in results.seeds_of(behind)]
    means = [_late_mean(results, name, seeds) for name in (ahead, behind)]
    if None in means:
        return False
    first, second = means
    assert first is not None
    assert second is not None
    return first < second if higher_is_better(str(results.plan.train.metric)) else first > second


def is_lopsided(results: StudyResults, a: str, b: str) -> bool:
    """Tell whether the images of two losses are too few for how skewed their differences are (``diagnose``)."""
    paired = paired_scores(results, a, b, str(results.plan.train.metric))
    if paired is None:
        return False
    one, two, known = paired
    return diagnose(one - two, groups=results.scores.units(known)).units_skewed


def _limit(decided: Decided, pair: Pair) -> float:
    tested = [other for other in decided.pairs if other.p_adjusted is not None]
    p_values = [_p_value(other) for other in tested]
    return holm_limits(p_values)[tested.index(pair)]


def _p_value(pair: Pair) -> float:
    assert pair.interval is not None
    return 1.0 if pair.interval.p_value is None else pair.interval.p_value


def _late_mean(results: StudyResults, loss: str, seeds: Sequence[int]) -> float | None:
    """Return the mean score of a loss over the late epochs of some seeds; None where a seed has none."""
    means = []
    for seed in seeds:
        run = results.runs[loss, seed]
        before = epochs_before(results)
        curve: NDArray[np.float64] = np.array(run["curve"][before:], dtype=float)
        late = max(2, int(np.ceil(LATE * len(curve))))
        counts = np.zeros(len(curve), bool)
        counts[-late:-1] = True
        best = run.get("best_epoch", 0) - before - 1
        if 0 <= best < len(curve):
            counts[best] = False
        counts &= np.isfinite(curve)
        if not counts.any():
            return None
        means.append(float(curve[counts].mean()))
    return float(np.mean(means)) if means else None
