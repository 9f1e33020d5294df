"""Multi-scale structural similarity, shared by the loss and the metric."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from basrelief.errors import BasreliefError, UsageError
from basrelief.functional.ssim import KNOWN_SHARE, check_window, largest_odd, mean_similarity

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # as published, finest scale first; they sum to 1.0001


def ms_ssim_per_image(
    pred: Tensor, target: Tensor, valid: Tensor | None = None, *, window: int = 11, scales: int = 5
) -> Tensor:
    """Return the multi-scale structural similarity of each image and channel.

    Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", Asilomar 2003, eq. 7,
    with their weights: the product over scales of mean(cs)^weight, at the coarsest scale of mean(l·cs)^weight, where
    each scale halves the image by the mean of 2x2 pixels. l and cs as in ``ssim_per_image``: Gaussian window
    (σ = 1.5), K = (0.01, 0.03), a data range of 1, no padding.

    What the paper leaves open: a mean below 0 counts as 0, with a gradient of 0; where a side is odd, its last pixel
    is averaged alone (so 161 px are enough for the defaults); with fewer than five scales, the finest ones are used
    and their weights scaled to sum to 1 (all five are taken as published, although they sum to 1.0001).

    Parameters
    ----------
    pred, target
        (N, C, H, W), float32 or float64, values in [0, 1].
    valid
        Bool, broadcastable to ``target``; None: known everywhere. Windows are treated as in ``ssim_per_image``. A
        halved pixel is the mean of the known pixels below it, and is known when at least half of them are.
    window
        Odd width of the window in pixels, the same at each scale.
    scales
        How many, 1 to 5; 1 is SSIM, with a value below 0 counted as 0.

    Returns
    -------
    Tensor
        (N, C) in [0, 1]; NaN for an image and channel in which some scale has no window that is known well enough.

    Raises
    ------
    UsageError
        When an option has a value that is not listed here.
    BasreliefError
        When the coarsest scale is smaller than the window.
    """
    check_window("ms_ssim", window)
    if not isinstance(scales, int) or isinstance(scales, bool) or not 1 <= scales <= len(WEIGHTS):
        raise UsageError(f"ms_ssim: scales is {scales!r}; it must be a whole number from 1 to {len(WEIGHTS)}.")
    _check_size(pred.shape[-2], pred.shape[-1], window, scales)
    if valid is not None:
        valid = valid.expand_as(target)
        pred, target = (planes.masked_fill(~valid, 0) for planes in (pred, target))
    total = sum(WEIGHTS[:scales]) if scales < len(WEIGHTS) else 1.0
    product: Tensor | None = None
    for scale, weight in enumerate(WEIGHTS[:scales]):
        if scale:
            pred, target, valid = _halved(pred, target, valid)
        factor = mean_similarity(pred, target, valid, window, luminance=scale == scales - 1)
        factor = _power(factor, weight / total)
        product = factor if product is None else product * factor
    assert product is not None
    return product


def _halved(pred: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return all three at half the size. Unknown pixels hold 0, before and after."""

    def halve(planes: Tensor) -> Tensor:
        return F.avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)

    if valid is None:
        return halve(pred), halve(target), None
    share = halve(valid.to(pred.dtype))
    known = share >= KNOWN_SHARE
    pred, target = ((halve(planes) / share.clamp_min(0.25)).masked_fill(~known, 0) for planes in (pred, target))
    return pred, target, known


def _power(base: Tensor, exponent: float) -> Tensor:
    """Return base^exponent, 0 up to 0 and with a gradient of 0 there; NaN stays NaN."""
    # Both branches of a where are differentiated, so the power must not see what it cannot bear.
    positive = base > 0
    power = torch.where(positive, base, torch.ones_like(base)) ** exponent
    return torch.where(positive, power, torch.where(base.isnan(), base.detach(), torch.zeros_like(base)))


def _check_size(height: int, width: int, window: int, scales: int) -> None:
    smallest = min(height, width)

    def side(scale: int) -> int:  # of the image at that scale, the finest being 0
        return -(-smallest // (1 << scale))

    if side(scales - 1) >= window:
        return
    message = (
        f"ms_ssim: the image is {height}x{width} px; {scales} scales and a window of {window} px need at least "
        f"{((window - 1) << (scales - 1)) + 1} px."
    )
    advice = []
    fitting = max((count for count in range(1, scales) if side(count - 1) >= window), default=0)
    if fitting:
        advice.append(f"at most scales={fitting}")
    narrower = largest_odd(side(scales - 1))
    if narrower >= 3:
        advice.append(f"at most window={narrower}")
    raise BasreliefError(f"{message} Use a larger resolution{''.join(f', or {part}' for part in advice)}.")
