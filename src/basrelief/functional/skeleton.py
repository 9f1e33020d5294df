"""Soft skeletons of masks, and the minimum and maximum filters they are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_ROWS, _COLUMNS = -2, -1


def soft_skeleton(planes: Tensor, valid: Tensor | None = None, *, iterations: int = 3) -> Tensor:
    """Return the soft skeleton: what opening takes away from the planes, and from the planes eroded again and again.

    Shit et al., "clDice", CVPR 2021, algorithm 1. With e₀ the planes and eᵢ₊₁ the minimum of eᵢ over a pixel and its
    four neighbours, δᵢ = max(eᵢ − the maximum of eᵢ₊₁ over 3 x 3 pixels, 0), and the skeleton is 1 − Π (1 − δᵢ) over
    i = 0 … ``iterations``. Figures wider than 2·``iterations`` + 2 pixels lack their middle line.

    Parameters
    ----------
    planes
        (N, K, H, W) in [0, 1].
    valid
        Bool, broadcastable to ``planes``, or None: known everywhere. Unknown pixels are left out of every minimum and
        maximum, as are those beyond the image's border; the skeleton is 0 there.
    iterations
        How often the planes are eroded again, at least 0.

    Returns
    -------
    Tensor
        (N, K, H, W) in [0, 1]. Where several neighbours are alike, the gradient goes to one of them.
    """
    skeleton: Tensor = _Skeleton.apply(planes, valid, iterations)
    return skeleton


class _Skeleton(torch.autograd.Function):
    """The skeleton in one node: going back through each minimum by itself is many times slower."""

    @staticmethod
    def forward(ctx: Any, planes: Tensor, valid: Tensor | None, iterations: int) -> Tensor:
        unknown = None if valid is None else ~valid.expand_as(planes)
        eroded, opened = [_filled(planes, unknown, torch.inf)], []
        rest = torch.ones_like(planes)
        for _ in range(iterations + 1):
            least = _filter(eroded[-1], torch.minimum, _ROWS, _COLUMNS)
            eroded.append(_filled(least, unknown, torch.inf))
            tall = _filter(_filled(least, unknown, -torch.inf), torch.maximum, _ROWS)
            opened.append(_filter(tall, torch.maximum, _COLUMNS))
            rest.mul_(1 - _taken(eroded[-2], opened[-1], unknown))
        if ctx.needs_input_grad[0]:
            ctx.count, ctx.unknown = len(opened), unknown
            ctx.save_for_backward(*eroded, *opened)
        return 1 - rest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        eroded, opened = ctx.saved_tensors[: ctx.count + 1], ctx.saved_tensors[ctx.count + 1 :]
        unknown = ctx.unknown
        taken = [_taken(before, after, unknown) for before, after in zip(eroded, opened, strict=False)]
        # Products of all the others, from both ends: dividing by 1 − δ would fail where δ is 1.
        earlier = [grad]
        for delta in taken[:-1]:
            earlier.append(earlier[-1] * (1 - delta))
        later = torch.ones_like(grad)
        below = torch.zeros_like(grad)  # the gradient to the next erosion
        for i in range(ctx.count - 1, -1, -1):
            # δ is cut off at 0, where it passes no gradient.
            own = (earlier[i] * later).mul_(taken[i].sign())
            later.mul_(1 - taken[i])
            least = _filled(eroded[i + 1], unknown, -torch.inf)
            tall = _filter(least, torch.maximum, _ROWS)
            wide = _route(-own, opened[i], tall, _COLUMNS)
            below += _filled(_route(wide, tall, least, _ROWS), unknown, 0)
            below = _filled(_route(below, eroded[i + 1], eroded[i], _ROWS, _COLUMNS), unknown, 0).add_(own)
        return below, None, None


def _taken(before: Tensor, opened: Tensor, unknown: Tensor | None) -> Tensor:
    return _filled((before - opened).clamp_min_(0), unknown, 0)


def _filled(planes: Tensor, unknown: Tensor | None, value: float) -> Tensor:
    return planes if unknown is None else planes.masked_fill(unknown, value)


def _filter(planes: Tensor, pick: Callable[..., Tensor], *axes: int) -> Tensor:
    """Return the least or greatest (``pick``) of each pixel and its two neighbours along every axis."""
    result = planes.clone()
    for here, there in _neighbours(*axes):
        pick(here(result), there(planes), out=here(result))
    return result


def _route(grad: Tensor, result: Tensor, planes: Tensor, *axes: int) -> Tensor:
    """Return the gradient to ``planes`` of ``result``, which ``_filter`` made of them: to the pixel that was picked."""
    # Ones and zeros of the gradients' own type: several times faster than bool, which every product must convert.
    routed = torch.eq(planes, result, out=torch.empty_like(result)).mul_(grad)
    left = grad - routed
    for here, there in _neighbours(*axes):
        give, take = here(left), there(routed)
        share = torch.eq(there(planes), here(result), out=torch.empty_like(give)).mul_(give)
        take += share
        give -= share
    return routed


def _neighbours(*axes: int) -> Iterator[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    """Yield two views of equal shape, of pixels and of their neighbours, for both directions along each axis."""
    for axis in axes:
        first = partial(_all_but_one, axis=axis, start=0)
        last = partial(_all_but_one, axis=axis, start=1)
        yield first, last
        yield last, first


def _all_but_one(planes: Tensor, *, axis: int, start: int) -> Tensor:
    return planes.narrow(axis, start, planes.shape[axis] - 1)
