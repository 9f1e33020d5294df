"""What is written of one picture, as arrays of few bytes, so that a very large picture stays in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from basrelief.inference.prediction import Prediction
from basrelief.inference.predictor import Predictor
from basrelief.inference.spool import Spool

MOST = 65535  # of 16 bits: probability 1, or depth at the run's maximum
Band = tuple[slice, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Facts:
    """What the pictures of one network have in common.

    Attributes
    ----------
    classes, thresholds
        Of each class of the mask: its name, and above which probability a pixel is mask.
    scale
        Code of depth times this is depth in ``unit``.
    unit, kind
        As the run states them; "" where they are not known.
    """

    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    scale: float
    unit: str
    kind: str


@dataclass(frozen=True)
class Planes:
    """One picture and what a network says of it; None for what is not there or not wanted.

    Attributes
    ----------
    image
        uint8 (H, W, 3).
    labels
        (H, W): 0 where there is none, else 1 + the number of the class; uint8, for more than 255 classes uint16.
    soft
        uint16 (K, H, W), probability times 65535.
    codes
        uint16 (H, W), depth over ``facts.scale``.
    probability, depth
        float32 (K, H, W) and (H, W), unrounded.
    on_disk
        In their place, by their names, where they are too much for memory.
    """

    facts: Facts
    image: np.ndarray
    labels: np.ndarray | None = None
    soft: np.ndarray | None = None
    codes: np.ndarray | None = None
    probability: np.ndarray | None = None
    depth: np.ndarray | None = None
    on_disk: Mapping[str, Spool] = field(default_factory=dict)


def facts_of(predictor: Predictor) -> Facts:
    """Return what all predictions of a network have in common."""
    run = predictor.run
    return Facts(
        tuple(run["classes"]),
        predictor.thresholds,
        float(run["depth_max"] or 1.0) / MOST,
        run["depth_unit"] or "",
        run["depth_kind"] or "",
    )


def planes_of(prediction: Prediction, facts: Facts, wanted: Collection[str]) -> Planes:
    """Return the wanted planes of a prediction."""
    heads = {}
    if prediction.probability is not None:
        heads["mask"] = prediction.probability.reshape(-1, *prediction.image.shape[:2])
    if prediction.depth is not None:
        heads["depth"] = prediction.depth[None]
    return collect([(slice(0, prediction.image.shape[0]), heads)], prediction.image, facts, wanted)


def collect(
    bands: Iterable[Band], image: np.ndarray, facts: Facts, wanted: Collection[str], scratch: Path | None = None
) -> Planes:
    """Put a picture's bands together, see ``Predictor.bands``; each is forgotten before the next one is made.

    Parameters
    ----------
    bands
        Rows, and for each head float32 (C, rows, W).
    image
        uint8 (H, W, 3).
    wanted
        Names of planes; those of a head that the network does not have stay None.
    scratch
        Where floats, which take four bytes a pixel, are kept on disk; None: in memory.
    """
    height, width = image.shape[:2]
    count = len(facts.classes)
    limits = np.asarray(facts.thresholds, np.float32)[:, None, None]
    made: dict[str, np.ndarray] = {}
    on_disk: dict[str, Spool] = {}

    def rows_of(name: str, shape: tuple[int, ...], kind: type, rows: slice) -> np.ndarray:
        if name not in made:
            made[name] = np.empty(shape, kind)
        return made[name][..., rows, :]

    def put_floats(name: str, values: np.ndarray, rows: slice) -> None:
        shape = (*values.shape[:-2], height, width)
        if scratch is None:
            rows_of(name, shape, np.float32, rows)[...] = values
        else:
            if name not in on_disk:
                on_disk[name] = Spool(shape, scratch)
            on_disk[name].put(rows, values)

    for rows, heads in bands:
        mask, depth = heads.get("mask"), heads.get("depth")
        if mask is not None and "labels" in wanted:
            kind = np.uint8 if count < 256 else np.uint16
            rows_of("labels", (height, width), kind, rows)[...] = label_pixels(mask, limits)
        if mask is not None and "soft" in wanted:
            rows_of("soft", (count, height, width), np.uint16, rows)[...] = _codes(mask * np.float32(MOST))
        if mask is not None and "probability" in wanted:
            put_floats("probability", mask, rows)
        if depth is not None and "codes" in wanted:
            rows_of("codes", (height, width), np.uint16, rows)[...] = _codes(depth[0] / facts.scale)
        if depth is not None and "depth" in wanted:
            put_floats("depth", depth[0], rows)
    return Planes(facts, image, on_disk=on_disk, **made)


def label_pixels(probability: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return (H, W) of a (K, H, W) probability: 0, or 1 + the most probable class of those above their limit."""
    above = probability > limits
    if len(probability) == 1:
        only: np.ndarray = above[0]
        return only
    best: np.ndarray = np.where(above, probability, -1).argmax(axis=0)
    return np.where(above.any(axis=0), best + 1, 0)


def _codes(values: np.ndarray) -> np.ndarray:
    codes: np.ndarray = np.rint(values).clip(0, MOST).astype(np.uint16)
    return codes
