"""Losses of shape by hand, and what must hold for any masks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.errors import UsageError
from basrelief.functional.distance import signed_distance
from basrelief.functional.skeleton import soft_skeleton
from basrelief.losses.shape import boundary, cl_dice, hausdorff

LOSSES = [boundary, hausdorff, cl_dice]


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


@st.composite
def planes(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw a prediction, a mask and a validity, each of them empty or full at times."""
    size = draw(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    pred, mask, valid = (torch.rand(size, generator=generator, dtype=torch.float64) for _ in range(3))
    if draw(st.booleans()):
        pred = pred.round()
    share = st.sampled_from([0, 0.1, 0.5, 0.9, 1])
    return pred, (mask < draw(share)).double(), valid[:, :1] < draw(share)


def test_boundary_by_hand() -> None:
    # φ of columns 2-4 of 6 is 2 1 0 -1 0 1. False alarms of 0.5 at φ = 2 and 1, a miss of 0.25 at φ = -1.
    pred, target = row(0.5, 0, 1, 0.75, 1, 0.5), row(0, 0, 1, 1, 1, 0)
    assert boundary(pred, target).item() == pytest.approx((0.5 * 2 + 0.25 + 0.5) / 6)


def test_boundary_has_the_gradient_of_kervadecs_formula() -> None:
    pred, target = torch.rand(2, 3, 9, 8, dtype=torch.float64, requires_grad=True), torch.rand(2, 3, 9, 8) > 0.6
    (ours,) = torch.autograd.grad(boundary(pred, target.double()), pred)
    (theirs,) = torch.autograd.grad((signed_distance(target, dtype=torch.float64) * pred).mean(), pred)
    assert torch.allclose(ours, theirs)


def test_hausdorff_by_hand() -> None:
    # Distances to the other kind: of p = 1 1 0 0 they are 2 1 1 2, of t = 1 0 0 0 they are 1 1 2 3.
    pred, target = row(1, 0.75, 0.25, 0), row(1, 0, 0, 0)
    assert hausdorff(pred, target).item() == pytest.approx((0.75**2 * (1 + 1) + 0.25**2 * (1 + 4)) / 4)
    assert hausdorff(pred, target, alpha=1).item() == pytest.approx((0.75**2 * 2 + 0.25**2 * 3) / 4)


def test_hausdorff_of_two_masks_without_a_border_is_zero() -> None:
    pred = torch.full((2, 1, 4, 4), 0.4, requires_grad=True)
    loss = hausdorff(pred, torch.zeros(2, 1, 4, 4))
    loss.backward()
    assert loss.item() == 0
    assert (pred.grad == 0).all()  # type: ignore[union-attr]


def test_skeleton_of_a_bar_is_its_middle_line() -> None:
    bar = torch.zeros(1, 1, 7, 11)
    bar[..., 2:5, 2:9] = 1
    # Eroded once, the bar is its middle row 3-7, which dilated by 3 x 3 gives the bar back: nothing is taken yet.
    # Eroded twice nothing is left, and so all of that row is taken.
    expected = torch.zeros(1, 1, 7, 11)
    expected[..., 3, 3:8] = 1
    assert torch.equal(soft_skeleton(bar, iterations=1), expected)
    assert torch.equal(soft_skeleton(bar, iterations=3), expected)
    assert not soft_skeleton(bar, iterations=0).any()


@pytest.mark.parametrize("known", [None, 0.7])
@pytest.mark.parametrize("size", [(2, 2, 6, 7), (1, 1, 1, 5), (1, 1, 1, 1)])
def test_skeletons_gradient_agrees_with_finite_differences(size: tuple[int, ...], known: float | None) -> None:
    values = torch.rand(size, dtype=torch.float64, requires_grad=True)
    valid = None if known is None else torch.rand(size) < known
    assert torch.autograd.gradcheck(lambda x: soft_skeleton(x, valid), (values,))


def test_skeletons_gradient_is_finite_where_neighbours_are_alike() -> None:
    values = (torch.rand(2, 2, 12, 12) > 0.4).float().requires_grad_()
    soft_skeleton(values).sum().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()
    assert values.grad.any()


def test_cl_dice_by_hand() -> None:
    # Lines a pixel high are their own skeletons. Predicted: columns 0-3, true: 2-7, so both have 2.
    pred, target = torch.zeros(1, 1, 5, 9), torch.zeros(1, 1, 5, 9)
    pred[..., 2, :4] = target[..., 2, 2:8] = 1
    precision, recall = (2 + 1) / (4 + 1), (2 + 1) / (6 + 1)
    assert cl_dice(pred, target).item() == pytest.approx(1 - 2 * precision * recall / (precision + recall))


def test_cl_dice_forgives_width_and_punishes_gaps() -> None:
    line, thick, broken = (torch.zeros(1, 1, 9, 21) for _ in range(3))
    line[..., 4, 2:19] = thick[..., 3:6, 1:20] = broken[..., 4, 2:19] = 1
    broken[..., 8:13] = 0
    assert cl_dice(thick, line) == 0
    assert cl_dice(broken, line) > 0.1


def test_cl_dice_pools_classes_and_batch_as_asked() -> None:
    # Lines again: hits, predicted and true of each image and class are (2, 2, 2), (0, 2, 1), (1, 1, 3), (0, 1, 0).
    pred, target = torch.zeros(2, 2, 3, 6), torch.zeros(2, 2, 3, 6)
    pred[0, 0, 1, :2] = target[0, 0, 1, :2] = 1
    pred[0, 1, 1, :2] = target[0, 1, 1, 4] = 1
    pred[1, 0, 1, 0] = target[1, 0, 1, :3] = 1
    pred[1, 1, 1, 0] = 1

    def loss(hits: float, predicted: float, true: float) -> float:
        precision, recall = (hits + 1) / (predicted + 1), (hits + 1) / (true + 1)
        return 1 - 2 * precision * recall / (precision + recall)

    each = (loss(2, 2, 2) + loss(0, 2, 1) + loss(1, 1, 3) + loss(0, 1, 0)) / 4
    assert cl_dice(pred, target).item() == pytest.approx(each)
    assert cl_dice(pred, target, classes="pooled").item() == pytest.approx((loss(2, 4, 3) + loss(1, 2, 3)) / 2)
    assert cl_dice(pred, target, over="batch").item() == pytest.approx((loss(3, 3, 5) + loss(0, 3, 1)) / 2)
    assert cl_dice(pred, target, over="batch", classes="pooled").item() == pytest.approx(loss(3, 6, 6))


def test_cl_dice_weighs_its_epsilon_as_said() -> None:
    assert cl_dice(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3), epsilon=0.5).item() == pytest.approx(1 - 2 / 2.5)


