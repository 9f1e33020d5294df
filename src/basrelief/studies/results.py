"""The scores of finished trials: one number for every loss, seed and image, and what compares them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from basrelief.engine.baseline import MEAN_BASELINE, mean_baseline
from basrelief.errors import DataError
from basrelief.metrics import alignments_of
from basrelief.statistics import Interval, mean_interval, paired_interval
from basrelief.studies.plan import StudyPlan, Trial
from basrelief.studies.prepare import Prepared
from basrelief.studies.trials import outcome_of


@dataclass(frozen=True)
class StudyResults:
    """What the trials of a study left behind.

    Attributes
    ----------
    runs
        (loss name, seed) -> the document of ``run.json``, of all folds together; for those that finished every one.
    failures
        (loss name, seed) -> why it failed, in any fold.
    scores
        One row an image of val and test for every finished trial: loss, seed, split, id, group, and metrics.
    baselines
        Name -> test score by metric.
    cautions
        Why the split flatters scores, or what these do not show, a sentence each.
    empty_masks
        Share of the test images' masks that are empty, of several classes each on its own.
    """

    plan: StudyPlan
    trials: tuple[Trial, ...]
    runs: Mapping[tuple[str, int], dict[str, Any]]
    failures: Mapping[tuple[str, int], str]
    scores: pl.DataFrame
    baselines: Mapping[str, Mapping[str, float]]
    empty_masks: float = 0.0
    cautions: tuple[str, ...] = ()

    def seeds_of(self, loss: str) -> list[int]:
        """Return the seeds that this loss finished."""
        return [seed for seed in self.plan.seeds if (loss, seed) in self.runs]

    def failed(self, loss: str) -> list[str]:
        """Return why trials of this loss failed."""
        return [why for (name, _), why in self.failures.items() if name == loss]


def collect(folder: Path, prepared: Prepared) -> StudyResults:
    """Read what every finished or failed trial left."""
    plan = prepared.plan
    found: dict[tuple[str, int], dict[int, dict[str, Any]]] = defaultdict(dict)
    failures: dict[tuple[str, int], str] = {}
    frames: dict[tuple[str, int], list[pl.DataFrame]] = defaultdict(list)
    trials = plan.trials()
    for trial in trials:
        place, cell = folder / trial.folder, (trial.name, trial.seed)
        outcome = outcome_of(place)
        if outcome is not None and "why" in outcome:
            failures[cell] = outcome["why"] if plan.folds == 1 else f"fold {trial.fold + 1}: {outcome['why']}"
        elif outcome is not None:
            found[cell][trial.fold] = outcome
            frame = _read_scores(place)
            frame = frame.with_columns(
                loss=pl.lit(trial.name),
                seed=pl.lit(trial.seed, pl.Int64),
                group=pl.Series(prepared.split.groups[frame["row"].to_numpy()], dtype=pl.Int64),
            )
            first = ["loss", "seed", "split", "id", "group", "row"]
            frames[cell].append(frame.select(first + [name for name in frame.columns if name not in first]))
    runs = {cell: _over_folds(list(folds.values())) for cell, folds in found.items() if len(folds) == plan.folds}
    finished = [frame for cell in runs for frame in frames[cell]]
    scores = pl.concat(finished, how="diagonal") if finished else pl.DataFrame()
    align = alignments_of(plan.train.metric)
    baselines = [mean_baseline(prepared.store, split, plan.heads, align=align) for split in prepared.splits]
    weights = [len(split.rows["test"]) for split in prepared.splits]
    cautions = tuple(dict.fromkeys(caution for split in prepared.splits for caution in split.cautions))
    baseline = {MEAN_BASELINE: _mean_scores(baselines, weights)}
    return StudyResults(plan, tuple(trials), runs, failures, scores, baseline, _empty_share(runs), cautions)


def _over_folds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the runs of all folds as one: scores and curves are means, weighted by images; counts and times are sums.

    An image is judged in one fold at most, so that a mean of scores per image is the mean over all that are judged. A
    pooled score is the mean of the folds' own.
    """
    if len(runs) == 1:
        return runs[0]
    merged = dict(runs[0])
    for name, split in (("metrics", "test"), ("val_metrics", "val")):
        merged[name] = _mean_scores([run[name] for run in runs], [run["samples"][split] for run in runs])
    val = [run["samples"]["val"] for run in runs]
    epochs = itertools.zip_longest(*(run["curve"] for run in runs))  # some may have stopped early
    merged["curve"] = [_weighted(scores, val) for scores in epochs]
    merged["best_epoch"] = round(float(np.median([run["best_epoch"] for run in runs])))
    merged["counts"] = {name: sum(run["counts"].get(name, 0) for run in runs) for name in runs[0]["counts"]}
    merged["seconds"] = sum(run["seconds"] for run in runs)
    merged["images_per_second"] = float(np.median([run["images_per_second"] for run in runs]))
    merged["initial_weights"] = " ".join(run["initial_weights"] for run in runs)
    return merged


