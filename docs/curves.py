"""Small plots as SVG: panels of lines or of a map, four to a picture, legible on a light page and on a dark one.

No plotting library is needed to make these pages anew, and a picture is some kilobytes of text that git can compare.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 290, 178  # of one panel
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 40, 36  # what frames its plot
INK, GRID = "#7d8794", "#7d879444"  # a grey that white and black pages both carry
COLOURS = ("#2f86d1", "#e2711d", "#2a9d6f", "#b565c9")
STEPS = (1, 2, 2.5, 5, 10)


class Lines(NamedTuple):
    """A panel of lines over one axis; a line may hold NaN, where it is broken."""

    title: str
    axis: str
    x: Sequence[float]
    lines: Mapping[str, Sequence[float]]


class Map(NamedTuple):
    """A panel of an array (H, W): its sign as two colours, its size as their strength, and the rim of a mask on it."""

    title: str
    note: str
    values: np.ndarray
    mask: np.ndarray | None = None


def draw(panels: Sequence[Lines | Map], label: str) -> str:
    """Return an SVG of the panels, two in a row; ``label`` is what those who cannot see it are told."""
    rows = -(-len(panels) // 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{rows * HEIGHT}" '
        f'viewBox="0 0 {2 * WIDTH} {rows * HEIGHT}" role="img" aria-label="{escape(label)}" '
        f'font-family="system-ui, sans-serif" font-size="12.5" fill="{INK}">'
    ]
    for place, panel in enumerate(panels):
        parts.append(f'<g transform="translate({place % 2 * WIDTH} {place // 2 * HEIGHT})">')
        parts += _lines(panel) if isinstance(panel, Lines) else _map(panel)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _lines(panel: Lines) -> list[str]:
    x = np.asarray(panel.x, dtype=float)
    lines = {name: np.asarray(values, dtype=float) for name, values in panel.lines.items()}
    known = np.concatenate([values[np.isfinite(values)] for values in lines.values()])
    most = known.max() if known.max() > 1e-6 else 1.0  # what is 0 but for rounding is drawn as 0
    ticks_x, ticks_y = _ticks(x.min(), x.max(), 5), _ticks(min(known.min(), 0), most, 4)
    low, high = min(known.min(), ticks_y[0]), max(most, ticks_y[-1])
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def across(value: float) -> float:
        return LEFT + (value - x.min()) / (x.max() - x.min()) * wide

    def down(value: float) -> float:
        return TOP + (high - value) / (high - low) * tall

    parts = [f'<text x="{LEFT}" y="15" font-weight="600">{escape(panel.title)}</text>']
    for tick in ticks_y:
        at = down(tick)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick in ticks_x:
        parts.append(
            f'<text x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{_number(tick)}</text>'
        )
    parts.append(f'<text x="{LEFT + wide / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(panel.axis)}</text>')
    at = float(LEFT)
    for (name, values), colour in zip(lines.items(), COLOURS, strict=False):
        pieces, open_ = [], False
        for here, value in zip(x, values, strict=True):
            if np.isfinite(value):
                pieces.append(f"{'L' if open_ else 'M'}{across(here):.1f} {down(value):.1f}")
            open_ = bool(np.isfinite(value))
        parts.append(
            f'<path d="{"".join(pieces)}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"/>'
        )
        if name:
            parts.append(f'<text x="{at:.0f}" y="31" fill="{colour}" font-weight="600">{escape(name)}</text>')
            at += 7.7 * len(name) + 18
    return parts


def _map(panel: Map) -> list[str]:
    side = HEIGHT - TOP - 8
    values = np.asarray(panel.values, dtype=float)
    largest = np.abs(values).max() or 1.0
    share = np.sign(values) * np.sqrt(np.abs(values) / largest)  # small ones are to be seen beside large ones
    colours = np.zeros((*values.shape, 4))
    for sign, colour in ((-1, COLOURS[0]), (1, COLOURS[1])):
        where = np.sign(values) == sign
        colours[where, :3] = list(bytes.fromhex(colour[1:]))
    colours[..., 3] = 255 * np.abs(share)
    file = io.BytesIO()
    Image.fromarray(colours.round().astype(np.uint8)).save(file, "png", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    height, width = values.shape
    parts = [
        f'<text x="{LEFT}" y="15" font-weight="600">{escape(panel.title)}</text>',
        f'<text x="{LEFT}" y="31">{escape(panel.note)}</text>',
        f'<image x="{LEFT}" y="{TOP}" width="{side * width / height:.1f}" height="{side}" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>',
        f'<rect x="{LEFT}" y="{TOP}" width="{side * width / height:.1f}" height="{side}" fill="none" stroke="{GRID}"/>',
    ]
    if panel.mask is not None:
        scale = side / height
        parts.append(
            f'<path d="{_rim(panel.mask > 0.5)}" fill="none" stroke="{INK}" stroke-width="{1.3 / scale:.2f}" '
            f'transform="translate({LEFT} {TOP}) scale({scale:.3f})"/>'
        )
    at = LEFT + side * width / height + 12
    for row, (text, colour) in enumerate((("pushed up", COLOURS[0]), ("pushed down", COLOURS[1]))):
        parts.append(f'<rect x="{at:.1f}" y="{TOP + 22 * row}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{at + 18:.1f}" y="{TOP + 10.5 + 22 * row}">{text}</text>')
    if panel.mask is not None:
        parts.append(f'<path d="M{at:.1f} {TOP + 50}h12" stroke="{INK}" stroke-width="1.5"/>')
        parts.append(f'<text x="{at + 18:.1f}" y="{TOP + 54.5}">true rim</text>')
    return parts


def _rim(mask: np.ndarray) -> str:
    """Return the pixel edges between a mask and what is round it."""
    inside = np.pad(mask, 1)
    parts = [f"M{c} {r - 1}v1" for r, c in np.argwhere(inside[:, 1:] != inside[:, :-1])]
    parts += [f"M{c - 1} {r}h1" for r, c in np.argwhere(inside[1:] != inside[:-1])]
    return "".join(parts)


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Return round numbers within [low, high]; where 0 is beyond an end that is almost reached, the end is kept."""
    raw = (high - low) / count
    size = 10.0 ** np.floor(np.log10(raw))
    step = next(size * one for one in STEPS if size * one >= raw * 0.999)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [float(step * n) for n in np.arange(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−") if abs(value) > 1e-12 else "0"
