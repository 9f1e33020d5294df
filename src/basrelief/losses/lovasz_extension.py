"""Lovász losses of masks: the Jaccard loss, extended from sets of wrong pixels to errors of any size."""

from __future__ import annotations

import torch
from torch import Tensor

from basrelief.errors import unknown_name
from basrelief.functional.reduce import Over, check_over
from basrelief.losses.ratio import Classes, Empty, shares


def lovasz(
    pred: Tensor, target: Tensor, *, valid: Tensor | None = None, over: Over = "image", empty: Empty = "score"
) -> Tensor:
    """Return the Lovász extension of the Jaccard loss at the errors |t − p|, for each image and class, then the mean.

    Berman, Rannen Triki and Blaschko, "The Lovász-softmax loss: a tractable surrogate for the optimization of the
    intersection-over-union measure in neural networks", CVPR 2018, eq. 9 and algorithm 1: with the errors in
    decreasing order, Σ eᵢ·(Jᵢ − Jᵢ₋₁), where Jᵢ is the Jaccard loss when the first i pixels are wrong. A class without
    target has Jᵢ = 1 from the first pixel on, so its loss is its largest error, as in the paper, and pushes that one
    pixel alone. The paper defines it for binary targets; a soft target enters the same sums, so that p = t still
    gives 0, but what is extended is then no Jaccard loss of sets. No gradient goes to the target.

    Parameters
    ----------
    pred, target
        (N, K, H, W) in [0, 1]; after softmax it is the paper's Lovász-softmax.
    valid
        Bool (N, 1, H, W) or (N, K, H, W). Unknown pixels take no part; images without a known pixel are left out of
        the mean.
    over
        "image": each image on its own. "batch": the pixels of the whole batch together, for each class.
    empty
        For a class without target: "score" its largest error, "zero" 0 without gradient, "skip" left out of the mean
        over classes (the paper's "present").

    Raises
    ------
    UsageError
        For an option that is not known.
    """
    target = _clean(target, valid)
    return _mean("lovasz", (target - pred).abs(), target, valid, over, "each", empty)


def lovasz_hinge(
    logits: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    classes: Classes = "each",
    empty: Empty = "score",
) -> Tensor:
    """Return the Lovász hinge: as ``lovasz``, at the hinge errors max(0, 1 − (2t − 1)·x) of the logits x.

    Berman, Rannen Triki and Blaschko, CVPR 2018, section 3 (and Yu and Blaschko, "Learning submodular losses with the
    Lovász hinge", ICML 2015). Not bounded by 1. Shapes (N, K, H, W), ``valid``, ``over`` and ``empty`` as ``lovasz``.
    The paper defines it for binary targets; a soft target enters the same formulas, and one of 0.5 is always wrong
    by 1. No gradient goes to the target.

    Parameters
    ----------
    logits, target, valid, over, empty
        As ``lovasz``, the logits before the sigmoid.
    classes
        "each": every class on its own. "pooled": the pixels of all classes together.
    """
    target = _clean(target, valid)
    return _mean("lovasz_hinge", 1 - (2 * target - 1) * logits, target, valid, over, classes, empty)


def _clean(target: Tensor, valid: Tensor | None) -> Tensor:
    target = target.detach()
    return target if valid is None else target.masked_fill(~valid.expand_as(target), 0)


def _mean(
    name: str,
    errors: Tensor,
    target: Tensor,
    valid: Tensor | None,
    over: Over,
    classes: Classes,
    empty: Empty,
) -> Tensor:
    check_over(over)
    if classes not in ("each", "pooled"):
        raise unknown_name(f"value of {name}'s classes", classes, ("each", "pooled"))
    if empty not in ("score", "zero", "skip"):
        raise unknown_name(f"value of {name}'s empty", empty, ("score", "zero", "skip"))
    if valid is not None:
        # Below every error that counts: they come last, where they change no other pixel's weight.
        errors = errors.masked_fill(~valid.expand_as(errors), -1)

    def rows(planes: Tensor) -> Tensor:
        planes = planes.flatten(2)
        if classes == "pooled":
            planes = planes.flatten(1)[:, None]
        return planes.transpose(0, 1).flatten(1)[None] if over == "batch" else planes

    target = rows(target)
    losses = _extension(rows(errors), target)
    if valid is None and empty == "score":
        return losses.mean()
    counted = torch.ones_like(losses, dtype=torch.bool) if valid is None else rows(valid.expand_as(errors)).any(-1)
    has_target = (target > 0).any(-1)
    if empty == "zero":
        losses = losses * has_target
    elif empty == "skip":
        counted = counted & has_target
    return (losses * shares(counted, losses.dtype)).sum()


def _extension(errors: Tensor, target: Tensor) -> Tensor:
    """Return Σ max(e, 0)·(Jᵢ − Jᵢ₋₁) along the last dimension, the errors in decreasing order."""
    errors, order = errors.sort(dim=-1, descending=True)
    with torch.no_grad():
        hit = target.gather(-1, order)
        rest = 1 - hit
        rank = torch.arange(1, hit.shape[-1] + 1, dtype=hit.dtype, device=hit.device)
        # Jᵢ = i / Uᵢ with the union U, whose steps are 1 − t. The difference of two neighbours is written out, since
        # subtracting them would leave few digits of a weight of one pixel among many.
        union = hit.sum(-1, keepdim=True) + rest.cumsum(-1)
        weights = (union - rank * rest) / (union * (union - rest))
        weights[..., 0] = 1 / union[..., 0]  # J₀ = 0, also without target, where the union before is empty
    return (errors.clamp_min(0) * weights).sum(-1)
