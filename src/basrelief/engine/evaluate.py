"""Scoring a network on stored samples: one score an image and metric."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from basrelief.batch import Batch
from basrelief.data.loader import Loader
from basrelief.errors import TrainingError
from basrelief.losses.expression import ACTIVATIONS
from basrelief.metrics import score_batch

SMALLEST_FOR_SSIM = 11


def forward(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Call the network as it was built: with the background where the batch has one."""
    if batch.background is None:
        return model(batch.image)  # type: ignore[no-any-return]
    return model(batch.image, batch.background)  # type: ignore[no-any-return]


def activate(logits: Mapping[str, Tensor], activations: Mapping[str, str]) -> dict[str, Tensor]:
    """Apply each head's activation, in float32."""
    return {head: ACTIVATIONS[activations.get(head, "sigmoid")](values.float()) for head, values in logits.items()}


@torch.inference_mode()
def evaluate(
    model: nn.Module, loader: Loader, activations: Mapping[str, str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Score every sample of the loader at the training resolution.

    Returns
    -------
    rows, scores
        The store's rows, and for each name of ``score_batch`` the images' values in that order, float64, NaN where an
        image has no known pixel. Scores stay on the device until all batches are done.

    Raises
    ------
    TrainingError
        When a prediction is not finite: such a network has diverged, whatever its last loss was.
    """
    model.eval()
    rows: list[np.ndarray] = []
    kept: list[dict[str, Tensor]] = []
    finite: list[Tensor] = []
    ssim = min(loader.facts.resolution) >= SMALLEST_FOR_SSIM
    for numbers, batch in loader.in_order():
        preds = activate(forward(model, batch), activations)
        rows.append(numbers)
        finite += [pred.isfinite().all() for pred in preds.values()]
        kept.append(
            score_batch(preds, batch, classes=loader.facts.classes, depth_max=loader.facts.depth_max or 1.0, ssim=ssim)
        )
    if finite and not torch.stack(finite).all():
        raise TrainingError(
            "The network's predictions are no longer finite. Try a learning rate ten times smaller (--lr)."
        )
    names = kept[0] if kept else {}
    scores = {name: torch.cat([part[name] for part in kept]).double().cpu().numpy() for name in names}
    return np.concatenate(rows) if rows else np.empty(0, np.int64), scores


@torch.inference_mode()
def predict_rows(model: nn.Module, loader: Loader, activations: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return the activated predictions of every sample, float32 (N, C, H, W) for each head."""
    model.eval()
    parts = [activate(forward(model, batch), activations) for _, batch in loader.in_order()]
    return {head: torch.cat([part[head] for part in parts]).cpu().numpy() for head in parts[0]} if parts else {}
