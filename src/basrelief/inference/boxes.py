"""Connected components of masks as COCO annotations: box, area, score and run lengths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import ndimage

from basrelief.inference.planes import MOST

_NEIGHBOURS = np.ones((3, 3), dtype=bool)  # eight: pixels that touch at a corner are connected
_ROWS = 1024  # of a very large mask, that numpy may copy at a time with 8 bytes a pixel


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


def components(
    mask: np.ndarray, *, min_area: int = 1, most: int | None = None
) -> tuple[Iterator[tuple[tuple[slice, slice], np.ndarray]], int]:
    """Return the connected components of a mask, largest first, and how many there are.

    Pixels that touch at a corner are connected. Work and memory grow with the pixels and with what is returned, not
    with the number of components: a mask of noise has millions.

    Parameters
    ----------
    mask
        bool (H, W).
    min_area, most
        Leave out what has fewer pixels, and all but so many.

    Returns
    -------
    iterator
        Of each component its box (rows, columns), and the component in it, bool (h, w).
    int
        The number of all components, also of those left out.
    """
    parts, count = ndimage.label(mask, structure=_NEIGHBOURS)
    blocks = [slice(top, top + _ROWS) for top in range(0, len(mask), _ROWS)]
    areas = np.zeros(count + 1, np.int64)
    for rows in blocks:
        areas += np.bincount(parts[rows].ravel(), minlength=count + 1)
    areas = areas[1:]
    chosen = np.argsort(-areas, kind="stable")[:most]
    chosen = chosen[areas[chosen] >= min_area]
    ranks = np.zeros(count + 1, np.int32)
    ranks[1 + chosen] = np.arange(1, len(chosen) + 1)
    for rows in blocks:
        parts[rows] = ranks[parts[rows]]
    places = ndimage.find_objects(parts, max_label=len(chosen))
    return ((place, parts[place] == rank) for rank, place in enumerate(places, 1)), count


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
