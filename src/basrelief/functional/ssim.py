"""Structural similarity, shared by the loss and the metric."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from basrelief.errors import BasreliefError

C1, C2 = 0.01**2, 0.03**2  # (K1·L)² and (K2·L)² with a data range L of 1
KNOWN_SHARE = 0.5  # a window counts when at least this share of its weight lies on known pixels


def ssim_per_image(pred: Tensor, target: Tensor, valid: Tensor | None = None, *, window: int = 11) -> Tensor:
    """Return the mean structural similarity of each image and channel.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    IEEE TIP 13(4), 2004, eq. 13, with their Gaussian window (σ = 1.5), K = (0.01, 0.03), a data range of 1 and no
    padding: only windows that lie wholly inside the image count.

    Parameters
    ----------
    pred, target
        (N, C, H, W), float32 or float64, values in [0, 1].
    valid
        Bool, broadcastable to ``target``; None: known everywhere. Windows are weighted by validity, and windows less
        than half known are left out.
    window
        Odd width of the window in pixels; images must be at least as large.

    Returns
    -------
    Tensor
        (N, C) in [-1, 1]; NaN for an image and channel in which no window is known well enough.
    """
    height, width = pred.shape[-2:]
    if not isinstance(window, int) or window < 3 or window % 2 == 0:
        raise BasreliefError(f"ssim: window is {window!r}; it must be an odd whole number of at least 3.")
    if min(height, width) < window:
        raise BasreliefError(
            f"ssim: the image is {height}x{width} px, smaller than its window of {window} px. "
            f"Use a larger resolution or a smaller window, such as ssim(…, window={_largest_window(height, width)})."
        )
    rows = _band(height, window, pred.dtype, pred.device)
    columns = _band(width, window, pred.dtype, pred.device).T

    def blur(planes: Tensor) -> Tensor:
        # A separable filter without padding is two matrix products with a banded matrix: no im2col, no transposes.
        return rows @ planes @ columns

    if valid is None:
        means = blur(torch.stack((pred, target, pred * pred, target * target, pred * target)))
        return _similarity(means).mean(dim=(-2, -1))
    known = valid.to(pred.dtype).expand_as(target)
    target = torch.where(known > 0, target, torch.zeros_like(target))  # an unknown value may be NaN
    share = blur(known)
    weighted = pred * known
    means = blur(
        torch.stack((weighted, target * known, weighted * pred, target * target * known, weighted * target))
    ) / share.clamp_min(1e-12)
    counted = (share >= KNOWN_SHARE).to(pred.dtype)
    total = (_similarity(means) * counted).sum(dim=(-2, -1))
    windows = counted.sum(dim=(-2, -1))
    return torch.where(windows > 0, total / windows.clamp_min(1), torch.full_like(total, float("nan")))


def _similarity(means: Tensor) -> Tensor:
    mean_p, mean_t, square_p, square_t, product = means.unbind(0)
    # Rounding can turn a variance slightly negative on flat regions.
    variance_p = (square_p - mean_p * mean_p).clamp_min(0)
    variance_t = (square_t - mean_t * mean_t).clamp_min(0)
    covariance = product - mean_p * mean_t
    luminance = (2 * mean_p * mean_t + C1) / (mean_p * mean_p + mean_t * mean_t + C1)
    return luminance * (2 * covariance + C2) / (variance_p + variance_t + C2)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)  # a matrix first needed in an evaluation must serve training too
def _band(size: int, window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the (size - window + 1, size) matrix whose rows are the Gaussian, each shifted by one."""
    offsets = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    gaussian = torch.exp(-(offsets**2) / (2 * 1.5**2))
    gaussian = gaussian / gaussian.sum()
    band = torch.zeros(size - window + 1, size, dtype=torch.float64)
    for row in range(band.shape[0]):
        band[row, row : row + window] = gaussian
    return band.to(device=device, dtype=dtype)


def _largest_window(height: int, width: int) -> int:
    smallest = min(height, width)
    return max(3, smallest if smallest % 2 else smallest - 1)
