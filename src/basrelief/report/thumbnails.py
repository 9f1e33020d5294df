"""A sample's planes as small pictures: the image, the background, the mask laid over, depth in colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from basrelief.batch import Sample
from basrelief.functional.colours import HATCH, colour_depth, depth_palette, hatch
from basrelief.report.pictures import encode

SIDE = 208  # px, the longer side
_OVER = 0.5  # how much of a class's colour covers the image


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a data URI; ``alt`` says in words what it shows, ``says`` stands below it."""

    uri: str
    width: int
    height: int
    alt: str
    says: str = ""


def show_planes(sample: Sample, colours: np.ndarray, low: float, high: float) -> list[Thumbnail]:
    """Return a sample's planes.

    Parameters
    ----------
    sample
        At its own size.
    colours
        uint8 (K, 3), of the classes.
    low, high
        The ends of the scale of depth.
    """
    shown = [show_image(sample, "image")]
    if sample.background is not None:
        shown.append(_show(_small(sample.background), f"background of {sample.id}", "background", photo=True))
    if sample.mask is not None:
        shown.append(_show(_overlay(sample, sample.mask, colours), f"mask of {sample.id}", "mask", photo=True))
    if sample.depth is not None:
        height, width = _size(sample.depth.shape)
        rows, columns = _nearest(sample.depth.shape[0], height), _nearest(sample.depth.shape[1], width)
        places = colour_depth(sample.depth[rows][:, columns], low, high)
        uri = encode(places, palette=depth_palette())
        shown.append(Thumbnail(uri, width, height, f"depth of {sample.id}", "depth"))
    return shown


def show_image(sample: Sample, says: str = "") -> Thumbnail:
    """Return the image alone."""
    return _show(_small(sample.image), sample.id, says, photo=True)


def _overlay(sample: Sample, mask: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return the image in grey, half covered by each class's colour, with its border; unknown pixels are hatched."""
    picture = Image.fromarray(sample.image).convert("L")
    height, width = _size(sample.image.shape)
    grey = np.asarray(picture.resize((width, height), Image.Resampling.BOX), dtype=np.float32)
    shown = np.repeat((255 - (255 - grey) * 0.85)[..., None], 3, axis=2)
    for plane, colour in zip(mask, colours.astype(np.float32), strict=True):
        share = Image.fromarray(plane * np.uint8(255)).resize((width, height), Image.Resampling.BOX)
        figure = np.asarray(share) >= 96  # a thin figure would vanish at a half
        shown[figure] = shown[figure] * (1 - _OVER) + colour * _OVER
        around = np.pad(figure, 1)
        inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        shown[figure & ~inner] = colour
    if sample.mask_valid is not None:
        known = sample.mask_valid
        rows, columns = _nearest(known.shape[0], height), _nearest(known.shape[1], width)
        unknown = ~known[rows][:, columns]
        shown[unknown] = np.array(HATCH, dtype=np.float32)[hatch(unknown.shape)][unknown][:, None]
    return np.rint(shown).astype(np.uint8)


def _small(image: np.ndarray) -> np.ndarray:
    height, width = _size(image.shape)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX, reducing_gap=2.0))


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return a size of at most 208 px that keeps the shape; small images stay as they are."""
    scale = min(1.0, SIDE / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _nearest(length: int, wanted: int) -> np.ndarray:
    return (2 * np.arange(wanted) + 1) * length // (2 * wanted)


def _show(pixels: np.ndarray, alt: str, says: str, *, photo: bool) -> Thumbnail:
    return Thumbnail(encode(pixels, photo=photo), pixels.shape[1], pixels.shape[0], alt, says)
