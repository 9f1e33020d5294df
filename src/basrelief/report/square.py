"""A plot of two numbers against each other as SVG, with its axes named inside: calibration, thresholds, a scatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from basrelief.report.panels import Axis, points

WIDTH, HEIGHT = 300, 280  # of the drawing, in its own units; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 24, 40


@dataclass(frozen=True)
class Square:
    """The plot; all places are in its own units.

    ``lines`` and ``guides`` are points of polylines, the guides thin and grey; ``dots`` (x, y); ``marks`` (x, text,
    anchor) of upright dotted lines. ``says`` is the plot in words.
    """

    says: str
    across: str
    up: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    lines: Sequence[str] = ()
    guides: Sequence[str] = ()
    dots: Sequence[tuple[float, float]] = ()
    marks: Sequence[tuple[float, str, str]] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def draw_square(
    says: str,
    across: str,
    up: str,
    x: Axis,
    y: Axis,
    *,
    lines: Sequence[Sequence[tuple[float, float]]] = (),
    guides: Sequence[Sequence[tuple[float, float]]] = (),
    dots: Sequence[tuple[float, float]] = (),
    marks: Sequence[tuple[float, str]] = (),
) -> Square:
    """Return the plot of values on two axes; ``across`` and ``up`` name them."""

    def place(pair: tuple[float, float]) -> tuple[float, float]:
        return _across(x, pair[0]), _up(y, pair[1])

    middle = (LEFT + WIDTH - RIGHT) / 2
    marked = [(_across(x, at), text, "start" if _across(x, at) < middle else "end") for at, text in marks]
    return Square(
        says,
        across,
        up,
        [(_across(x, value), text) for value, text in x.ticks],
        [(_up(y, value), text) for value, text in y.ticks],
        [points([place(pair) for pair in line]) for line in lines],
        [points([place(pair) for pair in line]) for line in guides],
        [place(pair) for pair in dots],
        marked,
    )


def _across(axis: Axis, value: float) -> float:
    return round(LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT), 1)


def _up(axis: Axis, value: float) -> float:
    return round(HEIGHT - BOTTOM - axis.share(value) * (HEIGHT - BOTTOM - TOP), 1)
