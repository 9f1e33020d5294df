"""The wall of pictures: the same images under every loss, with the maps of their errors, as data URIs and outlines."""

from __future__ import annotations

import base64
import io
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

# Characters of all pictures of the wall together; beyond it they are thinned, so that the page stays easy to send.
BUDGET = 7_500_000
SMALLEST = 32  # px of a picture's shorter side, below which it is not thinned
TRIED = 3  # rows that the size of all is told by


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


@dataclass(frozen=True)
class _Planes:
    """Everything that is shown, thinned, with the scales that all pictures share."""

    pictures: Pictures
    step: int
    mask: np.ndarray | None
    depth: np.ndarray | None
    masks: Sequence[np.ndarray | None]
    depths: Sequence[np.ndarray | None]
    colours: np.ndarray
    low: float
    high: float
    limit: float


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
    count, height, width = pictures.image.shape[:3]
    scores = [[finite(score) for score in pictures.scores.get(name, ())] for _, name in columns]
    scores = [(own + [None] * count)[:count] for own in scores]
    planes = _thin(pictures, [name for _, name in columns], scores)
    rows = [_build_row(planes, n, scores) for n in range(count)]
    has_masks, has_depths = (any(one is not None for one in found) for found in (planes.masks, planes.depths))
    has_mask = has_masks or planes.mask is not None
    has_depth = has_depths or planes.depth is not None
    classes = len(planes.colours)
    step = planes.step
    unknown = (planes.mask is not None and bool((planes.mask == 255).any())) or (
        planes.depth is not None and bool(np.isnan(planes.depth).any())
    )
    return Wall(
        targets=[target for target, there in (("mask", has_mask), ("depth", has_depth)) if there],
        losses=columns,
        rows=rows,
        width=-(-width // step),
        height=-(-height // step),
        step=step,
        seed=pictures.seed,
        classes=[
            (str(name), f"#{bytes(colour.tolist()).hex()}")
            for name, colour in zip(class_names(pictures.classes, classes), planes.colours, strict=True)
        ]
        if classes > 1
        else [],
        scale=_scale_labels(planes.low, planes.high) if has_depth else None,
        gradient=", ".join(f"#{colour}" for colour in VIRIDIS),
        has_background=pictures.background is not None,
        has_unknown=unknown,
        mistakes=[(name, f"#{colour}") for name, colour in MISTAKES[: 5 if classes > 1 else 4]]
        if planes.mask is not None and has_masks
        else [],
        error_scale=_scale_labels(0.0, planes.limit) if planes.depth is not None and has_depths else None,
        error_gradient=", ".join(f"#{colour}" for colour in INFERNO),
    )


def _thin(pictures: Pictures, names: Sequence[str], scores: Sequence[Sequence[float | None]]) -> _Planes:
    """Return every first, second or third pixel each way: the most with which the pictures keep to their budget."""
    count, *sides = pictures.image.shape[:3]
    tried = sorted({(2 * n + 1) * count // (2 * TRIED) for n in range(TRIED)})
    step = 1
    while True:
        planes = _every(pictures, names, step)
        size = sum(_size(_build_row(planes, n, scores)) for n in tried) / max(len(tried), 1) * count
        if size <= BUDGET or min(sides) // (step + 1) < SMALLEST:
            return planes
        step += 1


def _every(pictures: Pictures, names: Sequence[str], step: int) -> _Planes:
    def thin(planes: np.ndarray | None) -> np.ndarray | None:
        return None if planes is None else planes[..., ::step, ::step]

    predicted = [pictures.predictions[name] for name in names]
    mask, depth = thin(pictures.mask), thin(pictures.depth)
    masks = [thin(planes.get("mask")) for planes in predicted]
    depths = [thin(planes.get("depth")) for planes in predicted]
    low, high = depth_range([depth] if depth is not None else [one for one in depths if one is not None])
    return _Planes(
        pictures=pictures,
        step=step,
        mask=mask,
        depth=depth,
        masks=masks,
        depths=depths,
        colours=class_colours(pictures.classes, _count_classes(mask, masks)),
        low=low,
        high=high,
        limit=1.0 if depth is None else error_limit(depth, depths),
    )


def _build_row(planes: _Planes, n: int, scores: Sequence[Sequence[float | None]]) -> WallRow:
    pictures, step, mask, depth = planes.pictures, planes.step, planes.mask, planes.depth
    decimals = min(decimals_for(score for own in scores for score in own), 3)
    background = None if pictures.background is None else encode(pictures.background[n, ::step, ::step], photo=True)
    return WallRow(
        id=str(pictures.ids[n]),
        image=encode(pictures.image[n, ::step, ::step], photo=True),
        background=background,
        truth=Shown(
            mask=None if mask is None else encode(colour_mask(mask[n], planes.colours, truth=True)),
            depth=None if depth is None else _encode_depth(depth[n], planes.low, planes.high),
        ),
        predictions=[
            _show(planes, n, own_mask, own_depth, format_number(own[n], decimals))
            for own_mask, own_depth, own in zip(planes.masks, planes.depths, scores, strict=True)
        ],
        scores=[own[n] for own in scores],
        outline="" if mask is None else trace_outline(label_classes(mask[n])),
    )


def _show(planes: _Planes, n: int, mask: np.ndarray | None, depth: np.ndarray | None, score: str) -> Shown:
    marks = shades = None
    if mask is not None and planes.mask is not None:
        marks = encode(mark_mistakes(mask[n], planes.mask[n]), palette=mistake_palette())
    if depth is not None and planes.depth is not None:
        shades = encode(shade_errors(depth[n], planes.depth[n], planes.limit), palette=error_palette())
    return Shown(
        mask=None if mask is None else encode(colour_mask(mask[n], planes.colours, truth=False)),
        depth=None if depth is None else _encode_depth(depth[n], planes.low, planes.high),
        score=score,
        mask_error=marks,
        depth_error=shades,
    )


def _size(row: WallRow) -> int:
    """Return the characters of a row's pictures."""
    cells = [row.truth, *row.predictions]
    found = [uri for cell in cells for uri in (cell.mask, cell.depth, cell.mask_error, cell.depth_error)]
    return sum(len(uri) for uri in (row.image, row.background, row.outline, *found) if uri is not None)


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


def _scale_labels(low: float, high: float) -> tuple[str, str, str]:
    decimals = max(decimals_for([low, high]) - 1, 0)
    return format_number(low, decimals), format_number((low + high) / 2, decimals), format_number(high, decimals)


def _count_classes(mask: np.ndarray | None, predictions: Sequence[np.ndarray | None]) -> int:
    return max((plane.shape[1] for plane in (mask, *predictions) if plane is not None), default=0)


def _encode_depth(depth: np.ndarray, low: float, high: float) -> str:
    return encode(colour_depth(depth, low, high), palette=depth_palette())


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
