"""Connected components of a mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

_NEIGHBOURS = np.ones((3, 3), dtype=bool)  # eight: pixels that touch at a corner are connected
_ROWS = 1024  # of a very large mask, that numpy may copy at a time with 8 bytes a pixel


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
