"""One composite: where its figure stands, and how it is pasted.

All random numbers come from streams named by the seed and by what is put together, never from a worker or an order.
Each purpose has its own stream, so that a shadow, say, never moves a figure.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from basrelief.composing.cutout import FIGURE_FROM, resize_figure
from basrelief.composing.depth import UNKNOWN, DepthCoding
from basrelief.composing.material import Backdrop
from basrelief.seeding import stream

IN_FRONT = (0.45, 0.95)  # share of the distance to what is behind a figure at which it stands
HARMONISED = 0.4  # how far a figure's colours go toward those of its surroundings


@dataclass(frozen=True)
class Recipe:
    """How composites are made, whatever they are made of.

    Attributes
    ----------
    resolution
        (height, width) in pixels.
    smallest, largest
        Longest side of a figure, as a share of the picture's shorter side.
    shadow, harmonise
        Whether the figure darkens the scene beside it, and takes on some of its colours.
    misalign
        Pixels by which the scene behind the figure is moved, at most; its corners by as much again, by turning.
    seed
        Not negative.
    """

    resolution: tuple[int, int]
    smallest: float
    largest: float
    shadow: bool = False
    harmonise: bool = False
    misalign: float = 0.0
    seed: int = 0


class Placement(NamedTuple):
    """Where a figure stands: left, top, size in pixels, the code of its distance, and whether its size was clipped."""

    x: int
    y: int
    width: int
    height: int
    code: int | None = None
    clipped: bool = False


class Scene(NamedTuple):
    """A composite: uint8 (H, W, 3), its alpha uint8 (H, W), and codes of its depth, uint16 (H, W), None without."""

    image: np.ndarray
    alpha: np.ndarray
    codes: np.ndarray | None


def name_numbers(*names: object) -> tuple[int, int]:
    """Return two numbers that stand for names in a random stream."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")


def place_figure(
    recipe: Recipe, coding: DepthCoding | None, codes: np.ndarray | None, shape: tuple[int, ...], key: tuple[int, int]
) -> Placement:
    """Choose size, position and distance of a figure.

    Without depth the longest side is drawn evenly between the recipe's limits. With depth, the distance is a share
    (45 % to 95 %) of that to the nearest known point within the largest footprint that the figure could have there, or
    in the whole picture where none is known, so the figure is in front of all it hides. A size is drawn evenly between
    the limits for the usual distance, and grows and shrinks with distance as a real one does, within the limits.

    Parameters
    ----------
    recipe, coding
        Settings. ``coding`` None: without depth.
    codes
        uint16 (H, W) of the scene behind the figure; None: without depth.
    shape
        (height, width, …) of the cut-out.
    key
        From ``name_numbers``.
    """
    height, width = recipe.resolution
    draw = stream(recipe.seed, "compose place", *key)
    across, down, size, nearness = draw.random(4).tolist()
    share = recipe.smallest + size * (recipe.largest - recipe.smallest)
    short = min(height, width)
    most = max(1.0, recipe.largest * short)
    if coding is None or codes is None:
        return Placement(*_box(recipe, shape, share * short, across, down))
    x, y, columns, rows = _box(recipe, shape, most, across, down)
    # Smaller footprints at the same share of the free way lie within this one, up to a rounded pixel.
    behind = codes[max(0, y - 1) : y + rows + 1, max(0, x - 1) : x + columns + 1]
    known = behind[behind != UNKNOWN]
    known = known if known.size else codes[codes != UNKNOWN]
    nearest = int(known.min()) if known.size else round(coding.usual / coding.scale)  # none left: all moved out
    low, high = IN_FRONT
    code = max(1, min(round((low + nearness * (high - low)) * nearest), nearest - 1))
    real = share * short * coding.usual / (code * coding.scale)
    side = min(max(real, recipe.smallest * short), most)
    return Placement(*_box(recipe, shape, side, across, down), code, side != real)


