"""The steps that move pixels, each as a map of positions; all of a batch's are composed into one.

Positions are in pixels from the picture's centre, x to the right and y down. A map is kept inverse, from the result to
the picture it is taken from, since that is what sampling asks for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from basrelief.augment.spec import Between, Draws, Share

Side = Annotated[float, Between(0.05, 1)]
Zoom = Annotated[float, Between(0.1, 10)]


@dataclass(frozen=True)
class Move:
    """An affine map for each sample.

    Attributes
    ----------
    inverse
        float64 (N, 3, 3), from positions in the result to positions in the picture.
    exact
        Whether it only puts pixels in other places, so that nothing has to be resampled.
    zooms
        Whether it may change the scale, and with it metric depth.
    """

    inverse: np.ndarray
    exact: bool = False
    zooms: bool = False


@dataclass(frozen=True)
class Bend:
    """A smooth displacement for each sample: control points of a cubic B-spline.

    Attributes
    ----------
    points
        float64 (N, 2, rows, columns), displacements of x and y in pixels.
    cell
        Distance between control points in pixels.
    """

    points: np.ndarray
    cell: float


@dataclass(frozen=True)
class Geometry:
    """All geometry of a batch in one map: the bend first, seen from the result, then the affine map.

    Attributes
    ----------
    inverse
        float64 (N, 3, 3).
    bend
        None where nothing bends.
    loose
        bool (N,), whether the sample has to be resampled; the others are turned, flipped or left as they are.
    zooms
        Whether any step may change the scale.
    """

    inverse: np.ndarray
    bend: Bend | None
    loose: np.ndarray
    zooms: bool

    @property
    def zoom(self) -> np.ndarray:
        """float64 (N,), how many times larger things appear."""
        return np.asarray(np.abs(np.linalg.det(self.inverse[:, :2, :2])) ** -0.5)


def compose(steps: Sequence[tuple[Draws, Move | Bend]]) -> Geometry:
    """Put the steps' maps together, in the order in which they are done; bends come last wherever they stand."""
    count = steps[0][0].count
    inverse = np.tile(np.eye(3), (count, 1, 1))
    loose = np.zeros(count, bool)
    bend: Bend | None = None
    zooms = False
    for draws, step in steps:
        if isinstance(step, Bend):
            bend = step
        else:
            inverse = inverse @ step.inverse
            zooms = zooms or step.zooms
        if isinstance(step, Bend) or not step.exact:
            loose = loose | draws.applied
    return Geometry(inverse, bend, loose, zooms)


def flip(draws: Draws, axis: Literal["horizontal", "vertical", "both"] = "horizontal") -> Move:
    """Mirror the picture, exactly.

    Parameters
    ----------
    axis
        "horizontal" exchanges left and right, "vertical" top and bottom; "both" draws each by itself with
        probability p.
    """
    across, down = draws.applied, draws.chance()
    if axis != "both":
        neither = np.zeros(draws.count, bool)
        across, down = (draws.applied, neither) if axis == "horizontal" else (neither, draws.applied)
    return Move(_linear(draws, xx=np.where(across, -1, 1), yy=np.where(down, -1, 1)), exact=True)


def turn(draws: Draws) -> Move:
    """Turn by quarters, exactly: by 0, 90, 180 or 270 degrees, all as likely; where height and width differ, 0 or 180.

    Such pictures cannot be turned by a quarter and keep their shape.
    """
    quarters = np.floor(draws.between(0, 4, 0)).astype(int)
    if draws.height != draws.width:
        quarters = quarters % 2 * 2
    cosine, sine = np.array([1, 0, -1, 0])[quarters], np.array([0, 1, 0, -1])[quarters]
    return Move(_linear(draws, xx=cosine, xy=sine, yx=-sine, yy=cosine), exact=True)


def rotate(draws: Draws, degrees: Annotated[float, Between(0, 180)] = 10.0) -> Move:
    """Rotate about the centre.

    Parameters
    ----------
    degrees
        The largest angle; angles are even in ±degrees, positive clockwise.
    """
    angle = np.radians(draws.between(-degrees, degrees, 0))
    cosine, sine = np.cos(angle), np.sin(angle)
    return Move(_linear(draws, xx=cosine, xy=sine, yx=-sine, yy=cosine))


