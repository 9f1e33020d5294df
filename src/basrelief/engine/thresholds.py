"""The probability above which a pixel is mask: which one is best, found on the validation images and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from basrelief.data.loader import Loader
from basrelief.engine import processes
from basrelief.engine.evaluate import activate, forward
from basrelief.functional.thresholds import grid, iou_by_threshold

THRESHOLDS = grid()  # 0.01 to 0.99
SAME = 1e-9  # mean IoUs closer than this are the same


@torch.inference_mode()
def find_thresholds(model: nn.Module, loader: Loader, activations: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the threshold with the best mean IoU over the loader's images, for each class.

    At the training resolution, from one pass whatever the number of thresholds; several processes share the work.
    Of equal ones the nearest to 0.5 is taken, and of two that are equally near the smaller.

    Parameters
    ----------
    model, loader, activations
        The network with its chosen weights, the validation images, and the activation of each head.

    Returns
    -------
    dict
        ``best`` (one a class), ``score`` (the mean IoU there) and ``at_half`` (at 0.5); the last two are None for a
        class that no image has a known pixel of. None without masks or without images.
    """
    model.eval()
    loader = loader.serving(np.array_split(loader.rows, processes.count())[processes.number()])
    own: tuple[np.ndarray, np.ndarray] | None = None
    for _, batch in loader.in_order():
        preds = activate(forward(model, batch), activations)
        if "mask" not in preds or batch.mask is None:
            break
        found = iou_by_threshold(preds["mask"], batch.mask, batch.mask_valid, thresholds=THRESHOLDS)
        sums, known = found.nansum(0).numpy(), found.isfinite().sum(0).numpy()
        own = (sums, known) if own is None else (own[0] + sums, own[1] + known)
    parts = [part for part in processes.from_all(own) if part is not None]
    if not parts:
        return None
    totals, counts = zip(*parts, strict=True)
    return choose_thresholds(np.sum(totals, axis=0), np.sum(counts, axis=0))


def choose_thresholds(total: np.ndarray, count: np.ndarray) -> dict[str, Any]:
    """Return ``find_thresholds``'s document from the sums of IoU, (K, T), and the numbers of images they are of."""
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    away = np.abs(np.asarray(THRESHOLDS) - 0.5)
    best: list[float] = []
    score: list[float | None] = []
    at_half: list[float | None] = []
    for own in means:
        known = bool(np.isfinite(own).all())
        # Rounded, since 0.49 and 0.51 are not equally far from 0.5 in floating point.
        away_of_best = np.where(own >= own.max() - SAME, away.round(9), np.inf) if known else away
        place = int(np.argmin(away_of_best))
        best.append(THRESHOLDS[place])
        score.append(float(own[place]) if known else None)
        at_half.append(float(own[THRESHOLDS.index(0.5)]) if known else None)
    return {"best": best, "score": score, "at_half": at_half}
