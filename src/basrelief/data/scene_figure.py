"""Figures: creatures as smooth reliefs with an organic pattern, how they find a place, are lit and cast a shadow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from basrelief.data.scene_plan import BACK, FLOOR, LEFT, draw_colour
from basrelief.data.scene_room import LAMP, LAMP_FALLOFF, Room


class _Shape(NamedTuple):
    """A figure's form in its own coordinates: unit height, feet at y = 0."""

    start: np.ndarray  # (limbs, 2): tapered capsules from start to end
    end: np.ndarray
    radii: np.ndarray  # (limbs, 2)
    wobble: np.ndarray  # (2, 3): amplitude, frequency, phase of the outline's irregularity, by axis
    eyes: np.ndarray  # (2, 2)


class _Pattern(NamedTuple):
    """What is painted on a figure: wavy bands, else spots."""

    bands: bool
    scale: float
    threshold: float
    offset: float


class Figure(NamedTuple):
    """A figure as it stands in a room: lengths in metres, its foot in camera coordinates."""

    shape: _Shape
    half_width: float  # as a share of the height
    height: float
    foot: tuple[float, float, float]
    bulge: float  # the relief's height
    colours: np.ndarray  # (3, 3): ground, pattern, belly
    pattern: _Pattern
    shadow: float  # the share of light it takes


def draw_figure(rng: np.random.Generator, room: Room) -> Figure:
    """Draw a creature and find a place for it in the room."""
    shape, half = _draw_shape(rng)
    height, *foot = _place(rng, room, shape, half)
    ground = draw_colour(rng, (0.3, 0.95), (0.05, 0.85))
    near = room.plan.materials[(FLOOR, BACK, LEFT)[rng.integers(3)]].first
    if rng.random() < 0.3:  # camouflage
        ground = near * float(rng.uniform(0.7, 1.2)) + 0.15 * ground
    second = ground * float(rng.uniform(0.2, 0.6)) if rng.random() < 0.6 else draw_colour(rng, (0.2, 0.95), (0.1, 0.8))
    colours = np.stack([ground, second, np.minimum(ground * 1.5 + 0.05, 0.9)])
    kind, scale, threshold, offset = rng.uniform((0, 0.6, -0.1, 0), (1, 1.4, 0.4, 6)).tolist()
    pattern = _Pattern(kind < 0.5, scale, threshold, offset)
    bulge = float(min(rng.uniform(0.08, 0.25) * height, 0.3))
    x, y, z = foot
    return Figure(shape, half, height, (x, y, z), bulge, colours, pattern, float(rng.uniform(0.3, 0.65)))


def _draw_shape(rng: np.random.Generator) -> tuple[_Shape, float]:
    """Draw a creature: body, head, legs or a foot, arms, tails and horns. Returns half its width too."""
    lean, length, girth = rng.uniform(0.1, 1.5), rng.uniform(0.15, 0.6), rng.uniform(0.15, 0.26)
    reach = 0.5 * length * np.array([np.cos(lean), np.sin(lean)])
    neck = reach + rng.uniform((-0.1, 0.05), (0.3, 0.3))
    head = rng.uniform(0.55, 0.95) * girth
    limbs = [(-reach, reach, girth * rng.uniform(0.8, 1.2), girth), (reach, neck, 0.6 * head, head)]
    ground = -reach[1] - girth - rng.uniform(0.0, 0.35)
    legs = int(rng.integers(0, 5))
    for share in (np.arange(legs) + 0.5) / max(legs, 1) * 2 - 1:
        hip = share * (reach + np.array([0.6 * girth, 0]))
        limbs.append((hip, np.array([hip[0] + rng.uniform(-0.1, 0.1), ground]), 0.09, rng.uniform(0.05, 0.08)))
    if not legs:  # it stands on a broad foot, as a snail does
        foot, sole = np.array([rng.uniform(0.1, 0.3) + abs(reach[0]), 0]), np.array([0, ground])
        limbs += [(-reach * 0.5, sole, girth, 0.1), (sole - foot, sole + foot, 0.08, 0.06)]
    for root in (neck, -reach, reach, neck, reach)[: rng.integers(1, 6)]:
        angle, bend = rng.uniform(-0.4, 3.5), rng.uniform(-1, 1)
        span = rng.uniform(0.1, 0.24)
        knee = root + (girth * 0.8 + span) * np.array([np.cos(angle), np.sin(angle)])
        tip = knee + span * np.array([np.cos(angle + bend), np.sin(angle + bend)])
        limbs += [(root, knee, 0.08, 0.06), (knee, tip, 0.06, rng.uniform(0.02, 0.06))]
    start, end = np.array([limb[0] for limb in limbs]), np.array([limb[1] for limb in limbs])
    radii = np.array([limb[2:] for limb in limbs])
    both = np.stack([start, end], 1)
    low, high = (both - radii[..., None]).min((0, 1)), (both + radii[..., None]).max((0, 1))
    scale, middle = 1 / (high[1] - low[1]), np.array([(low[0] + high[0]) / 2, low[1]])
    look = head * rng.uniform((-0.35, 0.0), (0.1, 0.4)) + neck
    eyes = np.stack([look, look + np.array([0.45 * head, 0])])
    wobble = np.stack([rng.uniform((0.008, 7, 0), (0.03, 16, 6.3)), rng.uniform((0.008, 7, 0), (0.03, 16, 6.3))])
    parts = (start - middle, end - middle, radii, eyes - middle)
    start, end, radii, eyes = ((part * scale).astype(np.float32) for part in parts)
    return _Shape(start, end, radii, wobble.astype(np.float32), eyes), float((high[0] - low[0]) / 2 * scale)


