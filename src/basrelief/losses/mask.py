"""Losses of masks: pure functions of tensors (N, K, H, W)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from basrelief.errors import UsageError
from basrelief.functional.overlap import overlap
from basrelief.functional.reduce import mean_over_images, mean_per_image


def bce(logits: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Return the binary cross-entropy, from logits: mean over each image's known pixels, then over images.

    softplus(x) − x·t, which equals −t·log σ(x) − (1 − t)·log(1 − σ(x)) and stays finite for any x.

    Parameters
    ----------
    logits
        (N, K, H, W), before the sigmoid.
    target
        (N, K, H, W) in [0, 1].
    valid
        Bool, broadcastable to ``target``. Images without a known pixel are left out of the mean.
    """
    values = F.binary_cross_entropy_with_logits(logits, _clean(target, valid), reduction="none")
    return mean_over_images(*mean_per_image(values, valid))


def dice(pred: Tensor, target: Tensor, *, valid: Tensor | None = None, smooth: float = 1e-5) -> Tensor:
    """Return the soft Dice loss: 1 − (2·Σp·t + s) / (Σp + Σt + s) for each image and class, then the mean.

    Milletari, Navab and Ahmadi, "V-Net", 3DV 2016, with p + t below the line, not squares. With the default ``smooth``
    an empty target with an empty prediction gives 0, and anything predicted on an empty target about 1, with hardly
    any gradient: where many masks are empty, add a pixelwise term such as bce.

    Parameters
    ----------
    pred, target
        (N, K, H, W) in [0, 1].
    valid
        Bool (N, 1, H, W) or (N, K, H, W). Images without a known pixel are left out of the mean.
    smooth
        s above, at least 0, added on both sides.
    """
    if smooth < 0:
        raise UsageError(f"dice: smooth is {smooth:g}; it must be at least 0.")
    sums = overlap(pred, target, valid)
    loss = 1 - (2 * sums.both + smooth) / (sums.pred + sums.target + smooth).clamp_min(1e-12)
    return mean_over_images(loss, sums.pixels > 0)


def _clean(target: Tensor, valid: Tensor | None) -> Tensor:
    # An unknown target may be NaN; it must not reach a kernel whose gradient would spread it.
    return target if valid is None else target.masked_fill(~valid.expand_as(target), 0)