def move_scene(recipe: Recipe, backdrop: Backdrop, key: tuple[int, int]) -> Backdrop:
    """Return the scene behind a figure: the background, moved and turned a little where the recipe misaligns.

    Borders are filled by reflection. Depth moves alike, by the nearest pixel.
    """
    if not recipe.misalign:
        return backdrop
    height, width = recipe.resolution
    draw = stream(recipe.seed, "compose misalign", *key)
    far = recipe.misalign * math.sqrt(draw.random())
    way = 2 * math.pi * draw.random()
    turn = (2 * draw.random() - 1) * recipe.misalign / math.hypot(height / 2, width / 2)
    pad = math.ceil(2 * recipe.misalign) + 3
    cos, sin = math.cos(turn), math.sin(turn)
    # Pillow asks where each pixel comes from: turned about the middle, then moved, then padded.
    x0, y0 = width / 2, height / 2
    dx, dy = far * math.cos(way) + x0 + pad, far * math.sin(way) + y0 + pad
    affine = (cos, -sin, dx - cos * x0 + sin * y0, sin, cos, dy - sin * x0 - cos * y0)

    def moved(plane: np.ndarray, how: Image.Resampling) -> np.ndarray:
        edges = ((pad, pad), (pad, pad), (0, 0))[: plane.ndim]
        padded = np.pad(plane, edges, mode="symmetric")
        wide = padded.astype(np.int32) if padded.dtype == np.uint16 else padded
        turned = Image.fromarray(wide).transform((width, height), Image.Transform.AFFINE, affine, how)
        return np.asarray(turned).astype(plane.dtype)

    codes = None if backdrop.codes is None else moved(backdrop.codes, Image.Resampling.NEAREST)
    return Backdrop(moved(backdrop.image, Image.Resampling.BICUBIC), codes)


def paste_figure(
    recipe: Recipe, scene: Backdrop, figure: np.ndarray, where: Placement, key: tuple[int, int], light: tuple[int, int]
) -> Scene:
    """Paste a figure: image = a * figure + (1 - a) * scene, a = alpha / 255, rounded once.

    Parameters
    ----------
    recipe
        What is done besides pasting.
    scene
        From ``move_scene``.
    figure
        uint8 (h, w, 4), mirrored already if it is to be.
    where
        From ``place_figure``.
    key, light
        Numbers that stand for the composite, and for its background, whose light all its figures share.

    Returns
    -------
    Scene
        New arrays. Depth is the figure's distance where alpha is at least half, else that of the scene.
    """
    patch = resize_figure(figure, where.height, where.width)
    inside = np.s_[where.y : where.y + where.height, where.x : where.x + where.width]
    alpha = np.zeros(recipe.resolution, np.uint8)
    alpha[inside] = patch[..., 3]
    behind = scene.image
    image = behind.copy()
    ground = behind[inside].astype(np.float32)
    if recipe.shadow:
        kept = _light_left(recipe, patch[..., 3], where, key, light)
        dark = behind * kept[..., None]
        image = np.rint(dark).astype(np.uint8)
        ground = dark[inside]
    colours = patch[..., :3].astype(np.float32)
    if recipe.harmonise:
        colours = _harmonised(colours, patch[..., 3], _surroundings(behind, where))
    cover = patch[..., 3:].astype(np.float32)
    image[inside] = np.rint((cover * colours + (255 - cover) * ground) / 255).astype(np.uint8)
    codes = None
    if scene.codes is not None and where.code is not None:
        codes = np.where(alpha >= FIGURE_FROM, np.uint16(where.code), scene.codes)
    return Scene(image, alpha, codes)


def _box(recipe: Recipe, shape: tuple[int, ...], side: float, across: float, down: float) -> tuple[int, int, int, int]:
    """Return (x, y, width, height) of a figure whose longest side has so many pixels, wholly inside the picture."""
    height, width = recipe.resolution
    scale = side / max(shape[:2])
    rows, columns = (min(most, max(1, round(s * scale))) for s, most in zip(shape[:2], (height, width), strict=True))
    return int(across * (width - columns + 1)), int(down * (height - rows + 1)), columns, rows


