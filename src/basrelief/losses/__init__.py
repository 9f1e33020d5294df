"""The losses, as one table. A new loss is a function, a line here and a test with a reference value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

from basrelief.losses.mask import bce, dice
from basrelief.losses.structure import ssim
from basrelief.losses.value import l1, mse, rmse


class LossSpec(NamedTuple):
    """A line of the table.

    ``takes`` says whether the function wants logits or what the head's activation makes of them; ``targets`` which of
    mask and depth it is for; ``pixelwise`` whether every pixel is pushed on its own, so that empty masks are learned.
    """

    function: Callable[..., Tensor]
    takes: Literal["logits", "pred"]
    targets: tuple[str, ...]
    formula: str
    summary: str
    pixelwise: bool


LOSSES: dict[str, LossSpec] = {
    "bce": LossSpec(bce, "logits", ("mask",), "mean(softplus(x) - x*t)", "binary cross-entropy", True),
    "dice": LossSpec(dice, "pred", ("mask",), "1 - (2*sum(p*t) + s) / (sum(p) + sum(t) + s)", "soft Dice", False),
    "ssim": LossSpec(ssim, "pred", ("mask", "depth"), "1 - SSIM(p, t)", "structural similarity", False),
    "mse": LossSpec(mse, "pred", ("mask", "depth"), "mean((p - t)^2)", "mean squared error", True),
    "rmse": LossSpec(rmse, "pred", ("mask", "depth"), "sqrt(mean((p - t)^2))", "root mean squared error", True),
    "l1": LossSpec(l1, "pred", ("mask", "depth"), "mean(|p - t|)", "mean absolute error", True),
}
