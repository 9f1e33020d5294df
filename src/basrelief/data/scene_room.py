"""Rooms as a camera sees them: rays meet walls and boxes, which give depth, pattern and light.

A camera ray is (x, y, 1) with y up, so the point at depth t is t times its ray.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from basrelief.data.scene_plan import BACK, CEILING, FIRST_BOX, FLOOR, FRONT, LEFT, RIGHT, Material, Plan

LAMP, LAMP_FALLOFF = 1.6, 0.12  # strength close by, and how it falls with the square of the distance in metres
_OVERVIEW = 28  # pixels along the shorter side of the coarse depth by which a figure finds its place


class Room(NamedTuple):
    """A room as one camera sees it.

    Attributes
    ----------
    plan
        What is seen.
    x, y
        float32 (1, W) and (H, 1), the rays through the pixels' centres.
    lamp
        float32 (3,), the lamp's place in camera coordinates.
    radiance
        float32 (H, W, 3), linear light times ``exposure``.
    depth
        float32 (H, W), metres along the optical axis.
    exposure
        What brings the picture to the plan's brightness.
    overview
        x, y and depth on a coarse grid.
    """

    plan: Plan
    x: np.ndarray
    y: np.ndarray
    lamp: np.ndarray
    radiance: np.ndarray
    depth: np.ndarray
    exposure: float
    overview: tuple[np.ndarray, np.ndarray, np.ndarray]


def see_room(plan: Plan, height: int, width: int) -> Room:
    """Return a room as its camera sees it, ``height`` by ``width`` pixels."""
    x, y = _rays(plan, height, width)
    depth = _trace(plan, x, y)[1].reshape(height, width)
    # Twice as many rays each way give colours without jagged edges; depth is that of the pixel's centre.
    fine = _shade(plan, *_trace(plan, *_rays(plan, 2 * height, 2 * width)))
    radiance = fine.reshape(height, 2, width, 2, 3).mean((1, 3))
    exposure = plan.brightness / float(radiance.mean())
    radiance *= exposure
    rows, columns = (round(_OVERVIEW * side / min(height, width)) for side in (height, width))
    grid = _rays(plan, rows, columns)
    overview = (*grid, _trace(plan, *grid)[1].reshape(rows, columns))
    lamp = (plan.light - _eye(plan)) @ _turn(plan)
    return Room(plan, x, y, lamp, radiance, depth, exposure, overview)


def _rays(plan: Plan, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x (1, W) and y (H, 1) of the rays through the pixels' centres; the shorter side spans the same angle."""
    unit = plan.tan_half / min(height, width)
    x = (np.arange(width, dtype=np.float32) * 2 + (1 - width)) * unit
    y = (np.arange(height, dtype=np.float32) * -2 + (height - 1)) * unit
    return x[None], y[:, None]


def _eye(plan: Plan) -> np.ndarray:
    return np.array([0, plan.eye, 0], np.float32)


def _turn(plan: Plan) -> np.ndarray:
    """Return the rotation (3, 3) from camera to world coordinates."""
    (cos_p, cos_y), (sin_p, sin_y) = np.cos((plan.pitch, plan.yaw)), np.sin((plan.pitch, plan.yaw))
    pitch = np.array([[1, 0, 0], [0, cos_p, -sin_p], [0, sin_p, cos_p]])
    yaw = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
    return np.asarray(yaw @ pitch, dtype=np.float32)