@pytest.mark.parametrize("fn", LOSSES)
@given(drawn=planes())
@settings(max_examples=30, deadline=None)
def test_loss_is_never_negative_and_zero_for_a_perfect_prediction(fn, drawn) -> None:  # type: ignore[no-untyped-def]
    pred, target, _ = drawn
    assert fn(pred, target) >= -1e-12
    assert fn(target, target).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("fn", LOSSES)
@given(drawn=planes())
@settings(max_examples=40, deadline=None)
def test_nothing_at_an_unknown_pixel_matters(fn, drawn) -> None:  # type: ignore[no-untyped-def]
    pred, target, valid = drawn
    unknown = ~valid.expand_as(target)
    results = []
    for hidden in (0.0, 1.0, math.nan):
        guess = pred.clone().requires_grad_()
        loss = fn(guess, target.masked_fill(unknown, hidden), valid=valid)
        loss.backward()
        assert loss.isfinite()
        assert guess.grad is not None
        assert guess.grad.isfinite().all()
        assert (guess.grad[unknown] == 0).all()
        results.append(loss.item())
    results += [fn(pred.masked_fill(unknown, hidden), target, valid=valid).item() for hidden in (0.0, 1.0)]
    assert results == pytest.approx([results[0]] * 5)


@pytest.mark.parametrize("fn", LOSSES)
@pytest.mark.parametrize("over", ["image", "batch"])
def test_unknown_columns_are_as_if_cut_off(fn, over: str) -> None:  # type: ignore[no-untyped-def]
    pred, target = torch.rand(3, 2, 9, 12, dtype=torch.float64), (torch.rand(3, 2, 9, 12) > 0.5).double()
    valid = torch.ones(3, 1, 9, 12, dtype=torch.bool)
    valid[..., 7:] = False
    known = fn(pred, target.masked_fill(~valid, math.nan), valid=valid, over=over)
    assert known.item() == pytest.approx(fn(pred[..., :7], target[..., :7], over=over).item())


