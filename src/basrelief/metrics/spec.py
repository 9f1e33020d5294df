"""What a line of the table of metrics says, and the planes that metrics read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from basrelief.functional.reduce import known


@dataclass(frozen=True)
class MetricSpec:
    """A line of the table.

    Attributes
    ----------
    higher_is_better
        Which way is better.
    in_unit
        Whether it is in the depth's unit; otherwise it is a ratio or a share.
    meaning, source
        What it is, with what it gives where its definition divides by nothing, and where it was published.
    function
        ``fn(sums) -> (N, K)``, one score for each image and class, from sums over pixels; or, without ``sums``,
        ``fn(planes) -> (N, K)``.
    sums
        What the function divides: a named tuple with a classmethod ``of(planes)``, each field (N, K, …), summed over
        an image's known pixels. Sums of several images add up, and the function of the total is the pooled metric.
    pooled
        True: one value for all images together. A table line of its own, ``…_pooled``.
    by_class
        Whether it is given for each class as well, where there are several.
    main
        Whether it is scored after every epoch and shown in a report's first table.
    smallest
        Smallest side of an image, in pixels, for which it is defined; it is left out of smaller ones.
    formula
        What it computes, in the notation of the losses' formulas.
    """

    higher_is_better: bool
    in_unit: bool
    meaning: str
    source: str
    function: Callable[..., Tensor]
    sums: Any = None
    pooled: bool = False
    by_class: bool = False
    main: bool = False
    smallest: int = 1
    formula: str = ""


class Planes:
    """One target of a batch, as the metrics read it, with what several of them need computed once.

    Attributes
    ----------
    pred, target
        (N, K, H, W), float32 or float64, 0 where unknown.
    valid
        Bool (N, 1, H, W) or (N, K, H, W), or None: known everywhere.
    threshold
        Above which a prediction is mask: a number, or a tensor (K, 1, 1).
    unit
        What depth was divided by, in the data's unit.
    """

    def __init__(
        self, pred: Tensor, target: Tensor, valid: Tensor | None, *, threshold: Any = 0.5, unit: float = 1.0
    ) -> None:
        dtype = torch.promote_types(torch.float32, torch.promote_types(pred.dtype, target.dtype))
        self.pred, self.target = known(pred.to(dtype), valid)[0], known(target.to(dtype), valid)[0]
        self.valid = valid
        self.unit = unit
        self._threshold = threshold

    @property
    def side(self) -> int:
        """The images' smaller side in pixels."""
        return min(self.pred.shape[-2:])

    @cached_property
    def hard(self) -> Tensor:
        """1 where the prediction is above the threshold, else 0."""
        hard: Tensor = self.pred > self._threshold
        return hard.to(self.pred.dtype)

    @cached_property
    def pixels(self) -> Tensor:
        """Number of known pixels, (N, K)."""
        if self.valid is None:
            height, width = self.target.shape[-2:]
            return sum_pixels(self.target.new_full((*self.target.shape[:2], 1, 1), height * width))
        return sum_pixels(self.valid.expand_as(self.target).to(self.target.dtype))

    @cached_property
    def truth(self) -> Tensor:
        """Sum of the target over known pixels, (N, K)."""
        return sum_pixels(self.target)


def sum_pixels(values: Tensor) -> Tensor:
    """Return (N, K) sums of (N, K, H, W) values: of each row as they are, of the rows in float64."""
    return _widen(values.sum(-1)).sum(-1)


def sum_products(a: Tensor, b: Tensor) -> Tensor:
    """Return Σ a·b over pixels, (N, K), as ``sum_pixels`` does, without the product in memory."""
    return _widen(torch.linalg.vecdot(a, b)).sum(-1)


def nan_where_none(values: Tensor, count: Tensor) -> Tensor:
    """Return ``values`` with NaN where nothing was counted."""
    return torch.where(count > 0, values, torch.full_like(values, float("nan")))


def _widen(values: Tensor) -> Tensor:
    # A row of an image sums up well in float32; many rows do not. Apple's devices have no float64.
    return values if values.device.type == "mps" else values.double()
