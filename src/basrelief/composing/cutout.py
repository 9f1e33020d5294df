"""Foregrounds for composing: a figure cut out of its picture, with transparency around it.

What is no cut-out (a photograph, a figure in a white box) would be pasted as a rectangle, with a rectangle as its mask;
so it is noticed here and refused by name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from basrelief.data.decode import FileError, read_cutout

FIGURE_FROM = 128  # alpha from which a pixel belongs to the mask: at least half covered
FAINTEST = 8  # alpha below this (3 %) is what cutting-out programs leave around a figure, and is cut away
SMALLEST = 16  # pixels; a figure smaller than this would be a blur
_EVEN = 16  # grey levels within which a border counts as of one colour
_CUT_OUT = "Cut the figure out in an image editor, and save it as PNG with transparency around it"


def load_figure(path: Path, largest: int | None = None) -> np.ndarray:
    """Return a figure, cropped to what is visible of it.

    Parameters
    ----------
    path
        A picture with transparency; alpha may be soft.
    largest
        Longest side in pixels from which on it is reduced, which saves time where it is pasted much smaller.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, 4), colours not premultiplied.

    Raises
    ------
    FileError
        If the file cannot be read, or is no cut-out: opaque, a box, wholly transparent, tiny.
    """
    picture = read_cutout(path)
    if fault := _reason_against(picture):
        raise FileError(str(path), *fault)
    figure = _cropped(picture)
    longest = max(figure.shape[:2])
    if largest is not None and longest > largest:
        size = (max(1, round(side * largest / longest)) for side in figure.shape[:2])
        figure = resize_figure(figure, *size)
    return figure


def resize_figure(figure: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize uint8 (H, W, 4) with anti-aliasing; colours weighted by alpha, so that nothing leaves a fringe.

    Pillow resizes RGBA premultiplied, as it must be: Porter and Duff, Compositing Digital Images, 1984.
    """
    if figure.shape[:2] == (height, width):
        return figure
    return np.asarray(Image.fromarray(figure).resize((width, height), Image.Resampling.BILINEAR))


def _cropped(picture: np.ndarray) -> np.ndarray:
    seen = picture[..., 3] >= FAINTEST
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return np.ascontiguousarray(picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _reason_against(picture: np.ndarray) -> tuple[str, str] | None:
    """Return (problem, remedy) of a picture that is no cut-out."""
    alpha = picture[..., 3]
    if not (alpha >= FIGURE_FROM).any():
        how = "is wholly transparent" if not alpha.any() else "is nowhere more than half opaque"
        return f"{how}, so there is no figure to paste", "Save it again with its figure opaque, or remove it"
    figure = _cropped(picture)
    ring = np.concatenate([figure[0], figure[-1], figure[:, 0], figure[:, -1]])
    colours = ring[:, :3].astype(np.int16)
    typical = np.median(colours, axis=0)
    even = np.mean(np.abs(colours - typical).max(axis=1) <= _EVEN) >= 0.9
    inside = np.abs(figure[..., :3] - typical).max(axis=2) > _EVEN  # a plain rectangle is a figure, if a dull one
    if even and inside.any() and np.mean(ring[:, 3] >= 250) >= 0.98:
        colour = "white" if typical.min() >= 240 else "black" if typical.max() <= 15 else "single-coloured"
        return f"has a {colour} box around its figure where transparency was expected", _CUT_OUT
    if alpha.min() >= 250:
        return "is wholly opaque, so it would be pasted as a rectangle", _CUT_OUT
    if max(figure.shape[:2]) < SMALLEST or np.count_nonzero(alpha >= FIGURE_FROM) < 2 * SMALLEST:
        size = f"{figure.shape[1]} × {figure.shape[0]}"
        return f"has a figure of {size} pixels, too small to paste", "Use a larger picture, or remove it"
    return None