@pytest.mark.parametrize("fn", LOSSES)
def test_images_without_a_known_pixel_do_not_dilute_the_mean(fn) -> None:  # type: ignore[no-untyped-def]
    pred, target = torch.rand(2, 2, 6, 6), (torch.rand(2, 2, 6, 6) > 0.5).float()
    valid = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    valid[1] = False
    assert fn(pred, target, valid=valid).item() == pytest.approx(fn(pred[:1], target[:1]).item())


def test_cl_dice_averages_classes_within_an_image_first() -> None:
    pred, target = torch.rand(2, 2, 6, 6), (torch.rand(2, 2, 6, 6) > 0.5).float()
    valid = torch.ones(2, 2, 6, 6, dtype=torch.bool)
    valid[0, 1] = False
    expected = (cl_dice(pred[:1, :1], target[:1, :1]) + cl_dice(pred[1:], target[1:])) / 2
    assert cl_dice(pred, target, valid=valid).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("fn", LOSSES)
@pytest.mark.parametrize("over", ["image", "batch"])
def test_gradient_agrees_with_finite_differences(fn, over: str) -> None:  # type: ignore[no-untyped-def]
    pred = torch.rand(2, 2, 5, 7, dtype=torch.float64, requires_grad=True)
    target, valid = torch.rand(2, 2, 5, 7, dtype=torch.float64), torch.rand(2, 2, 5, 7) < 0.8
    assert torch.autograd.gradcheck(lambda p: fn(p, target, over=over), (pred,))
    assert torch.autograd.gradcheck(lambda p: fn(p, target, valid=valid, over=over), (pred,))


@pytest.mark.parametrize("fn", LOSSES)
@pytest.mark.parametrize("classes", [1, 5])
def test_finite_for_masks_of_one_value_and_of_one_pixel(fn, classes: int) -> None:  # type: ignore[no-untyped-def]
    pixel = torch.zeros(1, classes, 8, 5)
    pixel[..., 3, 2] = 1
    cases = [pixel, torch.zeros_like(pixel), torch.ones_like(pixel), 1 - pixel]
    for target in cases:
        for pred in cases:
            guess = pred.clone().requires_grad_()
            loss = fn(guess, target)
            loss.backward()
            assert loss.isfinite()
            assert guess.grad is not None
            assert guess.grad.isfinite().all()


@pytest.mark.parametrize(
    ("fn", "options", "said"),
    [
        (boundary, {"over": "pixels"}, "value of over 'pixels'"),
        (hausdorff, {"alpha": 0}, "hausdorff: alpha is 0"),
        (hausdorff, {"alpha": math.nan}, "hausdorff: alpha is nan"),
        (cl_dice, {"iterations": -1}, "cl_dice: iterations is -1"),
        (cl_dice, {"iterations": 2.5}, "cl_dice: iterations is 2.5"),
        (cl_dice, {"smooth": 0}, "cl_dice: smooth is 0"),
        (cl_dice, {"epsilon": -1}, "cl_dice: epsilon is -1"),
        (cl_dice, {"classes": "all"}, "value of cl_dice's classes 'all'"),
    ],
)
def test_options_out_of_range_are_refused(fn, options, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=said):
        fn(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4), **options)
