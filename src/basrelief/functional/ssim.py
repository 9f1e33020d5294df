"""Structural similarity, shared by the loss and the metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from basrelief.errors import BasreliefError, UsageError, unknown_name
from basrelief.functional.blur import Kernel, blur, spread

Border = Literal["valid", "reflect"]
"""Which windows count: those wholly inside the image, or one around every pixel of the image mirrored at its edges."""

C1, C2 = 0.01**2, 0.03**2  # (K1·L)² and (K2·L)² with a data range L of 1
KNOWN_SHARE = 0.5  # a window counts when at least this share of its weight lies on known pixels
PART = 2**18  # pixels worked on at a time on a CPU, so that what is in between stays in the cache


def ssim_per_image(
    pred: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    window: int = 11,
    kernel: Kernel = "gaussian",
    border: Border = "valid",
    sample_covariance: bool = False,
) -> Tensor:
    """Return the mean structural similarity of each image and channel.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    IEEE TIP 13(4), 2004, eq. 13, with their Gaussian window (σ = 1.5), K = (0.01, 0.03), a data range of 1 and no
    padding: only windows that lie wholly inside the image count. The gradient is analytic, for ``pred`` and for
    ``target``; a second derivative is not there.

    Parameters
    ----------
    pred, target
        (N, C, H, W), float32 or float64, values in [0, 1].
    valid
        Bool, broadcastable to ``target``; None: known everywhere. Windows are weighted by validity, and windows less
        than half known are left out. What unknown places hold does not matter, be it NaN.
    window
        Odd width of the window in pixels; images must be at least as large (with ``border="reflect"``, larger than
        half of it).
    kernel
        "gaussian", or "uniform" for equal weights.
    border
        "valid": no padding. "reflect": images are mirrored at their edges, so that every pixel has its window.
    sample_covariance
        Divide sums of squares by n - 1 in place of n, the number of pixels in a window.

    Returns
    -------
    Tensor
        (N, C) in [-1, 1]; NaN for an image and channel in which no window is known well enough.

    Raises
    ------
    UsageError
        When an option has a value that is not listed here.
    BasreliefError
        When the images are smaller than the window allows.
    """
    check_window("ssim", window)
    if kernel not in ("gaussian", "uniform"):
        raise unknown_name("kernel of ssim", kernel, ("gaussian", "uniform"))
    if border not in ("valid", "reflect"):
        raise unknown_name("border of ssim", border, ("valid", "reflect"))
    _check_size(pred.shape[-2], pred.shape[-1], window, border)
    if border == "reflect":
        pred, target = (F.pad(planes, [window // 2] * 4, mode="reflect") for planes in (pred, target))
        valid = None if valid is None else F.pad(valid.float(), [window // 2] * 4, mode="reflect") > 0
    pixels = window * window
    c2 = C2 * (pixels - 1) / pixels if sample_covariance else C2  # (a·v + c) / (a·w + c) = (v + c/a) / (w + c/a)
    return mean_similarity(pred, target, valid, window, kernel=kernel, c2=c2)


def mean_similarity(
    pred: Tensor,
    target: Tensor,
    valid: Tensor | None,
    window: int,
    *,
    luminance: bool = True,
    kernel: Kernel = "gaussian",
    c2: float = C2,
) -> Tensor:
    """Return the mean over windows of l·cs or, without ``luminance``, of cs alone, (N, C).

    l compares the means of a window and cs their contrast and structure; ``ssim_per_image`` says the rest.
    """
    if not torch.is_grad_enabled():
        pred, target = pred.detach(), target.detach()  # or else a gradient would be computed in vain
    images, channels, height, width = pred.shape
    planes = (images * channels, height, width)
    known = None if valid is None else valid.expand_as(target).reshape(planes)
    flat = (pred.reshape(planes), target.to(pred.dtype).reshape(planes))
    similarity: Tensor = _MeanSimilarity.apply(*flat, known, _Form(window, kernel, c2, luminance))
    return similarity.view(images, channels)


def check_window(loss: str, window: object) -> None:
    """Raise UsageError unless ``window`` is an odd whole number of at least 3."""
    if not isinstance(window, int) or window < 3 or window % 2 == 0:
        raise UsageError(f"{loss}: window is {window!r}; it must be an odd whole number of at least 3.")


def largest_odd(size: int) -> int:
    """Return the largest odd number up to ``size``."""
    return size if size % 2 else size - 1


def _check_size(height: int, width: int, window: int, border: Border) -> None:
    smallest = min(height, width)
    if smallest >= window or (border == "reflect" and smallest > window // 2):
        return
    fitting = largest_odd(smallest if border == "valid" else 2 * smallest - 1)
    advice = f" or a smaller window, such as ssim(…, window={fitting})" if fitting >= 3 else ""
    reason = "smaller than its window" if border == "valid" else "too small to be mirrored for its window"
    raise BasreliefError(
        f"ssim: the image is {height}x{width} px, {reason} of {window} px. Use a larger resolution{advice}."
    )


@dataclass(frozen=True)
class _Form:
    window: int
    kernel: Kernel
    c2: float
    luminance: bool


class _MeanSimilarity(torch.autograd.Function):
    """Value and gradient together: a plane's gradient is that of its own mean, so backward only scales it."""

    @staticmethod
    def forward(ctx: Any, pred: Tensor, target: Tensor, known: Tensor | None, form: _Form) -> Tensor:
        count, height, width = pred.shape
        similarity = pred.new_empty(count)
        gradients = [torch.empty_like(pred) if needed else None for needed in ctx.needs_input_grad[:2]]
        step = max(1, PART // (height * width)) if pred.device.type == "cpu" else max(1, count)
        for start in range(0, count, step):
            part = slice(start, start + step)
            p, t, k = pred[part], target[part], None if known is None else known[part]
            of_pred, of_target = (None if gradient is None else gradient[part] for gradient in gradients)
            similarity[part] = _similarity(p, t, k, form, of_pred)
            if of_target is not None:  # SSIM is symmetric, so the target's gradient is the pred's with the two swapped
                _similarity(t, p, k, form, of_target)
        ctx.save_for_backward(*gradients)
        return similarity

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        outer = outer[:, None, None]
        pred, target = (None if gradient is None else gradient * outer for gradient in ctx.saved_tensors)
        return pred, target, None, None


def _similarity(pred: Tensor, target: Tensor, known: Tensor | None, form: _Form, gradient: Tensor | None) -> Tensor:
    """Return each plane's mean similarity (P,), and write its gradient w.r.t. ``pred`` (P, H, W) into ``gradient``.

    It works on the sum u = p + t and the difference v = p - t. With means m and variances s² of u and v,

        l  = (2·mp·mt + C1) / (mp² + mt² + C1)   = 1 - 2·q,  q = mv² / (mu² + mv² + 2·C1)
        cs = (2·cov + C2) / (sp² + st² + C2)     = 1 - 2·r,  r = sv² / (su² + sv² + 2·C2)

    so four planes are blurred in place of five, both factors stay in [-1, 1] whatever is rounded, and equal images
    score exactly 1. Planes are laid out (H, 2 or more, P, W), as ``blur`` wants them.
    """
    height, width = pred.shape[1:]
    pixels = pred.new_empty(height, 4, pred.shape[0], width)
    both = pixels[:, :2]
    torch.add(pred.transpose(0, 1), target.transpose(0, 1), out=both[:, 0])
    torch.sub(pred.transpose(0, 1), target.transpose(0, 1), out=both[:, 1])
    # E[x²] - E[x]² cancels least around 0, and a variance does not mind a shift.
    if known is None:
        share = None
        centre = both.mean(dim=(0, 3)).unsqueeze(-1)
        both -= centre
    else:
        known = known.transpose(0, 1)
        both.masked_fill_(~known.unsqueeze(1), 0)  # selected away, for an unknown value may be NaN
        share = blur(known.to(pred.dtype, memory_format=torch.contiguous_format), form.window, form.kernel).unsqueeze(1)
        centre = (both.sum(dim=(0, 3)) / known.sum(dim=(0, 2)).clamp_min(1)).unsqueeze(-1)
        both.sub_(centre).masked_fill_(~known.unsqueeze(1), 0)
    torch.mul(both, both, out=pixels[:, 2:])

    blurred = blur(pixels, form.window, form.kernel)
    if share is not None:
        counted = (share >= KNOWN_SHARE).to(pred.dtype).squeeze(1)
        windows = counted.sum(dim=(0, 2))
        share = share.clamp_min(1e-12)
        blurred /= share
    centred, variances = blurred[:, :2], blurred[:, 2:]
    variances.addcmul_(centred, centred, value=-1).clamp_min_(0)  # rounding turns some slightly negative
    r, structure, below_r = _ratio(variances, form.c2)
    if form.luminance:
        means = centred + centre
        q, light, below_q = _ratio(means * means, C1)
        similarity = structure * light
    else:
        similarity = structure
    if gradient is not None:
        # With f = l·cs: df/d(su²) = 2·l·r/(su² + sv² + 2·C2), df/d(sv²) the same less 2·l/(…), and so for mu², mv².
        # A variance clamped to 0 needs no exception: its window is flat, where the derivative is 0.
        slopes = blurred.new_empty(blurred.shape[0], 3, *blurred.shape[2:])
        slope, slope_u, slope_v = slopes.unbind(1)
        outer = torch.div(light, below_r, out=below_r) if form.luminance else below_r.reciprocal_()
        torch.mul(outer, r, out=slope_u)
        torch.sub(slope_u, outer, out=slope_v)
        torch.mul(centred[:, 0], slope_u, out=slope).addcmul_(centred[:, 1], slope_v).neg_()
        if form.luminance:
            outer = torch.div(structure, below_q, out=below_q)
            q *= outer
            slope.addcmul_(means[:, 0], q).addcmul_(means[:, 1], q.sub_(outer))
        if share is not None:
            slopes *= counted.unsqueeze(1) / share
        back, back_u, back_v = spread(slopes, form.window, form.kernel).unbind(1)
        back.addcmul_(back_u, both[:, 0]).addcmul_(back_v, both[:, 1])
        if known is None:
            torch.mul(back.transpose(0, 1), 4 / similarity[:, 0].numel(), out=gradient)
        else:
            back.mul_((4 / windows.clamp_min(1)).unsqueeze(-1)).masked_fill_(~known, 0)
            gradient.copy_(back.transpose(0, 1))
    if known is None:
        return similarity.mean(dim=(0, 2))
    return (similarity * counted).sum(dim=(0, 2)) / torch.where(windows > 0, windows, float("nan"))


def _ratio(squares: Tensor, constant: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return b/(a + b + 2·constant) of squares (a, b), then 1 less twice that, and what is below the line."""
    below = (squares[:, 0] + squares[:, 1]).add_(2 * constant)
    ratio = squares[:, 1] / below
    return ratio, torch.rsub(ratio, 1, alpha=2), below
