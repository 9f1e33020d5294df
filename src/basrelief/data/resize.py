"""Bringing a sample's planes to the training resolution, each in the way that keeps its meaning."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from basrelief.batch import Sample
from basrelief.data.source import Entry, Source
from basrelief.errors import BasreliefError

DEFAULT_SIDE = 64  # the longer side, in pixels, of the resolution chosen where none is given
UNKNOWN_MASK = 255  # how a mask's unknown pixels are stored
LARGE = 1 << 26  # bytes of an image, above which a copy of it is worth avoiding
_GAP = 3.0  # how much larger than the result Pillow may leave what it filters


def resize_image(image: np.ndarray, resolution: tuple[int, int]) -> np.ndarray:
    """Resize uint8 (H, W, 3) with anti-aliasing, as packing and prediction both do."""
    if image.shape[:2] == resolution:
        return image
    if image.nbytes > LARGE:
        return _resize_in_strips(image, resolution)
    return np.asarray(resize_picture(Image.fromarray(image), resolution))


def resize_picture(picture: Image.Image, resolution: tuple[int, int]) -> Image.Image:
    """Resize a picture of mode RGB, as ``resize_image`` an array."""
    if picture.size == resolution[::-1]:
        return picture
    return picture.resize(resolution[::-1], Image.Resampling.BILINEAR, reducing_gap=_GAP)


def _resize_in_strips(image: np.ndarray, resolution: tuple[int, int]) -> np.ndarray:
    """Resize as ``resize_picture`` does, to the bit, without its copy of the whole image at four bytes a pixel.

    With a reducing gap Pillow first averages blocks of pixels, and then resizes what that gives. Blocks can be averaged
    some rows at a time.
    """
    height, width = image.shape[:2]
    down, across = (int(side / wanted / _GAP) or 1 for side, wanted in zip((height, width), resolution, strict=True))
    if down == across == 1:
        return np.asarray(resize_picture(Image.fromarray(image), resolution))
    rows = max(1, LARGE // (width * 3 * down)) * down
    strips = [Image.fromarray(image[start : start + rows]).reduce((across, down)) for start in range(0, height, rows)]
    reduced = Image.fromarray(np.concatenate([np.asarray(strip) for strip in strips]))
    box = (0, 0, width / across, height / down)
    return np.asarray(reduced.resize(resolution[::-1], Image.Resampling.BILINEAR, box=box))


def resize_sample(sample: Sample, resolution: tuple[int, int]) -> Sample:
    """Bring every plane to ``resolution``; unknown mask pixels become 255."""
    mask = None if sample.mask is None else _resize_mask(sample.mask, sample.mask_valid, resolution)
    return Sample(
        id=sample.id,
        image=resize_image(sample.image, resolution),
        background=None if sample.background is None else resize_image(sample.background, resolution),
        mask=mask,
        depth=None if sample.depth is None else pick_nearest(sample.depth, resolution),
    )


def _resize_mask(mask: np.ndarray, valid: np.ndarray | None, resolution: tuple[int, int]) -> np.ndarray:
    """A pixel belongs to a class when at least half of its known area does; it is known when half its area is."""
    share = 1.0 if valid is None else _area(valid, resolution)
    planes = np.stack([_area(plane if valid is None else plane & valid, resolution) for plane in mask])
    result = (planes >= 0.5 * np.maximum(share, 1e-6)).astype(np.uint8)
    if valid is not None:
        result[:, np.asarray(share) < 0.5] = UNKNOWN_MASK
    return result


def _area(plane: np.ndarray, resolution: tuple[int, int]) -> np.ndarray:
    height, width = resolution
    if plane.shape == resolution:
        return plane.astype(np.float32)
    values = Image.fromarray(plane.view(np.uint8)).convert("F")  # half the time of an array of floats
    # The box filter averages over area when shrinking; when enlarging it would be nearest, so blend instead.
    shrinks = plane.shape[0] >= height and plane.shape[1] >= width
    return np.asarray(values.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR))


def pick_nearest(plane: np.ndarray, resolution: tuple[int, int]) -> np.ndarray:
    """Return (H, W) at the resolution, each value that of the nearest pixel."""
    if plane.shape == resolution:
        return plane
    return plane.take(_nearest(plane.shape[0], resolution[0]), 0).take(_nearest(plane.shape[1], resolution[1]), 1)


@functools.lru_cache(maxsize=64)
def _nearest(length: int, wanted: int) -> np.ndarray:
    """Return which of ``length`` pixels in a row are nearest to the centres of ``wanted``."""
    return ((np.arange(wanted) + 0.5) * length / wanted).astype(np.intp)


def choose_resolution(source: Source, entries: Sequence[Entry]) -> tuple[int, int]:
    """Return a store's own; else 64 px on the longer side, the other in proportion where all images have one ratio.

    Both are multiples of 16.
    """
    if source.resolution is not None:
        return source.resolution
    shapes = []
    for i in np.linspace(0, len(entries) - 1, min(8, len(entries))).astype(int):
        try:
            shapes.append(source.load(entries[i]).image.shape[:2])
        except BasreliefError:
            continue  # a broken file is packing's to report
    ratios = [height / width for height, width in shapes]
    if not ratios or max(ratios) > 1.02 * min(ratios):
        return DEFAULT_SIDE, DEFAULT_SIDE
    short = max(16, round(DEFAULT_SIDE * min(ratios[0], 1 / ratios[0]) / 16) * 16)
    return (short, DEFAULT_SIDE) if ratios[0] < 1 else (DEFAULT_SIDE, short)
