"""The metrics, as one table, and the scorer that applies them to a batch.

A metric is computed from sums over each image's known pixels. Per-image scores divide an image's own sums; pooled ones
(``…_pooled``) add the sums of all images first and divide once, so an uneven last batch cannot bias either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from basrelief.errors import UsageError, unknown_name
from basrelief.functional.overlap import Overlap, overlap
from basrelief.functional.ssim import ssim_per_image
from basrelief.metrics import depth as depth_metrics
from basrelief.metrics import mask as mask_metrics

DEFINITIONS_VERSION = 1  # written into every result; raised when a definition below changes


class MetricSpec(NamedTuple):
    """A line of the table: which way is better, whether it is in the depth's unit, and what it is."""

    higher_is_better: bool
    in_unit: bool
    meaning: str


METRICS: dict[str, MetricSpec] = {
    "mask/iou": MetricSpec(
        True, False, "Intersection over union of the hard mask, per image (and class), then the mean; both empty: 1."
    ),
    "mask/dice": MetricSpec(True, False, "Dice of the hard mask, per image (and class), then the mean; both empty: 1."),
    "mask/iou_pooled": MetricSpec(True, False, "Intersection over union of all pixels of all images together."),
    "mask/dice_pooled": MetricSpec(True, False, "Dice of all pixels of all images together."),
    "mask/ssim": MetricSpec(
        True, False, "Structural similarity of the mask's probabilities and the truth (Gaussian window 11, no padding)."
    ),
    "depth/rmse": MetricSpec(
        False, True, "Root of the mean squared error over an image's known pixels, then the mean."
    ),
    "depth/mae": MetricSpec(False, True, "Mean absolute error over an image's known pixels, then the mean."),
    "depth/rmse_pooled": MetricSpec(False, True, "Root of the mean squared error over all known pixels together."),
    "depth/mae_pooled": MetricSpec(False, True, "Mean absolute error over all known pixels together."),
    "depth/ssim": MetricSpec(
        True, False, "Structural similarity of predicted and true depth, both divided by the depth maximum."
    ),
}


def metric_spec(name: str, classes: Sequence[str] = ()) -> MetricSpec:
    """Return the line of the table for ``name``; ``mask/iou/CLASS`` and ``mask/dice/CLASS`` are known by class.

    Raises
    ------
    UsageError
        For an unknown metric, with the nearest known one.
    """
    if name in METRICS:
        return METRICS[name]
    for base in ("mask/iou", "mask/dice"):
        label = name.removeprefix(f"{base}/")  # a class may have a slash in its name
        if label != name and label in classes and len(classes) > 1:
            return MetricSpec(True, False, f"{METRICS[base].meaning} Class {label} alone.")
    raise unknown_name("metric", name, [*METRICS, *_class_metrics(classes)])


def higher_is_better(name: str) -> bool:
    """Tell which way is better, for a known metric; those of a class follow the metric they belong to."""
    return METRICS["/".join(name.split("/")[:2])].higher_is_better


def metrics_for(targets: Sequence[str], classes: Sequence[str] = (), *, ssim: bool = True) -> list[str]:
    """Return the names of all metrics that fit these targets and classes, in table order."""
    names = [name for name in METRICS if name.split("/")[0] in targets and (ssim or not name.endswith("/ssim"))]
    return names + (_class_metrics(classes) if "mask" in targets else [])


def check_metric(name: str, targets: Sequence[str], classes: Sequence[str] = ()) -> None:
    """Raise UsageError unless ``name`` is a metric of these targets that has a score for each image."""
    metric_spec(name, classes)
    if name.split("/")[0] not in targets:
        raise UsageError(f"The metric {name!r} needs {name.split('/')[0]}, which is not trained here.")
    if name.endswith("_pooled"):
        raise UsageError(
            f"The metric {name!r} has one value for all images together; runs are compared by one that scores each "
            f"image, such as {name.removesuffix('_pooled')!r}."
        )


