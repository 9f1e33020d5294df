"""The pictures of the page: mask over the image, cut-out on a chequered ground, depth to point at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from basrelief.functional.colours import VIRIDIS, depth_range

if TYPE_CHECKING:
    import plotly.graph_objects as go

COVER = 0.55  # how much of the mask's colour hides the image
CHEQUER = (255, 205)  # the two greys of the ground
SQUARES = 48  # of the ground, along the longer side
LINES = 400  # the longer side over the width of the line round a mask
DEPTH_SIDE = 320  # the longer side of the depth that is sent to be pointed at, in points


def shrink(plane: np.ndarray, side: int) -> np.ndarray:
    """Return a plane, uint8 (H, W, 3) or float32 (H, W), with its longer side at most ``side``, averaging pixels."""
    height, width = plane.shape[:2]
    if max(height, width) <= side:
        return plane
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BOX))


def label_map(probability: np.ndarray, levels: Sequence[float], only: int | None) -> np.ndarray:
    """Return int (h, w): the class whose probability is above its level and the highest, counted from 1; 0: none.

    Parameters
    ----------
    probability
        (K, h, w).
    levels
        Of each class.
    only
        The one class to look at; None: all.
    """
    above = probability > np.asarray(levels, np.float32)[:, None, None]
    if only is not None:
        return np.where(above[only], only + 1, 0)
    best = np.where(above, probability, -1.0).argmax(axis=0)
    return np.where(above.any(axis=0), best + 1, 0)


def draw_overlay(image: np.ndarray, labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return the image, uint8 (h, w, 3), with every class in its colour, uint8 (K, 3), over it and a line round it."""
    shown = image.astype(np.float32)
    for number in np.unique(labels[labels > 0]):
        inside = labels == number
        colour = colours[number - 1].astype(np.float32)
        shown[inside] = (1 - COVER) * shown[inside] + COVER * colour
        width = max(1, round(max(labels.shape) / LINES))
        shown[inside & ~binary_erosion(inside, iterations=width, border_value=1)] = colour
    return np.rint(shown).astype(np.uint8)


def draw_cutout(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the image where ``inside`` (h, w) is true, and a chequered ground elsewhere."""
    light, dark = CHEQUER
    rows, columns = np.indices(inside.shape) // max(1, max(inside.shape) // SQUARES)
    ground = np.where((rows + columns) % 2, dark, light).astype(np.uint8)
    return np.where(inside[..., None], image, ground[..., None])


def draw_depth(depth: np.ndarray, size: tuple[int, int], run: Mapping[str, Any]) -> go.Figure:
    """Return depth (h, w) as a plotly heat map with a colour bar; pointing at it tells the value.

    Parameters
    ----------
    depth
        In the run's unit; made smaller for the page.
    size
        (height, width) of the image itself, in whose pixels the places are told.
    run
        Of the network: its unit and kind.
    """
    import plotly.graph_objects as go

    points = shrink(depth, DEPTH_SIDE)
    low, high = depth_range([points])
    steps = (size[0] / points.shape[0], size[1] / points.shape[1])
    unit = run["depth_unit"] or ""
    name = depth_name(unit, run["depth_kind"] or "")
    heat = go.Heatmap(
        z=points,
        x0=steps[1] / 2,
        dx=steps[1],
        y0=steps[0] / 2,
        dy=steps[0],
        zmin=low,
        zmax=high,
        colorscale=[f"#{anchor}" for anchor in VIRIDIS],
        colorbar={"title": {"text": name, "side": "right"}, "thickness": 14, "outlinewidth": 0, "xpad": 6},
        hovertemplate=f"%{{z:.4~g}}{' ' + unit if unit else ''}<br>x %{{x:.0f}}, y %{{y:.0f}} px<extra></extra>",
    )
    hidden = {"visible": False, "constrain": "domain", "fixedrange": True}
    return go.Figure(
        heat,
        {
            "xaxis": hidden | {"range": [0, size[1]]},
            "yaxis": hidden | {"range": [size[0], 0], "scaleanchor": "x", "scaleratio": 1},
            "margin": {"l": 8, "r": 8, "t": 36, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#808080"},
            "height": 390,
        },
    )


def depth_name(unit: str, kind: str) -> str:
    """Return what is measured, in words: "depth, m", "disparity", "depth (relative)"."""
    what = "disparity" if kind == "disparity" else "depth (relative)" if kind == "relative" else "depth"
    return f"{what}, {unit}" if unit else what
