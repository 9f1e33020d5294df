"""Reference values of the mask losses by pixels: each says where it comes from."""

from __future__ import annotations

import math

import pytest
import torch

from basrelief.errors import UsageError
from basrelief.losses.pixel import bce, cross_entropy, focal, pixel_dice

LOG3 = math.log(3)  # sigmoid(log 3) = 3/4


def plane(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


def planes(*classes: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(classes, dtype=torch.float64).reshape(1, len(classes), 1, -1)


def test_bce_is_the_cross_entropy_by_hand() -> None:
    # -log σ(0) = log 2 for both labels; -log(1 - σ(log 3)) = log 4, since σ(log 3) = 3/4.
    assert bce(plane(0, 0), plane(0, 1)).item() == pytest.approx(math.log(2))
    assert bce(plane(LOG3), plane(0)).item() == pytest.approx(math.log(4))


def test_bce_stays_finite_at_huge_logits() -> None:
    assert bce(plane(1e4), plane(0)).item() == 1e4
    assert bce(plane(1e4), plane(1)).item() == 0


def test_bce_weighs_the_positive_part_alone() -> None:
    # log(4/3) for the pixel of the mask, three times; log 4 for the other one.
    value = bce(plane(LOG3, LOG3), plane(1, 0), pos_weight=3).item()
    assert value == pytest.approx((3 * math.log(4 / 3) + math.log(4)) / 2)


def test_bce_takes_a_weight_for_each_class() -> None:
    logits, target = planes((0.0,), (0.0,)), planes((1.0,), (1.0,))
    assert bce(logits, target, pos_weight=(1.0, 5.0)).item() == pytest.approx(3 * math.log(2))


def test_bce_smooths_labels_towards_a_half() -> None:
    # t = 1, s = 0.2: 0.9·log(4/3) + 0.1·log 4.
    value = bce(plane(LOG3), plane(1), smooth=0.2).item()
    assert value == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4))


def test_cross_entropy_by_hand() -> None:
    # softmax(log 3, 0) = (3/4, 1/4): log(4/3) where the first class is right, log 4 where the second is.
    logits = planes((LOG3, LOG3), (0, 0))
    assert cross_entropy(logits, planes((1, 0), (0, 1))).item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    assert cross_entropy(logits, planes((0.5, 0.5), (0.5, 0.5))).item() == pytest.approx(
        (math.log(4 / 3) + math.log(4)) / 2
    )


def test_cross_entropy_leaves_out_pixels_of_no_class() -> None:
    logits = planes((LOG3, 7), (0, 0)).requires_grad_()
    value = cross_entropy(logits, planes((1, 0), (0, 0)))
    value.backward()
    assert value.item() == pytest.approx(math.log(4 / 3))
    assert logits.grad is not None
    assert (logits.grad[..., 1] == 0).all()


def test_cross_entropy_smooths_over_all_classes() -> None:
    # s = 0.2 over two classes: 0.9·log(4/3) + 0.1·log 4.
    value = cross_entropy(planes((LOG3,), (0,)), planes((1,), (0,)), smooth=0.2).item()
    assert value == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4))


def test_cross_entropy_weighs_classes_above_and_below_the_line() -> None:
    logits, target = planes((LOG3, LOG3), (0, 0)), planes((1, 0), (0, 1))
    value = cross_entropy(logits, target, class_weight=(1, 3)).item()
    assert value == pytest.approx((math.log(4 / 3) + 3 * math.log(4)) / 4)


def test_cross_entropy_of_one_channel_says_what_to_use() -> None:
    with pytest.raises(UsageError, match="use bce"):
        cross_entropy(plane(1), plane(1))


def test_cross_entropy_of_huge_logits_is_the_margin() -> None:
    assert cross_entropy(planes((1e4,), (-1e4,)), planes((0,), (1,))).item() == 2e4
    assert cross_entropy(planes((1e4,), (-1e4,)), planes((1,), (0,))).item() == 0


def test_focal_by_hand() -> None:
    # p = 3/4: (1/4)²·log(4/3) where t = 1, (3/4)²·log 4 where t = 0.
    assert focal(plane(LOG3), plane(1)).item() == pytest.approx(math.log(4 / 3) / 16)
    assert focal(plane(LOG3), plane(0)).item() == pytest.approx(math.log(4) * 9 / 16)
    assert focal(plane(LOG3), plane(0), gamma=0.5).item() == pytest.approx(math.log(4) * math.sqrt(3 / 4))
    # alpha weighs t by α and 1 - t by 1 - α.
    value = focal(plane(LOG3, LOG3), plane(1, 0), alpha=0.25).item()
    assert value == pytest.approx((0.25 * math.log(4 / 3) / 16 + 0.75 * math.log(4) * 9 / 16) / 2)


def test_focal_without_focus_is_bce() -> None:
    logits, target = torch.randn(2, 2, 5, 7), torch.rand(2, 2, 5, 7)
    assert focal(logits, target, gamma=0).item() == pytest.approx(bce(logits, target).item())


