"""Boundaries of hard masks, and how well two of them agree."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from basrelief.errors import UsageError

TOLERANCE = 0.0075  # share of the image's diagonal


@torch.no_grad()
def boundary_f(pred: Tensor, target: Tensor, valid: Tensor | None = None, *, tolerance: float | None = None) -> Tensor:
    """Return the boundary F-score 2·P·R / (P + R) of each image and class.

    Csurka, Larlus and Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013; Perazzi et
    al., "A benchmark dataset and evaluation methodology for video object segmentation", CVPR 2016. P is the share of
    the prediction's boundary pixels with one of the target's within ``tolerance``, and R the share of the target's with
    one of the prediction's. Boundary pixels are those of a mask that have a pixel outside it above, below, left or
    right; the image's own border is no boundary, nor is the edge of what is known.

    Parameters
    ----------
    pred, target
        (N, K, H, W), bool, or numbers that are mask above 0.5.
    valid
        Bool (N, 1, H, W) or (N, K, H, W); None: every pixel is known. Unknown pixels are no boundary.
    tolerance
        Euclidean distance in pixels, at least 0. None: 0.75 % of the image's diagonal, as Csurka et al. have it,
        rounded up to whole pixels.

    Returns
    -------
    Tensor
        (N, K) in [0, 1], float64 for float64 predictions and float32 otherwise. 0 where one of the masks has a boundary
        and the other has none. Where neither has one, 1 if they agree in every known pixel and 0 if they do not (one
        is empty, the other full). NaN where no pixel is known.

    Raises
    ------
    UsageError
        For a negative tolerance.
    """
    if tolerance is None:
        tolerance = math.ceil(TOLERANCE * math.hypot(*target.shape[-2:]))
    if not 0 <= tolerance < math.inf:
        raise UsageError(f"boundary_f: tolerance is {tolerance!r}; it must be a number of at least 0.")
    dtype = torch.float64 if pred.dtype == torch.float64 else torch.float32
    masks = torch.stack([planes if planes.dtype == torch.bool else planes > 0.5 for planes in (pred, target)])
    edges = _boundaries(masks, valid)
    near = _dilated(edges, tolerance).flip(0)  # what lies close to the other one's boundary
    total, hits = _count(edges, dtype), _count(edges & near, dtype)
    precision, recall = hits / total.clamp_min(1)
    score = 2 * precision * recall / (precision + recall).clamp_min(torch.finfo(dtype).tiny)
    differ = masks[0] ^ masks[1]
    if valid is not None:
        differ &= valid
    score = torch.where((total == 0).all(0), (~differ.flatten(2).any(2)).to(dtype), score)
    if valid is None:
        return score
    return score.masked_fill(~valid.expand_as(pred).flatten(2).any(2), math.nan)


def _boundaries(masks: Tensor, valid: Tensor | None) -> Tensor:
    inside, outside = (masks, ~masks) if valid is None else (masks & valid, ~masks & valid)
    beside = torch.zeros_like(masks)
    for axis, size in ((-2, masks.shape[-2]), (-1, masks.shape[-1])):
        for here, there in ((0, 1), (1, 0)):
            beside.narrow(axis, here, size - 1).logical_or_(outside.narrow(axis, there, size - 1))
    return beside.logical_and_(inside)


def _dilated(planes: Tensor, radius: float) -> Tensor:
    """Return True within ``radius`` of a True pixel: the disk row by row, its rows growing towards the middle."""
    height, width = planes.shape[-2:]
    grown, result = planes.clone(), torch.zeros_like(planes)
    reach = 0
    for row in range(min(math.floor(radius), height - 1), -1, -1):
        for step in range(reach + 1, min(math.floor(math.sqrt(radius**2 - row**2)), width - 1) + 1):
            grown[..., step:].logical_or_(planes[..., :-step])
            grown[..., :-step].logical_or_(planes[..., step:])
            reach = step
        result[..., row:, :].logical_or_(grown[..., : height - row, :])
        if row:
            result[..., :-row, :].logical_or_(grown[..., row:, :])
    return result


def _count(planes: Tensor, dtype: torch.dtype) -> Tensor:
    return planes.view(torch.uint8).flatten(3).sum(3, dtype=torch.int32).to(dtype)  # summing bool is slower