def _trace(plan: Plan, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Intersect rays with room and boxes.

    Returns directions (3, N), depth (N,), surface (N,) and axis (N,) of the surface's normal.
    """
    direction = _turn(plan) @ np.stack([a.ravel() for a in np.broadcast_arrays(x, y, np.float32(1))])
    inverse = 1 / np.where(np.abs(direction) < 1e-6, np.float32(1e-6), direction)
    eye = _eye(plan)
    exits = np.where(inverse > 0, (plan.high - eye)[:, None], (plan.low - eye)[:, None]) * inverse
    axis: np.ndarray = exits.argmin(0)
    depth: np.ndarray = exits.min(0)
    ends = np.array([[LEFT, RIGHT], [FLOOR, CEILING], [FRONT, BACK]])
    surface = ends[axis, (np.take_along_axis(inverse, axis[None], 0)[0] > 0).astype(int)]
    for number, (low, high) in enumerate(plan.boxes, FIRST_BOX):
        one, two = (low - eye)[:, None] * inverse, (high - eye)[:, None] * inverse
        entries = np.minimum(one, two)
        entry = entries.max(0)
        hit = np.flatnonzero((entry < np.maximum(one, two).min(0)) & (entry > 0.05) & (entry < depth))
        depth[hit], surface[hit], axis[hit] = entry[hit], number, entries[:, hit].argmax(0)
    return direction, depth, surface, axis


def _paint(material: Material, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return a material's colour (N, 3) at surface coordinates in metres."""
    size, kind = material.size, material.pattern
    cell: np.ndarray | None = None
    mix: np.ndarray
    if kind == "planks across":
        u, v, kind = v, u, "planks"
    if kind in ("planks", "bricks", "tiles", "books"):
        long, row = {"planks": 7.0, "bricks": 2.5, "tiles": 1.0, "books": 0.2}[kind] * size, np.floor(v / size)
        along = u / long + (row * 0.37 if kind != "tiles" else 0)
        column = np.floor(along)
        edge = np.minimum((along - column) * long, v - row * size)
        mix = (edge < (0.025 if kind in ("tiles", "books") else 0.012)).astype(np.float32)
        cell = (row * 131 + column * 37).astype(np.int64) & 1023
        if kind == "books":
            mix = (v - row * size < 0.04).astype(np.float32)
        if kind == "planks":
            mix = np.maximum(mix, 0.35 * _noise(u / 8, v, 0.004))
    elif kind == "checker":
        mix = ((np.floor(u / size) + np.floor(v / size)) % 2).astype(np.float32)
    elif kind == "stripes":
        mix = (u / size % 1 < 0.5).astype(np.float32)
    elif kind == "panels":  # a lower half of boards
        mix = (v < 0.95) * (0.8 + 0.2 * (u / 0.12 % 1 < 0.85)).astype(np.float32)
    else:  # plain, and carpet as its coarser sister
        mix = _noise(u, v, 0.012) * (0.9 if kind == "carpet" else 0.3)
    colour = material.first + (material.second - material.first) * mix[:, None]
    if cell is not None and material.jitter:
        deviation = _tables()[1][cell] if kind == "books" else _tables()[1][cell, :1]
        colour *= 1 + material.jitter * (1 - mix)[:, None] * deviation
    return np.asarray(colour)


def _shade(plan: Plan, direction: np.ndarray, depth: np.ndarray, surface: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Return the linear light (N, 3) that traced rays see: pattern, lamp, ambient light that fails in corners."""
    point = direction * depth
    point[1] += plan.eye
    u, v = np.where(axis == 0, point[2], point[0]), np.where(axis == 1, point[2], point[1])
    colour, glow = np.empty((depth.size, 3), np.float32), np.zeros(depth.size, np.float32)
    for number in np.flatnonzero(np.bincount(surface)):
        here = np.flatnonzero(surface == number)
        base = plan.boxes[number - FIRST_BOX][0] if number >= FIRST_BOX else np.zeros(3, np.float32)
        a = u[here] - np.where(axis[here] == 0, base[2], base[0])  # a box's pattern starts at its own corner
        b = v[here] - np.where(axis[here] == 1, base[2], base[1])
        colour[here] = _paint(plan.materials[number], a, b)
        if number in (LEFT, RIGHT, BACK):
            colour[here[b < 0.09]] = 0.5  # skirting board
        for decal in plan.decals:
            if decal.surface == number:
                u0, v0, u1, v1 = decal.rectangle
                edge = np.minimum(np.minimum(a - u0, u1 - a), np.minimum(b - v0, v1 - b))
                inside = np.flatnonzero(edge > 0)
                within = here[inside]
                picture = _paint(decal.material, a[inside] - u0, b[inside] - v0)
                colour[within] = np.where((edge[inside] < 0.06)[:, None], decal.frame, picture)
                glow[within] = np.where(edge[inside] < 0.06, 0, decal.glow)
    to_light = plan.light[:, None] - point
    distance2 = np.einsum("in,in->n", to_light, to_light)
    normal = -np.sign(direction)
    facing = np.take_along_axis(to_light * normal, axis[None], 0)[0] / np.sqrt(distance2)
    lamp = np.maximum(facing, 0) * (LAMP / (1 + LAMP_FALLOFF * distance2))
    gap = np.minimum(point - plan.low[:, None], plan.high[:, None] - point)
    np.put_along_axis(gap, axis[None], 9, 0)  # a wall does not darken itself
    open_sky = 1 - 0.4 * np.exp(gap.min(0) * -4)
    floor = np.flatnonzero(surface == FLOOR)
    x, z, dark = point[0, floor], point[2, floor], np.zeros(floor.size, np.float32)
    for low, high in plan.boxes:
        if low[1] < 0.1:
            away = np.maximum(np.maximum(low[0] - x, x - high[0]), np.maximum(low[2] - z, z - high[2]))
            np.maximum(dark, np.exp(np.minimum(away * -6, 0)), out=dark)
    open_sky[floor] *= 1 - 0.55 * dark
    light = ((plan.ambient + lamp) * open_sky + glow)[:, None] * plan.tint
    return np.asarray(colour * light)


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Return smooth noise that repeats, float32 (256, 256) in [0, 1], and deviations of colour, (1024, 3)."""
    rng = np.random.default_rng(7)
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)) + 0.012
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((256, 256))) / frequency**1.6)
    noise = np.clip(0.5 + 0.22 * (noise - noise.mean()) / noise.std(), 0, 1)
    return noise.astype(np.float32), rng.uniform(-1, 1, (1024, 3)).astype(np.float32)


def _noise(u: np.ndarray, v: np.ndarray, texel: float) -> np.ndarray:
    return np.asarray(_tables()[0][(v / texel).astype(np.int32) & 255, (u / texel).astype(np.int32) & 255])
