"""Losses of values, for depth and for masks alike: pure functions of tensors (N, C, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor

from basrelief.functional.reduce import known, mean_over_images, mean_per_image


def mse(pred: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Return the mean squared error: mean over each image's known pixels, then over images.

    Parameters
    ----------
    pred, target
        (N, C, H, W).
    valid
        Bool, broadcastable to ``target``. Images without a known pixel are left out of the mean.
    """
    return mean_over_images(*mean_per_image(_difference(pred, target, valid).square(), valid))


def l1(pred: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Return the mean absolute error: mean over each image's known pixels, then over images. Shapes as ``mse``."""
    return mean_over_images(*mean_per_image(_difference(pred, target, valid).abs(), valid))


def rmse(pred: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Return the root of each image's mean squared error over known pixels, then the mean over images.

    The gradient at zero error, where the root has none, is 0. Shapes as ``mse``.
    """
    squares, counted = mean_per_image(_difference(pred, target, valid).square(), valid)
    # Both branches of a where are differentiated, so the root must not see the zero at all.
    positive = squares > 0
    roots = torch.where(positive, torch.where(positive, squares, torch.ones_like(squares)).sqrt(), squares)
    return mean_over_images(roots, counted)


def _difference(pred: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    return known(pred - target, valid)[0] if valid is not None else pred - target
