"""The folds of a loss and seed as one training: scores and curves are means, counts and times are sums."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def over_folds(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the runs of all folds as one: scores and curves are means, weighted by images; counts and times are sums.

    An image is judged in one fold at most, so that a mean of scores per image is the mean over all that are judged. A
    pooled score is the mean of the folds' own.
    """
    if len(runs) == 1:
        return runs[0]
    merged = dict(runs[0])
    for name, split in (("metrics", "test"), ("val_metrics", "val")):
        merged[name] = mean_scores([run[name] for run in runs], [run["samples"][split] for run in runs])
    val = [run["samples"]["val"] for run in runs]
    epochs = itertools.zip_longest(*(run["curve"] for run in runs))  # some may have stopped early
    merged["curve"] = [_weighted(scores, val) for scores in epochs]
    merged["best_epoch"] = round(float(np.median([run["best_epoch"] for run in runs])))
    merged["counts"] = {name: sum(run["counts"].get(name, 0) for run in runs) for name in runs[0]["counts"]}
    merged["seconds"] = sum(run["seconds"] for run in runs)
    merged["images_per_second"] = float(np.median([run["images_per_second"] for run in runs]))
    merged["initial_weights"] = " ".join(run["initial_weights"] for run in runs)
    return merged


def mean_scores(scores: Sequence[Mapping[str, float | None]], weights: Sequence[int]) -> dict[str, Any]:
    """Return the weighted mean of each metric over the folds that have it."""
    names = dict.fromkeys(name for found in scores for name in found)
    return {name: _weighted([found.get(name) for found in scores], weights) for name in names}


def _weighted(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None and weight]
    if len(known) == 1:
        return known[0][0]
    return float(np.average([v for v, _ in known], weights=[w for _, w in known])) if known else None
