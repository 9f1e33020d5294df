"""The largest connected parts of a mask, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from basrelief.inference.planes import MOST


def find_largest(
    labels: np.ndarray, soft: np.ndarray, classes: Sequence[str], most: int
) -> tuple[list[dict[str, Any]], int]:
    """Return the largest connected parts of all classes, largest first, and how many parts there are.

    Pixels that touch at a corner are connected. Work and memory grow with the pixels, not with the number of parts: a
    mask of noise has millions.

    Parameters
    ----------
    labels
        (H, W): 0 where there is none, else 1 + the number of the class.
    soft
        uint16 (K, H, W), probability times 65535.
    classes
        K names.
    most
        How many are returned.

    Returns
    -------
    list of dict
        ``class``, ``box`` ([x, y, width, height] in pixels), ``area`` (pixels), ``score`` (mean probability).
    int
        The number of parts.
    """
    found: list[dict[str, Any]] = []
    total = 0
    for number, (name, plane) in enumerate(zip(classes, soft, strict=True), 1):
        parts, count = ndimage.label(labels == number, structure=np.ones((3, 3), bool))
        total += count
        areas = np.bincount(parts.ravel(), minlength=count + 1)
        chosen = 1 + np.argsort(-areas[1:], kind="stable")[:most]
        ranks = np.zeros(count + 1, np.int32)
        ranks[chosen] = np.arange(1, len(chosen) + 1)
        parts = ranks[parts]
        for rank, place in enumerate(ndimage.find_objects(parts, max_label=len(chosen)), 1):
            inside = parts[place] == rank
            found.append(
                {
                    "class": name,
                    "box": [place[1].start, place[0].start, inside.shape[1], inside.shape[0]],
                    "area": int(inside.sum()),
                    "score": round(float(plane[place][inside].mean(dtype=np.float64)) / MOST, 6),
                }
            )
    found.sort(key=lambda part: -part["area"])
    return found[:most], total
