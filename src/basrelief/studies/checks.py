"""Whether a loss can be trained on the data, or with the networks of a study that is there."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from basrelief.config import TrainSettings
from basrelief.errors import BasreliefError, UsageError
from basrelief.losses.loss import Loss


def check_targets(loss: Loss, targets: Sequence[str], location: str) -> None:
    """Raise where the data, or the networks of a study that is there, lack a target of the loss."""
    for target in loss.targets:
        if target not in targets:
            raise UsageError(
                f"The loss {loss} needs {target}, which {location} does not have. It has: {', '.join(targets)}."
            )


def check_fits(loss: Loss, location: str, classes: Sequence[str], train: TrainSettings) -> None:
    """Raise where the metric is not trained, an activation contradicts the loss, or the resolution is too small."""
    assert train.metric is not None
    assert train.resolution is not None
    for _, term in loss.terms:
        spec, chosen = loss.specs[term.loss], train.activation.get(term.target, "sigmoid")
        if spec.activation == "softmax" and len(classes) < 2:
            raise UsageError(f"{term} needs several classes, and {location} has one: use bce(mask).")
        if spec.takes == "logits" and chosen != spec.activation:
            raise UsageError(
                f"{term} computes the {spec.activation} itself, so its head must have that activation, not {chosen}: "
                + (
                    f"use --activation {term.target}={spec.activation}, with losses that go with it."
                    if spec.activation != "sigmoid"
                    else f"leave --activation {term.target}={chosen} out, or that loss."
                )
            )
    if train.metric.split("/")[0] not in loss.targets:
        raise UsageError(
            f"The loss {loss} does not train {train.metric.split('/')[0]}, which the metric {train.metric} judges. "
            "Leave that loss out, or choose another --metric."
        )
    for height, width in dict.fromkeys([train.resolution, *(stage.resolution for stage in train.stages)]):
        shapes = {"mask": (1, max(1, len(classes)), height, width), "depth": (1, 1, height, width)}
        zeros = {target: torch.zeros(shapes[target]) for target in loss.targets}
        try:
            loss(zeros, zeros, activations=train.activation)
        except BasreliefError as error:
            where = f" at {height}x{width}" if train.stages else ""
            raise UsageError(f"The loss {loss} cannot be computed on this data{where}. {error}") from None
