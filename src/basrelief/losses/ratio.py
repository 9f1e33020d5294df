"""The mean of 1 − a ratio of sums over pixels: what the losses by overlap share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from basrelief.errors import UsageError, unknown_name
from basrelief.functional.overlap import Overlap, Soft, overlap
from basrelief.functional.reduce import Over, check_over

Classes = Literal["each", "pooled"]
"""Whether every class has a ratio of its own, or the sums run over all classes together."""
Empty = Literal["score", "zero", "skip"]
"""What a class without target counts as: what the formula gives, a loss of 0, or nothing at all in the mean."""

_TINY = 1e-12  # keeps 0/0 finite where there is no smoothing


class Ratio(NamedTuple):
    """(both·B + above) / (shared·B + pred·P + target·T + below) of the sums B of what both share, P and T."""

    both: float
    shared: float
    pred: float
    target: float
    above: float = 0
    below: float = 0


def ratio_loss(
    name: str,
    ratio: Ratio,
    pred: Tensor,
    target: Tensor,
    valid: Tensor | None,
    over: Over,
    smooth: float | tuple[float, float],
    classes: Classes,
    empty: Empty,
    soft: Soft,
    squared: bool = False,
    then: Callable[[Tensor], tuple[Tensor, Tensor | None]] = lambda losses: (losses, None),
) -> Tensor:
    """Return the mean of 1 − ``ratio``, each passed through ``then``, which gives its derivative as well."""
    check_over(over)
    for option, word, known in (
        ("classes", classes, ("each", "pooled")),
        ("empty", empty, ("score", "zero", "skip")),
        ("soft", soft, ("product", "minimum")),
    ):
        if word not in known:
            raise unknown_name(f"value of {name}'s {option}", word, known)
    above, below = _smoothing(name, smooth)
    ratio = ratio._replace(above=above, below=below)
    options = (ratio, over, classes, empty, soft, squared, then)
    value: Tensor = _RatioLoss.apply(pred, target, valid, *options)
    return value


def shares(counted: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the weights (N, K) of a mean over each image's counted classes and then over the images that have any."""
    weights = counted.to(dtype)
    classes = weights.sum(1, keepdim=True)
    return weights / (classes.clamp_min(1) * (classes > 0).sum().clamp_min(1))


def _times(values: Tensor, factor: float) -> Tensor:
    return values if factor == 1 else values * factor


def _smoothing(name: str, smooth: float | Sequence[float]) -> tuple[float, float]:
    pair = tuple(smooth) if isinstance(smooth, Sequence) else (smooth, smooth)
    if len(pair) != 2 or not all(isinstance(s, int | float) and 0 <= s < math.inf for s in pair):
        raise UsageError(
            f"{name}: smooth is {smooth!r}; it must be a number of at least 0, or two: above and below the line."
        )
    if pair[0] > 0 and pair[1] == 0:
        raise UsageError(f"{name}: smooth is {smooth!r}; without smoothing below the line there can be none above it.")
    return float(pair[0]), float(pair[1])


class _RatioLoss(torch.autograd.Function):
    """The mean of 1 − a ratio of sums, in one node.

    A ratio's gradient to p is a·t + b with two numbers for each image and class. Knowing that, it takes two passes over
    the pixels and none of the many small steps back through the ratio and the mean.
    """

    @staticmethod
    def forward(
        ctx: Any,
        pred: Tensor,
        target: Tensor,
        valid: Tensor | None,
        ratio: Ratio,
        over: Over,
        classes: Classes,
        empty: Empty,
        soft: Soft,
        squared: bool,
        then: Callable[[Tensor], tuple[Tensor, Tensor | None]],
    ) -> Tensor:
        sums = overlap(pred, target, valid, soft=soft, squared=squared)
        if over == "batch":
            sums = Overlap(*(values.sum(0, keepdim=True) for values in sums))
        if classes == "pooled":
            sums = Overlap(*(values.sum(1, keepdim=True) for values in sums))
        size = _times(sums.pred, ratio.pred) + _times(sums.target, ratio.target)
        if ratio.shared:
            size.add_(sums.both, alpha=ratio.shared)
        # Negative sums come from predictions below 0 alone; there the ratio would pass through a pole.
        below = size.clamp_min(0).add_(ratio.below).clamp_min_(_TINY)
        score = _times(sums.both, ratio.both).add(ratio.above).div_(below)
        losses, slope = then(1 - score)
        share: Tensor | float
        if valid is None and empty == "score":
            value, share = losses.mean(), 1 / losses.numel()
        else:
            counted = sums.pixels > 0
            share = shares(counted & (sums.target > 0) if empty == "skip" else counted, losses.dtype)
            if empty == "zero":
                share *= sums.target > 0
            value = (losses * share).sum()
        if any(ctx.needs_input_grad[:2]):
            slope = share / below if slope is None else slope * share / below
            through = score.mul_(size >= 0).mul_(slope)  # by way of what is below the line
            of_both = slope * -ratio.both
            if ratio.shared:
                of_both.add_(through, alpha=ratio.shared)
            ctx.slopes = (of_both, through)
            ctx.save_for_backward(pred, target, valid)
            ctx.ratio, ctx.soft, ctx.squared = ratio, soft, squared
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pred, target, valid = ctx.saved_tensors
        of_both, through = (slope.mul(grad)[..., None, None] for slope in ctx.slopes)

        def gradient(of: Tensor, other: Tensor, own: Tensor) -> Tensor:
            # Where the two are equal, each moves the minimum by half.
            shared = 0.5 - 0.5 * torch.sign(of - other) if ctx.soft == "minimum" else other
            values: Tensor = (shared * of_both).add_(2 * own * of if ctx.squared else own)
            return values if valid is None else values.masked_fill_(~valid.expand_as(values), 0)

        wanted = ctx.needs_input_grad
        return (
            gradient(pred, target, _times(through, ctx.ratio.pred)) if wanted[0] else None,
            gradient(target, pred, _times(through, ctx.ratio.target)) if wanted[1] else None,
            *(None,) * 8,
        )
