"""Alignment of a predicted depth to the true one, for what is judged up to a scale, or a scale and a shift.

Everything is per image, (N, C, H, W), over all its known pixels; images without a known pixel are left as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from basrelief.functional.reduce import known, mean_per_image


def align_median(pred: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return ``pred`` times median(target) / median(pred), for each image.

    Zhou, Brown, Snavely and Lowe, "Unsupervised learning of depth and ego-motion from video", CVPR 2017. A prediction
    whose median is 0 cannot be scaled to another one and is returned as it is.

    Parameters
    ----------
    pred, target
        (N, C, H, W), any real values; ``target`` may hold NaN where it is unknown.
    valid
        Bool (N, 1, H, W) or (N, C, H, W); None: known everywhere.
    """
    middle_p, middle_t = median_per_image(pred, valid), median_per_image(target, valid)
    usable = middle_p != 0
    ratio = torch.where(usable, middle_t / torch.where(usable, middle_p, 1), 1)
    return pred * _as_planes(torch.where(has_known(pred, valid), ratio, 1))


def align_scale_shift(pred: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return scale·pred + shift, with each image's scale and shift from ``fit_scale_shift``. Shapes as there."""
    scale, shift = fit_scale_shift(pred, target, valid)
    return pred * _as_planes(scale) + _as_planes(shift)


def fit_scale_shift(pred: Tensor, target: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the scale and the shift, each (N,), that bring ``pred`` nearest to ``target`` in the least squares sense.

    scale = cov(p, t) / var(p) and shift = mean(t) − scale·mean(p), over each image's known pixels. Where a prediction
    is constant (to within rounding) the scale is 0 and the shift the target's mean; where nothing is known they are
    1 and 0. The scale is negative where near and far are the wrong way round. Ranftl, Lasinger, Hafner, Schindler and
    Koltun, "Towards robust monocular depth estimation", TPAMI 2022.

    Parameters
    ----------
    pred, target
        (N, C, H, W), any real values; ``target`` may hold NaN where it is unknown.
    valid
        Bool (N, 1, H, W) or (N, C, H, W); None: known everywhere.
    """
    # Cleaned first: a NaN left in an unknown place would come back in the gradient of a product.
    pred, target = known(pred, valid)[0], known(target, valid)[0]
    mean_p, any_known = mean_per_image(pred, valid)
    mean_t, _ = mean_per_image(target, valid)
    # Both sides are centred before they are multiplied: differences of large sums would lose a small spread.
    offset_p, offset_t = pred - _as_planes(mean_p), target - _as_planes(mean_t)
    variance, _ = mean_per_image(offset_p.square(), valid)
    covariance, _ = mean_per_image(offset_p * offset_t, valid)
    # The mean of a constant is the constant only to within rounding, and what is left over means nothing.
    rounding = 16 * torch.finfo(pred.dtype).eps * mean_p
    varies = variance > rounding.square().clamp_min(torch.finfo(pred.dtype).tiny)
    scale = torch.where(varies, covariance / torch.where(varies, variance, 1), 0)
    shift = mean_t - scale * mean_p
    return torch.where(any_known, scale, 1), torch.where(any_known, shift, 0)


def median_per_image(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the median of each image's known values, (N,): the mean of the two middle ones where their number is even.

    0 where nothing is known. ``values`` is (N, C, H, W), ``valid`` bool (N, 1, H, W) or (N, C, H, W).
    """
    # The upper of two middle values is the lower one of the negatives.
    return (lower_median_per_image(values, valid) - lower_median_per_image(-values, valid)) / 2


def lower_median_per_image(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the median of each image's known values, (N,): the lower of the two middle ones, as ``torch.median``.

    It is always one of the values, and half the work of ``median_per_image``. Shapes as there, and 0 where nothing is
    known.
    """
    if valid is None:
        return values.flatten(1).median(1).values
    kept = torch.where(valid.expand_as(values), values, float("nan"))
    # A row of NaN alone has no median to differentiate.
    return torch.where(_as_planes(has_known(values, valid)), kept, 0).flatten(1).nanmedian(1).values


def has_known(values: Tensor, valid: Tensor | None) -> Tensor:
    """Return for each image of (N, C, H, W) whether it has a known pixel, bool (N,)."""
    if valid is None:
        return torch.ones(values.shape[0], dtype=torch.bool, device=values.device)
    return valid.flatten(1).any(1)


def _as_planes(per_image: Tensor) -> Tensor:
    return per_image.view(-1, 1, 1, 1)
