"""The scores of many images as arrays in the order of the images, and the intervals that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basrelief.metrics import count_images, pool, summarise
from basrelief.statistics import Interval, draw_images, images_interval, resampled_bounds
from basrelief.studies.decisions import bounds, shown_interval

LEVEL = 0.95
Bounds = list[float | None]


class ImageScores:
    """Scores collected image by image; an image may lack any of them.

    Some hundred numbers are kept of an image, whatever its size.
    """

    def __init__(self) -> None:
        self._parts: dict[str, tuple[list[int], list[np.ndarray]]] = {}
        self.groups: list[str] = []

    def __len__(self) -> int:
        return len(self.groups)

    def add(self, scores: Mapping[str, np.ndarray], group: str) -> None:
        """Take in one image: arrays (1, …) by name, as ``score_batch`` gives them."""
        for name, value in scores.items():
            places, values = self._parts.setdefault(name, ([], []))
            places.append(len(self.groups))
            values.append(value[0].astype(np.float64))
        self.groups.append(group)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return each score as an array (images, …): NaN where an image has no such metric, and sums of 0."""
        found = {}
        for name, (places, values) in self._parts.items():
            array = np.full((len(self), *values[0].shape), 0.0 if name.startswith("_") else np.nan)
            array[places] = values
            found[name] = array
        return found

    def labels(self) -> NDArray[np.str_] | None:
        """Return the images' groups; None where each image is a group of its own."""
        return None if len(set(self.groups)) == len(self) else np.asarray(self.groups)

    def facts(self, classes: Sequence[str], *, level: float = LEVEL) -> dict[str, Any]:
        """Return ``metrics`` (name -> mean or None), ``intervals`` (name -> bounds or None) and ``counts``."""
        arrays, labels = self.arrays(), self.labels()
        metrics = summarise(arrays, classes)
        pooled = _pooled_intervals(arrays, len(self), labels, level)
        intervals: dict[str, Bounds | None] = {}
        for name in metrics:
            if name in pooled:
                intervals[name] = pooled[name]
            else:
                interval = interval_of(arrays[name], labels, level=level)
                intervals[name] = None if interval is None else shown(interval, name)
        return {
            "metrics": metrics,
            "intervals": intervals,
            "counts": count_images(arrays, classes, images=len(self)),
        }


def interval_of(values: NDArray[np.float64], labels: NDArray[Any] | None, *, level: float = LEVEL) -> Interval | None:
    """Return the interval of the mean of those values that are known; None where none is."""
    known = np.isfinite(values)
    if not known.any():
        return None
    return images_interval(values[known], groups=None if labels is None else labels[known], level=level)


def shown(interval: Interval, metric: str) -> Bounds | None:
    """Return an interval of a metric's mean, cut at what the metric can be; None where it has no bounds."""
    if interval.low is None:
        return None
    return shown_interval(interval.low, interval.high, interval.difference, *bounds(metric))


def _pooled_intervals(
    arrays: Mapping[str, np.ndarray], images: int, labels: NDArray[Any] | None, level: float
) -> dict[str, Bounds | None]:
    """Return the intervals of the pooled metrics, from images (or groups) drawn with replacement."""
    units = images if labels is None else len(set(labels.tolist()))
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in pool(arrays)}
    for weights in draw_images(images, groups=labels):
        for name, values in pool(arrays, weights).items():
            drawn[name].append(values)
    found = {name: resampled_bounds(np.concatenate(drawn[name]), units=units, level=level) for name in drawn}
    return {name: None if ends is None else list(ends) for name, ends in found.items()}
