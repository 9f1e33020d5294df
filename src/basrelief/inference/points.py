"""Depth as a cloud of coloured points, through a pinhole camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from basrelief.errors import UsageError

_ROWS = 1 << 20  # points that are written at a time
_POINT = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])


@dataclass(frozen=True)
class Lens:
    """A pinhole camera, by its field of view or by its intrinsics.

    Attributes
    ----------
    fov
        Horizontal field of view in degrees; the axis goes through the middle of the picture, pixels are square.
    intrinsics
        Focal lengths and principal point (fx, fy, cx, cy) in pixels of the picture's own size, the centre of the first
        pixel at (0, 0), as OpenCV has it.
    """

    fov: float | None = None
    intrinsics: tuple[float, float, float, float] | None = None

    def at(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return (fx, fy, cx, cy) for pictures of a size (height, width)."""
        if self.intrinsics is not None:
            return self.intrinsics
        assert self.fov is not None
        focal = size[1] / 2 / math.tan(math.radians(self.fov) / 2)
        return focal, focal, (size[1] - 1) / 2, (size[0] - 1) / 2


def choose_lens(fov: float | None, intrinsics: str | tuple[float, float, float, float] | None) -> Lens:
    """Return the camera that was stated.

    Raises
    ------
    UsageError
        When neither or both are given, or they make no camera.
    """
    if (fov is None) == (intrinsics is None):
        raise UsageError(
            "--ply needs to know the camera: give --fov DEGREES (horizontal; a phone's main camera has some 65 to 75) "
            "or --intrinsics FX,FY,CX,CY, and one of them alone."
        )
    if fov is not None:
        if not 1 <= fov < 179:
            raise UsageError(f"--fov {fov:g}: expected degrees from 1 to 179.")
        return Lens(fov=float(fov))
    try:
        given = intrinsics.split(",") if isinstance(intrinsics, str) else intrinsics or ()
        fx, fy, cx, cy = (float(value) for value in given)
    except (ValueError, TypeError):
        fx = fy = cx = cy = math.nan
    if not (fx > 0 and fy > 0 and all(map(math.isfinite, (fx, fy, cx, cy)))):
        raise UsageError(
            f"--intrinsics {intrinsics}: expected FX,FY,CX,CY in pixels, such as 525,525,319.5,239.5 for 640x480."
        )
    return Lens(intrinsics=(fx, fy, cx, cy))


def check_kind(kind: str) -> None:
    """Raise UsageError for depth that gives no points."""
    if kind == "disparity":
        raise UsageError(
            "--ply: this network predicts disparity, which grows towards the camera and is depth only up to an unknown "
            "scale and shift of its inverse. No points follow from it; train on depth (metric or relative)."
        )


def note_kind(kind: str, unit: str) -> str:
    """Return what to know of a cloud's scale; "" for depth in a known unit."""
    if kind == "relative":
        return "Depth is relative: the points have the right shape, but an arbitrary scale."
    return "" if unit else "The unit of depth is not known, and so the points' is not."


def place_points(depth: np.ndarray, lens: Lens) -> np.ndarray:
    """Return float32 (H, W, 3): x to the right, y down and z ahead of each pixel, in the unit of depth.

    Parameters
    ----------
    depth
        (H, W), along the optical axis, not along the ray.
    """
    height, width = depth.shape
    fx, fy, cx, cy = lens.at((height, width))
    return _place(depth.astype(np.float32), (np.arange(width) - cx) / fx, (np.arange(height) - cy) / fy)


def _place(depth: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    points = np.empty((*depth.shape, 3), np.float32)
    points[..., 0] = across.astype(np.float32) * depth
    points[..., 1] = down.astype(np.float32)[:, None] * depth
    points[..., 2] = depth
    return points


def write_ply(path: Path, image: np.ndarray, codes: np.ndarray, scale: float, lens: Lens, comment: str = "") -> None:
    """Write the points of a picture as PLY: binary, little endian, x y z float, red green blue uchar.

    Parameters
    ----------
    image
        uint8 (H, W, 3).
    codes
        (H, W); times ``scale`` it is depth. Pixels of depth 0 give no point.
    """
    height, width = codes.shape
    fx, fy, cx, cy = lens.at((height, width))
    across, down = (np.arange(width) - cx) / fx, (np.arange(height) - cy) / fy
    lines = ["ply", "format binary_little_endian 1.0", *([f"comment {comment}"] if comment else [])]
    lines += [f"element vertex {np.count_nonzero(codes)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [f"property uchar {colour}" for colour in ("red", "green", "blue")]
    with path.open("wb") as file:
        file.write("\n".join([*lines, "end_header", ""]).encode("ascii"))
        step = max(1, _ROWS // width)
        for top in range(0, height, step):
            rows = slice(top, top + step)
            known = codes[rows] != 0
            vertices = np.empty(int(known.sum()), _POINT)
            vertices["xyz"] = _place(codes[rows].astype(np.float32) * np.float32(scale), across, down[rows])[known]
            vertices["rgb"] = image[rows][known]
            file.write(vertices.tobytes())
