"""Moving a batch's planes by one map: pictures bilinear, what is typed by the nearest pixel, at the same positions."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from basrelief.augment.filter import blurred
from basrelief.augment.geometry import Bend, Geometry
from basrelief.batch import Batch

PICTURES = ("image", "background")
SHRINKS = 2 / 3  # below this zoom pictures are smoothed before they are sampled


def move_batch(batch: Batch, geometry: Geometry, depth_kind: str | None) -> Batch:
    """Return the batch with every plane moved by ``geometry``.

    Samples that are only flipped and turned keep every value bit for bit. Outside the picture lies its reflection, for
    all planes alike. A zoom s makes metric depth s times smaller and disparity s times larger; what would exceed 1,
    the run's maximum, becomes unknown. Unknown depth is 0 in the result.
    """
    planes = _moved(dict(batch.items()), geometry)
    depth = planes.get("depth")
    if depth is not None:
        valid = planes.get("depth_valid")
        if geometry.zooms and depth_kind in ("metric", "disparity"):
            factor = geometry.zoom if depth_kind == "disparity" else 1 / geometry.zoom
            depth = depth * torch.from_numpy(factor).to(depth)[:, None, None, None]
            within = depth <= 1
            valid = within if valid is None else valid & within
        if valid is not None:
            planes |= {"depth": depth.masked_fill(~valid, 0), "depth_valid": valid}
    return Batch(**planes)


def bend_field(bend: Bend, rows: np.ndarray, height: int, width: int, like: Tensor) -> Tensor:
    """Return the displacements (n, 2, H, W) of x and y in pixels, of the samples ``rows``."""
    points = torch.from_numpy(bend.points[rows]).to(like)
    down, along = (torch.from_numpy(_spline(side, bend.cell)).to(like) for side in (height, width))
    return down @ points @ along.T


@functools.lru_cache(maxsize=16)
def _spline(side: int, cell: float) -> np.ndarray:
    """Return (side, points): the weight of each control point of a uniform cubic B-spline at each pixel's centre."""
    at = (np.arange(side) + 0.5) / cell
    first = np.floor(at).astype(int)
    t = at - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1) / 6
    matrix = np.zeros((side, math.ceil(side / cell) + 3))
    np.put_along_axis(matrix, first[:, None] + np.arange(4), weights, 1)
    return matrix


def _moved(planes: dict[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
    loose = np.flatnonzero(geometry.loose)
    if len(loose) == len(geometry.loose):
        return _resampled(planes, geometry, loose)
    corners = np.rint(geometry.inverse[:, :2, :2]).astype(int)
    groups: dict[tuple[int, ...], list[int]] = {}
    for row in np.flatnonzero(~geometry.loose & (corners != np.eye(2, dtype=int)).any((1, 2))):
        groups.setdefault(tuple(corners[row].ravel()), []).append(int(row))
    if not groups and not len(loose):
        return planes
    result = {name: plane.clone() for name, plane in planes.items()}
    for corner, members in groups.items():  # at most seven, whatever the number of samples
        index = _index(np.array(members), planes["image"])
        for name, plane in planes.items():
            result[name][index] = _turned(plane[index], corner)
    if len(loose):
        index = _index(loose, planes["image"])
        some = {name: plane[index] for name, plane in planes.items()}
        for name, plane in _resampled(some, geometry, loose).items():
            result[name][index] = plane
    return result


def _turned(plane: Tensor, corner: tuple[int, ...]) -> Tensor:
    """Permute pixels by an inverse map (xx, xy, yx, yy) of 0 and ±1."""
    xx, xy, yx, yy = corner
    if xx:
        flipped = [axis for axis, sign in ((-1, xx), (-2, yy)) if sign < 0]
    else:
        plane = plane.transpose(-1, -2)
        flipped = [axis for axis, sign in ((-2, xy), (-1, yx)) if sign < 0]
    return plane.flip(flipped)


def _resampled(planes: dict[str, Tensor], geometry: Geometry, rows: np.ndarray) -> dict[str, Tensor]:
    """Sample every plane once at the positions of ``geometry``; the planes hold the samples ``rows`` alone."""
    grid = _positions(geometry, rows, planes["image"])
    zoom = geometry.zoom[rows]
    # Halved, a picture sampled at points would flicker; this smooths as much as skimage's rescale does.
    sigma = np.where(zoom < SHRINKS, (1 / zoom - 1) / 2, 0)
    result = {
        name: _sampled(blurred(planes[name].to(grid.dtype), sigma), grid, "bilinear").to(planes[name].dtype)
        for name in PICTURES
        if name in planes
    }
    typed = {name: plane for name, plane in planes.items() if name not in PICTURES}
    if typed:
        stacked = torch.cat([plane.to(grid.dtype) for plane in typed.values()], 1)
        widths = [plane.shape[1] for plane in typed.values()]
        parts = torch.split(_sampled(stacked, grid, "nearest"), widths, 1)
        for (name, plane), part in zip(typed.items(), parts, strict=True):
            result[name] = part > 0.5 if plane.dtype == torch.bool else part.to(plane.dtype)
    return {name: result[name] for name in planes}


def _sampled(plane: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(plane, grid, mode, "reflection", align_corners=False)


def _positions(geometry: Geometry, rows: np.ndarray, image: Tensor) -> Tensor:
    """Return the grid (n, H, W, 2) for ``grid_sample``, whose picture spans -1 to 1 from edge to edge."""
    height, width = image.shape[-2:]
    dtype = torch.promote_types(image.dtype, torch.float32)
    spans = np.array([2 / width, 2 / height])[:, None]
    affine = torch.from_numpy(geometry.inverse[rows, :2] * spans).to(image.device, dtype)[..., None, None]
    x = (torch.arange(width, device=image.device, dtype=dtype) - (width - 1) / 2)[None, None]
    y = (torch.arange(height, device=image.device, dtype=dtype) - (height - 1) / 2)[None, :, None]
    if geometry.bend is not None:
        field = bend_field(geometry.bend, rows, height, width, x)
        x, y = x + field[:, 0], y + field[:, 1]
    grid = x.new_empty(len(rows), height, width, 2)
    for axis in range(2):
        torch.add(affine[:, axis, 0] * x, affine[:, axis, 1] * y + affine[:, axis, 2], out=grid[..., axis])
    return grid


def _index(rows: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(rows).to(like.device)
