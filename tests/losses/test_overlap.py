"""Reference values of the mask losses by overlap: each says where it comes from."""

from __future__ import annotations

import math

import pytest
import torch

from basrelief.errors import UsageError
from basrelief.losses.overlap import dice, focal_tversky, jaccard, log_cosh_dice, tversky


def plane(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


def test_dice_by_hand() -> None:
    # p = (1, 0.5), t = (1, 0): 1 - 2·1 / (1.5 + 1) = 0.2, without smoothing; squared: 1 - 2·1 / (1.25 + 1).
    assert dice(plane(1, 0.5), plane(1, 0), smooth=0).item() == pytest.approx(0.2)
    assert dice(plane(1, 0.5), plane(1, 0), smooth=0, squared=True).item() == pytest.approx(1 - 2 / 2.25)
    assert dice(plane(1, 0.5), plane(1, 0), smooth=(0.5, 1)).item() == pytest.approx(1 - 2.5 / 3.5)
    # Smooth 1e-5 on both sides, as MONAI has it: an empty target gives 1e-5/1e-5 for an empty prediction.
    assert dice(plane(0, 0), plane(0, 0)).item() == 0
    assert dice(plane(1, 0), plane(0, 0)).item() == pytest.approx(1, abs=1e-4)


def test_dice_averages_over_images_and_classes_not_pixels() -> None:
    pred = torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]]]])  # one image, two classes, two pixels
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]])
    assert dice(pred, target).item() == pytest.approx((0 + 1) / 2, abs=1e-4)


def test_dice_pools_classes_and_images_where_asked() -> None:
    pred = torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]]]])
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]])
    assert dice(pred, target, classes="pooled", smooth=0).item() == pytest.approx(1 - 2 / (3 + 1))
    swapped = pred.transpose(0, 1), target.transpose(0, 1)  # two images of one class
    assert dice(*swapped, over="batch", smooth=0).item() == pytest.approx(1 - 2 / (3 + 1))


@pytest.mark.parametrize(("empty", "expected"), [("score", 0.6), ("zero", 0.1), ("skip", 0.2)])
def test_a_class_without_target_counts_as_asked(empty: str, expected: float) -> None:
    # The first class by hand 0.2, the second has no target and 1 predicted: 1, 0 or not counted, of two or one class.
    pred = torch.tensor([[[[1.0, 0.5]], [[1.0, 0.0]]]], requires_grad=True)
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]])
    value = dice(pred, target, smooth=0, empty=empty)
    value.backward()
    assert value.item() == pytest.approx(expected)
    assert pred.grad is not None
    assert (pred.grad[:, 1] == 0).all()


def test_a_soft_target_is_matched_by_itself_with_the_minimum() -> None:
    half = torch.full((1, 1, 2, 2), 0.5)
    assert dice(half, half).item() == pytest.approx(0.5, abs=1e-5)
    assert dice(half, half, soft="minimum").item() == pytest.approx(0, abs=1e-5)


def test_jaccard_by_hand() -> None:
    assert jaccard(plane(1, 0.5), plane(1, 0), smooth=0).item() == pytest.approx(1 - 1 / 1.5)
    assert jaccard(plane(1, 0.5), plane(1, 0), smooth=1).item() == pytest.approx(1 - 2 / 2.5)


def test_tversky_by_hand_weighs_false_positives_by_alpha() -> None:
    # p = (1, 0.5, 0), t = (1, 0, 1): TP 1, FP 0.5, FN 1.
    pred, target = plane(1, 0.5, 0), plane(1, 0, 1)
    assert tversky(pred, target, smooth=0).item() == pytest.approx(1 - 1 / (1 + 0.3 * 0.5 + 0.7 * 1))
    assert tversky(pred, target, alpha=0, beta=2, smooth=0).item() == pytest.approx(1 - 1 / 3)
    assert tversky(pred, target, alpha=1, beta=1, smooth=0).item() == pytest.approx(
        jaccard(pred, target, smooth=0).item()
    )


def test_focal_tversky_by_hand() -> None:
    pred, target = plane(1, 0.5, 0), plane(1, 0, 1)
    ratio = 1 - 1 / (1 + 0.3 * 0.5 + 0.7 * 1)
    assert focal_tversky(pred, target, smooth=0).item() == pytest.approx(ratio**0.75)
    assert focal_tversky(pred, target, smooth=0, gamma=2).item() == pytest.approx(ratio**2)
    two = torch.cat((pred, target)), torch.cat((target, target))  # the second image is right
    assert focal_tversky(*two, smooth=0).item() == pytest.approx(ratio**0.75 / 2)
    assert focal_tversky(*two, smooth=0, of_mean=True).item() == pytest.approx((ratio / 2) ** 0.75)


