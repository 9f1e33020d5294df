"""Plans of rooms: their size, furniture, materials, pictures and lamp, drawn before any pixel.

The world has y up, the floor at y = 0 and the camera above its origin. Lengths are in metres, colours linear light.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FLOOR, CEILING, LEFT, RIGHT, BACK, FRONT, FIRST_BOX = range(7)  # surfaces


class Material(NamedTuple):
    """A pattern of two colours; ``size`` in metres, ``jitter`` varies the colour from cell to cell."""

    pattern: str
    first: np.ndarray
    second: np.ndarray
    size: float = 0.3
    jitter: float = 0.0


class Decal(NamedTuple):
    """A flat framed rectangle (u0, v0, u1, v1 in metres) on a surface: picture, window or rug."""

    surface: int
    rectangle: tuple[float, float, float, float]
    frame: np.ndarray
    material: Material
    glow: float = 0.0


class Plan(NamedTuple):
    """A room's parameters, in metres and radians."""

    eye: float  # height of the camera
    pitch: float  # downward
    yaw: float
    tan_half: float  # of the shorter side's field of view
    low: np.ndarray  # the room's corners
    high: np.ndarray
    boxes: list[tuple[np.ndarray, np.ndarray]]
    materials: list[Material]  # by surface: the walls', then the boxes'
    decals: list[Decal]
    light: np.ndarray
    tint: np.ndarray  # of the light
    ambient: float
    brightness: float  # of the whole picture


def draw_room(rng: np.random.Generator) -> Plan:
    """Draw a room: its size, camera and lamp, furniture along three walls, pictures, and at times a rug."""
    width, top, back = float(rng.uniform(2.8, 6.5)), float(rng.uniform(2.4, 3.0)), float(rng.uniform(2.8, 9.5))
    x0 = -float(rng.uniform(0.3, 0.7)) * width
    x1 = x0 + width
    wall, floor = _draw_wall(rng), _draw_floor(rng)
    accent = _draw_wall(rng) if rng.random() < 0.3 else wall
    white = np.full(3, rng.uniform(0.6, 0.85), np.float32)
    warm = float(rng.uniform(-0.14, 0.2))
    plan = Plan(
        eye=float(rng.uniform(1.3, 1.7)),
        pitch=float(rng.uniform(0.06, 0.32)),
        yaw=float(np.arctan2(rng.uniform(0.85 * x0, 0.85 * x1), back)),  # it looks at the back wall, not past it
        tan_half=float(rng.uniform(0.5, 0.62)),
        low=np.array([x0, 0, -1.5], np.float32),
        high=np.array([x1, top, back], np.float32),
        boxes=[],
        materials=[floor, Material("plain", white, white * 0.9), wall, wall, accent, wall],
        decals=[],
        light=rng.uniform((x0 + 0.4, top - 0.5, 0.3), (x1 - 0.4, top - 0.15, back - 0.6)).astype(np.float32),
        tint=np.array([1 + warm, 1, 1 - warm], np.float32),
        ambient=float(rng.uniform(0.25, 0.5)),
        brightness=float(rng.uniform(0.18, 0.32)),
    )
    for surface, begin, stop in ((BACK, x0 + 0.05, x1), (LEFT, 2.0, back - 1.4), (RIGHT, 2.0, back - 1.4)):
        at = begin + float(rng.exponential(0.5))
        while at < stop:
            size, parts = _draw_furniture(rng)
            if at + size < stop:
                for (a0, a1, y0, y1, o0, o1), material in parts:
                    if surface == BACK:
                        corners = (at + a0, y0, back - o1), (at + a1, y1, back - o0)
                    else:
                        near, far = (x0 + o0, x0 + o1) if surface == LEFT else (x1 - o1, x1 - o0)
                        corners = (near, y0, at + a0), (far, y1, at + a1)
                    plan.boxes.append((np.array(corners[0], np.float32), np.array(corners[1], np.float32)))
                    plan.materials.append(material)
            at += size + float(rng.exponential(0.9))
        plan.decals.extend(_draw_decal(rng, surface, begin, stop, top) for _ in range(rng.integers(3)))
    if rng.random() < 0.5:
        kind = ("stripes", "carpet", "checker")[rng.integers(3)]
        w, d, x, z = rng.uniform((1, 1, x0 + 0.5, 2), (2.6, 2.6, x1 - 0.5, back)).tolist()
        rug = _draw_wall(rng)._replace(pattern=kind)
        border = draw_colour(rng, (0.2, 0.8), (0.2, 0.8))
        plan.decals.append(Decal(FLOOR, (x - w / 2, z - d / 2, x + w / 2, z + d / 2), border, rug))
    return plan


def _draw_floor(rng: np.random.Generator) -> Material:
    kind = ("planks", "planks across", "checker", "tiles", "carpet")[rng.integers(5)]
    first = _wood(rng) if "planks" in kind else draw_colour(rng, (0.45, 0.9), (0.0, 0.35))
    size = float(rng.uniform(0.1, 0.2) if "planks" in kind else rng.uniform(0.3, 0.6))
    return Material(kind, first, first * float(rng.uniform(0.3, 0.7)), size, 0.2)


