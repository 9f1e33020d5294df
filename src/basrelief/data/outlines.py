"""A single annotation's outline and box, as COCO writes them, checked before anything is drawn.

The checks come first because drawing is done in C: a run-length mask that does not fill its image leaves memory as it
was, and a polygon that reaches far outside takes as much of it as it is long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from basrelief.data.instances import Runs

Box = tuple[float, float, float, float]
_LONGEST = 7  # characters of a compressed number: 35 bits


class ShapeError(Exception):
    """An outline that cannot be used, as the end of a sentence ("has no segmentation").

    Attributes
    ----------
    nothing
        Whether it marks no pixel of the image, so that without it the mask is right.
    misplaced
        Whether it does not belong to an image of this size, so that the others are wrong as well.
    """

    def __init__(self, problem: str, *, nothing: bool = False, misplaced: bool = False) -> None:
        super().__init__(problem)
        self.nothing = nothing
        self.misplaced = misplaced


def read_box(value: Any, size: tuple[int, int]) -> Box | None:
    """Return x, y, width and height of a box; None where there is none, or it is empty or outside the image."""
    numbers = _numbers(value)
    if numbers is None or len(numbers) != 4:
        return None
    x, y, width, height = (float(number) for number in numbers)
    inside = width > 0 and height > 0 and x < size[1] and y < size[0] and x + width > 0 and y + height > 0
    return (x, y, width, height) if inside else None


def read_shape(value: Any, size: tuple[int, int]) -> tuple[tuple[np.ndarray, ...], Runs | None]:
    """Return an annotation's polygons, or its runs.

    Polygons that mark nothing are left out beside others that do.

    Raises
    ------
    ShapeError
        When nothing is left, or it cannot be read.
    """
    if isinstance(value, dict):
        return (), _read_runs(value, size)
    if value is None or value == [] or value == [[]]:
        raise ShapeError("have no segmentation", nothing=True)
    if not isinstance(value, list):
        raise ShapeError("have a segmentation that is neither polygons nor run-length counts")
    polygons = value if isinstance(value[0], list) else [value]  # some tools write one polygon without its list
    kept: list[np.ndarray] = []
    last: ShapeError | None = None
    for polygon in polygons:
        try:
            kept.append(check_polygon(polygon, size))
        except ShapeError as error:
            if not error.nothing:
                raise
            last = error
    if not kept:
        raise last or ShapeError("have no segmentation", nothing=True)
    return tuple(kept), None


def extent(polygons: Sequence[np.ndarray]) -> Box:
    """Return the box around polygons."""
    low = np.min([polygon.min(axis=0) for polygon in polygons], axis=0)
    high = np.max([polygon.max(axis=0) for polygon in polygons], axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def check_polygon(value: Any, size: tuple[int, int]) -> np.ndarray:
    """Return a polygon, x and y in turn, as float (P, 2).

    Raises
    ------
    ShapeError
        When it has no area within an image of ``size``, or is none.
    """
    numbers = _numbers(value)
    if numbers is None or len(numbers) % 2:
        raise ShapeError("have a polygon that is no list of finite numbers, x and y in turn")
    points = numbers.reshape(-1, 2)
    if len(points) < 3:
        raise ShapeError("have a polygon of fewer than 3 points", nothing=True)
    low, high = points.min(axis=0), points.max(axis=0)
    if (low < -max(size)).any() or (high > 2 * max(size)).any():
        raise ShapeError(
            f"reaches far outside (x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to {high[1]:.0f}; the image is "
            f"{size[1]} × {size[0]})",
            misplaced=True,
        )
    if (high <= 0).any() or low[0] >= size[1] or low[1] >= size[0]:
        raise ShapeError("lie outside their image", nothing=True)
    if (high - low <= 0).any():
        raise ShapeError("have a polygon without area", nothing=True)
    return points


def _read_runs(value: dict[str, Any], size: tuple[int, int]) -> Runs:
    counts, stated = value.get("counts"), _numbers(value.get("size"))
    if stated is None or len(stated) != 2:
        raise ShapeError("have run-length counts without the image's size")
    if tuple(stated) != size:
        raise ShapeError(
            f"is a run-length mask of {stated[1]:.0f} × {stated[0]:.0f} pixels, of an image with {size[1]} × {size[0]}",
            misplaced=True,
        )
    lengths = _uncompress(counts) if isinstance(counts, str) else _numbers(counts)
    if lengths is None or (lengths < 0).any() or (lengths != np.rint(lengths)).any():
        raise ShapeError("have run-length counts that cannot be read")
    if lengths.sum() != size[0] * size[1]:
        raise ShapeError("have run-length counts that do not fill their image")
    if not lengths[1::2].any():
        raise ShapeError("have an empty run-length mask", nothing=True)
    return Runs(size, lengths.astype(np.int64))


def _uncompress(text: str) -> np.ndarray | None:
    """Return the lengths in COCO's compressed counts, as floats; None if these are no such counts.

    A number is written in characters from "0" on, five bits each, lowest first; the sixth bit says that more follow,
    and the highest of the five in the last character is the sign. From the fourth number on, each is the difference
    to the one two before.
    """
    codes = np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int64) - 48
    if not len(codes) or (codes < 0).any() or (codes > 63).any() or codes[-1] & 32:
        return None
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() >= _LONGEST:
        return None
    place = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    numbers = np.add.reduceat((codes & 31) << (5 * place), starts)
    numbers -= np.where(codes[ends] & 16, np.int64(1) << (5 * (ends - starts + 1)), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers.astype(np.float64)


def runs_of(pixels: np.ndarray) -> Runs:
    """Return the pixels of a mask, bool (H, W), as runs."""
    flat = pixels.T.ravel()
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], ends, [flat.size]]))
    return Runs((pixels.shape[0], pixels.shape[1]), np.concatenate([[0], lengths]) if flat[0] else lengths)


def extent_of_runs(runs: Runs) -> Box:
    """Return the box around the ones, without drawing them."""
    height = runs.size[0]
    stops = np.cumsum(runs.lengths)
    first, last = stops[:-1][::2], stops[1::2] - 1  # of every run of ones, counted down the columns
    first, last = first[: len(last)][last >= first[: len(last)]], last[last >= first[: len(last)]]
    left, right = first.min() // height, last.max() // height
    if (first // height != last // height).any():
        top, bottom = np.int64(0), np.int64(height - 1)  # a run that goes on in the next column touches both edges
    else:
        top, bottom = (first % height).min(), (last % height).max()
    return float(left), float(top), float(right - left + 1), float(bottom - top + 1)


def _numbers(value: Any) -> np.ndarray | None:
    """Return a flat list of finite numbers as an array, None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return array if array.ndim == 1 and np.isfinite(array).all() else None
