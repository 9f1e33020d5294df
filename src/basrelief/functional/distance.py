"""Exact Euclidean distance transforms of stacks of masks, for the losses of shape."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


@torch.no_grad()
def distance_to(sites: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the Euclidean distance, in pixels, from every pixel to the nearest True pixel of its plane.

    Exact up to rounding: the root of a sum of two whole squares. 0 on the True pixels themselves, and infinite
    everywhere in a plane that has none. On the CPU it is scipy's transform, whose cost grows with the pixels alone;
    elsewhere a minimum over each row of the distances within columns, which needs no look at the values from the host.

    Parameters
    ----------
    sites
        Bool (…, H, W); each of the planes stands for itself.
    dtype
        float32 or float64, of the result.
    """
    if sites.device.type == "cpu":
        return _by_planes(sites, dtype)
    return _by_rows(sites, dtype)


@torch.no_grad()
def distance_across(mask: Tensor, valid: Tensor | None = None, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the distance, in pixels, from every pixel to the nearest one of the other kind in its plane.

    Outside the mask that is the distance to the mask, inside it the distance to its outside: at least 1 on both sides
    of a border. 0 everywhere in a plane whose known pixels are all inside or all outside.

    Parameters
    ----------
    mask
        Bool (…, H, W).
    valid
        Bool, broadcastable to ``mask``, or None: known everywhere. Unknown pixels are of neither kind: no distance
        leads to them, and they have 0 themselves.
    dtype
        float32 or float64, of the result.
    """
    outside = ~mask
    sites = torch.stack((mask, outside)) if valid is None else torch.stack((mask & valid, outside & valid))
    to_mask, to_outside = distance_to(sites, dtype=dtype)
    across = torch.where(mask, to_outside, to_mask)
    nowhere = across.isinf()
    return across.masked_fill_(nowhere if valid is None else nowhere | ~valid, 0)


@torch.no_grad()
def signed_distance(mask: Tensor, valid: Tensor | None = None, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the distance to the mask outside it, and 1 − the distance to its outside within it.

    Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019, as in their published code: the
    outermost pixels of the mask have 0, those next to it 1, and it falls by about 1 a pixel inwards. 0 everywhere in a
    plane whose known pixels are all inside or all outside. Parameters as ``distance_across``.
    """
    across = distance_across(mask, valid, dtype=dtype)
    return torch.where(mask & (across > 0), 1 - across, across)


def _by_planes(sites: Tensor, dtype: torch.dtype) -> Tensor:
    away = (~sites).reshape(-1, *sites.shape[-2:]).numpy()
    result = torch.full(sites.shape, math.inf, dtype=dtype)
    distances = result.view(-1, *sites.shape[-2:]).numpy()

    def fill(first: int, step: int) -> None:
        exact = np.empty(away.shape[1:])  # scipy writes float64 alone
        for plane in range(first, len(away), step):
            # Without any site scipy measures to a pixel outside the plane.
            if not away[plane].all():
                ndimage.distance_transform_edt(away[plane], distances=exact)
                distances[plane] = exact

    workers = min(torch.get_num_threads(), len(away))
    if workers <= 1:
        fill(0, 1)
    else:
        # scipy lets go of the interpreter's lock while it works, and works on one plane at a time.
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(fill, range(workers), [workers] * workers))
    return result


def _by_rows(sites: Tensor, dtype: torch.dtype) -> Tensor:
    height, width = sites.shape[-2:]
    far = height + width  # stands for infinity, and is more than any distance in the plane
    rows = torch.arange(height, device=sites.device)[:, None]
    above = torch.where(sites, rows, -2 * far).cummax(-2).values
    below = -torch.where(sites, -rows, -2 * far).flip(-2).cummax(-2).values.flip(-2)
    down = torch.minimum(rows - above, below - rows).clamp_max(far)
    # min over x' of down(x')² + (x − x')² is a matrix product with + for · and min for +. What torch has of that kind
    # is the largest difference of two vectors, and top − min(a + b) = max |(top − a) − b| while top is above every
    # a + b. Whole numbers below 2^24 are exact in float32.
    top = far**2 + width**2
    exact = torch.float32 if top < 2**24 and dtype == torch.float32 else torch.float64
    columns = torch.arange(width, device=sites.device)
    apart = (columns[:, None] - columns).square()
    least = top - torch.cdist((top - down.square()).reshape(-1, width).to(exact), apart.to(exact), p=math.inf)
    distance = least.sqrt_().to(dtype).reshape(sites.shape)
    return distance.masked_fill_(~sites.flatten(-2).any(-1)[..., None, None], math.inf)