def _draw_wall(rng: np.random.Generator) -> Material:
    kind = ("plain", "plain", "stripes", "bricks", "panels")[rng.integers(5)]
    first = draw_colour(rng, (0.6, 0.95), (0.03, 0.4))
    if kind == "bricks":
        brick = np.array([0.5, 0.22, 0.14], np.float32) * float(rng.uniform(0.6, 1.4))
        return Material(kind, brick if rng.random() < 0.6 else first, first * 0.3 + 0.3, 0.085, 0.3)
    second = first * float(rng.uniform(0.6, 0.85)) if rng.random() < 0.7 else draw_colour(rng, (0.4, 0.9), (0.1, 0.4))
    return Material(kind, first, second, float(rng.uniform(0.15, 0.4)))


def _draw_furniture(rng: np.random.Generator) -> tuple[float, list[tuple[tuple[float, ...], Material]]]:
    """Draw one piece: its width and its boxes (from, to along the wall; from, to upward; from, to off the wall)."""
    main = _wood(rng) if rng.random() < 0.45 else draw_colour(rng, (0.25, 0.95), (0.1, 0.8))
    other = draw_colour(rng, (0.3, 0.95), (0.2, 0.8))
    plain, bright = Material("plain", main, main * 0.75), Material("plain", other, other * 0.8)
    w, h, d = (float(size) for size in rng.uniform((0.7, 0.7, 0.35), (1.7, 1.2, 0.6)))
    match rng.integers(7):
        case 0:  # cupboard
            drawers = Material("tiles", main, main * 0.3, float(rng.uniform(0.3, 0.6)), 0.05)
            return w, [((0, w, 0, h * float(rng.choice([1.0, 1.7])), 0, d), drawers)]
        case 1:  # bookshelf
            books = Material("books", other * 0.5 + 0.15, main * 0.5, 0.32, 0.9)
            sides = [((a, a + 0.05, 0, 2.0, 0, 0.34), plain) for a in (0, w - 0.05)]
            return w, [((0.05, w - 0.05, 0, 1.92, 0, 0.3), books), *sides]
        case 2:  # table
            legs = [((a, a + 0.08, 0, 0.72, 0.05, d), plain) for a in (0.05, w - 0.13)]
            return w, [((0, w, 0.72, 0.78, 0, d + 0.1), plain), ((0.3, 0.6, 0.78, 1.0, 0.1, 0.3), bright), *legs]
        case 3:  # sofa
            arms = [((a, a + 0.2, 0, 0.62, 0, 0.85), plain) for a in (0, w + 0.3)]
            seat = Material("stripes", main, main * 0.85, 0.7)
            rest = ((0.2, w + 0.3, 0.4, 0.85, 0, 0.22), plain)
            return w + 0.5, [((0.2, w + 0.3, 0, 0.42, 0, 0.8), seat), rest, *arms]
        case 4:  # crates
            slats = Material("planks", main, main * 0.3, 0.12, 0.2)
            upper = ((0.1, 0.5, 0.5, 0.85, 0.05, 0.4), slats._replace(first=other))
            return 0.6, [((0, 0.6, 0, 0.5, 0, 0.5), slats), upper]
        case 5:  # shelf on the wall
            y, tops = float(rng.uniform(1.2, 1.6)), rng.uniform(0.1, 0.35, 2).tolist()
            things = [((a, a + 0.16, y, y + top, 0.02, 0.18), bright) for a, top in zip((0.1, 0.35), tops, strict=True)]
            return w, [((0, w, y - 0.04, y, 0, 0.22), plain), *things]
        case _:  # bed, its head against the wall
            blanket = Material(("checker", "stripes")[rng.integers(2)], other, other * 0.5 + 0.2, 0.25)
            return w + 0.4, [((0, w + 0.4, 0, 0.95, 0, 0.08), plain), ((0.05, w + 0.35, 0, 0.5, 0.08, 1.3), blanket)]


def _draw_decal(rng: np.random.Generator, wall: int, begin: float, stop: float, top: float) -> Decal:
    w, h = rng.uniform(0.35, 1.2, 2).tolist()
    u, v = float(rng.uniform(begin, max(stop - w, begin))), float(rng.uniform(1.1, max(top - h - 0.25, 1.1)))
    frame = _wood(rng) if rng.random() < 0.5 else np.full(3, rng.choice([0.03, 0.8]), np.float32)
    kind = ("carpet", "checker", "stripes", "plain")[rng.integers(4)]
    colours = [draw_colour(rng, (0.3, 1.0), (0.1, 0.8)) for _ in range(2)]
    material, glow = Material(kind, colours[0], colours[1], float(rng.uniform(0.1, 0.4))), 0.0
    if rng.random() < 0.35:  # a window
        sky = np.array([0.55, 0.75, 1.0], np.float32)
        material, glow = Material("tiles", sky, sky * 0.3, max(w, h) / 2), float(rng.uniform(0.5, 1.2))
    return Decal(wall, (u, v, u + w, v + h), frame, material, glow)


def draw_colour(rng: np.random.Generator, value: tuple[float, float], saturation: tuple[float, float]) -> np.ndarray:
    """Draw a colour of any hue, linear light float32 (3,); the ranges are those of the photograph, in [0, 1]."""
    hue, sat, val = rng.uniform(0, 6), rng.uniform(*saturation), rng.uniform(*value)
    wheel = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return np.asarray((val * (1 - sat + sat * wheel)) ** 2, dtype=np.float32)


def _wood(rng: np.random.Generator) -> np.ndarray:
    return np.array([0.55, 0.3, 0.14], np.float32) * float(rng.uniform(0.2, 1.3)) + float(rng.uniform(0, 0.08))
