"""The figure cut out of its picture, and put before another background."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageFilter

from basrelief.data.decode import picture_to_bytes, read_image
from basrelief.errors import UsageError
from basrelief.inference.planes import MOST

SURE = 0.8  # of the way from the threshold to 0 or to 1, a pixel counts as wholly clear or wholly solid
BLUR = 0.02  # of the longer side: the deviation of a blur where none is given
_BLOCKS = 8  # of a blur's deviation: larger ones would show
_PIXELS = 1 << 20
Colour = tuple[int, int, int]
# (image uint8 (H, W, 3), alpha uint8 (H, W)) -> what gives the background of (first row, row after the last one)
Backdrop = Callable[[np.ndarray, "AnyAlpha"], Callable[[int, int], Image.Image]]


def find_alpha(soft: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """Return how solid each pixel is, uint8 (H, W), from probabilities, uint16 (K, H, W); of several classes the most.

    It is half at the threshold and rises linearly to either side, reaching 0 and 255 four fifths of the way to 0 and
    to 1: what a network is nearly sure of is neither a veil over the background nor holes in the figure.
    """
    found = Alpha(soft, thresholds)
    return np.concatenate([found[rows] for rows in _blocks(found)])


class Alpha:
    """What ``find_alpha`` returns, but only the rows that are asked for: of a very large picture all would be much."""

    def __init__(self, soft: np.ndarray, thresholds: tuple[float, ...]) -> None:
        self._soft, self._thresholds = soft, thresholds
        self.shape = soft.shape[1:]

    def __getitem__(self, rows: slice) -> np.ndarray:
        planes = zip(self._soft, self._thresholds, strict=True)
        most: np.ndarray = functools.reduce(np.maximum, (_table(threshold)[plane[rows]] for plane, threshold in planes))
        return most


AnyAlpha = np.ndarray | Alpha


def _blocks(plane: AnyAlpha) -> Iterator[slice]:
    """Yield bands of rows: whatever is made beside the result would be too much of a very large picture."""
    height, width = plane.shape
    step = max(1, _PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


@functools.lru_cache(maxsize=256)
def _table(threshold: float) -> np.ndarray:
    """Return the alpha of each of the 65536 codes of a probability."""
    probability = np.arange(MOST + 1) / MOST
    low, high = threshold * (1 - SURE), threshold + (1 - threshold) * SURE
    below = 0.5 * (probability - low) / max(threshold - low, 1e-9)
    above = 0.5 + 0.5 * (probability - threshold) / max(high - threshold, 1e-9)
    table: np.ndarray = np.rint(255 * np.where(probability > threshold, above, below).clip(0, 1)).astype(np.uint8)
    return table


def cut_out(image: np.ndarray, alpha: AnyAlpha) -> Image.Image:
    """Return the figure as RGBA, not premultiplied. Wholly clear pixels are black: nothing is hidden in them."""
    cut = np.empty((*alpha.shape, 4), np.uint8)
    for rows in _blocks(alpha):
        cut[rows, :, :3], cut[rows, :, 3] = image[rows], alpha[rows]
        cut[rows][cut[rows, :, 3] == 0] = 0
    return Image.fromarray(cut)


def put_before(image: np.ndarray, alpha: AnyAlpha, backdrop: Backdrop) -> Image.Image:
    """Return the figure before another background, RGB."""
    behind = backdrop(image, alpha)
    whole = Image.new("RGB", (image.shape[1], image.shape[0]))
    for rows in _blocks(alpha):
        part = Image.composite(
            Image.fromarray(image[rows]), behind(rows.start, rows.stop), Image.fromarray(alpha[rows])
        )
        whole.paste(part, (0, rows.start))
    return whole


def parse_backdrop(given: str | Path | Image.Image | Colour) -> Backdrop:
    """Understand what the background is replaced by.

    Parameters
    ----------
    given
        A colour's name or ``#rrggbb`` or (red, green, blue); the file of a picture, or a Pillow image, which covers the
        whole and is cropped at its longer side; ``blur`` or ``blur:SIGMA`` (in pixels), the background itself without
        the figure's colours bleeding into it.

    Raises
    ------
    UsageError
        When it is none of these.
    """
    if isinstance(given, Image.Image):
        return _picture(Image.fromarray(picture_to_bytes(given)))
    if isinstance(given, tuple):
        return _colour(given)
    text = str(given)
    blurred = re.fullmatch(r"blur(?::(.*))?", text)
    if blurred:
        return _blur(None if blurred[1] is None else _sigma(blurred[1]))
    try:
        return _colour(ImageColor.getrgb(text)[:3])
    except ValueError:
        pass
    path = Path(text)
    if not os.path.isfile(path):  # noqa: PTH113 - which takes what can be no path for one that is not there
        raise UsageError(
            f"--replace {text}: expected a colour (white, #00ff00), the file of a picture, blur, or blur:SIGMA such as "
            "blur:12."
        )
    return _picture(Image.fromarray(read_image(path)))


def _sigma(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1000:
        raise UsageError(f"--replace blur:{text}: expected a number of pixels from 0 to 1000, such as blur:12.")
    return value


def _colour(colour: tuple[int, ...]) -> Backdrop:
    return lambda image, _alpha: lambda top, bottom: Image.new("RGB", (image.shape[1], bottom - top), colour)


def _picture(picture: Image.Image) -> Backdrop:
    def covering(image: np.ndarray, _alpha: AnyAlpha) -> Callable[[int, int], Image.Image]:
        height, width = image.shape[:2]
        scale = min(picture.width / width, picture.height / height)  # of the picture's pixels to the result's
        left, above = max(0.0, (picture.width - scale * width) / 2), max(0.0, (picture.height - scale * height) / 2)
        right = min(left + scale * width, picture.width)  # for a float's last bit may lie outside

        def rows(top: int, bottom: int) -> Image.Image:
            box = (left, above + scale * top, right, min(above + scale * bottom, picture.height))
            return picture.resize((width, bottom - top), Image.Resampling.BICUBIC, box=box)

        return rows

    return covering


def _blur(sigma: float | None) -> Backdrop:
    """Blur the background, each pixel weighing as much as it is background; the figure covers where none is near.

    What a wide blur leaves can be told from far fewer pixels, so the picture is first averaged in blocks.
    """

    def blurred(image: np.ndarray, alpha: AnyAlpha) -> Callable[[int, int], Image.Image]:
        radius = sigma or BLUR * max(alpha.shape)
        times = max(1, min(int(radius / _BLOCKS), *alpha.shape))
        height, width = alpha.shape
        step = times * max(1, _PIXELS // (width * times))
        blocks = [_average(image[top : top + step], alpha[top : top + step], times) for top in range(0, height, step)]
        small = Image.fromarray(np.concatenate(blocks)).convert("RGBa")
        small = small.filter(ImageFilter.GaussianBlur(radius / times))

        def rows(top: int, bottom: int) -> Image.Image:
            box = (0, top / times, width / times, bottom / times)
            part = small.resize((width, bottom - top), Image.Resampling.BILINEAR, box=box)
            return part.convert("RGBA").convert("RGB")

        return rows

    return blurred


def _average(image: np.ndarray, alpha: np.ndarray, times: int) -> np.ndarray:
    """Return the means of blocks of pixels, each with how much of it is background, uint8 (h, w, 4)."""
    behind = Image.fromarray(image)
    behind.putalpha(Image.fromarray(255 - alpha))
    return np.asarray(behind.reduce(times))  # premultiplied while it is averaged
