"""Materials for tests of composing: small rooms, cut-outs and depth maps, made on the fly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from basrelief.composing.options import ComposeOptions
from basrelief.data.source import DataOptions

SIZE = (48, 64)


def write_rooms(folder: Path, count: int = 6, size: tuple[int, int] = SIZE) -> Path:
    """Write noisy pictures, each of another colour: room-1.png, …"""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(count):
        picture = rng.integers(0, 80, (*size, 3)) + rng.integers(20, 150, 3)
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"room-{number + 1}.png")
    return folder


def draw_disc(size: int = 40, soft: float = 1.5) -> np.ndarray:
    """Return a bright disc with a soft edge, uint8 (size, size, 4), white where it is transparent."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    far = np.hypot(rows, columns)
    alpha = np.clip((size / 2 - 2 - far) / soft + 0.5, 0, 1)
    colours = np.where(alpha[..., None] > 0, [200, 40, 90], 255)
    return np.dstack([colours, np.rint(255 * alpha)]).astype(np.uint8)


def write_cutouts(folder: Path, count: int = 6) -> Path:
    """Write discs with transparency, each of another colour and shape: cup-1.png, …"""
    folder.mkdir(parents=True)
    for number in range(count):
        picture = draw_disc()
        inside = picture[..., 3] > 0
        picture[inside, :3] = [40 * number, 200 - 30 * number, 90]
        Image.fromarray(picture[: 40 - 3 * number]).save(folder / f"cup-{number + 1}.png")
    return folder


def write_depths(folder: Path, rooms: Path, unknown: int = 0) -> Path:
    """Write a depth map in millimetres beside each room: 2 to 4 m, a corner unknown."""
    folder.mkdir(parents=True)
    for number, path in enumerate(sorted(rooms.iterdir())):
        with Image.open(path) as picture:
            width, height = picture.size
        depth = np.linspace(2000, 4000, width * height).reshape(height, width) + 10 * number
        depth[: height // 4, : width // 4] = unknown
        Image.fromarray(depth.astype(np.uint16)).save(folder / path.name)
    return folder


def materials(root: Path, count: int = 6, *, depths: bool = False, **options: object) -> ComposeOptions:
    """Write ``count`` rooms and cut-outs, and return the options that compose them at 32 x 40 pixels."""
    rooms = write_rooms(root / "rooms", count)
    cutouts = write_cutouts(root / "cutouts", min(count, 6))
    given = {"resolution": (32, 40), "smallest": 0.3, **options}
    if depths:
        given |= {"depths": write_depths(root / "depths", rooms), "depth": DataOptions(depth_scale=0.001)}
    return ComposeOptions(rooms, cutouts, **given)  # type: ignore[arg-type]
