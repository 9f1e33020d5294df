"""What a study is held against: predicting the training set's mean at every pixel, whatever the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from basrelief.data.loader import Loader
from basrelief.data.splits import Split
from basrelief.data.store import Store
from basrelief.metrics import score_batch, summarise

MEAN_BASELINE = "mean of the training set, pixel by pixel"


def mean_baseline(store: Store, split: Split, targets: Sequence[str], *, align: Sequence[str] = ()) -> dict[str, float]:
    """Return the test scores of predicting, at each pixel, the mean of the training samples known there.

    ``align`` names the alignments of depth that are scored as well.
    """
    cpu = torch.device("cpu")

    def batches(name: str) -> Loader:
        return Loader(store, split.rows[name], 64, cpu, targets=targets, background=False)

    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, torch.Tensor] = {}
    for _, batch in batches("train").in_order():
        for target in targets:
            plane = batch[target].double()
            valid = batch.get(f"{target}_valid")
            weight = torch.ones_like(plane) if valid is None else valid.expand_as(plane).double()
            sums[target] = sums.get(target, 0) + (plane * weight).sum(0)
            counts[target] = counts.get(target, 0) + weight.sum(0)
    means = {target: (sums[target] / counts[target].clamp_min(1)).float() for target in targets}
    for target in targets:  # a pixel never known in training gets the mean of the others
        overall = (sums[target].sum() / counts[target].sum().clamp_min(1)).float()
        means[target] = torch.where(counts[target] > 0, means[target], overall)
    parts = []
    for _, batch in batches("test").in_order():
        preds = {target: mean.expand(batch.size, -1, -1, -1) for target, mean in means.items()}
        parts.append(
            score_batch(
                preds,
                batch,
                classes=store.facts.classes,
                depth_max=store.facts.depth_max or 1.0,
                align=align,
            )
        )
    scores = {name: np.concatenate([part[name].double().numpy() for part in parts]) for name in parts[0]}
    return {name: value for name, value in summarise(scores, store.facts.classes).items() if value is not None}
