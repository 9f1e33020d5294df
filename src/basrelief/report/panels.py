"""Small plots as SVG: lines, areas and points with a few ticks, for small multiples that need no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from basrelief.report.tables import format_number

WIDTH, HEIGHT = 280, 150  # of the drawing, in its own units; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 42, 8, 8, 22


@dataclass(frozen=True)
class Panel:
    """A small plot; all places are in its own units.

    ``lines`` are points of polylines, ``areas`` (points of a polygon, opacity), ``dots`` (x, y, hollow), ``marks``
    (x, text) of upright dotted lines, ``x_ticks`` and ``y_ticks`` (place, text). ``says`` is the plot in words.
    """

    says: str
    lines: Sequence[str] = ()
    areas: Sequence[tuple[str, float]] = ()
    dots: Sequence[tuple[float, float, bool]] = ()
    marks: Sequence[tuple[float, str]] = ()
    x_ticks: Sequence[tuple[float, str]] = ()
    y_ticks: Sequence[tuple[float, str]] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True)
class Axis:
    """One axis from ``low`` to ``high``; ``log`` where it is logarithmic."""

    low: float
    high: float
    log: bool = False
    ticks: Sequence[tuple[float, str]] = field(default=())

    def share(self, value: float) -> float:
        """Return where a value stands, 0 at the low end and 1 at the high one, kept within both."""
        low, high, at = (
            (math.log10(one) for one in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return min(max((at - low) / (high - low), 0.0), 1.0) if high > low else 0.5


def x_place(axis: Axis, value: float) -> float:
    """Return the place of a value along the plot."""
    return round(LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT), 1)


def y_place(axis: Axis, value: float, height: int = HEIGHT) -> float:
    """Return the place of a value up the plot."""
    return round(height - BOTTOM - axis.share(value) * (height - BOTTOM - TOP), 1)


def linear_axis(values: Sequence[float], *, wanted: int = 5, whole: bool = False) -> Axis:
    """Return an axis that holds all values, with round ticks inside it; ``whole`` keeps the ticks on whole numbers."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high <= low:
        low, high = (low - 0.5, high + 0.5) if whole or not low else (low - abs(low) * 0.1, high + abs(low) * 0.1)
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, round(step))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [(count * step, format_number(count * step, decimals)) for count in range(first, last + 1)]
    return Axis(low, high, ticks=ticks)


def log_axis(low: float, high: float) -> Axis:
    """Return a logarithmic axis with ticks at powers of ten, every second or third where there are many."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / 4))
    powers = range(last - (last - first) // every * every, last + 1, every)
    return Axis(
        low,
        high,
        log=True,
        ticks=[(10.0**power, f"1e{power}" if abs(power) > 2 else f"{10.0**power:g}") for power in powers],
    )


def points(pairs: Sequence[tuple[float, float]]) -> str:
    """Return the points of a polyline or polygon as SVG writes them."""
    return " ".join(f"{x:g},{y:g}" for x, y in pairs)
