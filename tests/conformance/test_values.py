"""Value losses beside torch, MONAI and torchmetrics, and write-up A's root."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchmetrics.functional as tm
from monai.metrics import MAEMetric, MSEMetric, RMSEMetric
from torch import Tensor

from basrelief.losses import LOSSES

SIZES = {"usual": (4, 1, 16, 17), "classes": (3, 5, 9, 8), "one pixel": (2, 1, 1, 1), "one image": (1, 2, 7, 3)}
KINDS = ["random", "soft", "empty", "full", "pixel", "labels"]


def by_monai(metric: type[MSEMetric]) -> Callable[[Tensor, Tensor], Tensor]:
    """MONAI's regression metrics: a value for each image, then the mean of the images.

    The metric's call detaches what it computes, so the gradient needs the function inside it.
    """
    return lambda p, t: metric()._compute_metric(p, t).mean()


PACKAGES: list[tuple[str, str, Callable[[Tensor, Tensor], Tensor]]] = [
    ("mse", "monai", by_monai(MSEMetric)),
    ("mse", "torchmetrics", lambda p, t: tm.mean_squared_error(p.flatten(), t.flatten())),
    ("l1", "monai", by_monai(MAEMetric)),
    ("l1", "torchmetrics", lambda p, t: tm.mean_absolute_error(p.flatten(), t.flatten())),
    ("rmse", "monai", by_monai(RMSEMetric)),
    ("rmse", "torchmetrics", lambda p, t: tm.mean_squared_error(p.flatten(), t.flatten(), squared=False)),
]
TORCH: list[tuple[str, dict[str, float], Callable[[Tensor, Tensor], Tensor]]] = [
    ("mse", {}, F.mse_loss),
    ("l1", {}, F.l1_loss),
    ("smooth_l1", {}, F.smooth_l1_loss),
    ("smooth_l1", {"beta": 0.2}, lambda p, t: F.smooth_l1_loss(p, t, beta=0.2)),
    ("huber", {}, F.huber_loss),
    ("huber", {"delta": 0.1}, lambda p, t: F.huber_loss(p, t, delta=0.1)),
]


def inputs(size: tuple[int, ...], kind: str) -> tuple[Tensor, Tensor]:
    """Return a prediction and a target; all are doubles, so that the packages' rounding is no matter."""
    pred = torch.rand(size, dtype=torch.float64)
    target = torch.zeros_like(pred)
    if kind == "random":
        target = (torch.rand_like(pred) > 0.5).double()
    elif kind == "soft":
        target = torch.rand_like(pred)
    elif kind == "full":
        target += 1
    elif kind == "pixel":
        target[..., 0, 0] = 1
    elif kind == "labels":
        pred, target = pred * 300 - 20, torch.randint(0, 6, size).double() * 50
    return pred.requires_grad_(), target


def assert_same(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, Tensor], Tensor], p: Tensor, t: Tensor
) -> None:
    a, b = ours(p, t), theirs(p, t)
    assert a.item() == pytest.approx(b.item(), rel=1e-5, abs=1e-5)
    (slopes_a,), (slopes_b,) = torch.autograd.grad(a, p), torch.autograd.grad(b, p)
    assert torch.allclose(slopes_a, slopes_b, rtol=1e-5, atol=1e-5 * slopes_b.abs().max().item())


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "package", "theirs"), PACKAGES, ids=[f"{p[0]} {p[1]}" for p in PACKAGES])
def test_the_packages_give_the_same(name: str, package: str, theirs, size: tuple[int, ...], kind: str) -> None:  # type: ignore[no-untyped-def]
    spec = LOSSES[name]
    assert_same(lambda p, t: spec.function(p, t, **spec.like[package]), theirs, *inputs(size, kind))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "options", "theirs"), TORCH, ids=[f"{t[0]} {t[1]}" for t in TORCH])
def test_torch_gives_the_same(name: str, options, theirs, size: tuple[int, ...], kind: str) -> None:  # type: ignore[no-untyped-def]
    function = LOSSES[name].function
    assert_same(lambda p, t: function(p, t, **options), theirs, *inputs(size, kind))
    # With validity ours takes another path, which must come to the same.
    everywhere = torch.ones(size, dtype=torch.bool)
    assert_same(lambda p, t: function(p, t, valid=everywhere, **options), theirs, *inputs(size, kind))


def test_write_up_a_takes_one_root_of_the_batch_with_an_epsilon_inside() -> None:
    rmse = LOSSES["rmse"]
    pred, target = inputs((4, 1, 6, 6), "soft")
    errors = (pred - target).detach().numpy()
    ours = rmse.function(pred, target, **rmse.like["A"])
    assert ours.item() == pytest.approx(math.sqrt((errors**2).mean() + 1e-6), abs=1e-12)
    assert rmse.function(target, target, **rmse.like["A"]).item() == pytest.approx(1e-3)


def test_images_of_unequal_error_tell_the_two_roots_apart() -> None:
    # Errors 1 and 3 everywhere: the mean of the roots is 2, the root of the pooled mean sqrt(5).
    pred, target = torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1).expand(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    rmse = LOSSES["rmse"]
    monai = RMSEMetric(reduction="mean")
    monai(pred, target)
    assert rmse.function(pred, target).item() == monai.aggregate().item() == pytest.approx(2)
    theirs = tm.mean_squared_error(pred.flatten(), target.flatten(), squared=False).item()
    assert rmse.function(pred, target, over="batch").item() == pytest.approx(theirs) == pytest.approx(math.sqrt(5))


@pytest.mark.parametrize(
    ("over", "theirs"),
    [
        ("batch", lambda p, t: F.mse_loss(p, t).sqrt()),
        ("batch", lambda p, t: tm.mean_squared_error(p.flatten(), t.flatten(), squared=False)),
        ("image", by_monai(RMSEMetric)),
    ],
    ids=["torch", "torchmetrics", "monai"],
)
def test_at_zero_error_their_roots_have_a_nan_gradient_and_ours_zero(over: str, theirs) -> None:  # type: ignore[no-untyped-def]
    target = torch.rand(2, 1, 5, 5)
    pred = target.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(theirs(pred, target), pred)
    assert slopes.isnan().all()
    (slopes,) = torch.autograd.grad(LOSSES["rmse"].function(pred, target, over=over), pred)
    assert (slopes == 0).all()


def test_one_perfect_image_spoils_the_whole_batch_of_monai_but_not_of_ours() -> None:
    target = torch.rand(2, 1, 5, 5)
    pred = target.clone()
    pred[1] += 0.1
    pred.requires_grad_()
    (slopes,) = torch.autograd.grad(by_monai(RMSEMetric)(pred, target), pred)
    assert slopes[0].isnan().all()
    (slopes,) = torch.autograd.grad(LOSSES["rmse"].function(pred, target), pred)
    assert (slopes[0] == 0).all()
    assert slopes[1].isfinite().all()
    assert (slopes[1] > 0).all()
