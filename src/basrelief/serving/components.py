"""The largest connected parts of a mask, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage


def find_largest(
    mask: np.ndarray, probability: np.ndarray, classes: Sequence[str], most: int
) -> tuple[list[dict[str, Any]], int]:
    """Return the largest connected parts of all classes, largest first, and how many parts there are.

    Pixels that touch at a corner are connected. Work and memory grow with the pixels, not with the number of parts: a
    mask of noise has millions.

    Parameters
    ----------
    mask
        bool (K, H, W).
    probability
        float (K, H, W).
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
    for name, plane, soft in zip(classes, mask, probability, strict=True):
        labels, count = ndimage.label(plane, structure=np.ones((3, 3), bool))
        total += count
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        chosen = 1 + np.argsort(-areas[1:], kind="stable")[:most]
        numbers = np.zeros(count + 1, np.int32)
        numbers[chosen] = np.arange(1, len(chosen) + 1)
        labels = numbers[labels]
        for number, place in enumerate(ndimage.find_objects(labels, max_label=len(chosen)), 1):
            inside = labels[place] == number
            found.append(
                {
                    "class": name,
                    "box": [place[1].start, place[0].start, inside.shape[1], inside.shape[0]],
                    "area": int(inside.sum()),
                    "score": round(float(soft[place][inside].mean(dtype=np.float64)), 6),
                }
            )
    found.sort(key=lambda part: -part["area"])
    return found[:most], total
