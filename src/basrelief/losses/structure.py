"""Losses of structure, for depth and for masks alike."""

from __future__ import annotations

from torch import Tensor

from basrelief.functional.reduce import mean_over_images
from basrelief.functional.ssim import ssim_per_image


def ssim(pred: Tensor, target: Tensor, *, valid: Tensor | None = None, window: int = 11) -> Tensor:
    """Return 1 − SSIM, the mean over images and channels.

    Gaussian window (σ = 1.5), K = (0.01, 0.03), data range fixed at 1, no padding; see
    ``basrelief.functional.ssim.ssim_per_image`` for the formula and its source.

    Parameters
    ----------
    pred, target
        (N, C, H, W) in [0, 1], at least ``window`` pixels high and wide.
    valid
        Bool, broadcastable to ``target``. Windows are weighted by validity, those less than half known left out;
        images without a counted window are left out of the mean.
    window
        Odd width of the window in pixels.
    """
    similarity = ssim_per_image(pred, target, valid, window=window)
    return mean_over_images(1 - similarity, ~similarity.isnan())
