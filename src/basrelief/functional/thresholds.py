"""Masks at many thresholds at once: how their IoU depends on the probability above which a pixel is mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

STEPS = 100  # thresholds that are tried stand at whole hundredths


def grid(first: int = 1, last: int = STEPS - 1, step: int = 1) -> tuple[float, ...]:
    """Return thresholds from ``first`` to ``last`` hundredths."""
    return tuple(number / STEPS for number in range(first, last + 1, step))


def iou_by_threshold(
    pred: Tensor, target: Tensor, valid: Tensor | None = None, *, thresholds: Sequence[float]
) -> Tensor:
    """Return the IoU of every image's mask at each threshold, in one pass over the pixels.

    A pixel is mask where its probability is above the threshold. Probabilities are counted between neighbouring
    thresholds, apart for pixels that are mask and that are not; sums of these counts from above are the sizes of the
    mask and of what it shares with the truth.

    Parameters
    ----------
    pred
        Probabilities, float (N, K, H, W).
    target
        (N, K, H, W) in {0, 1}.
    valid
        Bool (N, 1, H, W) or (N, K, H, W), true where the target is known; None: everywhere.
    thresholds
        T of them, ascending.

    Returns
    -------
    Tensor
        float64 (N, K, T) on the CPU, as the metric ``mask/iou``: 1 where both masks are empty, NaN where no pixel is
        known.
    """
    images, classes = pred.shape[:2]
    borders = torch.tensor(list(thresholds), dtype=pred.dtype, device=pred.device)
    bins = len(borders) + 1
    # bucketize gives the number of thresholds below the probability, which are those that it is above.
    place = torch.bucketize(pred.detach().contiguous(), borders).flatten(2)
    truth = (target > 0).flatten(2)
    plane = torch.arange(images * classes, device=pred.device).view(images, classes, 1)
    place = (plane * 2 + truth) * bins + place
    if valid is not None:
        place = place[valid.expand_as(target).flatten(2)]
    counts = torch.bincount(place.flatten(), minlength=images * classes * 2 * bins).cpu()
    counts = counts.view(images, classes, 2, bins)
    above = counts.flip(-1).cumsum(-1).flip(-1)[..., 1:]
    both, true = above[:, :, 1].double(), counts[:, :, 1].sum(-1, keepdim=True).double()
    union = above.sum(2).double() + true - both
    iou = torch.where(union > 0, both / union.clamp_min(1), torch.ones_like(union))
    known = counts.sum((2, 3))[..., None] > 0
    return torch.where(known, iou, torch.full_like(iou, float("nan")))
