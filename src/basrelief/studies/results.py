"""The scores of finished trials: one number for every loss, seed and image, and what compares them."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from basrelief.engine.baseline import MEAN_BASELINE, mean_baseline
from basrelief.errors import BasreliefError, DataError, OutputError
from basrelief.files import read_json, write_atomic, write_json
from basrelief.metrics import DEFINITIONS_VERSION, alignments_of
from basrelief.statistics import Interval, mean_interval, paired_interval
from basrelief.studies.folds import mean_scores, over_folds
from basrelief.studies.plan import StudyPlan, Trial
from basrelief.studies.scores import ScoreTable, scored_images
from basrelief.studies.stored import Prepared
from basrelief.studies.trials import outcome_of
from basrelief.studies.truth import Truth, read_truth

SCORES, BASELINES, RACE = "scores.parquet", "baselines.json", "race.json"


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
        Of every finished trial, an image of val and test at a time.
    baselines
        Name -> test score by metric.
    cautions
        Why the split flatters scores, or what these do not show, a sentence each.
    empty_masks
        Share of the test images' masks that are empty, of several classes each on its own.
    truth
        What the test images show, in the order of ``scores.rows()``.
    ended
        (loss name, seed, fold) of every training that ended, by finishing ("finished") or not ("failed").
    histories
        (loss name, seed, fold) -> the lines of ``history.parquet`` of every finished training.
    race
        What a race between the losses said, where there was one.
    """

    plan: StudyPlan
    trials: tuple[Trial, ...]
    runs: Mapping[tuple[str, int], dict[str, Any]]
    failures: Mapping[tuple[str, int], str]
    scores: ScoreTable
    baselines: Mapping[str, Mapping[str, float]]
    empty_masks: float = 0.0
    cautions: tuple[str, ...] = ()
    truth: Truth = field(default_factory=Truth)
    ended: Mapping[tuple[str, int, int], str] = field(default_factory=dict)
    histories: Mapping[tuple[str, int, int], pl.DataFrame] = field(default_factory=dict)
    race: Mapping[str, Any] | None = None

    def seeds_of(self, loss: str) -> list[int]:
        """Return the seeds that this loss finished."""
        return [seed for seed in self.plan.seeds if (loss, seed) in self.runs]

    def failed(self, loss: str) -> list[str]:
        """Return why trials of this loss failed."""
        return [why for (name, _), why in self.failures.items() if name == loss]

    def ended_trainings(self, loss: str) -> int:
        """Return how many trainings of this loss ended, each fold of each seed being one."""
        return sum(name == loss for name, _, _ in self.ended)

    def failed_trainings(self, loss: str) -> int:
        """Return how many of them failed."""
        return sum(name == loss and how == "failed" for (name, _, _), how in self.ended.items())


def collect(folder: Path, prepared: Prepared) -> StudyResults:
    """Read what every finished or failed trial left."""
    plan = prepared.plan
    found: dict[tuple[str, int], dict[int, dict[str, Any]]] = defaultdict(dict)
    places: dict[tuple[str, int], list[Path]] = defaultdict(list)
    failures: dict[tuple[str, int], str] = {}
    histories: dict[tuple[str, int, int], pl.DataFrame] = {}
    ended: dict[tuple[str, int, int], str] = {}
    trials = plan.trials()
    for trial in trials:
        place, cell = folder / trial.folder, (trial.name, trial.seed)
        outcome = outcome_of(place)
        if outcome is not None and "why" in outcome:
            ended[*cell, trial.fold] = "failed"
            failures[cell] = outcome["why"] if plan.folds == 1 else f"fold {trial.fold + 1}: {outcome['why']}"
        elif outcome is not None:
            ended[*cell, trial.fold] = "finished"
            found[cell][trial.fold] = outcome
            places[cell].append(place)
            if (place / "history.parquet").exists():
                histories[*cell, trial.fold] = _read_table(place, "history.parquet")
    runs = {cell: over_folds(list(folds.values())) for cell, folds in found.items() if len(folds) == plan.folds}
    finished = {name: [seed for seed in plan.seeds if (name, seed) in runs] for name in plan.losses}
    scores = ScoreTable(str(plan.train.metric), finished, prepared.split.groups, prepared.store.index["id"])
    for loss, seed in runs:
        scores.add(loss, seed, [_read_table(place, SCORES, _is_score) for place in places[loss, seed]])
    return StudyResults(
        plan,
        tuple(trials),
        runs,
        failures,
        scores,
        {MEAN_BASELINE: _baseline(folder, prepared)},
        _empty_share(runs),
        tuple(dict.fromkeys(caution for split in prepared.splits for caution in split.cautions)),
        read_truth(prepared.store, scores.rows()),
        ended,
        histories,
        read_race(folder) if plan.race else None,
    )


def read_race(folder: Path) -> dict[str, Any] | None:
    """Return what ``race.json`` says, None where the study is no race, or there was no look yet."""
    return read_json(folder / RACE) if (folder / RACE).exists() else None


