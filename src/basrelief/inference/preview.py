"""A picture to look at: depth in colours beside its scale, masks by their outlines."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from basrelief.functional.colours import class_colours, colour_depth, depth_palette, depth_range
from basrelief.inference.planes import Facts, Planes

LARGEST, SMALLEST = 1600, 320  # px of the longer side; others are thinned, or enlarged by a whole number
_TICKS = 5  # about so many on the scale
_INK, _PAPER = (32, 32, 32), (255, 255, 255)


def draw_preview(planes: Planes) -> Image.Image:
    """Return depth in the colours of viridis with its scale, or the picture itself, with the outlines of the masks.

    Parameters
    ----------
    planes
        With ``labels``, ``codes`` or both.
    """
    step, times = _fit(planes.image.shape[:2])
    labels = None if planes.labels is None else planes.labels[::step, ::step]
    scale = None
    if planes.codes is None:
        shown = np.array(planes.image[::step, ::step])
    else:
        depth = planes.codes[::step, ::step] * np.float32(planes.facts.scale)
        scale = depth_range([depth])
        shown = depth_palette()[colour_depth(depth, *scale)]
    shown = shown.repeat(times, 0).repeat(times, 1)
    if labels is not None:
        _draw_outlines(shown, labels.repeat(times, 0).repeat(times, 1), planes.facts, on_depth=scale is not None)
    picture = Image.fromarray(shown)
    if scale is not None:
        picture = _beside(picture, _draw_scale(picture.height, scale, planes.facts))
    if labels is not None and len(planes.facts.classes) > 1:
        picture = _below(picture, planes.facts)
    return picture


def _fit(size: tuple[int, int]) -> tuple[int, int]:
    """Return (take every so-manieth pixel, repeat each so many times)."""
    longer = max(size)
    return math.ceil(longer / LARGEST), max(1, SMALLEST // longer)


def _draw_outlines(shown: np.ndarray, labels: np.ndarray, facts: Facts, *, on_depth: bool) -> None:
    """Draw where labels change, in place: a bright line between two dark ones, so that it shows on every colour."""
    width = 2 * (max(shown.shape[:2]) // 600) + 1
    edge = np.zeros(labels.shape, dtype=bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    line = ndimage.maximum_filter(edge, size=width) if width > 1 else edge
    shown[ndimage.maximum_filter(line, size=3) & ~line] = (0, 0, 0)
    several = len(facts.classes) > 1
    colours = class_colours(facts.classes, len(facts.classes)) if several else np.array([[255, 255, 255]], np.uint8)
    if not several and not on_depth:
        colours = np.array([[255, 96, 32]], np.uint8)
    owner = ndimage.maximum_filter(labels, size=width + 2)[line]  # on the side of nothing, too
    shown[line] = colours[np.maximum(owner, 1).astype(int) - 1]


def _draw_scale(height: int, scale: tuple[float, float], facts: Facts) -> Image.Image:
    low, high = scale
    font = _font(height)
    size = round(font.size)
    places = _ticks(low, high)
    decimals = max(0, -math.floor(math.log10(places[1] - places[0]))) if len(places) > 1 else 2
    texts = [f"{value:.{decimals}f}" for value in places]
    title = f"{'disparity' if facts.kind == 'disparity' else 'depth'}{f', {facts.unit}' if facts.unit else ''}"
    bar = max(8, size)
    wide = size + bar + size // 2 + max(round(font.getlength(text)) for text in [*texts, title]) + size // 2
    strip = Image.new("RGB", (wide, height), _PAPER)
    draw = ImageDraw.Draw(strip)
    draw.text((size, size // 3), title, _INK, font)
    top, bottom = 2 * size, height - size
    ramp = np.linspace(0, 253, max(2, bottom - top)).round().astype(int)  # near at the top
    colours = depth_palette()[ramp][:, None].repeat(bar, 1)
    strip.paste(Image.fromarray(colours), (size, top))
    for value, text in zip(places, texts, strict=True):
        y = top + (value - low) / (high - low) * (bottom - top - 1)
        draw.line([(size + bar, y), (size + bar + size // 4, y)], _INK)
        draw.text((size + bar + size // 2, y), text, _INK, font, anchor="lm")
    return strip


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between the ends, about as many as the scale has room for."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)] or [low, high]


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    both = Image.new("RGB", (left.width + right.width, left.height), _PAPER)
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both


def _below(picture: Image.Image, facts: Facts) -> Image.Image:
    """Add the classes' names in their colours, in as many lines as they need."""
    font = _font(picture.height)
    size = round(font.size)
    colours = class_colours(facts.classes, len(facts.classes))
    x, y, placed = size, size // 2, []
    for name in facts.classes:
        wide = size + size // 2 + round(font.getlength(name)) + size
        if x > size and x + wide > picture.width:
            x, y = size, y + round(1.5 * size)
        placed.append((x, y))
        x += wide
    whole = Image.new("RGB", (picture.width, picture.height + y + round(1.5 * size)), _PAPER)
    whole.paste(picture, (0, 0))
    draw = ImageDraw.Draw(whole)
    for name, colour, (left, top) in zip(facts.classes, colours.tolist(), placed, strict=True):
        top += picture.height
        draw.rectangle((left, top, left + size, top + size), fill=tuple(colour), outline=_INK)
        draw.text((left + size + size // 2, top + size // 2), name, _INK, font, anchor="lm")
    return whole


def _font(height: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=max(11, min(28, height // 26)))
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
