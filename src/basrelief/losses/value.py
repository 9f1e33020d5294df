"""Losses of values, for depth and for masks alike: pure functions of tensors (N, K, H, W).

Values may be any real numbers, since a head may regress label values such as 50 to 250; nothing is clamped. Unknown
pixels may hold NaN in the target. Each loss is the mean over an image's known pixels, of all its channels together,
and then over the images that have any; ``over="batch"`` pools the known pixels of the whole batch instead. Where
nothing is known the loss is 0, with gradient 0.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from basrelief.errors import UsageError
from basrelief.functional.reduce import Over, check_over, known, mean_of_pixels, mean_over_images


def mse(pred: Tensor, target: Tensor, *, valid: Tensor | None = None, over: Over = "image") -> Tensor:
    """Return the mean squared error, mean (p − t)².

    Parameters
    ----------
    pred, target
        (N, K, H, W), any real values.
    valid
        Bool (N, 1, H, W) or (N, K, H, W); None: known everywhere.
    over
        "image": each image's mean, then the mean of the images that have a known pixel; "batch": all known pixels.

    Raises
    ------
    UsageError
        When ``over`` is another word.
    """
    check_over(over)
    if valid is None:
        return F.mse_loss(pred, target)
    return mean_of_pixels(known_errors(pred, target, valid).square(), valid, over)


def l1(pred: Tensor, target: Tensor, *, valid: Tensor | None = None, over: Over = "image") -> Tensor:
    """Return the mean absolute error, mean |p − t|, with gradient 0 where p = t.

    Shapes, options and errors as ``mse``: ``pred`` and ``target`` (N, K, H, W).
    """
    check_over(over)
    if valid is None:
        return F.l1_loss(pred, target)
    return mean_of_pixels(known_errors(pred, target, valid).abs(), valid, over)


def rmse(
    pred: Tensor, target: Tensor, *, valid: Tensor | None = None, over: Over = "image", epsilon: float = 0.0
) -> Tensor:
    """Return the root of the mean squared error, √(mean (p − t)² + ε).

    Where the root is 0 it has no derivative; the gradient there is 0, not NaN.

    Parameters
    ----------
    pred, target
        (N, K, H, W), any real values.
    valid
        As ``mse``.
    over
        "image": the mean of the images' roots; "batch": one root of the mean over all known pixels.
    epsilon
        ε above, at least 0. With it a perfect prediction scores √ε.

    Raises
    ------
    UsageError
        When ``epsilon`` is negative or ``over`` another word.
    """
    check_over(over)
    if not 0 <= epsilon < math.inf:
        raise UsageError(f"rmse: epsilon is {epsilon:g}; it must be at least 0.")
    rows = (1, -1) if over == "batch" else (len(target), -1)
    errors = known_errors(pred, target, valid).reshape(rows)
    if valid is None:
        return _roots(errors, errors.shape[1], epsilon).mean()
    count = valid.expand_as(target).reshape(rows).sum(1)
    return mean_over_images(_roots(errors, count.clamp_min(1), epsilon), count > 0)


def smooth_l1(
    pred: Tensor, target: Tensor, *, valid: Tensor | None = None, over: Over = "image", beta: float = 1.0
) -> Tensor:
    """Return the smooth L1 loss: with e = |p − t|, e² / (2β) where e < β and e − β/2 elsewhere.

    Girshick, "Fast R-CNN", ICCV 2015. It is Huber's loss divided by β, so that large errors keep the slope 1.

    Parameters
    ----------
    pred, target
        (N, K, H, W), any real values.
    valid, over
        As ``mse``.
    beta
        β above, at least 0, in the unit of the values; 0 gives ``l1``. Values in [0, 1] never leave the quadratic part
        of the default.

    Raises
    ------
    UsageError
        When ``beta`` is negative or ``over`` another word.
    """
    check_over(over)
    if not 0 <= beta < math.inf:
        raise UsageError(f"smooth_l1: beta is {beta:g}; it must be at least 0.")
    if valid is None:
        return F.smooth_l1_loss(pred, target, beta=beta)
    errors = known_errors(pred, target, valid)
    return mean_of_pixels(F.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none", beta=beta), valid, over)


def huber(
    pred: Tensor, target: Tensor, *, valid: Tensor | None = None, over: Over = "image", delta: float = 1.0
) -> Tensor:
    """Return Huber's loss: with e = |p − t|, e²/2 where e < δ and δ·(e − δ/2) elsewhere.

    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964. Depth is divided by
    its maximum, so δ is a share of that maximum, and the default 1.0 never leaves the quadratic part; a useful value
    is about 0.1.

    Parameters
    ----------
    pred, target
        (N, K, H, W), any real values.
    valid, over
        As ``mse``.
    delta
        δ above, more than 0.

    Raises
    ------
    UsageError
        When ``delta`` is not above 0 or ``over`` is another word.
    """
    check_over(over)
    if not 0 < delta < math.inf:
        raise UsageError(f"huber: delta is {delta:g}; it must be above 0.")
    if valid is None:
        return F.huber_loss(pred, target, delta=delta)
    errors = known_errors(pred, target, valid)
    return mean_of_pixels(F.huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=delta), valid, over)


def known_errors(pred: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    """Return p − t, and 0 where the target is unknown."""
    return pred - target if valid is None else known(pred - target, valid)[0]


def _roots(errors: Tensor, count: Tensor | int, epsilon: float) -> Tensor:
    roots: Tensor = _Roots.apply(errors, count, epsilon)
    return roots


class _Roots(torch.autograd.Function):
    """√(Σ e² / count + ε) of each row, with gradient 0 where it is 0: autograd's infinity times 0 would be NaN."""

    @staticmethod
    def forward(ctx: Any, errors: Tensor, count: Tensor | int, epsilon: float) -> Tensor:
        squares: Tensor = torch.linalg.vecdot(errors, errors)
        roots = (squares / count).add_(epsilon).sqrt_()
        ctx.save_for_backward(errors, roots)
        ctx.count = count
        return roots

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        errors, roots = ctx.saved_tensors
        rates = (gradient / (roots * ctx.count)).masked_fill_(roots == 0, 0)
        return errors * rates[:, None], None, None