def _place(rng: np.random.Generator, room: Room, shape: _Shape, half: float) -> tuple[float, float, float, float]:
    """Find a height and a foot point in camera coordinates such that furniture hides little of the figure."""
    plan, (grid_x, grid_y, grid_depth) = room.plan, room.overview
    side, top = float(-grid_x[0, 0]), float(grid_y[0, 0])
    raster = (np.arange(20) + 0.5) / 20
    filled = np.mean(_measure(shape, (np.tile(raster, 20) * 2 - 1) * half, np.repeat(raster, 20)) > 0) * 2 * half
    share = float(np.exp(rng.uniform(np.log(0.04), np.log(0.3))))
    span = min(float(np.sqrt(share * 4 * side * top / filled)), 1.75 * top, 0.9 * side / half)  # height as seen
    cut_off = rng.random() < 0.02
    # Candidates are drawn by where the foot is seen; the floor there tells the depth.
    sin_p, cos_p = float(np.sin(plan.pitch)), float(np.cos(plan.pitch))
    farthest = 0.93 * float(grid_depth.max())
    highest = min((sin_p - plan.eye / farthest) / cos_p, 0.96 * top - span)
    y = rng.uniform(-0.96 * top, max(highest, -0.95 * top), 32)
    z = plan.eye / (sin_p - y * cos_p)
    x = rng.uniform(-1, 1, 32) * (side - (-0.2 if cut_off else 1) * half * span)
    inside = (np.abs(grid_x - x[:, None, None]) < half * span) & (grid_y > y[:, None, None])
    inside &= grid_y < y[:, None, None] + span
    hidden = (inside & (grid_depth < z[:, None, None])).sum((1, 2)) / (inside.sum((1, 2)) + 1)
    best = int(np.argmax(hidden < 0.05)) if hidden.min() < 0.05 else int(hidden.argmin())
    depth = float(z[best])
    if hidden[best] > 0.3:  # no place on the floor is free: it leaps in front of what hides it
        depth = 0.95 * float(grid_depth[inside[best]].min())
    return span * depth, float(x[best]) * depth, float(y[best]) * depth, depth


def cast_shadow(room: Room, figure: Figure) -> np.ndarray:
    """Return the share of light (H, W) the figure takes: its outline along the rays of the lamp, and at its feet."""
    x, y, z = figure.foot
    depth, size, light = room.depth, figure.height, room.lamp
    toward = light[2] - depth
    share = np.clip((z - depth) / np.where(np.abs(toward) < 0.05, np.float32(0.05), toward), -1, 2)
    u = (room.x * depth + share * (light[0] - room.x * depth) - x) / size
    v = (room.y * depth + share * (light[1] - room.y * depth) - y) / size
    here = np.nonzero((share > 0) & (share < 0.95) & (np.abs(u) < figure.half_width + 0.1) & (v > -0.1) & (v < 1.1))
    blur = 0.03 + 0.15 * share[here]  # a lamp is no point: the shadow softens away from the figure
    shadow = np.zeros_like(depth)
    shadow[here] = figure.shadow * np.clip(0.5 + _measure(figure.shape, u[here], v[here]) / (2 * blur), 0, 1)
    # The feet: an ellipse on the floor.
    plan = room.plan
    up = plan.eye + depth * (room.y * float(np.cos(plan.pitch)) - float(np.sin(plan.pitch)))
    off = ((room.x * depth - x) / (0.8 * figure.half_width * size)) ** 2 + ((depth - z) / (0.35 * size)) ** 2
    contact = 0.6 * np.exp(np.maximum(-1.5 * off - (up * 8) ** 2, -30))
    return np.asarray(1 - (1 - shadow) * (1 - contact))


