"""Losses of structure, for depth and for masks alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from basrelief.errors import UsageError
from basrelief.functional.blur import Kernel
from basrelief.functional.ms_ssim import ms_ssim_per_image
from basrelief.functional.reduce import mean_over_images
from basrelief.functional.ssim import Border, check_window, ssim_per_image


def ssim(
    pred: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    window: int | Sequence[int] = 11,
    kernel: Kernel = "gaussian",
    border: Border = "valid",
    sample_covariance: bool = False,
    half: bool = False,
) -> Tensor:
    """Return 1 - SSIM, the mean over images and channels; with several windows, the sum of their losses.

    Gaussian window (σ = 1.5), K = (0.01, 0.03), data range fixed at 1, no padding; see
    ``basrelief.functional.ssim.ssim_per_image`` for the formula and its source. Images are of one size, so there is
    no choice of what to average over, unless ``valid`` leaves something out: then each image and channel counts once.

    Parameters
    ----------
    pred, target
        (N, C, H, W) in [0, 1], at least as high and wide as the widest window. Soft targets are fine.
    valid
        Bool, broadcastable to ``target``. Windows are weighted by validity, those less than half known left out;
        images and channels without a counted window are left out of the mean.
    window
        Odd width of the window in pixels, or several: ``[5, 11]``.
    kernel
        "gaussian", or "uniform" for equal weights.
    border
        "valid": only windows wholly inside the image count. "reflect": the image is mirrored at its edges, so that
        every pixel has its window; images may then be as small as half the window and a pixel more.
    sample_covariance
        Divide sums of squares by n - 1 in place of n, the number of pixels in a window.
    half
        Return (1 - SSIM) / 2, which lies in [0, 1].

    Raises
    ------
    UsageError
        When an option has a value that is not listed here.
    BasreliefError
        When the images are smaller than a window allows.
    """
    losses = []
    for width in _windows("ssim", window):
        similarity = ssim_per_image(
            pred, target, valid, window=width, kernel=kernel, border=border, sample_covariance=sample_covariance
        )
        losses.append(_mean_loss(similarity, pred, target, valid))
    total = _total(losses)
    return total / 2 if half else total


def ms_ssim(
    pred: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    window: int | Sequence[int] = 11,
    scales: int = 5,
) -> Tensor:
    """Return 1 - MS-SSIM, the mean over images and channels; with several windows, the sum of their losses.

    See ``basrelief.functional.ms_ssim.ms_ssim_per_image`` for the formula and its source.

    Parameters
    ----------
    pred, target
        (N, C, H, W) in [0, 1], at least (window - 1)·2^(scales - 1) + 1 pixels high and wide: 161 with the defaults.
        Soft targets are fine.
    valid
        Bool, broadcastable to ``target``; treated as in ``ssim``, at each scale.
    window
        Odd width of the window in pixels, the same at each scale, or several: ``[5, 11]``.
    scales
        How many, 1 to 5. Each halves the image.

    Raises
    ------
    UsageError
        When an option has a value that is not listed here.
    BasreliefError
        When the images are too small; the message says how many scales fit.
    """
    return _total(
        [
            _mean_loss(ms_ssim_per_image(pred, target, valid, window=width, scales=scales), pred, target, valid)
            for width in _windows("ms_ssim", window)
        ]
    )


def _windows(loss: str, window: int | Sequence[int]) -> tuple[int, ...]:
    windows = tuple(window) if isinstance(window, list | tuple) else (window,)
    if not windows:
        raise UsageError(f"{loss}: window is {window!r}; give one odd whole number or a list of several.")
    for width in windows:
        check_window(loss, width)
    return windows


def _mean_loss(similarity: Tensor, pred: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return 1 - similarity.mean()
    # An image without a counted window is NaN and left out; one whose own numbers are NaN must show.
    broken = ~torch.where(valid, pred + target, 0).detach().isfinite().flatten(2).all(2)
    return mean_over_images(1 - similarity, broken | ~similarity.isnan())


def _total(losses: list[Tensor]) -> Tensor:
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return total
