"""The wall of pictures: the same images under every loss, with the maps of their errors, as data URIs and outlines."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from basrelief.functional.colours import (
    VIRIDIS,
    class_colours,
    class_names,
    colour_depth,
    colour_mask,
    depth_palette,
    depth_range,
    label_classes,
)
from basrelief.report.contents import Pictures
from basrelief.report.mistakes import (
    INFERNO,
    MISTAKES,
    error_limit,
    error_palette,
    mark_mistakes,
    mistake_palette,
    shade_errors,
)
from basrelief.report.tables import decimals_for, finite, format_number

# All pictures of the wall together; beyond it they are thinned, so that the page stays easy to send.
PIXEL_BUDGET = 8_000_000


@dataclass(frozen=True)
class Shown:
    """One cell: the mask's and the depth's picture as data URIs, as far as there are any, and a score.

    A prediction has the maps of its errors beside them, as far as the truth is known at all.
    """

    mask: str | None
    depth: str | None
    score: str = ""
    mask_error: str | None = None
    depth_error: str | None = None


@dataclass(frozen=True)
class WallRow:
    """One image of the wall. ``outline`` is the truth's border as an SVG path, ``scores`` numbers for sorting."""

    id: str
    image: str
    background: str | None
    truth: Shown
    predictions: Sequence[Shown]
    scores: Sequence[float | None]
    outline: str


@dataclass(frozen=True)
class Wall:
    """The wall of pictures, ready for the template."""

    targets: Sequence[str]
    losses: Sequence[tuple[int, str]]
    rows: Sequence[WallRow]
    width: int
    height: int
    step: int
    seed: int
    classes: Sequence[tuple[str, str]]
    scale: tuple[str, str, str] | None
    gradient: str
    has_background: bool
    has_unknown: bool
    mistakes: Sequence[tuple[str, str]]
    error_scale: tuple[str, str, str] | None
    error_gradient: str