def _mean_scores(scores: Sequence[Mapping[str, float | None]], weights: Sequence[int]) -> dict[str, Any]:
    names = dict.fromkeys(name for found in scores for name in found)
    return {name: _weighted([found.get(name) for found in scores], weights) for name in names}


def _weighted(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None and weight]
    if len(known) == 1:
        return known[0][0]
    return float(np.average([v for v, _ in known], weights=[w for _, w in known])) if known else None


def _empty_share(runs: Mapping[tuple[str, int], Mapping[str, Any]]) -> float:
    """Return the share of empty masks among the test images, a class at a time; they are the same for every run."""
    counts: Mapping[str, int] = next((run["counts"] for run in runs.values() if run.get("counts")), {})
    by_class = [number for name, number in counts.items() if name.startswith("mask_empty/")]
    empty = by_class or [counts.get("mask_empty", 0)]
    return float(sum(empty) / len(empty) / max(1, counts.get("images", 1)))


def _read_scores(place: Path) -> pl.DataFrame:
    path = place / "scores.parquet"
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path} is missing or damaged ({str(error).splitlines()[0]}). Remove {place} and run the study again."
        ) from None


def score_matrix(results: StudyResults, loss: str, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the test scores of a loss: (seeds, images), with the images' rows and groups, both ascending by row."""
    part = (
        results.scores.filter((pl.col("loss") == loss) & (pl.col("split") == "test")) if len(results.scores) else None
    )
    if part is None or metric not in part.columns or not len(part):
        return np.empty((0, 0)), np.empty(0, int), np.empty(0, int)
    part = part.sort("seed", "row")
    seeds = part["seed"].n_unique()
    values = part[metric].to_numpy().astype(float).reshape(seeds, -1)
    images = values.shape[1]
    return values, part["row"].to_numpy()[:images], part["group"].to_numpy()[:images]


def loss_interval(results: StudyResults, loss: str, metric: str) -> Interval | None:
    """Return the mean of a loss over its seeds and the test images, with its interval; None without a score."""
    values, _, groups = score_matrix(results, loss, metric)
    known = np.isfinite(values).all(axis=0)
    if not values.size or not known.any():
        return None
    return mean_interval(values[:, known], groups=groups[known])


def compare(results: StudyResults, a: str, b: str, metric: str) -> Interval | None:
    """Return the paired interval of a − b over the seeds that both finished; None where there is none."""
    both = [seed for seed in results.seeds_of(a) if seed in results.seeds_of(b)]
    one, _, groups = score_matrix(results, a, metric)
    two, _, _ = score_matrix(results, b, metric)
    if not both or not one.size or not two.size:
        return None
    one = one[[results.seeds_of(a).index(seed) for seed in both]]
    two = two[[results.seeds_of(b).index(seed) for seed in both]]
    known = np.isfinite(one).all(axis=0) & np.isfinite(two).all(axis=0)
    return paired_interval(one[:, known], two[:, known], groups=groups[known]) if known.any() else None
