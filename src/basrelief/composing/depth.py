"""Depth of backgrounds: how it is read, what of it is unknown, and in which steps composites store it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from basrelief.data.decode import FileError
from basrelief.data.folder_facts import depth_facts
from basrelief.data.source import DataOptions
from basrelief.errors import UsageError

UNKNOWN = 0  # code of unknown depth in what is written
MOST = 65535  # the largest code
USUAL_INVALID = (0.0, 65535.0)  # stored values that sensors write where they measure nothing


@dataclass(frozen=True)
class DepthCoding:
    """How depth is read, and how composites store it.

    Attributes
    ----------
    read_scale, invalid
        Stored values of the depth maps times this are distances; stored values that mean unknown.
    scale
        A code of a composite times this is its distance; code 0 is unknown.
    unit, kind
        Of distances; "metric", or "relative" where the unit is not known.
    usual
        A distance at which figures often stand; a figure's size in the picture is its size there, in perspective.
    """

    read_scale: float
    invalid: tuple[float, ...]
    scale: float
    unit: str
    kind: str
    usual: float = 1.0


class DepthLook(NamedTuple):
    """What a depth map holds.

    Attributes
    ----------
    whole
        Whether only whole numbers that fit 16 bits.
    highest
        The highest known value as stored.
    near
        The distance that a tenth of what is known is nearer than.
    unknown, topmost
        Shares of pixels that are unknown, and that hold 65535.
    """

    whole: bool
    highest: float
    near: float
    unknown: float
    topmost: float


def read_coding(options: DataOptions, notes: list[str]) -> DepthCoding:
    """Return how depth maps are read, as the options say; adds to ``notes`` what was assumed.

    Raises
    ------
    UsageError
        For inverse depth, which says nothing about distances.
    """
    unit, kind = depth_facts("depth", options, notes)
    if kind == "disparity":
        raise UsageError(
            "--depths needs distances, and --depth-kind disparity is the inverse of distance. Convert the depth maps, "
            "or let --teacher say the depth of the composites."
        )
    scale = options.depth_scale or 1.0
    return DepthCoding(scale, options.depth_invalid or USUAL_INVALID, scale, unit, kind)


def look_at_depth(stored: np.ndarray, path: Path, coding: DepthCoding) -> DepthLook:
    """Look at a depth map, float32 (H, W) as stored.

    Raises
    ------
    FileError
        If it has no known depth, or depth below 0.
    """
    said = stored[np.isfinite(stored) & ~np.isin(stored, np.array(coding.invalid, np.float32))]
    known = said[said > 0]
    if not known.size:
        raise FileError(str(path), "has no known depth", "Export it again, or remove it and its background")
    if (said < 0).any():
        remedy = "If these mean unknown, name them with --depth-invalid"
        raise FileError(str(path), "has depth below 0, where distances are expected", remedy)
    whole = bool((known == np.rint(known)).all() and known.max() <= MOST)
    near = float(np.percentile(known, 10)) * coding.read_scale
    unknown = 1 - known.size / stored.size
    return DepthLook(whole, float(known.max()), near, unknown, float(np.mean(stored == MOST)))


def settle(coding: DepthCoding, looks: Sequence[DepthLook], assumed: bool, notes: list[str]) -> DepthCoding:
    """Choose the scale of what is written, and the usual distance, once all depth maps have been seen."""
    scale = coding.read_scale
    unit = f" {coding.unit}".rstrip()
    if not all(look.whole for look in looks):
        scale = fine_scale(max(look.highest for look in looks) * coding.read_scale)
        notes.append(f"Depth maps hold fractions or large numbers: composites store depth in steps of {scale:g}{unit}.")
    unknown = float(np.mean([look.unknown for look in looks]))
    notes.append(f"Depth of backgrounds is unknown at {unknown:.1%} of their pixels, and stays so outside the figure.")
    topmost = float(np.mean([look.topmost for look in looks]))
    if assumed and topmost > 0:
        notes.append(
            f"Depth: the stored value 65535 ({topmost:.1%} of the pixels) counts as unknown, as 0 does; "
            "--depth-invalid says otherwise."
        )
    usual = 0.7 * float(np.median([look.near for look in looks]))
    return replace(coding, scale=scale, usual=float(f"{usual:.3g}"))


def decode_depth(codes: np.ndarray, scale: float) -> np.ndarray:
    """Return codes as float32 distances, NaN where unknown, as reading the file does."""
    return np.where(codes == UNKNOWN, np.float32(np.nan), codes.astype(np.float32) * np.float32(scale))


def fine_scale(highest: float) -> float:
    """Return the finest scale of the form 1, 2 or 5 times a power of ten with which 16 bits reach ``highest``."""
    exact = highest / MOST
    power = math.floor(math.log10(exact))
    return next(float(f"{digit}e{power}") for digit in (1, 2, 5, 10) if digit * 10.0**power >= exact)


def encode_depth(stored: np.ndarray, coding: DepthCoding) -> np.ndarray:
    """Return codes, uint16 (H, W), of depth as stored, in steps of ``coding.scale``; 0: unknown or too far."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(stored) & (stored > 0) & ~np.isin(stored, np.array(coding.invalid, np.float32))
        codes = np.rint(np.where(known, stored, 0).astype(np.float64) * (coding.read_scale / coding.scale))
    return np.where(known & (codes <= MOST), np.maximum(codes, 1), UNKNOWN).astype(np.uint16)
