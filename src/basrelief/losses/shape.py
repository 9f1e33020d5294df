"""Losses of masks by their shape: where borders lie, and along which lines. Pure functions of tensors (N, K, H, W)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from basrelief.errors import UsageError, unknown_name
from basrelief.functional.distance import distance_across, signed_distance
from basrelief.functional.reduce import Over, check_over, known, mean_of_pixels
from basrelief.functional.skeleton import soft_skeleton
from basrelief.losses.ratio import Classes, shares


def boundary(pred: Tensor, target: Tensor, *, valid: Tensor | None = None, over: Over = "image") -> Tensor:
    """Return the boundary loss: mean of φ·(p − m) over each image's known pixels, then over images.

    Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019. m is the target's mask, and φ its
    signed distance in pixels as in their published code: the distance to the mask outside it, and 1 − the distance to
    its outside within it. They take the mean of φ·p; the constant mean of φ·m is subtracted here, so that the loss is
    at least 0 and a perfect prediction gives 0. The gradient is the same.

    The target's outermost pixels have φ = 0, so that a mask less than three pixels wide is not pulled up at all, and
    where a mask is empty or full φ is 0 everywhere. This loss needs a companion, such as bce or dice.

    Parameters
    ----------
    pred
        (N, K, H, W) in [0, 1].
    target
        (N, K, H, W) in [0, 1]; soft ones are made masks, above 0.5.
    valid
        Bool (N, 1, H, W) or (N, K, H, W). Images without a known pixel are left out of the mean, and no distance leads
        to an unknown pixel.
    over
        "image", or "batch": the mean over all known pixels of the batch together.

    Raises
    ------
    UsageError
        For an option that is out of range.
    """
    check_over(over)
    mask = target > 0.5
    field = signed_distance(mask, valid, dtype=pred.dtype)
    if valid is not None:
        pred, _ = known(pred, valid)
    return mean_of_pixels((pred - mask.to(pred.dtype)) * field, valid, over)


def hausdorff(
    pred: Tensor, target: Tensor, *, valid: Tensor | None = None, over: Over = "image", alpha: float = 2.0
) -> Tensor:
    """Return the Hausdorff loss: mean of (p − t)²·(d_p^α + d_t^α) over each image's known pixels, then over images.

    Karimi and Salcudean, "Reducing the Hausdorff distance in medical image segmentation with convolutional neural
    networks", IEEE TMI 2019, eq. 8. d_p and d_t are distances in pixels to the borders of the masks that p and t are
    above 0.5: from each pixel to the nearest one of the other kind, and 0 everywhere for an empty or full mask. They
    are constants to the gradient, as in the paper. Where both masks are empty or full the loss is 0 without gradient,
    so that it needs a companion, such as bce or dice. Soft targets are taken.

    Parameters
    ----------
    pred, target
        (N, K, H, W) in [0, 1].
    valid
        Bool (N, 1, H, W) or (N, K, H, W). Images without a known pixel are left out of the mean, and no distance leads
        to an unknown pixel.
    over
        "image", or "batch": the mean over all known pixels of the batch together.
    alpha
        The exponent α, greater than 0 and at most 10; the paper suggests 1 to 3. The larger, the more the farthest
        errors count.

    Raises
    ------
    UsageError
        For an option that is out of range.
    """
    check_over(over)
    if not 0 < alpha <= 10:  # beyond, a distance of some hundred pixels to that power is no float32
        raise UsageError(f"hausdorff: alpha is {alpha!r}; it must be a number greater than 0 and at most 10.")
    if valid is not None:
        pred, target = known(pred, valid)[0], known(target, valid)[0]
    masks = torch.stack((pred > 0.5, target > 0.5))
    fields = distance_across(masks, valid, dtype=pred.dtype).pow_(alpha)
    return mean_of_pixels((pred - target).square() * (fields[0] + fields[1]), valid, over)


def cl_dice(
    pred: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    iterations: int = 3,
    smooth: float = 1.0,
    classes: Classes = "each",
    epsilon: float = 0.0,
) -> Tensor:
    """Return the centreline Dice loss: 1 − 2·P·R / (P + R) for each image and class, then the mean.

    Shit et al., "clDice: a novel topology-preserving loss function for tubular structure segmentation", CVPR 2021.
    With S the soft skeleton, P = (Σ S(p)·t + s) / (Σ S(p) + s) is the share of the prediction's centrelines that lies
    in the target, and R = (Σ S(t)·p + s) / (Σ S(t) + s) the share of the target's that is found. For thin figures:
    vessels, roads, cracks. An empty target with an empty prediction gives 0. Soft targets are taken, but are not
    matched best by themselves.

    Parameters
    ----------
    pred, target
        (N, K, H, W) in [0, 1].
    valid
        Bool (N, 1, H, W) or (N, K, H, W). Unknown pixels are treated as those beyond the image's border: skeletons are
        taken without them. Images and classes without a known pixel are left out of the mean.
    over
        "image": sums of each image, the mean over classes and then over images. "batch": sums over the whole batch.
    iterations
        How often the masks are eroded again on the way to the skeleton, at least 0: about half the width, in pixels,
        of the widest line. See ``basrelief.functional.skeleton.soft_skeleton``.
    smooth
        s, greater than 0.
    classes
        "each": a ratio for every class. "pooled": one ratio, its sums over all classes.
    epsilon
        Added to P + R, at least 0. A perfect prediction then gives epsilon / 2, about, instead of 0.

    Raises
    ------
    UsageError
        For an option that is out of range.
    """
    check_over(over)
    if classes not in ("each", "pooled"):
        raise unknown_name("value of cl_dice's classes", classes, ("each", "pooled"))
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 0:
        raise UsageError(f"cl_dice: iterations is {iterations!r}; it must be a whole number of at least 0.")
    if not 0 < smooth < math.inf:
        raise UsageError(f"cl_dice: smooth is {smooth!r}; it must be a number greater than 0.")
    if not 0 <= epsilon < math.inf:
        raise UsageError(f"cl_dice: epsilon is {epsilon!r}; it must be a number of at least 0.")
    counted = torch.ones(pred.shape[:2], dtype=torch.bool, device=pred.device)
    if valid is not None:
        pred, target = known(pred, valid)[0], known(target, valid)[0]
        counted = valid.expand_as(pred).flatten(2).any(2)
    found, lines = (soft_skeleton(planes, valid, iterations=iterations) for planes in (pred, target))
    sums = torch.stack([_sum(found, target), _sum(found), _sum(lines, pred), _sum(lines)])
    if over == "batch":
        sums, counted = sums.sum(1, keepdim=True), counted.any(0, keepdim=True)
    if classes == "pooled":
        sums, counted = sums.sum(2, keepdim=True), counted.any(1, keepdim=True)
    hits, predicted, found_again, true = (sums + smooth).unbind()
    precision, recall = hits / predicted, found_again / true
    losses = 1 - 2 * precision * recall / (precision + recall + epsilon)
    return (losses * shares(counted, losses.dtype)).sum()


def _sum(planes: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return Σ planes or Σ planes·weights, (N, K)."""
    flat = planes.flatten(2)
    return flat.sum(2) if weights is None else torch.linalg.vecdot(flat, weights.flatten(2))
