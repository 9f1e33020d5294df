"""Drawing pictures like those of PurdueShapes5MultiObject: flat figures of five kinds on black, many pictures at once.

From the data set's public description: 64 × 64 pixels; a random number of figures, at most five, each of a kind drawn
afresh, so that a kind may come twice; colour, size, angle and place of each at random, one colour a figure. Our choices
where it says nothing: one to five figures, and the kinds, with equal chance; up to 24 pixels across, 13 in the middle,
as in its examples of boxes; whole figures within the picture; nearer figures hide farther ones, masks and boxes show
what is visible, and a figure of which less than half would be visible is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from basrelief.seeding import stream

LABEL_MAP = {"rectangle": 50, "triangle": 100, "disk": 150, "oval": 200, "star": 250}
SIDE = 64
MOST_FIGURES = 5
CHUNK = 256  # pictures drawn at once, each chunk from its own random stream
_RADII = (4.0, 12.0)
_BRIGHTEST = 64  # at least, of a figure's three channels, so that it stands out from black
_FIVE = 2 * math.pi * np.arange(5) / 5
_THREE = 2 * math.pi * np.arange(3) / 3


class Pictures(NamedTuple):
    """Drawn pictures.

    Attributes
    ----------
    image
        uint8 (N, 3, 64, 64).
    mask
        uint8 (N, 5, 64, 64), each plane 0 or its kind's label value.
    boxes
        For each picture (plane, min_x, min_y, max_x, max_y), a figure each, the farthest first.
    """

    image: np.ndarray
    mask: np.ndarray
    boxes: list[list[tuple[int, int, int, int, int]]]


def draw_pictures(seed: int, name: str, chunk: int) -> Pictures:
    """Draw the pictures ``CHUNK * chunk`` and following of a seed; ``name`` selects an independent series."""
    rng = stream(seed, f"purdue-shapes {name}", chunk)
    shape = (CHUNK, MOST_FIGURES)
    wanted = np.arange(MOST_FIGURES) < rng.integers(1, MOST_FIGURES, CHUNK, endpoint=True)[:, None]
    kinds = rng.integers(0, len(LABEL_MAP), shape)
    radii = rng.uniform(*_RADII, shape)
    ratios = rng.uniform(0.4, 0.8, shape)  # of a rectangle's and an oval's sides
    angles = rng.uniform(0, 2 * math.pi, shape)
    centres = rng.uniform(radii, SIDE - 1 - radii, (2, *shape))
    colours = rng.integers(0, 256, (*shape, 3))
    brightest = colours.max(axis=-1, keepdims=True)
    colours = np.where(brightest < _BRIGHTEST, colours + _BRIGHTEST - brightest, colours).astype(np.uint8)
    cover = _cover(kinds, radii, ratios, angles, centres) & wanted[..., None, None]

    image = np.zeros((CHUNK, 3, SIDE, SIDE), np.uint8)
    mask = np.zeros((CHUNK, len(LABEL_MAP), SIDE, SIDE), np.uint8)
    boxes: list[list[tuple[int, int, int, int, int]]] = [[] for _ in range(CHUNK)]
    values = np.array(list(LABEL_MAP.values()), np.uint8)
    free = np.ones((CHUNK, SIDE, SIDE), bool)
    for slot in range(MOST_FIGURES):  # the nearest first
        seen = cover[:, slot] & free
        shown, whole = seen.sum(axis=(1, 2)), cover[:, slot].sum(axis=(1, 2))
        rows = np.flatnonzero((shown > 0) & (2 * shown >= whole))
        seen, kind = seen[rows], kinds[rows, slot]
        free[rows] &= ~seen
        image[rows] += seen[:, None] * colours[rows, slot][:, :, None, None]
        mask[rows, kind] |= seen * values[kind][:, None, None]
        for row, plane, box in zip(rows.tolist(), kind.tolist(), _boxes(seen), strict=True):
            boxes[row].insert(0, (plane, *box))
    return Pictures(image, mask, boxes)


def _cover(
    kinds: np.ndarray, radii: np.ndarray, ratios: np.ndarray, angles: np.ndarray, centres: np.ndarray
) -> np.ndarray:
    """Return which pixels each figure covers, bool (N, figures, 64, 64)."""
    cover = np.zeros((*kinds.shape, SIDE, SIDE), bool)
    places = np.arange(SIDE, dtype=np.float32)
    for kind, inside in enumerate(_INSIDE):
        which = kinds == kind
        x, y, radius, ratio, angle = (
            part[which].astype(np.float32)[:, None, None] for part in (*centres, radii, ratios, angles)
        )
        dx, dy = (places[None, None, :] - x) / radius, (places[None, :, None] - y) / radius
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        cover[which] = inside(along, across, ratio)
    return cover


def _half_planes(angles: np.ndarray, distance: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function that counts of how many half planes a point is within."""

    def count(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        within = np.stack([u * math.cos(angle) + v * math.sin(angle) <= distance for angle in angles])
        return np.asarray(within.sum(axis=0))

    return count


_TRIANGLE = _half_planes(_THREE, math.cos(math.pi / 3))
_PENTAGRAM = _half_planes(_FIVE, math.cos(2 * math.pi / 5))

# Within the circle of radius 1, as functions of the two coordinates and the ratio of the sides, in LABEL_MAP's order.
_INSIDE: tuple[Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], ...] = (
    lambda u, v, ratio: np.maximum(np.abs(u), np.abs(v) / ratio) <= 1 / np.sqrt(1 + ratio**2),
    lambda u, v, _ratio: _TRIANGLE(u, v) == 3,
    lambda u, v, _ratio: u**2 + v**2 <= 1,
    lambda u, v, ratio: u**2 + (v / ratio) ** 2 <= 1,
    lambda u, v, _ratio: _PENTAGRAM(u, v) >= 4,  # a tip is outside of one line of the five
)


def _boxes(seen: np.ndarray) -> list[list[int]]:
    columns, rows = np.asarray(seen.any(axis=1)), np.asarray(seen.any(axis=2))
    last = SIDE - 1
    corners = (
        columns.argmax(axis=1), rows.argmax(axis=1), last - columns[:, ::-1].argmax(axis=1),
        last - rows[:, ::-1].argmax(axis=1),
    )  # fmt: skip
    found: list[list[int]] = np.stack(corners, axis=1).tolist()
    return found
