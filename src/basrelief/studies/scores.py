"""The scores of a study in memory: one number for every metric, loss, seed and image, as arrays sorted by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from basrelief.errors import DataError

JUDGED = ("val", "test")
NOT_METRICS = ("split", "row", "id", "definitions", "loss", "seed", "group")


class ScoreTable:
    """Scores of all finished trials, (seeds, images) for each loss and metric.

    A hundred thousand images, eight losses and ten seeds make 8 million scores of each metric, so images' names and
    groups are kept once, and what is not the primary metric is kept as float32 and of the test images alone.

    Parameters
    ----------
    primary
        The metric that decides; kept as float64, of val and test.
    seeds
        Loss -> the seeds that it finished, in their order.
    groups, ids
        Group and name of every line of the store's index.

    Attributes
    ----------
    ids
        Name of every line of the store's index.
    metrics
        Names of the metrics that have a score for each image, in the order of the trials' files.
    """

    def __init__(
        self, primary: str, seeds: Mapping[str, Sequence[int]], groups: NDArray[np.int64], ids: pl.Series
    ) -> None:
        self.primary, self.ids = primary, ids.to_numpy()
        self.metrics: tuple[str, ...] = ()
        self._groups = np.asarray(groups, np.int64)
        self._places = {(loss, seed): place for loss, found in seeds.items() for place, seed in enumerate(found)}
        self._seeds = {loss: len(found) for loss, found in seeds.items()}
        self._distinct: bool | None = None
        self._rows: dict[str, NDArray[np.int64]] = {}
        self._values: dict[tuple[str, str, str], NDArray[Any]] = {}

    def add(self, loss: str, seed: int, frames: Sequence[pl.DataFrame]) -> None:
        """Take in the scores of a trial, of each of its folds: ``split``, ``row`` and a column a metric.

        Raises
        ------
        DataError
            When they are of other images than those of the trials before.
        """
        frame = pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0]
        found = [name for name in frame.columns if name not in NOT_METRICS]
        self.metrics = tuple(dict.fromkeys([*self.metrics, *found]))
        for split in JUDGED:
            part = frame.filter(pl.col("split") == split)
            rows = part["row"].to_numpy().astype(np.int64)
            order = np.argsort(rows, kind="stable")
            if not np.array_equal(rows[order], self._rows.setdefault(split, rows[order])):
                raise DataError(
                    f"The scores of {loss}, seed {seed}, are of other {split} images than those of another training. "
                    "Remove that training's folder and run the study again."
                )
            for metric in found if split == "test" else [self.primary] if self.primary in found else []:
                values = part[metric].cast(pl.Float64).to_numpy()
                self._array(loss, metric, split)[self._places[loss, seed]] = values[order]

    def matrix(self, loss: str, metric: str, split: str = "test") -> NDArray[np.float64]:
        """Return a loss's scores, (seeds, images), NaN where an image has none; (0, 0) where the loss has none."""
        found = self._values.get((loss, metric, split))
        return np.empty((0, 0)) if found is None else found.astype(np.float64, copy=False)

    def rows(self, split: str = "test") -> NDArray[np.int64]:
        """Return the images of a split as lines of the store's index, ascending."""
        return self._rows.get(split, np.empty(0, np.int64))

    def groups(self, split: str = "test") -> NDArray[np.int64]:
        """Return the groups of a split's images, in the order of ``rows``."""
        return self._groups[self.rows(split)]

    @property
    def every_group(self) -> NDArray[np.int64]:
        """The group of every line of the store's index."""
        return self._groups

    def units(self, known: NDArray[np.bool_]) -> NDArray[np.int64] | None:
        """Return the groups of some test images; None where each is a group of its own, which costs less."""
        if self._distinct is None:
            groups = self.groups()
            self._distinct = len(np.unique(groups)) == len(groups)
        return None if self._distinct else self.groups()[known]

    def of_rows(self, loss: str, place: int, split: str, rows: NDArray[np.int64]) -> list[float | None]:
        """Return the primary metric of some images of a split, of the loss's seed at ``place``; None without a score.

        ``place`` counts the seeds that the loss finished.
        """
        values, known = self.matrix(loss, self.primary, split), self.rows(split)
        if not values.size:
            return [None] * len(rows)
        at = np.searchsorted(known, rows).clip(0, len(known) - 1)
        found = np.where(known[at] == rows, values[place, at], np.nan)
        return [float(value) if np.isfinite(value) else None for value in found]

    def _array(self, loss: str, metric: str, split: str) -> NDArray[Any]:
        key = (loss, metric, split)
        if key not in self._values:
            shape = self._seeds[loss], len(self._rows[split])
            empty = np.full(shape, np.nan, np.float64 if metric == self.primary else np.float32)
            self._values[key] = empty
        return self._values[key]


def scored_images(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which images have a score of every seed, of scores (seeds, images)."""
    return np.asarray(np.isfinite(values).all(axis=0)) if values.size else np.zeros(0, np.bool_)
