"""Reference values: each says where it comes from."""

from __future__ import annotations

import math

import pytest
import torch

from basrelief.losses.mask import bce, dice
from basrelief.losses.structure import ssim
from basrelief.losses.value import l1, mse, rmse


def plane(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


def test_bce_is_the_cross_entropy_by_hand() -> None:
    # -log σ(0) = log 2 for both labels; -log(1 - σ(log 3)) = log 4, since σ(log 3) = 3/4.
    assert bce(plane(0, 0), plane(0, 1)).item() == pytest.approx(math.log(2))
    assert bce(plane(math.log(3)), plane(0)).item() == pytest.approx(math.log(4))


def test_bce_stays_finite_at_huge_logits() -> None:
    assert bce(plane(1e4), plane(0)).item() == 1e4
    assert bce(plane(1e4), plane(1)).item() == 0


def test_dice_by_hand() -> None:
    # p = (1, 0.5), t = (1, 0): 1 - 2·1 / (1.5 + 1) = 0.2, without smoothing.
    assert dice(plane(1, 0.5), plane(1, 0), smooth=0).item() == pytest.approx(0.2)
    # Smooth 1e-5 on both sides, as MONAI has it: an empty target gives 1e-5/1e-5 for an empty prediction.
    assert dice(plane(0, 0), plane(0, 0)).item() == 0
    assert dice(plane(1, 0), plane(0, 0)).item() == pytest.approx(1, abs=1e-4)


def test_dice_averages_over_images_and_classes_not_pixels() -> None:
    pred = torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]]]])  # one image, two classes, two pixels
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]])
    assert dice(pred, target).item() == pytest.approx((0 + 1) / 2, abs=1e-4)


def test_value_losses_by_hand() -> None:
    pred, target = plane(0, 3), plane(4, 3)  # errors 4 and 0
    assert mse(pred, target).item() == 8
    assert l1(pred, target).item() == 2
    assert rmse(pred, target).item() == pytest.approx(math.sqrt(8))


def test_rmse_is_the_mean_of_the_images_roots() -> None:
    pred = torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1)
    assert rmse(pred, torch.zeros_like(pred)).item() == pytest.approx(2)  # pooled it would be sqrt(5)


def test_rmse_at_zero_error_is_zero_with_a_zero_gradient() -> None:
    pred = plane(1, 2).requires_grad_()
    loss = rmse(pred, plane(1, 2))
    loss.backward()
    assert loss.item() == 0
    assert pred.grad is not None
    assert (pred.grad == 0).all()


def test_ssim_loss_is_one_minus_similarity() -> None:
    # Two flat images: contrast and structure are 1, luminance (2ab + c1) / (a² + b² + c1).
    a, b = 0.2, 0.6
    flat_a, flat_b = (torch.full((1, 1, 16, 16), value, dtype=torch.float64) for value in (a, b))
    assert ssim(flat_a, flat_b).item() == pytest.approx(1 - (2 * a * b + 1e-4) / (a * a + b * b + 1e-4), abs=1e-9)


@pytest.mark.parametrize("fn", [bce, mse, l1, rmse, dice])
def test_unknown_pixels_are_left_out(fn) -> None:  # type: ignore[no-untyped-def]
    pred, target = torch.rand(3, 1, 4, 6, dtype=torch.float64), (torch.rand(3, 1, 4, 6) > 0.5).double()
    valid = torch.ones(3, 1, 4, 6, dtype=torch.bool)
    valid[..., 3:] = False
    hidden = target.clone()
    hidden[..., 3:] = float("nan")
    assert fn(pred, hidden, valid=valid).item() == pytest.approx(fn(pred[..., :3], target[..., :3]).item())


def test_images_without_a_known_pixel_do_not_dilute_the_mean() -> None:
    pred, target = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    valid = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    valid[1] = False
    assert mse(pred, target, valid=valid).item() == pytest.approx(mse(pred[:1], target[:1]).item())
