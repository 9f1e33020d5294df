"""What an image's pixels amount to: exact sums for means and deviations, and a small grey picture to know it by."""

from __future__ import annotations

import hashlib
import math
import zlib
from dataclasses import dataclass

import numpy as np

GRID = 32  # side of the small grey picture
COLOURS = 8  # side of the still smaller one in colour
GREY_STEPS = 16  # of the small grey picture, for each of the 256 levels
LUMA = np.array([299, 587, 114], dtype=np.int64)  # thousandths of red, green and blue, ITU-R BT.601

_BAND_ROWS = 256  # 257 rows of 255 still fit into 16 bits
_LARGE = 2**24  # values of an image whose rows are not gathered in one go
_BLOCK = 2**17  # as many values are squared at once, so that they stay in the processor's cache

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PixelSums:
    """Sums over uint8 pixels, as whole numbers of any size: nothing is rounded, so order and threads do not matter.

    Attributes
    ----------
    pixels
        How many.
    sums, squares
        For red, green and blue: the sum of the values 0 to 255, and of their squares.
    """

    pixels: int = 0
    sums: tuple[int, int, int] = (0, 0, 0)
    squares: tuple[int, int, int] = (0, 0, 0)

    def __add__(self, other: PixelSums) -> PixelSums:
        return PixelSums(
            self.pixels + other.pixels,
            (self.sums[0] + other.sums[0], self.sums[1] + other.sums[1], self.sums[2] + other.sums[2]),
            (
                self.squares[0] + other.squares[0],
                self.squares[1] + other.squares[1],
                self.squares[2] + other.squares[2],
            ),
        )

    def mean(self) -> Colour:
        """Return each channel's mean in [0, 1] over all pixels; 0 without any."""
        count = max(1, self.pixels) * 255
        return (self.sums[0] / count, self.sums[1] / count, self.sums[2] / count)

    def deviation(self) -> Colour:
        """Return each channel's standard deviation in [0, 1] over all pixels (divided by their number, not less 1)."""
        count = max(1, self.pixels)
        red, green, blue = (
            math.sqrt(count * square - own * own) / (count * 255)
            for own, square in zip(self.sums, self.squares, strict=True)
        )
        return (red, green, blue)

    def brightness(self) -> float:
        """Return the mean of 0.299 red + 0.587 green + 0.114 blue, in [0, 1]."""
        return sum(int(weight) * own for weight, own in zip(LUMA, self.sums, strict=True)) / (
            max(1, self.pixels) * 255_000
        )


@dataclass(frozen=True, slots=True)
class Measures:
    """What one pass over an image gives.

    Attributes
    ----------
    sums
        Of all pixels.
    grey
        int64 (32, 32), the means of an even division into 32 by 32 fields in sixteenths of a grey level. An image of
        fewer pixels than fields repeats them.
    colours
        uint8 (8, 8, 3), the means of fields four times as large.
    digest
        16 bytes, equal for equal images. Images differ in size, in the sum of a field, in their squares or in a
        checksum of 32 bits, so that unequal ones are not taken for equal by accident.
    """

    sums: PixelSums
    grey: np.ndarray
    colours: np.ndarray
    digest: bytes


def measure(image: np.ndarray) -> Measures:
    """Return what an image's pixels amount to.

    Parameters
    ----------
    image
        uint8 (H, W, 3).
    """
    height, width = image.shape[:2]
    flat = np.ascontiguousarray(image).reshape(height, width * 3)
    starts, stops = _fields(height)
    least = max(1, height // GRID)  # rows of a field; some have one more
    kind = np.uint16 if least <= _BAND_ROWS else np.uint32  # sums that fit into 16 bits add up twice as fast
    bands = np.empty((GRID, width * 3), dtype=np.uint32)
    at_once = GRID if flat.size <= _LARGE else 1  # else the copy would be as large as the image
    for place in range(0, GRID, at_once):
        rows = starts[place : place + at_once, None] + np.arange(least)
        bands[place : place + at_once] = np.add.reduce(flat[rows], axis=1, dtype=kind)
    longer = stops - starts > least
    bands[longer] += flat[stops[longer] - 1]
    columns = np.add.reduce(flat if height < GRID else bands, axis=0, dtype=np.uint64)  # short fields overlap
    squares = np.zeros(width * 3, dtype=np.uint64)
    step = max(1, _BLOCK // (width * 3))
    for start in range(0, height, step):
        rows = flat[start : start + step]
        squares += np.add.reduce(np.multiply(rows, rows, dtype=np.uint16), axis=0, dtype=np.uint32)
    red, green, blue = (int(value) for value in columns.reshape(width, 3).sum(axis=0))
    red_2, green_2, blue_2 = (int(value) for value in squares.reshape(width, 3).sum(axis=0))
    sums = PixelSums(height * width, (red, green, blue), (red_2, green_2, blue_2))
    left, right = _fields(width)
    across = bands.reshape(GRID, width, 3)
    fields = (
        np.add.reduceat(across, left, axis=1, dtype=np.int64) if width >= GRID else across[:, left].astype(np.int64)
    )
    area = (stops - starts)[:, None] * (right - left)
    grey = (fields @ LUMA) * GREY_STEPS // (1000 * area)
    blocks = (COLOURS, GRID // COLOURS) * 2
    colours = fields.reshape(*blocks, 3).sum(axis=(1, 3)) // area.reshape(blocks).sum(axis=(1, 3))[..., None]
    digest = hashlib.sha256(repr((image.shape, zlib.crc32(flat.data), sums)).encode() + fields.tobytes()).digest()[:16]
    return Measures(sums, grey, colours.astype(np.uint8), digest)


def _fields(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where 32 fields begin and end along a side; on a short side each is the nearest pixel."""
    if length < GRID:
        nearest = (2 * np.arange(GRID) + 1) * length // (2 * GRID)
        return nearest, nearest + 1
    edges = np.arange(GRID + 1) * length // GRID
    return edges[:-1], edges[1:]
