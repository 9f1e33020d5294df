"""Losses by pixels against the installed packages, and mmseg's and write-up D's formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kornia.losses import binary_focal_loss_with_logits
from kornia.losses import focal_loss as kornia_softmax_focal
from monai.losses import FocalLoss as MonaiFocal
from segmentation_models_pytorch.losses import FocalLoss as SmpFocal
from segmentation_models_pytorch.losses import SoftBCEWithLogitsLoss, SoftCrossEntropyLoss

from basrelief.losses import LOSSES
from basrelief.losses.pixel import bce, cross_entropy, focal, pixel_dice

SIZES = {"usual": (3, 1, 12, 17), "classes": (2, 5, 8, 8), "one pixel": (1, 1, 1, 1)}
KINDS = ["random", "empty", "full", "pixel"]
every_target = pytest.mark.parametrize(
    ("size", "kind"), [(s, k) for s in SIZES.values() for k in KINDS], ids=lambda v: str(v)
)


def target_of(kind: str, size: tuple[int, ...]) -> torch.Tensor:
    target = torch.rand(size)
    if kind == "random":
        return target.round()
    if kind != "soft":
        target = torch.full(size, 1.0 if kind == "full" else 0.0)
    if kind == "pixel":
        target[..., size[2] // 2, size[3] // 3] = 1
    return target


def labels_of(size: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.randint(0, size[1], (size[0], *size[2:]))
    return labels, F.one_hot(labels, size[1]).movedim(-1, 1).float()


def agree(ours, theirs, logits: torch.Tensor) -> None:  # type: ignore[no-untyped-def]
    logits = logits.requires_grad_()
    own, reference = ours(logits), theirs(logits)
    assert own.item() == pytest.approx(reference.item(), rel=1e-5, abs=1e-5)
    (grad,), (given,) = torch.autograd.grad(own, logits), torch.autograd.grad(reference, logits)
    assert torch.allclose(grad, given, rtol=1e-4, atol=1e-6)


@every_target
def test_bce_is_torchs_and_smps(size: tuple[int, ...], kind: str) -> None:
    target, logits, options = target_of(kind, size), 3 * torch.randn(size), LOSSES["bce"].like["smp"]
    agree(lambda x: bce(x, target), lambda x: F.binary_cross_entropy_with_logits(x, target), logits)
    agree(lambda x: bce(x, target, **options), lambda x: SoftBCEWithLogitsLoss()(x, target), logits)


def test_bce_options_are_torchs_and_smps_smoothing_is_half_of_ours() -> None:
    size = SIZES["classes"]
    target, logits, weight = target_of("soft", size), torch.randn(size), (0.5, 1.0, 2.0, 3.0, 4.0)
    broad = torch.tensor(weight)[:, None, None]
    agree(
        lambda x: bce(x, target, pos_weight=weight),
        lambda x: F.binary_cross_entropy_with_logits(x, target, pos_weight=broad),
        logits,
    )
    # smp moves a label by its smooth_factor, torch's cross-entropy over two classes (and ours) by half of it.
    agree(lambda x: bce(x, target, smooth=0.2), lambda x: SoftBCEWithLogitsLoss(smooth_factor=0.1)(x, target), logits)
    single = torch.cat((torch.zeros(1, 1), torch.tensor([[0.7]])), 1)
    two = F.cross_entropy(single, torch.tensor([1]), label_smoothing=0.2).item()
    assert bce(torch.full((1, 1, 1, 1), 0.7), torch.ones(1, 1, 1, 1), smooth=0.2).item() == pytest.approx(two)


@pytest.mark.parametrize("smooth", [0.0, 0.1])
def test_cross_entropy_is_torchs_and_smps(smooth: float) -> None:
    size = SIZES["classes"]
    labels, target = labels_of(size)
    logits, soft = 3 * torch.randn(size), torch.rand(size).softmax(1)
    smp = SoftCrossEntropyLoss(smooth_factor=smooth)
    options = {**LOSSES["cross_entropy"].like["smp"], "smooth": smooth}
    agree(lambda x: cross_entropy(x, target, **options), lambda x: smp(x, labels), logits)
    agree(
        lambda x: cross_entropy(x, target, smooth=smooth),
        lambda x: F.cross_entropy(x, labels, label_smoothing=smooth),
        logits,
    )
    agree(
        lambda x: cross_entropy(x, soft, smooth=smooth),
        lambda x: F.cross_entropy(x, soft, label_smoothing=smooth),
        logits,
    )


@pytest.mark.parametrize("smooth", [0.0, 0.1])
def test_class_weights_and_unknown_pixels_are_torchs(smooth: float) -> None:
    size = SIZES["classes"]
    labels, target = labels_of(size)
    weight = (0.5, 1.0, 2.0, 0.0, 4.0)
    valid = torch.rand(2, 1, 8, 8) < 0.7
    ignored = labels.masked_fill(~valid[:, 0], -100)
    agree(
        lambda x: cross_entropy(x, target, valid=valid, over="batch", class_weight=weight, smooth=smooth),
        lambda x: F.cross_entropy(x, ignored, weight=torch.tensor(weight), label_smoothing=smooth),
        torch.randn(size),
    )
    # Planes that are all 0 say the same as a label that is left out.
    agree(
        lambda x: cross_entropy(x, target * valid, over="batch"),
        lambda x: F.cross_entropy(x, ignored),
        torch.randn(size),
    )


@every_target
@pytest.mark.parametrize("gamma", [2.0, 0.5, 3.0, 0.0])
def test_focal_is_every_packages_on_binary_targets(size: tuple[int, ...], kind: str, gamma: float) -> None:
    target, logits, like = target_of(kind, size), 3 * torch.randn(size), LOSSES["focal"].like
    mode = "binary" if size[1] == 1 else "multilabel"
    theirs = {
        "smp": lambda x: SmpFocal(mode, gamma=gamma)(x, target),
        "monai": lambda x: MonaiFocal(gamma=gamma)(x, target),
        "kornia": lambda x: binary_focal_loss_with_logits(x, target, gamma=gamma, reduction="mean"),
    }
    for package, loss in theirs.items():
        agree(lambda x, o=like[package]: focal(x, target, gamma=gamma, **o), loss, logits)
    agree(
        lambda x: focal(x, target, gamma=gamma, alpha=0.7),
        lambda x: MonaiFocal(gamma=gamma, alpha=0.7)(x, target),
        logits,
    )


def test_focal_of_soft_targets_is_no_packages() -> None:
    # p = 0.8, t = 0.5: ours (0.3)²·entropy. smp takes 1 - exp(-entropy) for the error, monai σ(-x·(2t - 1)) = 1/2,
    # kornia has a factor for each part. Ours alone is least where p = t.
    x, t = torch.logit(torch.full((1, 1, 1, 1), 0.8)), torch.full((1, 1, 1, 1), 0.5)
    entropy = -0.5 * np.log(0.8) - 0.5 * np.log(0.2)
    assert focal(x, t).item() == pytest.approx(0.09 * entropy, rel=1e-5)
    assert SmpFocal("binary")(x, t).item() == pytest.approx((1 - np.exp(-entropy)) ** 2 * entropy, rel=1e-5)
    assert MonaiFocal()(x, t).item() == pytest.approx(0.25 * entropy, rel=1e-5)
    assert binary_focal_loss_with_logits(x, t, alpha=None, reduction="mean").item() == pytest.approx(
        -0.5 * 0.2**2 * np.log(0.8) - 0.5 * 0.8**2 * np.log(0.2), rel=1e-5
    )


def test_focal_of_kornias_focal_loss_is_another_one() -> None:
    # kornia's focal_loss is over softmax classes; with two it is ours on the difference, counted for half the planes.
    labels, target = labels_of((2, 2, 6, 7))
    logits = torch.randn(2, 2, 6, 7)
    theirs = kornia_softmax_focal(logits, labels, alpha=None, reduction="mean")
    ours = focal(logits[:, 1:] - logits[:, :1], target[:, 1:])
    assert theirs.item() == pytest.approx(ours.item() / 2, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_focal_is_mmsegs_formula(kind: str) -> None:
    target, logits = target_of(kind, (2, 3, 5, 7)), torch.randn(2, 3, 5, 7)
    x, t = logits.double().numpy(), target.double().numpy()
    p = 1 / (1 + np.exp(-x))
    wrong = (1 - p) * t + p * (1 - t)
    cross = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    expected = (cross * wrong**2 * (0.5 * t + 0.5 * (1 - t))).mean()
    assert focal(logits, target, **LOSSES["focal"].like["mmseg"]).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scale", [1, 250])
def test_pixel_dice_is_write_up_ds_loop(scale: int) -> None:
    torch.manual_seed(0)
    pred, target = torch.rand(3, 2, 5, 6) * scale, torch.rand(3, 2, 5, 6).round() * scale
    loop = [
        np.mean(
            [1 - (2 * a * b + 1) / (a + b + 1) for a, b in zip(p.flatten().tolist(), t.flatten().tolist(), strict=True)]
        )
        for p, t in zip(pred.flatten(0, 1), target.flatten(0, 1), strict=True)
    ]
    options = LOSSES["pixel_dice"].like["D"]
    assert pixel_dice(pred, target, **options).item() == pytest.approx(np.mean(loop), rel=1e-5)
    assert pixel_dice(pred, target).item() == pytest.approx(np.mean(loop), rel=1e-5)  # the clamp changes p < 0 alone
