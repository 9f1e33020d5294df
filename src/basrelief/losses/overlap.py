"""Losses of masks by their overlap, as ratios of sums: pure functions of tensors (N, K, H, W)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from basrelief.errors import UsageError
from basrelief.functional.overlap import Soft
from basrelief.functional.reduce import Over
from basrelief.losses.ratio import Classes, Empty, Ratio, ratio_loss

_DICE = Ratio(both=2, shared=0, pred=1, target=1)
_JACCARD = Ratio(both=1, shared=-1, pred=1, target=1)


def dice(
    pred: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    smooth: float | tuple[float, float] = 1e-5,
    squared: bool = False,
    classes: Classes = "each",
    empty: Empty = "score",
    soft: Soft = "product",
) -> Tensor:
    """Return the soft Dice loss: 1 − (2·Σp·t + s) / (Σp + Σt + s) for each image and class, then the mean.

    Milletari, Navab and Ahmadi, "V-Net", 3DV 2016, with p + t below the line unless ``squared``. An empty target with
    an empty prediction gives 0; anything predicted on an empty target gives about 1, with hardly any gradient: where
    many masks are empty, add a pixelwise term such as bce. Soft targets are taken, but a soft target is not matched
    best by itself unless ``soft="minimum"``: p = t = 0.5 everywhere gives 0.5.

    Parameters
    ----------
    pred, target
        (N, K, H, W) in [0, 1].
    valid
        Bool (N, 1, H, W) or (N, K, H, W). Images without a known pixel are left out of the mean.
    over
        "image": sums of each image, the mean over classes and then over images. "batch": sums over the whole batch.
    smooth
        s, at least 0, on both sides; or two numbers, above and below the line.
    squared
        Σp² + Σt² below the line, as in the paper.
    classes
        "each": a ratio for every class. "pooled": one ratio, its sums over all classes.
    empty
        For a class without target: "score" what the formula gives, "zero" a loss of 0 without gradient, "skip" left
        out of the mean over classes.
    soft
        What a soft prediction and a soft target share: "product" p·t, or "minimum" min(p, t).

    Raises
    ------
    UsageError
        For an option that is out of range.
    """
    return ratio_loss("dice", _DICE, pred, target, valid, over, smooth, classes, empty, soft, squared)


def jaccard(
    pred: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    smooth: float | tuple[float, float] = 1e-5,
    classes: Classes = "each",
    empty: Empty = "score",
    soft: Soft = "product",
) -> Tensor:
    """Return the soft Jaccard (IoU) loss: 1 − (Σp·t + s) / (Σp + Σt − Σp·t + s) for each image and class, their mean.

    Rahman and Wang, "Optimizing intersection-over-union in deep neural networks for image segmentation", ISVC 2016.
    Shapes (N, K, H, W), soft targets and options as ``dice``.
    """
    return ratio_loss("jaccard", _JACCARD, pred, target, valid, over, smooth, classes, empty, soft)


def tversky(
    pred: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float | tuple[float, float] = 1e-5,
    classes: Classes = "each",
    empty: Empty = "score",
    soft: Soft = "product",
) -> Tensor:
    """Return the Tversky loss: 1 − (TP + s) / (TP + α·FP + β·FN + s) for each image and class, then the mean.

    TP = Σp·t, FP = Σp·(1 − t), FN = Σ(1 − p)·t. Salehi, Erdogmus and Gholipour, "Tversky loss function for image
    segmentation using 3D fully convolutional deep networks", MLMI 2017. With α = β = 0.5 it is Dice (half the
    smoothing), with α = β = 1 Jaccard. Shapes (N, K, H, W), soft targets and the other options as ``dice``.

    Parameters
    ----------
    pred, target, valid, over, smooth, classes, empty, soft
        As ``dice``.
    alpha
        Weight of false positives, at least 0. Defaults as in the paper's best setting: misses cost more.
    beta
        Weight of false negatives, at least 0.
    """
    ratio = _tversky_ratio("tversky", alpha, beta)
    return ratio_loss("tversky", ratio, pred, target, valid, over, smooth, classes, empty, soft)


def focal_tversky(
    pred: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    smooth: float | tuple[float, float] = 1e-5,
    classes: Classes = "each",
    empty: Empty = "score",
    soft: Soft = "product",
    of_mean: bool = False,
) -> Tensor:
    """Return the focal Tversky loss: the Tversky loss of each image and class to the power γ, then the mean.

    Abraham and Khan, "A novel focal Tversky loss function with improved attention U-Net for lesion segmentation",
    ISBI 2019. Their exponent is written 1/γ with γ = 4/3; ours is γ itself, 0.75. Where the Tversky loss is 0, the
    gradient, which the power has none of there, is 0. Shapes (N, K, H, W) and soft targets as ``dice``.

    Parameters
    ----------
    pred, target, valid, over, alpha, beta, smooth, classes, empty, soft
        As ``tversky``.
    gamma
        The exponent, greater than 0. Below 1 it stresses images and classes that are nearly right, above 1 those that
        are wrong.
    of_mean
        Raise the mean over classes and images to the power, not each of them.
    """
    if not 0 < gamma < math.inf:
        raise UsageError(f"focal_tversky: gamma is {gamma!r}; it must be a number greater than 0.")
    ratio = _tversky_ratio("focal_tversky", alpha, beta)

    def power(losses: Tensor) -> tuple[Tensor, Tensor]:
        positive = losses > 0
        base = torch.where(positive, losses, 1)
        return torch.where(positive, base**gamma, 0), torch.where(positive, gamma * base ** (gamma - 1), 0)

    if not of_mean:
        return ratio_loss("focal_tversky", ratio, pred, target, valid, over, smooth, classes, empty, soft, then=power)
    mean = ratio_loss("focal_tversky", ratio, pred, target, valid, over, smooth, classes, empty, soft)
    # Both branches of a where are differentiated, so the power must not see what is not positive.
    return torch.where(mean > 0, torch.where(mean > 0, mean, 1) ** gamma, 0 * mean)


def log_cosh_dice(
    pred: Tensor,
    target: Tensor,
    *,
    valid: Tensor | None = None,
    over: Over = "image",
    smooth: float | tuple[float, float] = 1e-5,
    squared: bool = False,
    classes: Classes = "each",
    empty: Empty = "score",
    soft: Soft = "product",
) -> Tensor:
    """Return log(cosh(d)) of each image's and class's soft Dice loss d, then the mean.

    Jadon, "A survey of loss functions for semantic segmentation", CIBCB 2020. Its gradient is tanh(d) times that of
    Dice, so images that are nearly right are pushed less. Shapes (N, K, H, W), soft targets and options as ``dice``.
    """

    def log_cosh(losses: Tensor) -> tuple[Tensor, Tensor]:
        return torch.logaddexp(losses, -losses) - math.log(2), torch.tanh(losses)

    return ratio_loss(
        "log_cosh_dice", _DICE, pred, target, valid, over, smooth, classes, empty, soft, squared, log_cosh
    )


def _tversky_ratio(name: str, alpha: float, beta: float) -> Ratio:
    for option, value in (("alpha", alpha), ("beta", beta)):
        if not 0 <= value < math.inf:
            raise UsageError(f"{name}: {option} is {value!r}; it must be a number of at least 0.")
    return Ratio(both=1, shared=1 - alpha - beta, pred=alpha, target=beta)
