"""Losses by overlap, and the Lovász losses, against the installed packages; mmseg, Ultralytics and the write-ups, which
are not installed, by their formulas written out in numpy.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kornia import losses as kornia
from monai.losses import DiceLoss as MonaiDice
from monai.losses import TverskyLoss as MonaiTversky
from segmentation_models_pytorch import losses as smp

from basrelief.losses import LOSSES

SIZES = {"usual": (3, 1, 12, 17), "classes": (2, 5, 8, 8), "tiny": (2, 2, 1, 3), "one pixel": (1, 1, 1, 1)}
KINDS = ["random", "empty", "full", "pixel", "one of each", "soft"]
BINARY = KINDS[:-1]
every_size = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
every_kind = pytest.mark.parametrize("kind", KINDS)


def target_of(kind: str, size: tuple[int, ...]) -> torch.Tensor:
    target = torch.rand(size)
    if kind == "soft":
        return target.double()
    if kind != "random":
        target = torch.full(size, 1.0 if kind == "full" else 0.0)
    if kind == "pixel":
        target[..., size[2] // 2, size[3] // 3] = 1
    elif kind == "one of each":  # empty, full and random masks in one batch
        planes = target.flatten(0, 1)
        planes[1:2] = 1
        planes[2:] = torch.rand(planes[2:].shape)
    return target.round().double()


def labels_of(kind: str, size: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and their planes; "one class" has no other, "random" leaves the last class out."""
    labels = torch.randint(0, size[1] - 1, (size[0], *size[2:])) if kind == "random" else torch.ones(size[0], *size[2:])
    return labels.long(), F.one_hot(labels.long(), size[1]).movedim(-1, 1).double()


