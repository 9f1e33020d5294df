"""Losses of masks, pixel by pixel: pure functions of tensors (N, K, H, W)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from basrelief.errors import UsageError
from basrelief.functional.reduce import Over, check_over, mean_of_pixels

_TINY = 1e-12
_PART = 2**17  # pixels worked on at a time on a CPU, so that what is in between stays in the cache
_SMALLEST = 1e-15  # an error below it counts as it; its power, of at least -2, stays finite in float32


def bce(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    pos_weight: float | tuple[float, ...] = 1.0,
    smooth: float = 0.0,
) -> Tensor:
    """Return the binary cross-entropy, from logits: mean over each image's known pixels, then over images.

    softplus(x) − x·t, which equals −t·log σ(x) − (1 − t)·log(1 − σ(x)) and stays finite for any x. Soft targets are
    taken.

    Parameters
    ----------
    logits
        (N, K, H, W), before the sigmoid.
    target
        (N, K, H, W) in [0, 1].
    valid
        Bool (N, 1, H, W) or (N, K, H, W). Images without a known pixel are left out of the mean.
    over
        "image", or "batch": the mean over all known pixels of the batch together.
    pos_weight
        Factor of the term of t, at least 0: above 1, missing the mask costs more. One number, or one per class.
    smooth
        Label smoothing s in [0, 1): the target becomes t·(1 − s) + s/2.

    Raises
    ------
    UsageError
        For an option that is out of range, or another number of weights than classes.
    """
    check_over(over)
    _check_smooth("bce", smooth)
    weight = None
    if pos_weight != 1:
        weight = _per_class("bce", "pos_weight", pos_weight, logits)
    target = _clean(target, valid)
    if smooth:
        target = target * (1 - smooth) + smooth / 2
    if valid is None:  # images are of one size, so the kernel's own mean is the same
        return F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    values = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight, reduction="none")
    return mean_of_pixels(values, valid, over)


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    smooth: float = 0.0,
    class_weight: tuple[float, ...] | None = None,
) -> Tensor:
    """Return the cross-entropy over classes, from logits: −Σ w·t·log softmax(x) / Σ w·t of each image, then the mean.

    The sums run over classes and known pixels. A pixel that belongs to no class (t = 0 in every plane) adds to neither
    sum: softmax gives it some class in any case, so its truth counts as unknown; give the background a plane of its
    own where it should be learned (``--mask-map 0=rest,1=cat,2=dog`` does). Soft targets are taken: classes as shares
    of a pixel.

    Parameters
    ----------
    logits
        (N, K, H, W) before the softmax, K at least 2.
    target
        (N, K, H, W), one-hot over the classes or soft with a sum of 1.
    valid
        Bool (N, 1, H, W) or (N, K, H, W); a pixel counts when it is known in every class. Images without a known
        pixel are left out of the mean.
    over
        "image", or "batch": one ratio of the sums over the whole batch.
    smooth
        Label smoothing s in [0, 1): the share s of each pixel is spread evenly over the classes.
    class_weight
        w, one number of at least 0 for each class; None: all 1.

    Raises
    ------
    UsageError
        For a single channel, an option that is out of range, or another number of weights than classes.
    """
    check_over(over)
    _check_smooth("cross_entropy", smooth)
    if logits.shape[1] < 2:
        raise UsageError("cross_entropy: the mask has 1 channel, where softmax is always 1; use bce, or 2 classes.")
    target = _clean(target, None if valid is None else valid.all(1, keepdim=True))
    share = target
    if smooth:
        share = target * (1 - smooth) + target.sum(1, keepdim=True) * (smooth / logits.shape[1])
    if class_weight is not None:
        weight = _per_class("cross_entropy", "class_weight", class_weight, logits)
        share, target = share * weight, target * weight
    rows = (1, -1) if over == "batch" else (logits.shape[0], -1)
    likelihood: Tensor = torch.linalg.vecdot(torch.log_softmax(logits, 1).reshape(rows), share.reshape(rows))
    amount = target.reshape(rows).sum(1)
    # An image without such a pixel has 0 above the line too.
    return (likelihood / -amount.clamp_min(_TINY)).sum() / (amount > 0).sum().clamp_min(1)


def focal(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    gamma: float = 2.0,
    alpha: float | None = None,
) -> Tensor:
    """Return the focal loss, from logits: |t − σ(x)|^γ times the binary cross-entropy, the mean as ``bce``.

    Lin, Goyal, Girshick, He and Dollár, "Focal loss for dense object detection", ICCV 2017, eq. 4 and 5, for a
    binary target; soft targets enter by the same formula, as in Li et al., "Generalized focal loss", NeurIPS 2020.
    Where the error is 0 the gradient is 0. No gradient goes to the target.

    Parameters
    ----------
    logits, target, valid, over
        (N, K, H, W), as ``bce``.
    gamma
        The exponent, at least 0; 0 gives ``bce``. The larger, the less pixels count that are nearly right.
    alpha
        In [0, 1]: weight α of t and 1 − α of 1 − t; None: no weights.

    Raises
    ------
    UsageError
        For an option that is out of range.
    """
    check_over(over)
    if not 0 <= gamma < math.inf:
        raise UsageError(f"focal: gamma is {gamma!r}; it must be a number of at least 0.")
    if alpha is not None and not 0 <= alpha <= 1:
        raise UsageError(f"focal: alpha is {alpha!r}; it must be None or a number in [0, 1].")
    target = _clean(target, valid).detach()
    entropy = F.binary_cross_entropy_with_logits(logits.detach(), target, reduction="none")
    prob = torch.sigmoid(logits.detach())
    error = prob - target
    # |e|^γ is split into e² and |e|^(γ − 2), and the derivative is e·|e|^(γ − 2)·(γ·p·(1 − p)·entropy + e²).
    square = torch.ones_like(error) if gamma == 0 else error * error
    scale = [] if gamma in (0, 2) else [error.abs().clamp_min_(_SMALLEST).pow_(gamma - 2)]
    if alpha is not None:
        scale.append(target * (2 * alpha - 1) + (1 - alpha))
    slope = None
    if torch.is_grad_enabled() and logits.requires_grad:
        slope = prob.addcmul_(prob, prob, value=-1).mul_(entropy).mul_(gamma).add_(square).mul_(error)
    values = entropy.mul_(square)
    for factor in scale:
        values.mul_(factor)
        if slope is not None:
            slope.mul_(factor)
    return _mean(logits, values, slope, valid, over)


def pixel_dice(
    pred: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    smooth: float = 1.0,
    clamp: bool = True,
) -> Tensor:
    """Return the Dice loss of every pixel on its own: mean of 1 − (2·p·t + s) / (p + t + s), the mean as ``bce``.

    From write-up D, for heads that regress label values (activation identity, masks of 50 to 250). There it has no
    lower bound: it falls as p and t grow together. On [0, 1] it is at least 0. Soft targets are taken; no gradient
    goes to the target.

    Parameters
    ----------
    pred, target
        (N, K, H, W), the target at least 0.
    valid, over
        As ``bce``.
    smooth
        s, greater than 0.
    clamp
        Take a negative p as 0, without gradient. Without it, as in write-up D, the loss has a pole at p + t = −s,
        and is not finite there.

    Raises
    ------
    UsageError
        For an option that is out of range.
    """
    check_over(over)
    if not 0 < smooth < math.inf:
        raise UsageError(f"pixel_dice: smooth is {smooth!r}; it must be a number greater than 0.")
    target = _clean(target, valid).detach()
    score = torch.empty_like(pred, memory_format=torch.contiguous_format)
    slope = torch.empty_like(score) if torch.is_grad_enabled() and pred.requires_grad else None
    constant = _constants((float(smooth),), pred.dtype, pred.device)[0, 0]
    part = _PART if pred.device.type == "cpu" else pred.numel()
    for start in range(0, pred.numel(), part):
        of = slice(start, start + part)
        p, t, ratio = pred.detach().reshape(-1)[of], target.reshape(-1)[of], score.view(-1)[of]
        torch.clamp_min(p, 0 if clamp else -math.inf, out=ratio)
        below = (ratio + t).add_(smooth)
        torch.addcmul(constant, ratio, t, value=2, out=ratio).div_(below)
        if slope is not None:
            rate = slope.view(-1)[of]
            torch.sub(ratio, t, alpha=2, out=rate).div_(below)
            if clamp:  # the kernel behind relu's gradient: 0 for p < 0, in one pass
                torch.ops.aten.threshold_backward.grad_input(rate, p, -_SMALLEST, grad_input=rate)
    if valid is None:  # the mean of 1 − score, without a pass to form it
        return _attached(pred, 1 - score.mean(), slope)
    return _mean(pred, score.neg_().add_(1), slope, valid, over)


def _mean(given: Tensor, values: Tensor, slope: Tensor | None, valid: Tensor | None, over: Over) -> Tensor:
    """Return the mean of values whose derivatives to ``given`` (None: not wanted) are known already."""
    if valid is None:
        return _attached(given, values.mean(), slope)
    return mean_of_pixels(_attached(given, values, slope), valid, over)


def _attached(given: Tensor, values: Tensor, slope: Tensor | None) -> Tensor:
    """Return ``values``, or the mean of such, with the derivative ``slope`` of each value to ``given``."""
    if slope is None:
        return values
    attached: Tensor = _Attached.apply(given, values, slope, 1.0 if values.ndim else 1 / slope.numel())
    return attached


def _clean(target: Tensor, valid: Tensor | None) -> Tensor:
    # An unknown target may be NaN; it must not reach a kernel whose gradient would spread it.
    return target if valid is None else target.masked_fill(~valid.expand_as(target), 0)


def _check_smooth(name: str, smooth: float) -> None:
    if not 0 <= smooth < 1:
        raise UsageError(f"{name}: smooth is {smooth!r}; it must be a number in [0, 1).")


def _per_class(name: str, option: str, values: float | Sequence[float], logits: Tensor) -> Tensor:
    """Return the weights as (K, 1, 1), or (1, 1, 1) for a single number."""
    classes = logits.shape[1]
    numbers = tuple(values) if isinstance(values, Sequence) else (values,)
    if not all(isinstance(number, int | float) and 0 <= number < math.inf for number in numbers):
        raise UsageError(f"{name}: {option} is {values!r}; it must be numbers of at least 0, one for each class.")
    if isinstance(values, Sequence) and len(numbers) != classes:
        raise UsageError(f"{name}: {option} has {len(numbers)} numbers for {classes} classes; give one for each.")
    return _constants(numbers, logits.dtype, logits.device)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)  # a tensor first needed in an evaluation must serve training too
def _constants(numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # Kept, since a copy from the host would hold up the device at every step.
    return torch.tensor(numbers, dtype=dtype, device=device).reshape(-1, 1, 1)


class _Attached(torch.autograd.Function):
    """Values, or their mean, with their derivatives: one pass back, not one for each step of the formula."""

    @staticmethod
    def forward(ctx: Any, _given: Tensor, values: Tensor, slope: Tensor, share: float) -> Tensor:
        ctx.save_for_backward(slope)
        ctx.share = share
        return values.view_as(values)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return (grad * ctx.share) * ctx.saved_tensors[0], None, None, None