def score_batch(
    preds: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    *,
    classes: Sequence[str] = (),
    depth_max: float = 1.0,
    mask_threshold: float = 0.5,
    ssim: bool = True,
) -> dict[str, Tensor]:
    """Score every image of a batch.

    Parameters
    ----------
    preds, targets
        "mask" (N, K, H, W) in [0, 1] and "depth" (N, 1, H, W) divided by ``depth_max``, after the activation; in
        ``targets`` also "mask_valid" and "depth_valid", bool (N, 1, H, W).
    depth_max
        What depth was divided by; errors come in the data's unit.
    mask_threshold
        A pixel belongs to the mask above it.
    ssim
        False where images are smaller than the SSIM window.

    Returns
    -------
    dict
        Name -> (N,). Metrics by their names, NaN where an image has no known pixel; sums that pooled metrics need
        under names that start with "_".
    """
    scores: dict[str, Tensor] = {}
    if "mask" in preds and "mask" in targets:
        pred, target, valid = preds["mask"], targets["mask"], targets.get("mask_valid")
        sums = overlap((pred > mask_threshold).to(target.dtype), target, valid)
        iou, dice = mask_metrics.iou(sums), mask_metrics.dice(sums)
        scores["mask/iou"], scores["mask/dice"] = iou.mean(1), dice.mean(1)
        for k, name in enumerate(classes if len(classes) > 1 else ()):
            scores[f"mask/iou/{name}"], scores[f"mask/dice/{name}"] = iou[:, k], dice[:, k]
        for field, values in zip(Overlap._fields, sums, strict=True):
            for k in range(values.shape[1]):
                scores[f"_mask/{field}/{k}"] = values[:, k]
        if ssim:
            scores["mask/ssim"] = ssim_per_image(pred, target, valid).nanmean(1)
    if "depth" in preds and "depth" in targets:
        pred, target, valid = preds["depth"], targets["depth"], targets.get("depth_valid")
        absolute, squared, count = depth_metrics.error_sums(pred, target, valid)
        absolute, squared = absolute * depth_max, squared * depth_max**2
        scores["depth/rmse"] = depth_metrics.mean_or_nan(squared, count).sqrt()
        scores["depth/mae"] = depth_metrics.mean_or_nan(absolute, count)
        scores |= {"_depth/absolute": absolute, "_depth/squared": squared, "_depth/pixels": count}
        if ssim:
            scores["depth/ssim"] = ssim_per_image(pred, target, valid).nanmean(1)
    return scores


def summarise(scores: Mapping[str, np.ndarray], classes: Sequence[str] = ()) -> dict[str, float | None]:
    """Return every metric over all images, pooled ones included; None where no image has a score.

    ``scores`` are the concatenated results of ``score_batch``.
    """
    summary: dict[str, float | None] = {}
    for name, values in scores.items():
        if not name.startswith("_"):
            defined = values[~np.isnan(values)]
            summary[name] = float(defined.mean()) if defined.size else None
    planes = sum(name.startswith("_mask/pixels/") for name in scores)
    if planes:
        sums = Overlap(
            *(
                torch.tensor([scores[f"_mask/{field}/{k}"].sum(dtype=np.float64) for k in range(planes)])
                for field in Overlap._fields
            )
        )
        for name, by_class in (("iou", mask_metrics.iou(sums)), ("dice", mask_metrics.dice(sums))):
            pooled = float(by_class.nanmean())
            summary[f"mask/{name}_pooled"] = None if np.isnan(pooled) else pooled
    if "_depth/pixels" in scores:
        count = scores["_depth/pixels"].sum()
        summary["depth/rmse_pooled"] = float(np.sqrt(scores["_depth/squared"].sum() / count)) if count else None
        summary["depth/mae_pooled"] = float(scores["_depth/absolute"].sum() / count) if count else None
    order = metrics_for(("mask", "depth"), classes)
    return {name: summary[name] for name in order if name in summary}


def _class_metrics(classes: Sequence[str]) -> list[str]:
    return [f"mask/{kind}/{name}" for kind in ("iou", "dice") for name in classes] if len(classes) > 1 else []


def default_metric(targets: Sequence[str]) -> str:
    """Return the metric that decides unless another is asked for."""
    return "mask/iou" if "mask" in targets else "depth/rmse"