def scale(draws: Draws, low: Zoom = 0.8, high: Zoom = 1.25) -> Move:
    """Zoom about the centre, height and width alike.

    The logarithm of the zoom is drawn evenly, so that 0.8 and 1.25 are as likely.

    Parameters
    ----------
    low, high
        The smallest and the largest zoom; above 1 things appear larger.
    """
    zoom = np.exp(draws.between(math.log(low), math.log(high), 0))
    return Move(_linear(draws, xx=1 / zoom, yy=1 / zoom), zooms=True)


def shift(draws: Draws, x: Share = 0.1, y: Share = 0.1) -> Move:
    """Move the picture sideways, up and down.

    Parameters
    ----------
    x, y
        The largest shift, as a share of width and of height; shifts are even in ±x and ±y.
    """
    along = draws.between(-x, x, 0) * draws.width
    down = draws.between(-y, y, 0) * draws.height
    return Move(_linear(draws, x=-along, y=-down))


def crop(draws: Draws, low: Side = 0.6, high: Side = 1.0) -> Move:
    """Cut out a window of the picture's own shape at a random place, and enlarge it to full size.

    Parameters
    ----------
    low, high
        The smallest and the largest side of the window, as a share of the picture's; shares are drawn evenly.
    """
    side = draws.between(low, high, 1)
    x, y = _place(draws, side)
    return Move(_linear(draws, xx=side, yy=side, x=x, y=y), zooms=True)


def pad(draws: Draws, low: Side = 0.6, high: Side = 1.0) -> Move:
    """Shrink the picture, put it at a random place inside the frame, and fill the rest with its reflection.

    Parameters
    ----------
    low, high
        The smallest and the largest side of the shrunk picture, as a share of the frame's; shares are drawn evenly.
    """
    side = draws.between(low, high, 1)
    x, y = _place(draws, side)
    return Move(_linear(draws, xx=1 / side, yy=1 / side, x=-x / side, y=-y / side), zooms=True)


def elastic(
    draws: Draws, amount: Annotated[float, Between(0, 0.48)] = 0.3, cells: Annotated[int, Between(1, 64)] = 4
) -> Bend:
    """Bend the picture smoothly: a cubic B-spline through a grid of points, each displaced at random.

    Up to 0.48 of a cell such a map never folds (Choi and Lee, "Injectivity conditions of 2D and 3D uniform cubic
    B-spline functions", Graphical Models 62, 2000), so no object is torn or doubled. It comes after all other
    geometry, wherever it is written, and leaves metric depth as it is although it enlarges one place and shrinks
    another.

    Parameters
    ----------
    amount
        The largest displacement of a point along each axis, in cells.
    cells
        Number of cells along the picture's shorter side.
    """
    cell = max(min(draws.height, draws.width) / cells, 1.0)
    rows, columns = (math.ceil(side / cell) + 3 for side in (draws.height, draws.width))
    points = draws.rng.uniform(-1, 1, (draws.count, 2, rows, columns))
    return Bend(np.where(draws.applied[:, None, None, None], amount * cell * points, 0), cell)


def _place(draws: Draws, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre of a window of this share of the frame's side, anywhere inside the frame."""
    x, y = draws.between(-1, 1, 0), draws.between(-1, 1, 0)
    return x * (1 - side) * draws.width / 2, y * (1 - side) * draws.height / 2


def _linear(
    draws: Draws,
    *,
    xx: np.ndarray | float = 1,
    xy: np.ndarray | float = 0,
    yx: np.ndarray | float = 0,
    yy: np.ndarray | float = 1,
    x: np.ndarray | float = 0,
    y: np.ndarray | float = 0,
) -> np.ndarray:
    """Return (N, 3, 3) with x' = xx·x + xy·y + x0 and y' = yx·x + yy·y + y0."""
    matrix = np.zeros((draws.count, 3, 3))
    for (row, column), value in {(0, 0): xx, (0, 1): xy, (0, 2): x, (1, 0): yx, (1, 1): yy, (1, 2): y}.items():
        matrix[:, row, column] = value
    matrix[:, 2, 2] = 1
    return matrix
