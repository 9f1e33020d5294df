"""What the test images truly show, for results by stratum: how large the figure is, and how far the scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from basrelief.data.store import UNKNOWN_DEPTH, Store

AT_ONCE = 512  # images read together
GRID = 64  # points a side at most that a median depth is taken over
_BITS = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)


@dataclass(frozen=True)
class Truth:
    """Facts about some images, in the order of the rows they were asked for.

    Attributes
    ----------
    figure
        Share of the known pixels that belong to the mask, of any class; NaN where none is known. None without masks.
    depth
        Median true depth in the data's unit; NaN where none is known. None without depth.
    unit
        Of depth, "" where it has none.
    inverse
        Whether a larger value is nearer, as of disparity.
    """

    figure: NDArray[np.float64] | None = None
    depth: NDArray[np.float64] | None = None
    unit: str = ""
    inverse: bool = False


def read_truth(store: Store, rows: NDArray[np.int64]) -> Truth:
    """Return the facts of some images of a store; ``rows`` are lines of its index."""
    facts = store.facts
    return Truth(
        figure=_figure(store, rows) if store.shards("mask") else None,
        depth=_depth(store, rows) if store.shards("depth") else None,
        unit=facts.depth_unit or "",
        inverse=facts.depth_kind == "disparity",
    )


def _figure(store: Store, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    shares = np.full(len(rows), np.nan)
    height, width = store.facts.resolution
    for places, samples in _chunks(store, rows):
        bits = np.bitwise_or.reduce(_read(store, "mask", samples), axis=1)
        known = np.full(len(places), height * width)
        if store.shards("mask_valid"):
            valid = _read(store, "mask_valid", samples)
            bits &= valid
            known = _BITS[valid].sum(axis=(1, 2), dtype=np.int64)
        count = _BITS[bits].sum(axis=(1, 2), dtype=np.int64)
        shares[places] = np.where(known > 0, count / np.maximum(known, 1), np.nan)
    return shares


def _depth(store: Store, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return medians over a grid of pixels: the middle of the sorted codes, of which the unknown ones come last."""
    medians = np.full(len(rows), np.nan)
    steps = tuple(-(-side // GRID) for side in store.facts.resolution)
    for places, samples in _chunks(store, rows):
        codes = _read(store, "depth", samples)[:, :: steps[0], :: steps[1]].reshape(len(places), -1)
        codes = np.sort(codes, axis=1)
        known = (codes != UNKNOWN_DEPTH).sum(axis=1)
        middle = np.stack([(known - 1) // 2, known // 2], axis=1).clip(0, codes.shape[1] - 1)
        found = np.take_along_axis(codes, middle, axis=1).mean(axis=1) * store.depth_scales[rows[places]]
        medians[places] = np.where(known > 0, found, np.nan)
    return medians


def _chunks(store: Store, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield places in ``rows`` with the samples' rows in the shards, some at a time."""
    samples = store.rows[rows].astype(np.int64)
    for start in range(0, len(rows), AT_ONCE):
        places = np.arange(start, min(start + AT_ONCE, len(rows)))
        yield places, samples[places]


def _read(store: Store, plane: str, samples: NDArray[np.int64]) -> NDArray:
    """Return rows of a plane, whichever shards they lie in."""
    shards, each = store.shards(plane), store.facts.shard_rows
    found = np.empty((len(samples), *shards[0].shape[1:]), shards[0].dtype)
    for number in np.unique(samples // each):
        here = samples // each == number
        found[here] = shards[number][samples[here] % each]
    return found
