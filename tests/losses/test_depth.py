"""Reference values: each says where it comes from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from basrelief.errors import UsageError
from basrelief.losses.depth import berhu, gradient, silog, ssi
from basrelief.losses.value import l1

SIZE = (3, 1, 6, 7)
FUNCTIONS = [
    berhu,
    silog,
    gradient,
    ssi,
    pytest.param(lambda p, t, **options: ssi(p, t, by="median", **options), id="ssi median"),
    pytest.param(lambda p, t, **options: silog(p, t, lam=1.0, unbiased=True, **options), id="silog unbiased"),
]
every_loss = pytest.mark.parametrize("fn", FUNCTIONS)
either_reduction = pytest.mark.parametrize("over", ["image", "batch"])


def plane(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


def depths() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    pred, target = torch.rand(2, *SIZE, dtype=torch.float64) * 0.9 + 0.05
    return pred, target, torch.rand(SIZE) > 0.3


def test_berhu_by_hand() -> None:
    # Errors 1, 0.1 and 0.5: c = 0.2; 1 -> (1 + 0.04) / 0.4 = 2.6, 0.1 stays, 0.5 -> (0.25 + 0.04) / 0.4 = 0.725.
    assert berhu(plane(1, 0.1, 0.5), plane(0, 0, 0)).item() == pytest.approx((2.6 + 0.1 + 0.725) / 3)


def test_berhu_with_threshold_one_is_l1() -> None:
    pred, target, valid = depths()
    assert berhu(pred, target, valid=valid, threshold=1).item() == pytest.approx(l1(pred, target, valid=valid).item())


def test_berhu_of_the_batch_has_one_c() -> None:
    pred = torch.tensor([1.0, 0.1]).reshape(2, 1, 1, 1)  # c is 0.2 for both: 2.6 and 0.1; by itself 0.1 would give 0.26
    assert berhu(pred, torch.zeros_like(pred), over="batch").item() == pytest.approx((2.6 + 0.1) / 2)
    assert berhu(pred, torch.zeros_like(pred)).item() == pytest.approx((2.6 + 0.26) / 2)


def test_silog_by_hand() -> None:
    # g = log 2 and 0: mean g² = (log 2)²/2, (mean g)² = (log 2)²/4.
    pred, target = plane(0.4, 0.3), plane(0.2, 0.3)
    for lam in (0.0, 0.5, 0.85, 1.0):
        assert silog(pred, target, lam=lam).item() == pytest.approx(math.log(2) * math.sqrt(1 / 2 - lam / 4))
    # Unbiased: variance (log 2)²/2 instead of (log 2)²/4.
    assert silog(pred, target, lam=1, unbiased=True).item() == pytest.approx(math.log(2) * math.sqrt(1 / 2))
    assert silog(pred, target, lam=0.5, unbiased=True).item() == pytest.approx(math.log(2) * math.sqrt(1 / 2 + 1 / 8))


def test_silog_with_lambda_one_leaves_the_scale_out() -> None:
    _, target, valid = depths()
    pred = (target * 0.3).requires_grad_()
    loss = silog(pred, target, valid=valid, lam=1)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert pred.grad is not None
    assert pred.grad.isfinite().all()


def test_silog_below_its_floor_is_finite_with_gradient_zero() -> None:
    pred = torch.tensor([0.0, 1e-9, 0.5, -1.0]).reshape(1, 1, 2, 2).requires_grad_()
    loss = silog(pred, torch.full_like(pred, 0.5), floor=1e-6)
    loss.backward()
    g = np.array([math.log(1e-6 / 0.5)] * 2 + [0, math.log(1e-6 / 0.5)])
    assert loss.item() == pytest.approx(math.sqrt((g**2).mean() - 0.5 * g.mean() ** 2))
    assert pred.grad is not None
    assert pred.grad.flatten().ne(0).tolist() == [False, False, True, False]


def test_silog_can_take_a_zero_target_as_unknown() -> None:
    pred, target, valid = depths()
    loss = silog(pred, target.masked_fill(~valid, 0), zero_unknown=True)
    assert loss.item() == pytest.approx(silog(pred, target, valid=valid).item())
    both = silog(pred, target.masked_fill(~valid, float("nan")), zero_unknown=True, valid=valid)
    assert both.item() == pytest.approx(loss.item())


def test_gradient_by_hand() -> None:
    # R = 0 1 0 / 3 1 0. Across: 1 1 2 1; down: 3 0 0; mean 8/7. Every second pixel: 0 0, one pair, 0.
    pred = torch.tensor([[0.0, 1, 0], [3, 1, 0]]).reshape(1, 1, 2, 3)
    zeros = torch.zeros_like(pred)
    assert gradient(pred, zeros, scales=1).item() == pytest.approx(8 / 7)
    assert gradient(pred, zeros, scales=4).item() == pytest.approx(8 / 7)
    # Without the pixel of 3 the pairs are 1, 1, 1 across and 0, 0 down.
    valid = pred != 3
    assert gradient(pred, zeros.masked_fill(~valid, float("nan")), valid=valid).item() == pytest.approx(3 / 5)


def by_the_formula(errors: np.ndarray, known: np.ndarray, scales: int) -> tuple[list[float], list[int]]:
    """Return the sums and the numbers of known pairs of each scale, pair by pair."""
    sums, numbers = [], []
    for step in (2**k for k in range(scales)):
        r, m = errors[::step, ::step], known[::step, ::step]
        pairs = [((y, x), (y, x + 1)) for y in range(r.shape[0]) for x in range(r.shape[1] - 1)]
        pairs += [((y, x), (y + 1, x)) for y in range(r.shape[0] - 1) for x in range(r.shape[1])]
        steps = [abs(r[a] - r[b]) for a, b in pairs if m[a] and m[b]]
        sums.append(sum(steps))
        numbers.append(len(steps))
    return sums, numbers


@pytest.mark.parametrize("size", [(11, 9), (16, 5), (1, 6), (3, 3)])
def test_gradient_is_the_published_sum_pair_by_pair(size: tuple[int, int]) -> None:
    pred, target = torch.rand(2, 3, 1, *size, dtype=torch.float64)
    valid = torch.rand(3, 1, *size) > 0.2
    parts = [by_the_formula((pred - target)[i, 0].numpy(), valid[i, 0].numpy(), 4) for i in range(3)]
    each = [sum(s / max(n, 1) for s, n in zip(*part, strict=True)) for part in parts]
    hidden = target.masked_fill(~valid, float("nan"))
    assert gradient(pred, hidden, valid=valid).item() == pytest.approx(np.mean(each))
    sums, numbers = (np.array([part[which] for part in parts]).sum(0) for which in (0, 1))
    pooled = (sums / np.maximum(numbers, 1)).sum()
    assert gradient(pred, hidden, valid=valid, over="batch").item() == pytest.approx(pooled)


def test_gradient_of_one_pixel_is_zero_since_it_has_no_neighbour() -> None:
    pred = torch.rand(2, 1, 1, 1, requires_grad=True)
    loss = gradient(pred, torch.rand(2, 1, 1, 1))
    loss.backward()
    assert loss.item() == 0
    assert pred.grad is not None
    assert (pred.grad == 0).all()


def test_ssi_by_least_squares_is_half_of_what_numpys_line_leaves() -> None:
    pred, target, valid = depths()
    left = []
    for p, t, known in zip(pred, target, valid, strict=True):
        x, y = p[known].numpy(), t[known].numpy()
        left.append(((np.polyval(np.polyfit(x, y, 1), x) - y) ** 2).mean() / 2)
    assert ssi(pred, target, valid=valid).item() == pytest.approx(np.mean(left))


def test_ssi_by_median_by_hand() -> None:
    # p: median 2, mean distance (1 + 0 + 2)/3 = 1 -> -1, 0, 2. t: median 1, mean distance 2/3 -> -1.5, 0, 1.5.
    assert ssi(plane(1, 2, 4), plane(0, 1, 2), by="median").item() == pytest.approx((0.5 + 0 + 0.5) / 3 / 2)


@pytest.mark.parametrize("by", ["least_squares", "median"])
def test_ssi_does_not_see_scale_and_shift(by) -> None:  # type: ignore[no-untyped-def]
    pred, target, _ = depths()
    pred, target = pred[..., :5, :], target[..., :5, :]  # an odd number of pixels, so that flips keep the median
    usual = ssi(pred, target, by=by).item()
    assert ssi(3 * pred - 7, target, by=by).item() == pytest.approx(usual)
    assert ssi(target * 0.1 + 2, target, by=by).item() == pytest.approx(0, abs=1e-12)
    inverted = ssi(1 - target, target, by=by).item()
    assert (inverted == pytest.approx(0, abs=1e-12)) == (by == "least_squares")


@pytest.mark.parametrize("by", ["least_squares", "median"])
@pytest.mark.parametrize("constant", ["pred", "target", "both"])
def test_ssi_is_finite_where_there_is_no_scale(by, constant: str) -> None:  # type: ignore[no-untyped-def]
    pred, target = torch.rand(2, 2, 1, 9, 9)
    pred = torch.full_like(pred, 0.1) if constant != "target" else pred
    target = torch.full_like(target, 0.3) if constant != "pred" else target
    loss = ssi(pred.requires_grad_(), target, by=by)
    loss.backward()
    assert loss.isfinite()
    assert pred.grad is not None
    assert pred.grad.isfinite().all()


@every_loss
@either_reduction
@pytest.mark.parametrize("known", ["all", "some", "none of one image", "one pixel"])
def test_gradient_is_that_of_finite_differences(fn, over: str, known: str) -> None:  # type: ignore[no-untyped-def]
    pred, target, valid = depths()
    if known == "none of one image":
        valid[1] = False
    elif known == "one pixel":
        valid[1] = False
        valid[1, 0, 2, 3] = True
    options = {} if known == "all" else {"valid": valid}
    target = target if known == "all" else target.masked_fill(~valid, float("nan"))
    assert torch.autograd.gradcheck(lambda p: fn(p, target, over=over, **options), pred.requires_grad_())


@every_loss
@either_reduction
def test_nothing_known_is_zero_and_connected(fn, over: str) -> None:  # type: ignore[no-untyped-def]
    pred = torch.rand(SIZE, requires_grad=True)
    loss = fn(pred, torch.full(SIZE, float("nan")), valid=torch.zeros(SIZE, dtype=torch.bool), over=over)
    loss.backward()
    assert loss.item() == 0
    assert pred.grad is not None
    assert (pred.grad == 0).all()


@every_loss
@either_reduction
def test_a_perfect_prediction_has_loss_and_gradient_zero(fn, over: str) -> None:  # type: ignore[no-untyped-def]
    target = torch.rand(SIZE, dtype=torch.float64)
    pred = target.clone().requires_grad_()
    loss = fn(pred, target, over=over)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert pred.grad is not None
    assert pred.grad.isfinite().all()


@every_loss
@either_reduction
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (1, 1, 1, 9), (2, 3, 5, 2)])
def test_extreme_values_are_finite(fn, over: str, size: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
    for pred in (torch.zeros(size), torch.ones(size), torch.rand(size).round(), torch.rand(size) * 1e-30):
        for target in (torch.zeros(size), torch.ones(size), torch.rand(size).round()):
            given = pred.clone().requires_grad_()
            loss = fn(given, target, over=over)
            loss.backward()
            assert loss.isfinite()
            assert given.grad is not None
            assert given.grad.isfinite().all()


@every_loss
@either_reduction
def test_all_known_equals_no_validity(fn, over: str) -> None:  # type: ignore[no-untyped-def]
    pred, target, _ = depths()
    known = torch.ones(SIZE, dtype=torch.bool)
    assert fn(pred, target, over=over, valid=known).item() == pytest.approx(fn(pred, target, over=over).item())


@every_loss
def test_an_unknown_image_does_not_dilute_the_mean(fn) -> None:  # type: ignore[no-untyped-def]
    pred, target, valid = depths()
    valid[1:] = True
    valid[0] = False
    assert fn(pred, target, valid=valid).item() == pytest.approx(fn(pred[1:], target[1:]).item())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: berhu(p, p, threshold=0), "berhu: threshold is 0"),
        (lambda p: silog(p, p, lam=1.5), "silog: lam is 1.5"),
        (lambda p: silog(p, p, floor=0), "silog: floor is 0"),
        (lambda p: gradient(p, p, scales=0), "gradient: scales is 0"),
        (lambda p: gradient(p, p, scales=1.5), "gradient: scales is 1.5"),
        (lambda p: ssi(p, p, by="medain"), "median"),
        (lambda p: ssi(p, p, over="bach"), "batch"),
    ],
)
def test_bad_options_are_errors_that_name_them(call, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message):
        call(torch.rand(1, 1, 4, 4))
