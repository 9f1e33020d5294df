"""Connected components of masks as COCO annotations: box, area, score and run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from basrelief.functional.components import components
from basrelief.inference.planes import MOST


def find_boxes(labels: np.ndarray, soft: np.ndarray, *, min_area: int = 1) -> list[dict[str, Any]]:
    """Return the connected components of each class as COCO annotations, without ids, largest first.

    Parameters
    ----------
    labels
        (H, W): 0 where there is none, else 1 + the number of the class.
    soft
        uint16 (K, H, W), probability times 65535.
    min_area
        Leave out what has fewer pixels.

    Returns
    -------
    list of dict
        ``category_id`` (1 + the number of the class), ``bbox`` ([x, y, width, height] in pixels), ``area`` (pixels),
        ``score`` (the mean probability of its pixels), ``segmentation`` (run lengths, not compressed), ``iscrowd`` 0.
    """
    height, width = labels.shape
    found: list[dict[str, Any]] = []
    for number in np.unique(labels[labels > 0]).tolist():
        for box, part in components(labels == number, min_area=min_area)[0]:
            rows, columns = box
            found.append(
                {
                    "category_id": number,
                    **measure(box, part, soft[number - 1]),
                    "segmentation": {
                        "size": [height, width],
                        "counts": run_lengths(part, (rows.start, columns.start), (height, width)),
                    },
                    "iscrowd": 0,
                }
            )
    return sorted(found, key=lambda box: (-box["area"], box["bbox"]))


def measure(box: tuple[slice, slice], part: np.ndarray, soft: np.ndarray) -> dict[str, Any]:
    """Return ``bbox`` ([x, y, width, height]), ``area`` and ``score`` of a component; ``soft`` uint16 (H, W)."""
    rows, columns = box
    score = float(soft[box][part].mean(dtype=np.float64)) / MOST
    return {
        "bbox": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
        "area": int(part.sum()),
        "score": round(score, 6),
    }


def run_lengths(part: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> list[int]:
    """Return COCO's run lengths of a mask that is false but for one part: down the columns, the first run false.

    Parameters
    ----------
    part
        bool (h, w), the mask in its box.
    corner
        Row and column of the box's first pixel.
    size
        Height and width of the whole.
    """
    # A false row below the part ends its runs at every column's end; those that go on at the next top are joined.
    closed = np.zeros((part.shape[0] + 2, part.shape[1]), np.int8)
    closed[1:-1] = part
    steps = np.diff(closed, axis=0).T
    columns, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    at = (columns + corner[1]) * size[0] + corner[0]
    edges = np.stack([at + starts, at + ends], axis=1).ravel()
    joined = np.flatnonzero(edges[1:-1:2] == edges[2::2])  # an end where the next run starts
    edges = np.delete(edges, np.concatenate([2 * joined + 1, 2 * joined + 2]))
    counts: list[int] = np.diff(edges, prepend=0, append=size[0] * size[1]).tolist()
    return counts if counts[-1] else counts[:-1]