def agree(name: str, package: str, target: torch.Tensor, theirs, logits: torch.Tensor, **options) -> None:  # type: ignore[no-untyped-def]
    """Compare value and gradient; ``theirs`` takes logits, ours what sigmoid or softmax makes of them.

    In float64, for in float32 MONAI's gradient on an empty target is off by tenths of itself; see the test of that.
    """
    spec = LOSSES[name]
    softmax = options.pop("softmax", False)
    logits = logits.requires_grad_()
    given = logits if spec.takes == "logits" else logits.softmax(1) if softmax else logits.sigmoid()
    own, reference = spec.function(given, target, **{**spec.like[package], **options}), theirs(logits)
    assert own.item() == pytest.approx(reference.item(), rel=1e-5, abs=1e-5)
    (grad,), (expected,) = torch.autograd.grad(own, logits), torch.autograd.grad(reference, logits)
    # Against the largest of the gradient, for on an empty target all of it is far below any fixed tolerance.
    assert torch.allclose(grad, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def mode(size: tuple[int, ...]) -> str:
    return "binary" if size[1] == 1 else "multilabel"


@every_size
@every_kind
def test_smp(size: tuple[int, ...], kind: str) -> None:
    target, logits = target_of(kind, size), torch.randn(size, dtype=torch.float64)
    agree("dice", "smp", target, lambda x: smp.DiceLoss(mode(size))(x, target), logits)
    agree("jaccard", "smp", target, lambda x: smp.JaccardLoss(mode(size))(x, target), logits)
    agree("tversky", "smp", target, lambda x: smp.TverskyLoss(mode(size))(x, target), logits)  # its own alpha and beta
    weights = {"alpha": 0.2, "beta": 0.9}
    agree("tversky", "smp", target, lambda x: smp.TverskyLoss(mode(size), **weights)(x, target), logits, **weights)
    if target.any():  # see test_smps_focal_tversky_without_target_has_no_gradient_at_all
        weights["gamma"] = 0.75
        loss = smp.TverskyLoss(mode(size), **weights)
        agree("focal_tversky", "smp", target, lambda x: loss(x, target), logits, **weights)


def test_smps_focal_tversky_without_target_has_no_gradient_at_all() -> None:
    target, logits = torch.zeros(2, 1, 4, 4), torch.randn(2, 1, 4, 4, requires_grad=True)
    theirs = smp.TverskyLoss("binary", gamma=0.75)(logits, target)
    ours = LOSSES["focal_tversky"].function(logits.sigmoid(), target, **LOSSES["focal_tversky"].like["smp"])
    (given,), (own,) = torch.autograd.grad(theirs, logits), torch.autograd.grad(ours, logits)
    assert theirs.item() == ours.item() == 0
    assert given.isnan().all()  # 0 to a power below 1 has an infinite slope, times 0
    assert (own == 0).all()


@every_size
@every_kind
@pytest.mark.parametrize("batch", [False, True], ids=["", "batch"])
def test_monai(size: tuple[int, ...], kind: str, batch: bool) -> None:
    target, logits, over = (
        target_of(kind, size),
        torch.randn(size, dtype=torch.float64),
        {"over": "batch" if batch else "image"},
    )
    options = {"sigmoid": True, "batch": batch}
    agree("dice", "monai", target, lambda x: MonaiDice(**options)(x, target), logits, **over)
    loss = MonaiDice(squared_pred=True, **options)
    agree("dice", "monai", target, lambda x: loss(x, target), logits, squared=True, **over)
    agree("jaccard", "monai", target, lambda x: MonaiDice(jaccard=True, **options)(x, target), logits, **over)
    agree("tversky", "monai", target, lambda x: MonaiTversky(**options)(x, target), logits, **over)
    weights = {"alpha": 0.2, "beta": 0.9}
    agree(
        "tversky", "monai", target, lambda x: MonaiTversky(**weights, **options)(x, target), logits, **weights, **over
    )


@pytest.mark.parametrize("kind", ["random", "one class"])
def test_kornia(kind: str) -> None:
    size = SIZES["classes"]
    (labels, target), logits = labels_of(kind, size), torch.randn(size, dtype=torch.float64)
    agree("dice", "kornia", target, lambda x: kornia.dice_loss(x, labels), logits, softmax=True)
    macro = {"classes": "each", "empty": "skip"}
    agree(
        "dice", "kornia", target, lambda x: kornia.dice_loss(x, labels, average="macro"), logits, softmax=True, **macro
    )
    weights = {"alpha": 0.2, "beta": 0.9}
    agree(
        "tversky",
        "kornia",
        target,
        lambda x: kornia.tversky_loss(x, labels, **weights),
        logits,
        softmax=True,
        **weights,
    )
    agree("lovasz", "kornia", target, lambda x: kornia.lovasz_softmax_loss(x, labels), logits, softmax=True)


@pytest.mark.parametrize("per_image", [False, True], ids=["", "per image"])
@pytest.mark.parametrize("kind", ["random", "one class"])
def test_smps_lovasz_over_classes(kind: str, per_image: bool) -> None:
    size = SIZES["classes"]
    (labels, target), loss = (
        (plane if plane.dtype == torch.long else plane.float() for plane in labels_of(kind, size)),
        smp.LovaszLoss("multiclass", per_image=per_image),
    )
    options = {"over": "image"} if per_image else {}
    agree(
        "lovasz",
        "smp",
        target,
        lambda x: loss(x, labels),
        torch.randn(size),
        softmax=True,
        **options,
    )


@every_size
@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize("per_image", [False, True], ids=["", "per image"])
def test_lovasz_hinge(size: tuple[int, ...], kind: str, per_image: bool) -> None:
    target, logits, loss = (
        target_of(kind, size).float(),  # smp mixes in float32 of its own
        torch.randn(size),
        smp.LovaszLoss(mode(size), per_image=per_image),
    )
    options = {"over": "image"} if per_image else {}
    agree("lovasz_hinge", "smp", target, lambda x: loss(x, target), logits, **options)
    if size[1] == 1:
        agree("lovasz_hinge", "kornia", target, lambda x: kornia.lovasz_hinge_loss(x, target[:, 0]), logits)


def in_numpy(*tensors: torch.Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.double().numpy() for tensor in tensors)


@every_size
@every_kind
def test_formulas_of_what_is_not_installed(size: tuple[int, ...], kind: str) -> None:
    pred, target = torch.rand(size), target_of(kind, size)
    p, t = in_numpy(pred, target)
    image, batch = (2, 3), (0, 2, 3)
    tp, fp, fn = ((p * t).sum(image), (p * (1 - t)).sum(image), ((1 - p) * t).sum(image))
    expected = {
        ("dice", "mmseg"): np.mean(1 - (2 * tp + 1) / ((p**2 + t**2).sum(image) + 1)),
        ("tversky", "mmseg"): np.mean(1 - (tp + 1) / (tp + 0.3 * fp + 0.7 * fn + 1)),
        ("dice", "ultralytics"): np.mean(1 - (2 * (p * t).sum(batch) + 1) / ((p + t).sum(batch) + 1)),
        ("dice", "A"): 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1),
        ("dice", "C"): np.mean(1 - 2 * tp / ((p + t).sum(image) + 1e-6)),
    }
    for (name, package), value in expected.items():
        spec = LOSSES[name]
        assert spec.function(pred, target, **spec.like[package]).item() == pytest.approx(value, rel=1e-5, abs=1e-6)


def test_a_perfect_soft_target_is_0_for_smp_and_a_half_for_monai() -> None:
    # As measured for the project's reference table; the same two numbers with our options.
    half = torch.full((1, 1, 4, 4), 0.5)
    dice = LOSSES["dice"]
    assert smp.DiceLoss("binary", from_logits=False)(half, half).item() == pytest.approx(0, abs=1e-6)
    assert dice.function(half, half, **dice.like["smp"]).item() == pytest.approx(0, abs=1e-6)
    assert MonaiDice()(half, half).item() == pytest.approx(0.5, abs=1e-5)
    assert dice.function(half, half, **dice.like["monai"]).item() == pytest.approx(0.5, abs=1e-5)


def test_monai_s_gradient_on_an_empty_target_is_rounded_off_in_float32_and_ours_is_not() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(4, 1, 16, 20, requires_grad=True), torch.zeros(4, 1, 16, 20)
    options = {**LOSSES["dice"].like["monai"], "squared": True}
    theirs = MonaiDice(sigmoid=True, squared_pred=True)
    exact_logits = logits.detach().double().requires_grad_()
    (exact,) = torch.autograd.grad(theirs(exact_logits, target.double()), exact_logits)
    (given,) = torch.autograd.grad(theirs(logits, target), logits)
    (own,) = torch.autograd.grad(LOSSES["dice"].function(logits.sigmoid(), target, **options), logits)
    assert torch.allclose(own.double(), exact, rtol=1e-5, atol=0)
    assert (given / exact - 1).abs().max() > 0.1
