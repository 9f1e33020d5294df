"""The figure cut out of its picture, and put before another background."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageFilter, ImageOps

from basrelief.data.decode import picture_to_bytes, read_image
from basrelief.errors import UsageError
from basrelief.inference.planes import MOST

SURE = 0.8  # of the way from the threshold to 0 or to 1, a pixel counts as wholly clear or wholly solid
BLUR = 0.02  # of the longer side: the deviation of a blur where none is given
Colour = tuple[int, int, int]
# (image uint8 (H, W, 3), alpha uint8 (H, W)) -> the background, of the same size
Backdrop = Callable[[np.ndarray, np.ndarray], Image.Image]


def find_alpha(soft: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    """Return how solid each pixel is, uint8 (H, W), from probabilities, uint16 (K, H, W); of several classes the most.

    It is half at the threshold and rises linearly to either side, reaching 0 and 255 four fifths of the way to 0 and
    to 1: what a network is nearly sure of is neither a veil over the background nor holes in the figure.
    """
    alpha: np.ndarray = _table(thresholds[0])[soft[0]]
    for plane, threshold in zip(soft[1:], thresholds[1:], strict=True):
        np.maximum(alpha, _table(threshold)[plane], out=alpha)
    return alpha


@functools.lru_cache(maxsize=256)
def _table(threshold: float) -> np.ndarray:
    """Return the alpha of each of the 65536 codes of a probability."""
    probability = np.arange(MOST + 1) / MOST
    low, high = threshold * (1 - SURE), threshold + (1 - threshold) * SURE
    below = 0.5 * (probability - low) / max(threshold - low, 1e-9)
    above = 0.5 + 0.5 * (probability - threshold) / max(high - threshold, 1e-9)
    table: np.ndarray = np.rint(255 * np.where(probability > threshold, above, below).clip(0, 1)).astype(np.uint8)
    return table


def cut_out(image: np.ndarray, alpha: np.ndarray) -> Image.Image:
    """Return the figure as RGBA, not premultiplied. Wholly clear pixels are black: nothing is hidden in them."""
    cut = np.empty((*alpha.shape, 4), np.uint8)
    cut[..., :3], cut[..., 3] = image, alpha
    cut[alpha == 0] = 0
    return Image.fromarray(cut)


def put_before(image: np.ndarray, alpha: np.ndarray, backdrop: Backdrop) -> Image.Image:
    """Return the figure before another background, RGB."""
    return Image.composite(Image.fromarray(image), backdrop(image, alpha), Image.fromarray(alpha))


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
    if not path.is_file():
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
    return lambda image, _alpha: Image.new("RGB", (image.shape[1], image.shape[0]), colour)


def _picture(picture: Image.Image) -> Backdrop:
    return lambda image, _alpha: ImageOps.fit(picture, (image.shape[1], image.shape[0]), Image.Resampling.BICUBIC)


def _blur(sigma: float | None) -> Backdrop:
    def blurred(image: np.ndarray, alpha: np.ndarray) -> Image.Image:
        radius = sigma or BLUR * max(alpha.shape)
        behind = Image.fromarray(image)
        behind.putalpha(Image.fromarray(255 - alpha))
        # Premultiplied, so that a pixel weighs as much as it is background. Where none is near, the figure covers it.
        return behind.convert("RGBa").filter(ImageFilter.GaussianBlur(radius)).convert("RGBA").convert("RGB")

    return blurred