def test_pixel_dice_by_hand() -> None:
    # p = 0.5, t = 1, s = 1: 1 - (1 + 1)/2.5 = 0.2. On label values it falls below 0: p = t = 2: 1 - 9/5.
    assert pixel_dice(plane(0.5), plane(1)).item() == pytest.approx(0.2)
    assert pixel_dice(plane(2), plane(2)).item() == pytest.approx(-0.8)


def test_pixel_dice_clamps_what_would_be_singular() -> None:
    # Without the clamp p = -3, t = 1, s = 1 gives 1 - (-6 + 1)/(-1) = -4; with it, as p = 0, 1 - 1/2.
    assert pixel_dice(plane(-3), plane(1), clamp=False).item() == pytest.approx(-4)
    assert pixel_dice(plane(-3), plane(1)).item() == pytest.approx(0.5)
    pole = plane(-51, 0, 5).requires_grad_()
    pixel_dice(pole, plane(50, 50, 50)).backward()
    assert pole.grad is not None
    assert pole.grad.isfinite().all()
    assert pole.grad[..., 0] == 0
    assert pole.grad[..., 1] != 0  # a head that starts at 0 must not stay there


OPTIONS = [
    (bce, {}),
    (bce, {"pos_weight": (2.0, 0.5), "smooth": 0.1}),
    (cross_entropy, {}),
    (cross_entropy, {"smooth": 0.1, "class_weight": (1.0, 2.5)}),
    (focal, {}),
    (focal, {"gamma": 0.5, "alpha": 0.25}),
    (focal, {"gamma": 3.0}),
    (focal, {"gamma": 0.0, "alpha": 0.3}),
    (pixel_dice, {}),
    (pixel_dice, {"smooth": 0.5, "clamp": False}),
]
every_option = pytest.mark.parametrize(("fn", "options"), OPTIONS)


def sample(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    size = (3, 2, 4, 5)
    valid = torch.rand(3, 1, 4, 5) < 0.6
    valid[1] = False
    return torch.randn(size, dtype=torch.float64), torch.rand(size, dtype=torch.float64), valid


@every_option
@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("known", ["all", "some"])
def test_gradient_is_the_true_one(fn, options, over: str, known: str) -> None:  # type: ignore[no-untyped-def]
    x, target, valid = sample()
    x = (x.abs() if fn is pixel_dice else x).requires_grad_()
    mask = None if known == "all" else valid
    assert torch.autograd.gradcheck(lambda x: fn(x, target, valid=mask, over=over, **options), (x,))


@every_option
def test_value_is_the_same_without_a_gradient(fn, options) -> None:  # type: ignore[no-untyped-def]
    x, target, valid = sample()
    with torch.no_grad():
        plain = fn(x, target, valid=valid, **options)
    assert plain.item() == pytest.approx(fn(x.requires_grad_(), target, valid=valid, **options).item(), rel=1e-12)


@every_option
def test_unknown_pixels_are_left_out_in_value_and_gradient(fn, options) -> None:  # type: ignore[no-untyped-def]
    x, target, _ = sample()
    valid = torch.ones(3, 1, 4, 5, dtype=torch.bool)
    valid[..., 3:] = False
    cropped = fn(x[..., :3], target[..., :3], **options)
    x.requires_grad_()
    value = fn(x, target.masked_fill(~valid, float("nan")), valid=valid, **options)
    value.backward()
    assert value.item() == pytest.approx(cropped.item())
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[..., 3:] == 0).all()


@every_option
def test_over_batch_pools_all_known_pixels(fn, options) -> None:  # type: ignore[no-untyped-def]
    x, target, valid = sample()
    kept = valid.expand_as(x)[:, :1].flatten()
    one = [t.transpose(0, 1).flatten(1)[:, kept].reshape(1, 2, 1, -1) for t in (x, target)]
    assert fn(x, target, valid=valid, over="batch", **options).item() == pytest.approx(fn(*one, **options).item())


@every_option
@pytest.mark.parametrize("scale", [1e4, 30.0])
@pytest.mark.parametrize("right", [1, -1])
def test_perfect_and_perfectly_wrong_are_finite(fn, options, scale: float, right: int) -> None:  # type: ignore[no-untyped-def]
    target = (torch.rand(2, 2, 3, 5) > 0.5).float()
    x = ((2 * target - 1) * right * scale).requires_grad_()
    value = fn(torch.sigmoid(x) if fn is pixel_dice else x, target, **options)
    value.backward()
    assert value.isfinite()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("fn", "options", "message"),
    [
        (bce, {"over": "images"}, "images"),
        (bce, {"pos_weight": -1.0}, "bce: pos_weight is -1.0"),
        (bce, {"pos_weight": (1.0, 2.0, 3.0)}, "3 numbers for 2 classes"),
        (bce, {"smooth": 1.0}, "bce: smooth is 1.0"),
        (cross_entropy, {"class_weight": (1.0,)}, "1 numbers for 2 classes"),
        (cross_entropy, {"smooth": -0.1}, "cross_entropy: smooth is -0.1"),
        (focal, {"gamma": -1.0}, "focal: gamma is -1.0"),
        (focal, {"alpha": 1.5}, "focal: alpha is 1.5"),
        (pixel_dice, {"smooth": 0.0}, "pixel_dice: smooth is 0.0"),
    ],
)
def test_bad_options_are_named(fn, options, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message):
        fn(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3), **options)