def see_figure(room: Room, figure: Figure) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray, np.ndarray]:
    """Return the window of pixels that a figure can reach and, in it, how the figure looks.

    The figure is a relief on the plane z = foot depth. It covers nothing where the room is nearer.

    Returns
    -------
    tuple
        The window (h, w) as slices of the picture; in it the figure's light (h, w, 3), the share in [0, 1] of each
        pixel that it covers (h, w), and its depth in metres (h, w).
    """
    plan, (x, y, z), size = room.plan, figure.foot, figure.height
    margin, reach = 0.06 * size, figure.half_width * size
    columns = np.flatnonzero(np.abs(room.x[0] * z - x) < reach + margin)
    rows = np.flatnonzero(np.abs(room.y[:, 0] * z - y - size / 2) < size / 2 + margin)
    window = slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)
    u, v = np.broadcast_arrays((room.x[:, window[1]] * z - x) / size, (room.y[window[0]] * z - y) / size)
    inside = _measure(figure.shape, u.ravel(), v.ravel()).reshape(u.shape)
    # The relief is a quarter circle over the distance from the outline, up to a flat top.
    radius = float(figure.shape.radii.max()) * 1.1
    rise = np.clip(inside / radius, 0, 1)
    profile = np.sqrt(rise * (2 - rise))
    # Shaded a little rounder than it is, as a carver would undercut it.
    slope = (1 - rise) / (profile + 0.25) * (1.6 * figure.bulge / (size * radius))
    step = 2 * plan.tan_half * z / (min(room.depth.shape) * size)  # a pixel in the figure's own coordinates
    down, right = np.gradient(inside, step)
    normal_x, normal_y = -slope * right, slope * down  # rows run downward
    length = np.sqrt(normal_x**2 + normal_y**2 + 1)
    lamp = room.lamp - np.array([x, y + size / 2, z], np.float32)
    distance = float(np.sqrt(lamp @ lamp))
    facing = (normal_x * float(lamp[0]) + normal_y * float(lamp[1]) - float(lamp[2])) / (length * distance)
    strength = LAMP / (1 + LAMP_FALLOFF * distance**2)
    shine = (plan.ambient + 0.1) * (0.7 + 0.3 * normal_y / length) + strength * np.maximum(facing * 0.8 + 0.2, 0)
    shine *= np.clip(0.55 + 1.5 * v, 0.55, 1)  # little light comes to the feet
    light = _paint(figure, u, v, normal_y / length, step) * (shine * room.exposure)[..., None] * plan.tint
    front = z - figure.bulge * profile
    cover = np.clip(inside / max(step, 0.02) + 0.5, 0, 1) * (front < room.depth[window])
    return window, light, cover, front


def _paint(figure: Figure, u: np.ndarray, v: np.ndarray, upturned: np.ndarray, pixel: float) -> np.ndarray:
    """Return a figure's colour (h, w, 3): bands or spots, a pale belly where it faces down, and eyes.

    ``upturned`` is the normal's share upward, ``pixel`` a pixel's width in the figure's own coordinates.
    """
    bands, scale, threshold, offset = figure.pattern
    across = (u + 0.05 * np.sin(11 * v + offset)) * (26 * scale)
    upward = (v + 0.04 * np.sin(13 * u + 2 * offset)) * (26 * scale)
    if bands:
        value = np.sin(upward + across / 3)
    else:
        value = np.sin(across + 1.5 * np.sin(upward / 2)) * np.sin(upward + offset)
    spot = np.clip((value - threshold) * 4 + 0.5, 0, 1)[..., None]
    belly = np.clip(upturned * -2.0 - 0.2, 0, 1)[..., None]
    ground, second, pale = figure.colours
    colour = ground + (second - ground) * spot
    colour = colour + (pale - colour) * belly * 0.6
    for eye_x, eye_y in figure.shape.eyes.tolist():
        ring = np.hypot(u - eye_x, v - eye_y) / 0.034
        edge = max(pixel / 0.034, 0.2)
        colour += (0.85 - colour) * np.clip((1 - ring) / edge + 0.5, 0, 1)[..., None]
        colour *= 1 - np.clip((0.6 - ring) / edge + 0.5, 0, 1)[..., None]
    return np.asarray(colour)


def _measure(shape: _Shape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how far points (N,) lie inside the outline, negative outside: a smooth union of tapered capsules."""
    (ax, fx, px), (ay, fy, py) = shape.wobble.tolist()
    x, y = x + ax * np.sin(fx * y + px), y + ay * np.sin(fy * x + py)
    along = shape.end - shape.start
    dx, dy = x - shape.start[:, :1], y - shape.start[:, 1:]
    share = (dx * along[:, :1] + dy * along[:, 1:]) / (along**2).sum(1, keepdims=True)
    np.clip(share, 0, 1, out=share)
    dx -= share * along[:, :1]
    dy -= share * along[:, 1:]
    depth = shape.radii[:, :1] + share * (shape.radii[:, 1:] - shape.radii[:, :1]) - np.sqrt(dx * dx + dy * dy)
    deepest = depth.max(0)
    return np.asarray(deepest + 0.025 * np.log(np.exp((depth - deepest) * 40).sum(0)))