def write_scores(folder: Path, results: StudyResults) -> None:
    """Write the study's ``scores.parquet``: loss, seed, split, id, group, row and metrics, a line an image and trial.

    The trials' own files are joined piece by piece, so that all of them need not fit into memory.
    """
    groups = results.scores.every_group
    parts = []
    for trial in results.trials:
        if (trial.name, trial.seed) not in results.runs:
            continue
        path = folder / trial.folder / SCORES
        frame = pl.scan_parquet(path).with_columns(
            loss=pl.lit(trial.name),
            seed=pl.lit(trial.seed, pl.Int64),
            group=pl.col("row").map_batches(
                lambda rows: pl.Series(groups[rows.to_numpy()]), return_dtype=pl.Int64, is_elementwise=True
            ),
        )
        first = ["loss", "seed", "split", "id", "group", "row"]
        parts.append(frame.select(*first, pl.exclude(first)))
    table = pl.concat(parts, how="diagonal") if parts else pl.LazyFrame()
    # A third less time than polars's own level, for a file larger by a twentieth.
    write_atomic(folder / SCORES, lambda temporary: table.sink_parquet(temporary, compression_level=1))


def _baseline(folder: Path, prepared: Prepared) -> dict[str, float]:
    """Return the test scores of the mean of the training set, kept in the folder since they take a pass over all data.

    They are computed anew where anything that they depend on is another, and where the folder cannot be written.
    """
    plan = prepared.plan
    align = alignments_of(plan.train.metric)
    key = {
        "store": prepared.store.facts.fingerprint,
        "splits": [split.fingerprint() for split in prepared.splits],
        "heads": list(plan.heads),
        "align": list(align),
        "definitions": DEFINITIONS_VERSION,
    }
    with contextlib.suppress(BasreliefError, KeyError, TypeError, ValueError, AttributeError):
        kept = read_json(folder / BASELINES)
        if kept["of"] == key:
            return {str(name): float(value) for name, value in kept[MEAN_BASELINE].items()}
    found = [mean_baseline(prepared.store, split, plan.heads, align=align) for split in prepared.splits]
    scores = mean_scores(found, [len(split.rows["test"]) for split in prepared.splits])
    with contextlib.suppress(OutputError, OSError):
        write_json(folder / BASELINES, {"of": key, MEAN_BASELINE: scores})
    return scores


def _empty_share(runs: Mapping[tuple[str, int], Mapping[str, Any]]) -> float:
    """Return the share of empty masks among the test images, a class at a time; they are the same for every run."""
    counts: Mapping[str, int] = next((run["counts"] for run in runs.values() if run.get("counts")), {})
    by_class = [number for name, number in counts.items() if name.startswith("mask_empty/")]
    empty = by_class or [counts.get("mask_empty", 0)]
    return float(sum(empty) / len(empty) / max(1, counts.get("images", 1)))


def _is_score(column: str) -> bool:
    return column in ("split", "row") or "/" in column


def _read_table(place: Path, name: str, wanted: Callable[[str], bool] | None = None) -> pl.DataFrame:
    """Read the wanted columns of a trial's table, all where None."""
    path = place / name
    try:
        columns = [column for column in pl.read_parquet_schema(path) if wanted is None or wanted(column)]
        return pl.read_parquet(path, columns=columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path} is missing or damaged ({str(error).splitlines()[0]}). Remove {place} and run the study again."
        ) from None


def score_matrix(
    results: StudyResults, loss: str, metric: str
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the test scores of a loss: (seeds, images), with the images' rows and groups, both ascending by row."""
    values = results.scores.matrix(loss, metric)
    if not values.size:
        return values, np.empty(0, np.int64), np.empty(0, np.int64)
    return values, results.scores.rows(), results.scores.groups()


def loss_interval(
    results: StudyResults, loss: str, metric: str, images: NDArray[np.bool_] | None = None
) -> Interval | None:
    """Return the mean of a loss over its seeds and the test images, with its interval; None without a score.

    ``images`` says which test images count, all where None.
    """
    values = results.scores.matrix(loss, metric)
    known = _known(values, images)
    if known is None:
        return None
    return mean_interval(values[:, known], groups=results.scores.units(known))


def compare(
    results: StudyResults, a: str, b: str, metric: str, images: NDArray[np.bool_] | None = None
) -> Interval | None:
    """Return the paired interval of a − b over the seeds that both finished; None where there is none."""
    paired = paired_scores(results, a, b, metric, images)
    if paired is None:
        return None
    one, two, known = paired
    return paired_interval(one, two, groups=results.scores.units(known))


def paired_scores(
    results: StudyResults, a: str, b: str, metric: str, images: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]] | None:
    """Return two losses' scores over common seeds and images, and which of the test images those are.

    None where there is none.
    """
    one, two = results.scores.matrix(a, metric), results.scores.matrix(b, metric)
    if not one.size or not two.size:
        return None
    of_a, of_b = results.seeds_of(a), results.seeds_of(b)
    both = [seed for seed in of_a if seed in of_b]
    if not both:
        return None
    one = one if both == of_a else one[[of_a.index(seed) for seed in both]]
    two = two if both == of_b else two[[of_b.index(seed) for seed in both]]
    known = _known(one, images)
    other = _known(two, images)
    if known is None or other is None or not (known & other).any():
        return None
    known &= other
    return (one, two, known) if known.all() else (one[:, known], two[:, known], known)


def _known(values: NDArray[np.float64], images: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Return which images count and have a score of every seed, None where none has."""
    known = scored_images(values)
    if images is not None and len(known):
        known &= images
    return known if known.any() else None