@pytest.mark.parametrize("of_mean", [False, True])
def test_focal_tversky_has_a_gradient_of_zero_at_zero(of_mean: bool) -> None:
    pred = plane(1, 0, 1).requires_grad_()
    value = focal_tversky(pred, plane(1, 0, 1), smooth=0, of_mean=of_mean)
    value.backward()
    assert value.item() == 0
    assert pred.grad is not None
    assert (pred.grad == 0).all()


def test_log_cosh_dice_by_hand() -> None:
    assert log_cosh_dice(plane(1, 0.5), plane(1, 0), smooth=0).item() == pytest.approx(math.log(math.cosh(0.2)))
    assert log_cosh_dice(plane(1), plane(1)).item() == 0


def test_negative_sums_stay_away_from_the_pole() -> None:
    # Raw values below 0 add up to -s; unclamped the ratio would be divided by 0.
    pred = plane(-1e-5).requires_grad_()
    value = dice(pred, plane(0))
    value.backward()
    assert value.item() == 0
    assert pred.grad == 0


OPTIONS = [
    (dice, {}),
    (dice, {"squared": True, "smooth": 1.0}),
    (dice, {"soft": "minimum", "smooth": 0.0}),
    (dice, {"classes": "pooled", "smooth": (0.0, 1e-8)}),
    (dice, {"empty": "zero"}),
    (dice, {"empty": "skip"}),
    (jaccard, {}),
    (tversky, {}),
    (tversky, {"alpha": 0.9, "beta": 0.4, "soft": "minimum"}),
    (focal_tversky, {}),
    (focal_tversky, {"of_mean": True, "gamma": 1.5}),
    (log_cosh_dice, {"squared": True}),
]
every_option = pytest.mark.parametrize(("fn", "options"), OPTIONS)


def sample() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    size = (3, 2, 4, 5)
    target = torch.rand(size, dtype=torch.float64)
    target[2, 1] = 0
    valid = torch.rand(size) < 0.6
    valid[1] = False
    valid[0, 1] = False
    return torch.rand(size, dtype=torch.float64), target, valid


@every_option
@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("known", ["all", "some"])
def test_gradient_is_the_true_one(fn, options, over: str, known: str) -> None:  # type: ignore[no-untyped-def]
    pred, target, valid = sample()
    mask = None if known == "all" else valid
    assert torch.autograd.gradcheck(lambda p: fn(p, target, valid=mask, over=over, **options), (pred.requires_grad_(),))


@pytest.mark.parametrize("soft", ["product", "minimum"])
def test_the_target_has_its_gradient_where_it_wants_one(soft: str) -> None:
    pred, target, valid = sample()
    target[2, 1] = 0.1
    assert torch.autograd.gradcheck(
        lambda p, t: tversky(p, t, valid=valid, soft=soft), (pred.requires_grad_(), target.requires_grad_())
    )


@every_option
@pytest.mark.parametrize("over", ["image", "batch"])
def test_unknown_pixels_are_left_out_in_value_and_gradient(fn, options, over: str) -> None:  # type: ignore[no-untyped-def]
    pred, target, _ = sample()
    valid = torch.ones(3, 1, 4, 5, dtype=torch.bool)
    valid[..., 3:] = False
    cropped = fn(pred[..., :3], target[..., :3], over=over, **options)
    pred.requires_grad_()
    value = fn(pred, target.masked_fill(~valid, float("nan")), valid=valid, over=over, **options)
    value.backward()
    assert value.item() == pytest.approx(cropped.item())
    assert pred.grad is not None
    assert pred.grad.isfinite().all()
    assert (pred.grad[..., 3:] == 0).all()


@every_option
@pytest.mark.parametrize("kind", ["empty", "full", "pixel", "random"])
@pytest.mark.parametrize("right", [1, -1])
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (2, 5, 3, 7)])
def test_perfect_and_perfectly_wrong_are_finite(fn, options, kind: str, right: int, size) -> None:  # type: ignore[no-untyped-def]
    target = {"full": torch.ones(size), "random": torch.rand(size).round()}.get(kind, torch.zeros(size))
    if kind == "pixel":
        target[..., 0, 0] = 1
    logits = ((2 * target - 1) * right * 1e4).requires_grad_()
    value = fn(torch.sigmoid(logits), target, **options)
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("fn", "options", "message"),
    [
        (dice, {"smooth": -1.0}, "dice: smooth is -1.0"),
        (dice, {"smooth": (1.0, 2.0, 3.0)}, "above and below"),
        (dice, {"smooth": (1.0, 0.0)}, "none above it"),
        (dice, {"classes": "all"}, "dice's classes 'all'"),
        (jaccard, {"empty": "skipped"}, "Did you mean 'skip'"),
        (tversky, {"alpha": -0.1}, "tversky: alpha is -0.1"),
        (tversky, {"soft": "max"}, "tversky's soft 'max'"),
        (focal_tversky, {"gamma": 0.0}, "focal_tversky: gamma is 0.0"),
        (log_cosh_dice, {"over": "pixel"}, "pixel"),
    ],
)
def test_bad_options_are_named(fn, options, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message):
        fn(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3), **options)