def build_wall(pictures: Pictures, losses: Sequence[tuple[int, str]]) -> Wall:
    """Return the wall for the losses that have predictions.

    Parameters
    ----------
    pictures
        Images, truth and predictions at the training resolution.
    losses
        (place in the study, name) in the order of the columns.
    """
    columns = [(index, name) for index, name in losses if name in pictures.predictions]
    predicted = [pictures.predictions[name] for _, name in columns]
    targets = [
        target
        for target, truth in (("mask", pictures.mask), ("depth", pictures.depth))
        if truth is not None or any(target in planes for planes in predicted)
    ]
    count, height, width = pictures.image.shape[:3]
    each = 1 + (pictures.background is not None) + len(targets) * (1 + 2 * len(columns))
    step = max(1, math.ceil(math.sqrt(count * each * height * width / PIXEL_BUDGET)))

    def thin(planes: np.ndarray | None) -> np.ndarray | None:
        return None if planes is None else planes[..., ::step, ::step]

    mask, depth = thin(pictures.mask), thin(pictures.depth)
    masks = [thin(planes.get("mask")) for planes in predicted]
    depths = [thin(planes.get("depth")) for planes in predicted]
    low, high = depth_range([depth] if depth is not None else [one for one in depths if one is not None])
    limit = error_limit(depth, depths) if depth is not None else 1.0
    classes = _count_classes(mask, masks)
    colours = class_colours(pictures.classes, classes)
    scores = [[finite(score) for score in pictures.scores.get(name, ())] for _, name in columns]
    scores = [(own + [None] * count)[:count] for own in scores]
    decimals = min(decimals_for(score for own in scores for score in own), 3)

    def show_truth(n: int) -> Shown:
        return Shown(
            mask=None if mask is None else encode(colour_mask(mask[n], colours, truth=True)),
            depth=None if depth is None else _encode_depth(depth[n], low, high),
        )

    def show(n: int, own_mask: np.ndarray | None, own_depth: np.ndarray | None, score: str) -> Shown:
        marks = shades = None
        if own_mask is not None and mask is not None:
            marks = encode(mark_mistakes(own_mask[n], mask[n]), palette=mistake_palette())
        if own_depth is not None and depth is not None:
            shades = encode(shade_errors(own_depth[n], depth[n], limit), palette=error_palette())
        return Shown(
            mask=None if own_mask is None else encode(colour_mask(own_mask[n], colours, truth=False)),
            depth=None if own_depth is None else _encode_depth(own_depth[n], low, high),
            score=score,
            mask_error=marks,
            depth_error=shades,
        )

    rows = []
    for n in range(count):
        rows.append(
            WallRow(
                id=str(pictures.ids[n]),
                image=_encode_photo(pictures.image[n, ::step, ::step]),
                background=None
                if pictures.background is None
                else _encode_photo(pictures.background[n, ::step, ::step]),
                truth=show_truth(n),
                predictions=[
                    show(n, own_mask, own_depth, format_number(own[n], decimals))
                    for own_mask, own_depth, own in zip(masks, depths, scores, strict=True)
                ],
                scores=[own[n] for own in scores],
                outline="" if mask is None else trace_outline(label_classes(mask[n])),
            )
        )
    unit_decimals = max(decimals_for([low, high]) - 1, 0)
    return Wall(
        targets=targets,
        losses=columns,
        rows=rows,
        width=-(-width // step),
        height=-(-height // step),
        step=step,
        seed=pictures.seed,
        classes=[
            (str(name), f"#{bytes(colour.tolist()).hex()}")
            for name, colour in zip(class_names(pictures.classes, classes), colours, strict=True)
        ]
        if classes > 1
        else [],
        scale=_scale_labels(low, high, unit_decimals) if "depth" in targets else None,
        gradient=", ".join(f"#{colour}" for colour in VIRIDIS),
        has_background=pictures.background is not None,
        has_unknown=bool((mask is not None and (mask == 255).any()) or (depth is not None and np.isnan(depth).any())),
        mistakes=[(name, f"#{colour}") for name, colour in MISTAKES[: 5 if classes > 1 else 4]]
        if mask is not None and any(one is not None for one in masks)
        else [],
        error_scale=_scale_labels(0.0, limit, max(decimals_for([limit]) - 1, 0))
        if depth is not None and any(one is not None for one in depths)
        else None,
        error_gradient=", ".join(f"#{colour}" for colour in INFERNO),
    )


def trace_outline(labels: np.ndarray) -> str:
    """Return the borders between the labels of an (H, W) array as an SVG path along the edges of the pixels."""
    padded = np.pad(labels, 1)
    parts = []
    for across, write in (
        (padded[1:, 1:-1] != padded[:-1, 1:-1], "M{0} {2}H{1}"),
        ((padded[1:-1, 1:] != padded[1:-1, :-1]).T, "M{2} {0}V{1}"),
    ):
        for line, edges in enumerate(across):
            ends = np.flatnonzero(np.diff(np.pad(edges.astype(np.int8), 1)))
            parts += [write.format(start, end, line) for start, end in zip(ends[::2], ends[1::2], strict=True)]
    return "".join(parts)


def _scale_labels(low: float, high: float, decimals: int) -> tuple[str, str, str]:
    return (
        format_number(low, decimals),
        format_number((low + high) / 2, decimals),
        format_number(high, decimals),
    )


def _count_classes(mask: np.ndarray | None, predictions: Sequence[np.ndarray | None]) -> int:
    return max((plane.shape[1] for plane in (mask, *predictions) if plane is not None), default=0)


def _encode_depth(depth: np.ndarray, low: float, high: float) -> str:
    return encode(colour_depth(depth, low, high), palette=depth_palette())


def _encode_photo(image: np.ndarray) -> str:
    return encode(image, photo=True)


def encode(pixels: np.ndarray, *, palette: np.ndarray | None = None, photo: bool = False) -> str:
    """Return uint8 (H, W, 3), grey or palette's places (H, W) as a data URI: PNG, or JPEG for a photo."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if palette is not None:
        picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    if photo:
        picture.save(buffer, "JPEG", quality=88)
    else:
        picture.save(buffer, "PNG", compress_level=9)
    kind = "jpeg" if photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
