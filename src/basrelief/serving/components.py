"""The largest connected parts of a mask, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from basrelief.functional.components import components
from basrelief.inference.boxes import measure


def find_largest(
    labels: np.ndarray, soft: np.ndarray, classes: Sequence[str], most: int
) -> tuple[list[dict[str, Any]], int]:
    """Return the largest connected parts of all classes, largest first, and how many parts there are.

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
        parts, count = components(labels == number, most=most)
        total += count
        for box, part in parts:
            measured = measure(box, part, plane)
            found.append({"class": name, "box": measured.pop("bbox"), **measured})
    found.sort(key=lambda part: -part["area"])
    return found[:most], total
