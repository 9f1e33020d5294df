"""Scoring one image at its own size: its metrics, what is true of it, and counts that pool over images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from basrelief.batch import Sample
from basrelief.data.resize import pick_nearest
from basrelief.functional.thresholds import grid, iou_by_threshold
from basrelief.inference.prediction import Prediction
from basrelief.inference.predictor import Predictor
from basrelief.metrics import score_batch
from basrelief.metrics.mask import BINS
from basrelief.scoring.fit import Fit

SHOWN_THRESHOLDS = grid(5, 95, 5)


@dataclass(frozen=True)
class SampleScores:
    """What is found of one image and one network.

    Attributes
    ----------
    scores
        As ``score_batch`` gives them, for one image: (1,), and sums (1, K, …).
    bins
        float64 (K, 15, 3): of each bin of the predicted probability, how many known pixels fall into it, the sum of
        their probabilities, and how many are mask. None without masks.
    curve
        float64 (K, T): the IoU at each of ``SHOWN_THRESHOLDS``. None without masks.
    """

    scores: dict[str, np.ndarray]
    bins: np.ndarray | None
    curve: np.ndarray | None


def score_sample(predictor: Predictor, sample: Sample, result: Prediction, fit: Fit) -> SampleScores:
    """Score what a network says of one image against its truth, by every metric that fits."""
    depth_max = float(predictor.run["depth_max"] or 1.0)
    classes = tuple(predictor.run["classes"])
    targets, preds = _planes(sample, result, depth_max, fit)
    found = score_batch(
        preds,
        targets,
        classes=classes,
        depth_max=depth_max,
        mask_threshold=predictor.thresholds or 0.5,
        align=fit.align,
    )
    scores = {name: value.numpy() for name, value in found.items() if name not in fit.refused}
    if "mask" not in preds:
        return SampleScores(scores, None, None)
    curve = iou_by_threshold(
        preds["mask"].clamp(0, 1), targets["mask"], targets.get("mask_valid"), thresholds=SHOWN_THRESHOLDS
    )
    return SampleScores(
        scores, _count_bins(preds["mask"], targets["mask"], targets.get("mask_valid")), curve[0].numpy()
    )


def true_figure(sample: Sample) -> float:
    """Return the share of the known pixels that belong to the mask, of any class; NaN where none is known."""
    if sample.mask is None:
        return float("nan")
    figure: np.ndarray = np.asarray(sample.mask.any(axis=0))
    if sample.mask_valid is not None:
        figure = figure[sample.mask_valid]
    return float(figure.mean()) if figure.size else float("nan")


def true_depth(sample: Sample, fit: Fit) -> float:
    """Return the median true depth in the network's unit; NaN where none is known."""
    known = np.empty(0) if sample.depth is None else sample.depth[np.isfinite(sample.depth)]
    return float(np.median(known)) * fit.factor if known.size else float("nan")


def _planes(
    sample: Sample, result: Prediction, depth_max: float, fit: Fit
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return targets and predictions of one image as the metrics want them."""
    size = (sample.image.shape[0], sample.image.shape[1])
    targets: dict[str, Tensor] = {}
    preds: dict[str, Tensor] = {}
    if "mask" in fit.targets and sample.mask is not None and result.probability is not None:
        targets["mask"] = torch.from_numpy(sample.mask).float()[None]
        if sample.mask_valid is not None:
            targets["mask_valid"] = torch.from_numpy(sample.mask_valid)[None, None]
        probability = result.probability if result.probability.ndim == 3 else result.probability[None]
        preds["mask"] = torch.from_numpy(np.ascontiguousarray(probability))[None]
    if "depth" in fit.targets and sample.depth is not None and result.depth is not None:
        # Measured at a lower resolution than the image, it is brought up without mixing.
        depth = pick_nearest(sample.depth, size)
        known = np.isfinite(depth)
        scale = fit.factor / depth_max
        # Divided where no unit is converted, as in training, so that the same depth gives the same bits.
        true = np.where(known, depth, 0).astype(np.float32)
        true = true / np.float32(depth_max) if fit.factor == 1 else true * np.float32(scale)
        targets["depth"] = torch.from_numpy(true)[None, None]
        targets["depth_valid"] = torch.from_numpy(known)[None, None]
        preds["depth"] = torch.from_numpy(result.depth / np.float32(depth_max))[None, None]
    return targets, preds


def _count_bins(pred: Tensor, target: Tensor, valid: Tensor | None) -> np.ndarray:
    known = torch.ones_like(target[0, 0], dtype=torch.bool) if valid is None else valid[0, 0]
    counts = np.zeros((target.shape[1], BINS, 3))
    for plane, own, true in zip(counts, pred[0], target[0], strict=True):
        probability = own[known].clamp(0, 1)
        place = (probability * BINS).ceil().sub(1).clamp(0, BINS - 1).long()
        for field, weights in enumerate((None, probability.double(), true[known].double())):
            plane[:, field] = torch.bincount(place, weights, minlength=BINS).numpy()
    return counts
