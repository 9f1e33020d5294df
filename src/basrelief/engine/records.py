"""What a training keeps account of while an epoch runs, and the guard that looks at every number of it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basrelief.engine import processes
from basrelief.errors import TrainingError
from basrelief.losses.loss import Loss, LossValue

MAX_SKIPPED = 30  # steps in a row that fp16's scaling may skip while it looks for its scale
_NORMS_KEPT = 20


class RunningTerms:
    """Adds up an epoch's losses, terms, weights and gradient norms on the device, and looks at them when asked.

    Values of several processes are added before they are looked at, so that all of them see the same and stop alike.

    Parameters
    ----------
    loss
        Names the terms.
    skips
        Whether steps that are not finite are skipped by a gradient scaler, and so only counted here.
    """

    def __init__(self, loss: Loss, skips: bool) -> None:
        self.loss, self.skips = loss, skips
        terms = [str(term) for term in dict.fromkeys(term for _, term in loss.terms)]
        self.terms = terms
        self.names = ["train/loss", *(f"train/{t}" for t in terms), *(f"weight/{t}" for t in terms), "gradient_norm"]
        self.waiting: list[tuple[int, np.ndarray, Tensor]] = []
        self.norms: deque[float] = deque(maxlen=_NORMS_KEPT)
        self.begin()

    def begin(self) -> None:
        """Start an epoch."""
        self.totals = np.zeros(len(self.names))
        self.images = self.skipped = self.skipped_in_a_row = 0

    def row(self, values: Sequence[tuple[LossValue, int]], norm: Tensor, *, wish: bool) -> Tensor:
        """Return a step's numbers as one tensor: sums over this process's images, their number, and a wish.

        ``values`` are those of the parts of the batch with their numbers of images; ``norm`` is the gradient's.
        """
        images = sum(count for _, count in values)
        kind = torch.float32 if norm.device.type == "mps" else torch.float64  # which Apple's GPUs lack
        sums = torch.zeros(len(self.names) - 1, dtype=kind, device=norm.device)
        for value, count in values:
            parts = [value.total.detach(), *value.terms.values(), *(value.weights[name] for name in value.terms)]
            sums += count * torch.stack([part.to(kind) for part in parts])
        rest = [torch.full((1,), number, dtype=kind, device=norm.device) for number in (images, wish)]
        return torch.cat([sums, images * norm.to(kind).view(1), *rest])

    def add(self, step: int, rows: np.ndarray, row: Tensor) -> None:
        """Take note of a step; ``rows`` are the samples of its batch, for the message if it went wrong."""
        self.waiting.append((step, rows, row))

    def check(self, ids: Sequence[str]) -> tuple[list[tuple[int, dict[str, float]]], bool]:
        """Look at the steps added since the last look.

        Returns
        -------
        steps, wish
            (step, name -> mean over its images) of each finite step, and whether the first process had a wish.

        Raises
        ------
        TrainingError
            At the first step with a number that is not finite, unless such steps are skipped.
        """
        if not self.waiting:
            return [], False
        table = processes.summed(torch.stack([row for _, _, row in self.waiting])).cpu().numpy()
        found = []
        for (step, rows, _), row in zip(self.waiting, table, strict=True):
            means = row[:-2] / row[-2]
            if np.isfinite(means).all():
                self.totals += row[:-2]
                self.images += int(row[-2])
                self.skipped_in_a_row = 0
                self.norms.append(float(means[-1]))
                found.append((step, dict(zip(self.names, means.tolist(), strict=True))))
                continue
            self.skipped += 1
            self.skipped_in_a_row += 1
            if not self.skips or self.skipped_in_a_row > MAX_SKIPPED:
                raise self._not_finite(step, dict(zip(self.names, means.tolist(), strict=True)), [ids[i] for i in rows])
        self.waiting.clear()
        return found, bool(table[:, -1].any())

    def means(self) -> dict[str, float | None]:
        """Return the epoch's means over all images, under their names in the history."""
        if not self.images:
            return dict.fromkeys(self.names)
        return dict(zip(self.names, (self.totals / self.images).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint in the middle of an epoch keeps; nothing may wait to be looked at."""
        assert not self.waiting
        names = ("images", "skipped", "skipped_in_a_row")
        numbers = {name: getattr(self, name) for name in names}
        numbers = {name: getattr(self, name) for name in names}
        return {"totals": self.totals.tolist(), "norms": list(self.norms), **numbers}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        self.waiting.clear()
        self.totals = np.array(state["totals"])
        self.norms = deque(state["norms"], maxlen=_NORMS_KEPT)
        for name in ("images", "skipped", "skipped_in_a_row"):
            setattr(self, name, state[name])

    def _not_finite(self, step: int, means: Mapping[str, float], ids: Sequence[str]) -> TrainingError:
        terms = {name: means[f"train/{name}"] for name in self.terms}
        shown = ", ".join(f"{name} = {value:.4g}" for name, value in terms.items())
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        where = "the gradient" if math.isfinite(means["train/loss"]) else f"{' and '.join(bad) or 'the sum'}"
        usual = f", {np.median(self.norms):.3g} in the steps before" if self.norms else ""
        listed = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
        return TrainingError(
            f"The {'loss' if where != 'the gradient' else 'gradient of the loss'} {self.loss} is no longer finite at "
            f"step {step}: {shown}; norm of the gradient {means['gradient_norm']:.3g}{usual}. It broke in {where}. "
            f"The batch: {listed}. Try a learning rate ten times smaller (--lr), --clip 1, a smaller weight for that "
            "term, or --precision fp32; basrelief inspect shows whether the data holds odd values."
        )


class RunningShares:
    """Adds up, over some batches of an epoch, each term's share of the gradient at the network's outputs."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Tensor]] = []

    def add(self, shares: dict[str, Tensor]) -> None:
        """Take note of one batch's shares."""
        self.rows.append(shares)

    def means(self) -> dict[str, float]:
        """Return the means, under their names in the history."""
        if not self.rows:
            return {}
        return {f"share/{name}": float(np.mean([float(row[name]) for row in self.rows])) for name in self.rows[0]}

    def state(self) -> list[dict[str, float]]:
        """Return what a checkpoint keeps."""
        return [{name: float(value) for name, value in row.items()} for row in self.rows]

    def restore(self, state: Sequence[Mapping[str, float]]) -> None:
        """Go on from what ``state`` gave."""
        self.rows = [{name: torch.tensor(value) for name, value in row.items()} for row in state]
