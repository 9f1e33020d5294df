"""Losses of shape against the installed packages.

monai has the Hausdorff and centreline Dice losses, and no boundary loss. kornia's HausdorffERLoss is another loss of
the same paper: it erodes the squared error again and again with a cross and weighs what is left of it by the number of
the erosion, where ours weighs the error by distances to the borders. The two agree for no option, so nothing is
compared here.
"""

from __future__ import annotations

import pytest
import torch
from monai.losses import HausdorffDTLoss, SoftclDiceLoss

from basrelief.losses import LOSSES

SIZES = {"usual": (3, 1, 24, 31), "classes": (2, 5, 16, 16), "tiny": (2, 1, 2, 3), "one pixel": (1, 1, 1, 1)}
KINDS = ["random", "empty", "full", "pixel", "disc", "soft", "one of each"]


def target_of(kind: str, size: tuple[int, ...]) -> torch.Tensor:
    target = torch.zeros(size, dtype=torch.float64)
    height, width = size[-2:]
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    if kind in ("random", "soft"):
        target = torch.rand(size, dtype=torch.float64)
        return target if kind == "soft" else target.round()
    if kind == "full":
        return target + 1
    if kind == "pixel":
        target[..., height // 2, width // 3] = 1
    elif kind == "disc":
        target += ((rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (min(height, width) / 3) ** 2).double()
    elif kind == "one of each":  # empty, full and random masks in one batch
        flat = target.flatten(0, 1)
        flat[1:2] = 1
        flat[2:] = torch.rand(flat[2:].shape).round().double()
    return target


def pred_of(kind: str, size: tuple[int, ...]) -> torch.Tensor:
    if kind == "hard":
        return torch.rand(size, dtype=torch.float64).round()
    return torch.rand(size, dtype=torch.float64) * (0.4 if kind == "below a half" else 1)


def agree(name: str, theirs: torch.nn.Module, pred: torch.Tensor, target: torch.Tensor, *, gradient: bool) -> None:
    spec = LOSSES[name]
    pred.requires_grad_()
    ours, reference = spec.function(pred, target, **spec.like["monai"]), theirs(pred, target)
    assert ours.item() == pytest.approx(reference.item(), rel=1e-5, abs=1e-5)
    if gradient:
        (own,), (given,) = torch.autograd.grad(ours, pred), torch.autograd.grad(reference, pred)
        assert torch.allclose(own, given, rtol=1e-5, atol=1e-5 * given.abs().max().item())


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("guess", ["soft", "below a half", "hard"])
@pytest.mark.parametrize("batch", [False, True], ids=["", "batch"])
def test_hausdorff_is_monais(size: tuple[int, ...], kind: str, guess: str, batch: bool) -> None:
    # Over the batch or not, monai's mean is the same; its include_background leaves the first class out.
    theirs = HausdorffDTLoss(include_background=True, batch=batch)
    agree("hausdorff", theirs, pred_of(guess, size), target_of(kind, size), gradient=True)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_hausdorff_is_monais_for_other_exponents(alpha: float) -> None:
    pred, target = pred_of("soft", SIZES["usual"]), target_of("disc", SIZES["usual"])
    theirs = HausdorffDTLoss(alpha=alpha, include_background=True)(pred, target)
    assert LOSSES["hausdorff"].function(pred, target, alpha=alpha).item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("guess", ["soft", "below a half", "hard"])
def test_cl_dice_is_monais(size: tuple[int, ...], kind: str, guess: str) -> None:
    # Hard predictions have neighbours that are alike, where there is no gradient but a choice of several.
    agree("cl_dice", SoftclDiceLoss(), pred_of(guess, size), target_of(kind, size), gradient=guess != "hard")


@pytest.mark.parametrize("iterations", [0, 1, 10])
def test_cl_dice_is_monais_for_other_iterations(iterations: int) -> None:
    pred, target = pred_of("soft", SIZES["usual"]), target_of("disc", SIZES["usual"])
    theirs = SoftclDiceLoss(iter_=iterations, smooth_nr=0.5, smooth_dr=0.5)(pred, target)
    ours = LOSSES["cl_dice"].function(
        pred, target, iterations=iterations, smooth=0.5, **LOSSES["cl_dice"].like["monai"]
    )
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_monai_is_wrong_about_a_perfect_centreline() -> None:
    # Its epsilon of 1e-4 lowers the harmonic mean: a perfect prediction costs 1e-4 / (2 + 1e-4) rather than 0.
    target = target_of("disc", SIZES["usual"])
    assert SoftclDiceLoss()(target, target).item() == pytest.approx(5e-5, rel=1e-3)
    assert LOSSES["cl_dice"].function(target, target).item() == pytest.approx(0, abs=1e-12)


def test_monai_is_wrong_about_distances_in_double_precision() -> None:
    # It rounds the distances to float32, whose roots are off in the eighth digit.
    target = target_of("disc", (1, 1, 64, 64))
    pred = target.roll(5, dims=-1)
    theirs = HausdorffDTLoss(include_background=True, alpha=2.0)(pred, target).item()
    ours = LOSSES["hausdorff"].function(pred, target).item()
    # Squares of distances between pixels are whole numbers, and so is their sum over hard masks.
    assert ours * 64 * 64 == pytest.approx(round(ours * 64 * 64), abs=1e-9)
    assert abs(theirs * 64 * 64 - round(ours * 64 * 64)) > 1e-6
