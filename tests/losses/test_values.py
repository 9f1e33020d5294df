"""Reference values: each says where it comes from."""

from __future__ import annotations

import math

import pytest
import torch

from basrelief.errors import UsageError
from basrelief.losses.structure import ssim
from basrelief.losses.value import huber, l1, mse, rmse, smooth_l1


def plane(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


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


@pytest.mark.parametrize("fn", [mse, l1, rmse])
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


def test_smooth_l1_and_huber_by_hand() -> None:
    pred, target = plane(0.1, 3), plane(0, 0)  # errors 0.1 and 3, on either side of 0.5
    assert smooth_l1(pred, target, beta=0.5).item() == pytest.approx((0.01 / 1 + (3 - 0.25)) / 2)
    assert smooth_l1(pred, target, beta=0).item() == pytest.approx(1.55)
    assert huber(pred, target, delta=0.5).item() == pytest.approx((0.01 / 2 + 0.5 * (3 - 0.25)) / 2)


def test_rmse_of_the_batch_is_one_root() -> None:
    pred = torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1)
    valid = torch.ones(2, 1, 1, 1, dtype=torch.bool)
    for known in (None, valid):
        assert rmse(pred, torch.zeros_like(pred), over="batch", valid=known).item() == pytest.approx(math.sqrt(5))
        assert rmse(pred, torch.zeros_like(pred), over="batch", epsilon=4, valid=known).item() == pytest.approx(3)


@pytest.mark.parametrize("over", ["image", "batch"])
def test_rmse_with_epsilon_is_still_zero_where_nothing_is_known(over) -> None:  # type: ignore[no-untyped-def]
    pred = torch.rand(2, 1, 3, 3, requires_grad=True)
    nothing = torch.zeros(2, 1, 3, 3, dtype=torch.bool)
    loss = rmse(pred, torch.full((2, 1, 3, 3), float("nan")), valid=nothing, over=over, epsilon=1e-6)
    loss.backward()
    assert loss.item() == 0
    assert pred.grad is not None
    assert (pred.grad == 0).all()


@pytest.mark.parametrize("fn", [mse, l1, rmse, smooth_l1, huber])
def test_pooling_weighs_pixels_and_not_images(fn) -> None:  # type: ignore[no-untyped-def]
    pred, target = torch.rand(2, 1, 4, 4, dtype=torch.float64), torch.rand(2, 1, 4, 4, dtype=torch.float64)
    valid = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    valid[0], valid[1, :, 0, 0] = True, True
    together = torch.cat((pred[valid], pred[valid])).reshape(2, 1, 1, -1)
    truth = torch.cat((target[valid], target[valid])).reshape(2, 1, 1, -1)
    hidden = target.masked_fill(~valid, float("nan"))
    assert fn(pred, hidden, valid=valid, over="batch").item() == pytest.approx(fn(together, truth).item())
    alone = (fn(pred[:1], target[:1]) + fn(pred[1:, :, :1, :1], target[1:, :, :1, :1])) / 2
    assert fn(pred, hidden, valid=valid).item() == pytest.approx(alone.item())


@pytest.mark.parametrize("fn", [mse, l1, rmse, smooth_l1, huber])
@pytest.mark.parametrize("over", ["image", "batch"])
def test_gradients_of_label_values_are_those_of_finite_differences(fn, over) -> None:  # type: ignore[no-untyped-def]
    pred = (torch.randn(2, 3, 4, 5, dtype=torch.float64) * 100).requires_grad_()
    target = torch.randint(0, 6, (2, 3, 4, 5)).double() * 50
    valid = torch.rand(2, 3, 4, 5) > 0.3
    hidden = target.masked_fill(~valid, float("nan"))
    assert torch.autograd.gradcheck(lambda p: fn(p, target, over=over), pred, fast_mode=True)
    assert torch.autograd.gradcheck(lambda p: fn(p, hidden, valid=valid, over=over), pred, fast_mode=True)


@pytest.mark.parametrize("fn", [mse, l1, rmse, smooth_l1, huber])
def test_label_values_are_not_clamped(fn) -> None:  # type: ignore[no-untyped-def]
    target = torch.full((1, 1, 4, 4), 250.0)
    assert fn(target - 500, target) > fn(target - 300, target) > fn(target - 50, target) > fn(target, target)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: rmse(p, p, epsilon=-1), "rmse: epsilon is -1"),
        (lambda p: smooth_l1(p, p, beta=-0.1), "smooth_l1: beta is -0.1"),
        (lambda p: huber(p, p, delta=0), "huber: delta is 0"),
        (lambda p: huber(p, p, delta=math.nan), "huber: delta is nan"),
        (lambda p: l1(p, p, over="bach"), "batch"),
    ],
)
def test_bad_options_are_errors_that_name_them(call, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message):
        call(torch.rand(1, 1, 2, 2))
