"""The scores of finished trials: one number for every loss, seed and image, and what compares them."""

from __future__ import annotations

from collections.abc import Mapping
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
from basrelief.studies.run import outcome_of


@dataclass(frozen=True)
class StudyResults:
    """What the trials of a study left behind.

    Attributes
    ----------
    runs
        (loss name, seed) -> the document of ``run.json``, for finished trials.
    failures
        (loss name, seed) -> why it failed.
    scores
        One row an image of val and test for every finished trial: loss, seed, split, id, group, and metrics.
    baselines
        Name -> test score by metric.
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

    def seeds_of(self, loss: str) -> list[int]:
        """Return the seeds that this loss finished."""
        return [seed for seed in self.plan.seeds if (loss, seed) in self.runs]

    def failed(self, loss: str) -> list[str]:
        """Return why trials of this loss failed."""
        return [why for (name, _), why in self.failures.items() if name == loss]


def collect(folder: Path, prepared: Prepared) -> StudyResults:
    """Read what every finished or failed trial left."""
    plan = prepared.plan
    runs: dict[tuple[str, int], dict[str, Any]] = {}
    failures: dict[tuple[str, int], str] = {}
    frames: list[pl.DataFrame] = []
    trials = plan.trials()
    for trial in trials:
        place = folder / "trials" / trial.folder
        outcome = outcome_of(place)
        if outcome is not None and "why" in outcome:
            failures[trial.name, trial.seed] = outcome["why"]
        elif outcome is not None:
            runs[trial.name, trial.seed] = outcome
            frame = _read_scores(place)
            frame = frame.with_columns(
                loss=pl.lit(trial.name),
                seed=pl.lit(trial.seed, pl.Int64),
                group=pl.Series(prepared.split.groups[frame["row"].to_numpy()], dtype=pl.Int64),
            )
            first = ["loss", "seed", "split", "id", "group", "row"]
            frames.append(frame.select(first + [name for name in frame.columns if name not in first]))
    scores = pl.concat(frames, how="diagonal") if frames else pl.DataFrame()
    align = alignments_of(plan.train.metric)
    baselines = {MEAN_BASELINE: mean_baseline(prepared.store, prepared.split, plan.heads, align=align)}
    return StudyResults(plan, tuple(trials), runs, failures, scores, baselines, _empty_share(runs))


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
