"""Format ``scenes``: generated rooms with and without a figure, every plane exact.

A scene is a furnished room seen by a pinhole camera, and one figure that stands in it. Room, furniture, pictures and
rugs have straight edges; a figure is a smooth relief with limbs and an organic pattern. Depth is the distance along the
optical axis in metres, computed by intersecting each pixel's ray with the room. All parameters are drawn before any
pixel, so that a seed shows the same room and figure at every resolution.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from basrelief.batch import Sample
from basrelief.data.scene_figure import cast_shadow, draw_figure, see_figure
from basrelief.data.scene_plan import draw_room
from basrelief.data.scene_room import Room, see_room
from basrelief.data.source import DataOptions, Entry, Source
from basrelief.errors import UsageError

SCENES_PER_ROOM = 4
_DEFAULT_RESOLUTION = (64, 64)
_SMALLEST = 16
_ROOM, _ROOM_NOISE, _FIGURE, _IMAGE_NOISE = range(4)  # separate random streams


class Scene(NamedTuple):
    """One generated scene, every plane of the same height and width.

    Attributes
    ----------
    image, background
        uint8 (H, W, 3), with and without the figure. They differ by figure and shadow, and slightly in exposure,
        colour and sensor noise, as two photographs do.
    mask
        uint8 (H, W), 1 where the figure covers at least half of the pixel.
    depth, background_depth
        float32 (H, W), metres along the optical axis, with and without the figure.
    shadow
        float32 (H, W) in [0, 1], the share of light that the figure takes from the room.
    """

    image: np.ndarray
    background: np.ndarray
    mask: np.ndarray
    depth: np.ndarray
    background_depth: np.ndarray
    shadow: np.ndarray


def read_scenes(location: str, options: DataOptions) -> Source:
    """Return N generated scenes as a source.

    Parameters
    ----------
    location
        ``"scenes:N"``, N from 1 to 9999999.
    options
        ``resolution`` (default 64 by 64, at least 16 each way), ``seed`` and ``background`` are used.

    Raises
    ------
    UsageError
        The location, resolution or seed is not of that form.
    """
    match = re.fullmatch(r"scenes:0*([1-9][0-9]{0,6})", location)
    if match is None:
        raise UsageError(f"Cannot read {location!r}: expected scenes:N with N from 1 to 9999999, as in scenes:500.")
    count = int(match[1])
    height, width = options.resolution or _DEFAULT_RESOLUTION
    if min(height, width) < _SMALLEST:
        size = f"{height}x{width}"
        raise UsageError(
            f"Cannot generate scenes at {size}: expected a resolution of at least {_SMALLEST}x{_SMALLEST}."
        )
    if options.seed < 0:
        raise UsageError(f"Cannot generate scenes from seed {options.seed}: expected 0 or a positive whole number.")
    rooms = [f"room-{number:06d}" for number in range(-(-count // SCENES_PER_ROOM))]
    entries = tuple(Entry(f"scene-{i:06d}", group=rooms[i // SCENES_PER_ROOM]) for i in range(count))
    notes = (
        f"Scenes: generated with seed {options.seed} at {height}x{width}, {SCENES_PER_ROOM} figures to a room.",
        "Masks and depth are exact; depth is metres along the optical axis.",
    )
    return Source(
        format="scenes",
        location=location,
        entries=entries,
        targets=("mask", "depth"),
        load=partial(_load, options, height, width),
        classes=("figure",),
        background=options.background,
        depth_unit="m",
        depth_kind="metric",
        notes=notes,
        reading=f"seed {options.seed}, {height}x{width}",
    )


def make_scene(seed: int, index: int, height: int, width: int) -> Scene:
    """Generate one scene.

    Parameters
    ----------
    seed, index
        Not negative. Together with the size they determine every byte, whatever was generated before.
        ``SCENES_PER_ROOM`` neighbouring indices share a room and its background; no two share a figure.
    height, width
        In pixels; the shorter side spans the same angle at every size.

    Returns
    -------
    Scene
        Arrays that nobody else holds.
    """
    room, background = _room_and_background(seed, index // SCENES_PER_ROOM, height, width)
    figure = draw_figure(_generator(seed, _FIGURE, index), room)
    shadow = cast_shadow(room, figure)
    radiance = room.radiance * (1 - shadow)[..., None]
    window, light, cover, front = see_figure(room, figure)
    radiance[window] += (light - radiance[window]) * cover[..., None]
    depth, mask = room.depth.copy(), np.zeros((height, width), np.uint8)
    mask[window] = cover >= 0.5
    depth[window] = np.where(cover >= 0.5, front, depth[window])
    image = _develop(_generator(seed, _IMAGE_NOISE, index), radiance)
    return Scene(image, background.copy(), mask, depth, room.depth.copy(), shadow)


def _load(options: DataOptions, height: int, width: int, entry: Entry) -> Sample:
    scene = make_scene(options.seed, int(entry.id.removeprefix("scene-")), height, width)
    background = scene.background if options.background else None
    return Sample(entry.id, scene.image, background, scene.mask[None], None, scene.depth)


@lru_cache(maxsize=4)  # neighbouring scenes share a room
def _room_and_background(seed: int, number: int, height: int, width: int) -> tuple[Room, np.ndarray]:
    room = see_room(draw_room(_generator(seed, _ROOM, number)), height, width)
    return room, _develop(_generator(seed, _ROOM_NOISE, number), room.radiance)


def _generator(seed: int, stream: int, index: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, stream, index]))


def _develop(rng: np.random.Generator, radiance: np.ndarray) -> np.ndarray:
    """Turn linear light into a photograph: a slightly random exposure and colour, sensor noise, 8 bits."""
    gain = rng.uniform(0.97, 1.03) * rng.uniform(0.99, 1.01, 3)
    noise = rng.standard_normal(radiance.shape, np.float32) * np.float32(255 * rng.uniform(0.006, 0.016))
    picture = np.sqrt(np.clip(radiance, 0, 1.2)) * (255 * gain).astype(np.float32) + noise
    return np.asarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
