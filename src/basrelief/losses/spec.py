"""What a line of the table of losses says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

PACKAGES = {
    "segmentation_models_pytorch": "smp",
    "segmentation-models-pytorch": "smp",
    "pytorch-msssim": "pytorch_msssim",
    "scikit-image": "skimage",
    "a": "A",
    "c": "C",
    "d": "D",
}
"""Other spellings of the names that ``like`` takes."""

OTHER_NAMES = {
    "iou": "jaccard",
    "ce": "cross_entropy",
    "crossentropy": "cross_entropy",
    "mae": "l1",
    "l2": "mse",
    "cldice": "cl_dice",
    "msssim": "ms_ssim",
    "silogloss": "silog",
}
"""What others call a loss, for suggestions."""


@dataclass(frozen=True)
class LossSpec:
    """A line of the table.

    Attributes
    ----------
    function
        ``fn(pred, target, *, valid=None, …)`` or ``fn(logits, target, *, valid=None, …)``, giving a scalar.
    takes
        Whether it wants logits or what the head's activation makes of them.
    targets
        Which of mask and depth it is for.
    formula, summary, source
        What it computes, what it is called, and where it was published.
    pixelwise
        Whether every pixel is pushed on its own, so that empty masks are learned.
    like
        Where another package or write-up defines it otherwise: its name -> the options of ``function`` that give that
        definition. An empty mapping says that theirs is ours.
    activation
        The head's activation that a loss of logits computes itself.
    alone
        The target of a term that names none, for a loss of several; None: it must be named.
    """

    function: Callable[..., Tensor]
    takes: Literal["logits", "pred"]
    targets: tuple[str, ...]
    formula: str
    summary: str
    source: str
    pixelwise: bool
    like: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    activation: str = "sigmoid"
    alone: str | None = None
