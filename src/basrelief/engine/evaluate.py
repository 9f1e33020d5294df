"""Scoring a network on stored samples: one score an image and metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from basrelief.batch import Batch
from basrelief.data.loader import Loader
from basrelief.engine import processes
from basrelief.errors import TrainingError
from basrelief.losses.loss import ACTIVATIONS
from basrelief.metrics import score_batch


def forward(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Call the network as it was built: with the background where the batch has one."""
    if batch.background is None:
        return model(batch.image)  # type: ignore[no-any-return]
    return model(batch.image, batch.background)  # type: ignore[no-any-return]


def in_label_values(outputs: dict[str, Tensor], batch: Batch, values: Tensor | None) -> tuple[dict[str, Tensor], Batch]:
    """Return predictions and truth of the mask as label values, for losses that were stated on them.

    ``values`` is the network's ``mask_values``; None leaves both as they are.
    """
    if values is None:
        return outputs, batch
    labelled = dataclasses.replace(batch, mask=batch["mask"] * values)
    return {**outputs, "mask": outputs["mask"].float() * values}, labelled


def activate(logits: Mapping[str, Tensor], activations: Mapping[str, str]) -> dict[str, Tensor]:
    """Apply each head's activation, in float32."""
    return {head: ACTIVATIONS[activations.get(head, "sigmoid")](values.float()) for head, values in logits.items()}


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    loader: Loader,
    activations: Mapping[str, str],
    *,
    metrics: Collection[str] | None = None,
    align: Sequence[str] = (),
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Score every sample of the loader at the training resolution; several processes share the work.

    Parameters
    ----------
    model, loader, activations
        The network, the samples, and the activation of each head.
    metrics, align
        Which metrics, and of depth with which alignment, as for ``score_batch``. None: all of them.

    Returns
    -------
    rows, scores
        The store's rows, and for each name of ``score_batch`` the images' values in that order, float64, NaN where an
        image has no known pixel. Scores stay on the device until all batches are done, and are then read at once.

    Raises
    ------
    TrainingError
        When a prediction is not finite: such a network has diverged, whatever its last loss was.
    """
    model.eval()
    loader = loader.serving(np.array_split(loader.rows, processes.count())[processes.number()])
    rows: list[np.ndarray] = []
    kept: list[dict[str, Tensor]] = []
    finite: list[Tensor] = []
    for numbers, batch in loader.in_order():
        preds = activate(forward(model, batch), activations)
        rows.append(numbers)
        finite += [pred.isfinite().all() for pred in preds.values()]
        kept.append(
            score_batch(
                preds,
                batch,
                classes=loader.facts.classes,
                depth_max=loader.facts.depth_max or 1.0,
                metrics=metrics,
                align=align,
            )
        )
    sound = not finite or bool(torch.stack(finite).all())
    own = (sound, np.concatenate(rows) if rows else np.empty(0, np.int64), _read(kept))
    found = processes.from_all(own)
    if not all(sound for sound, _, _ in found):
        raise TrainingError(
            "The network's predictions are no longer finite. Try a learning rate ten times smaller (--lr)."
        )
    parts = [scores for _, _, scores in found if scores]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if len(parts) > 1 else None
    return np.concatenate([numbers for _, numbers, _ in found]), joined or (parts[0] if parts else {})


def _read(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, np.ndarray]:
    """Join the batches' scores and bring them to the CPU in one transfer."""
    if not parts:
        return {}
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    table = torch.cat([values.reshape(len(values), -1) for values in joined.values()], 1).cpu().double().numpy()
    borders = np.cumsum([values[0].numel() for values in joined.values()])[:-1]
    columns = np.split(table, borders, axis=1)
    return {name: part.reshape(values.shape) for (name, values), part in zip(joined.items(), columns, strict=True)}


@torch.inference_mode()
def predict_rows(model: nn.Module, loader: Loader, activations: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return the activated predictions of every sample, float32 (N, C, H, W) for each head."""
    model.eval()
    parts = [activate(forward(model, batch), activations) for _, batch in loader.in_order()]
    return {head: torch.cat([part[head] for part in parts]).cpu().numpy() for head in parts[0]} if parts else {}