def _light_left(
    recipe: Recipe, alpha: np.ndarray, where: Placement, key: tuple[int, int], light: tuple[int, int]
) -> np.ndarray:
    """Return the share of light that a figure's shadow leaves, float32 (H, W): one soft shadow beside it, one below."""
    height, width = recipe.resolution
    side_of_light = stream(recipe.seed, "compose light", *light)
    sideways, downward = side_of_light.uniform(-0.22, 0.22), side_of_light.uniform(0.03, 0.1)
    draw = stream(recipe.seed, "compose shadow", *key)
    beside, below = draw.uniform(0.2, 0.4), draw.uniform(0.35, 0.6)
    size = max(where.width, where.height)
    figure = Image.fromarray(alpha)

    def cast(shape: Image.Image, x: float, y: float, blur: float) -> np.ndarray:
        canvas = Image.new("L", (width, height))
        canvas.paste(shape, (round(x), round(y)))
        return np.asarray(canvas.filter(ImageFilter.GaussianBlur(blur)), np.float32) / 255

    drop = cast(figure, where.x + sideways * size, where.y + downward * size, max(1.0, 0.06 * size))
    rows = max(1, round(0.14 * where.height))
    flat = figure.resize((where.width, rows), Image.Resampling.BOX)
    foot = cast(flat, where.x + 0.15 * sideways * size, where.y + where.height - 0.6 * rows, max(1.0, 0.03 * size))
    left: np.ndarray = (1 - np.float32(beside) * drop) * (1 - np.float32(below) * foot)
    # Light that the blur takes by a thousandth is none taken: far from the figure the scene stays to the bit.
    return np.where(left > 0.998, np.float32(1), left)


# Reinhard, Ashikhmin, Gooch and Shirley, Color Transfer between Images, 2001: cone responses, then l-alpha-beta.
_CONES = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]], np.float32)
_OPPONENT = np.array(
    [[1 / math.sqrt(3)] * 3, [1 / math.sqrt(6), 1 / math.sqrt(6), -2 / math.sqrt(6)], [0.5**0.5, -(0.5**0.5), 0]],
    np.float32,
)
_FROM_CONES, _FROM_OPPONENT = np.linalg.inv(_CONES), _OPPONENT.T  # the second is orthogonal


def _harmonised(colours: np.ndarray, alpha: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Move mean and spread of a figure's colours partly to those around it, in l-alpha-beta.

    ``colours`` float32 (h, w, 3) in [0, 255] and ``alpha`` uint8 (h, w); ``around`` uint8 (…, 3). Spread at most
    halves and grows by a quarter, before the part is taken: a plain wall makes no figure flat, a red one none glaring.
    """
    own, theirs = _to_opponent(colours), _to_opponent(around.reshape(-1, 3).astype(np.float32))
    weight = alpha.astype(np.float32)[..., None] / max(1.0, float(alpha.sum(dtype=np.int64)))
    mean = (own * weight).sum(axis=(0, 1))
    spread = np.sqrt((weight * (own - mean) ** 2).sum(axis=(0, 1)))
    factor = np.clip(theirs.std(axis=0) / np.maximum(spread, 1e-4), 0.5, 1.25)
    moved = (own - mean) * (1 + HARMONISED * (factor - 1)) + mean + HARMONISED * (theirs.mean(axis=0) - mean)
    cones = 10 ** (moved @ _FROM_OPPONENT.T)
    changed: np.ndarray = np.clip(cones @ _FROM_CONES.T * 255, 0, 255).astype(np.float32)
    return changed


def _to_opponent(colours: np.ndarray) -> np.ndarray:
    cones = np.maximum(colours / np.float32(255), np.float32(1 / 255)) @ _CONES.T
    return np.asarray(np.log10(cones) @ _OPPONENT.T)


def _surroundings(scene: np.ndarray, where: Placement) -> np.ndarray:
    """Return the scene where the figure stands and half its size around it."""
    rows, columns = where.height // 2, where.width // 2
    return scene[
        max(0, where.y - rows) : where.y + where.height + rows,
        max(0, where.x - columns) : where.x + where.width + columns,
    ]
