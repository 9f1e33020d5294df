"""Scoring a batch with every metric of the table, and putting the scores of many batches together."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basrelief.errors import unknown_name
from basrelief.functional.align import align_median, align_scale_shift
from basrelief.metrics.names import unpooled_name
from basrelief.metrics.spec import Planes
from basrelief.metrics.table import ALIGNMENTS, METRICS, alignments_of, base_metric, metrics_for

_ALIGN = {"median": align_median, "scale_shift": align_scale_shift}


def score_batch(
    preds: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    *,
    classes: Sequence[str] = (),
    depth_max: float = 1.0,
    mask_threshold: float | Sequence[float] = 0.5,
    metrics: Collection[str] | None = None,
    align: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Score every image of a batch.

    Parameters
    ----------
    preds, targets
        "mask" (N, K, H, W) in [0, 1] and "depth" (N, 1, H, W) divided by ``depth_max``, after the activation; in
        ``targets`` also "mask_valid" and "depth_valid", bool (N, 1, H, W). A mask's prediction is cut to [0, 1].
    classes
        Names of the K classes; several are scored one by one as well.
    depth_max
        What depth was divided by; errors come in the data's unit.
    mask_threshold
        A pixel belongs to the mask above it; one number, or one a class.
    metrics
        Names of those to compute, such as "mask/iou" or "depth/rmse@median"; None: all that are defined at this
        resolution, without alignment.
    align
        "median", "scale_shift": also give depth's errors after this alignment, as "depth/rmse@median".

    Returns
    -------
    dict
        Name -> (N,). Metrics by their names, NaN where an image has no known pixel. Under names that start with "_",
        (N, K) or (N, K, …), the sums over pixels that pooled metrics and counts are made of, in float64.
    """
    scores: dict[str, Tensor] = {}
    # A pooled metric, or one of a class, comes with the metric that it belongs to.
    wanted = None if metrics is None else {_scored_as(name) for name in metrics}
    align = list(dict.fromkeys([*align, *itertools.chain(*map(alignments_of, metrics or ()))]))
    for group, planes in _groups(preds, targets, depth_max, mask_threshold, align):
        target, at, alignment = group.partition("@")
        made: dict[Any, Any] = {}
        for name, spec in METRICS.items():
            if not name.startswith(f"{target}/") or spec.pooled or planes.side < spec.smallest:
                continue
            if (at and spec.sums is None) or (wanted is not None and name + at + alignment not in wanted):
                continue
            if spec.sums is None:
                values = spec.function(planes)
            else:
                if spec.sums not in made:
                    made[spec.sums] = spec.sums.of(planes)
                values = spec.function(made[spec.sums])
            scores[name + at + alignment] = values[:, 0] if values.shape[1] == 1 else values.nanmean(1)
            if spec.by_class and len(classes) > 1:
                scores |= {f"{name}/{label}": values[:, k] for k, label in enumerate(classes)}
        for kind, sums in made.items():
            scores |= {_sum_name(group, kind, field): getattr(sums, field) for field in kind._fields}
        if not at:
            scores[f"_{target}/known"] = planes.pixels
        if target == "mask":
            scores["_mask/true"] = planes.truth
    return scores


def _groups(
    preds: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    depth_max: float,
    mask_threshold: float | Sequence[float],
    align: Sequence[str],
) -> Iterator[tuple[str, Planes]]:
    """Yield the planes of "mask", "depth", and of "depth@ALIGNMENT" for each alignment asked for."""
    if "mask" in preds and "mask" in targets:
        pred = preds["mask"].clamp(0, 1)
        single = isinstance(mask_threshold, int | float)
        threshold = mask_threshold if single else torch.as_tensor(mask_threshold).to(pred)[:, None, None]
        yield "mask", Planes(pred, targets["mask"], targets.get("mask_valid"), threshold=threshold)
    if "depth" in preds and "depth" in targets:
        pred, target, valid = preds["depth"], targets["depth"], targets.get("depth_valid")
        yield "depth", Planes(pred, target, valid, unit=depth_max)
        for name in align:
            if name not in _ALIGN:
                raise unknown_name("alignment", name, list(_ALIGN))
            yield f"depth@{name}", Planes(_ALIGN[name](pred, target, valid), target, valid, unit=depth_max)


def summarise(scores: Mapping[str, np.ndarray], classes: Sequence[str] = ()) -> dict[str, float | None]:
    """Return every metric over all images, pooled ones included; None where no image has a score.

    ``scores`` are the concatenated results of ``score_batch``.
    """
    summary: dict[str, float | None] = {}
    for name, values in scores.items():
        if not name.startswith("_"):
            defined = values[~np.isnan(values)]
            summary[name] = float(defined.mean(dtype=np.float64)) if defined.size else None
    for name, values in pool(scores).items():
        summary[name] = None if np.isnan(values[0]) else float(values[0])
    order = metrics_for(("mask", "depth"), classes, align=list(ALIGNMENTS))
    return {name: summary[name] for name in order if name in summary}


def pool(scores: Mapping[str, np.ndarray], weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return the pooled metrics, float64 (D,), NaN where they are of no known pixel.

    ``weights`` (D, images) says how often each of D draws takes an image; None: one draw that takes each once.
    """
    pooled: dict[str, np.ndarray] = {}
    for name, spec in METRICS.items():
        target, base = name.split("/")[0], unpooled_name(name)
        for suffix in ("", *(f"@{alignment}" for alignment in ALIGNMENTS)) if spec.pooled else ():
            if base + suffix in scores:
                parts = (scores[_sum_name(target + suffix, spec.sums, field)] for field in spec.sums._fields)
                total = spec.sums(*(torch.from_numpy(_total(part, weights)) for part in parts))
                pooled[name + suffix] = spec.function(total).nanmean(1).double().numpy()
    return pooled


def _total(sums: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    if weights is None:
        return np.asarray(sums.sum(0, keepdims=True, dtype=np.float64))
    flat = sums.reshape(len(sums), -1).astype(np.float64)
    return np.asarray((weights @ flat).reshape(len(weights), *sums.shape[1:]))


def count_images(
    scores: Mapping[str, np.ndarray], classes: Sequence[str] = (), *, images: int | None = None
) -> dict[str, int]:
    """Return how many images the scores rest on, and how many of them stand for a documented value or for none.

    ``images``; ``mask_empty``, whose true mask is empty (in every class; also by class, where there are several);
    ``mask_unknown`` and ``depth_unknown``, which have no known pixel and so no score. ``scores`` as for ``summarise``;
    ``images`` is their number where some lack a target, and so have no line in its scores.
    """
    images = max((len(values) for values in scores.values()), default=0) if images is None else images
    counts = {"images": images}
    if "_mask/known" in scores:
        known, true = scores["_mask/known"] > 0, scores["_mask/true"] > 0
        counts["mask_empty"] = int((known.any(1) & ~true.any(1)).sum())
        for k, name in enumerate(classes if len(classes) > 1 else ()):
            counts[f"mask_empty/{name}"] = int((known[:, k] & ~true[:, k]).sum())
        counts["mask_unknown"] = images - int(known.any(1).sum())
    if "_depth/known" in scores:
        counts["depth_unknown"] = images - int((scores["_depth/known"] > 0).any(1).sum())
    return counts


def _scored_as(name: str) -> str:
    """Return the metric that a pooled one, or one of a class, comes with; alignment is kept: it is computed apart."""
    return unpooled_name(name if name.startswith("depth/") else base_metric(name))


def _sum_name(group: str, kind: Any, field: str) -> str:
    return f"_{group}/{kind.__name__}/{field}"
