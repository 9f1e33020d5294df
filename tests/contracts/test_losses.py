"""What every loss of the table must do. A new line inherits these checks."""

from __future__ import annotations

import pytest
import torch

from basrelief.losses import LOSSES
from basrelief.losses.expression import parse_loss

CASES = [(name, target) for name, spec in LOSSES.items() for target in spec.targets]
SIZE = (2, 2, 12, 13)


def masks(kind: str) -> torch.Tensor:
    target = torch.zeros(SIZE)
    if kind == "full":
        target += 1
    elif kind == "pixel":
        target[..., 3, 4] = 1
    elif kind == "random":
        target = (torch.rand(SIZE) > 0.6).float()
    return target


@pytest.mark.parametrize(("name", "target"), CASES)
@pytest.mark.parametrize("kind", ["empty", "full", "pixel", "random"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4], ids=["flat", "usual", "huge"])
def test_value_and_gradient_are_finite(name: str, target: str, kind: str, scale: float) -> None:
    logits = (torch.randn(SIZE) * scale).requires_grad_()
    value = parse_loss(f"{name}({target})")({target: logits}, {target: masks(kind)})
    value.total.backward()
    assert value.total.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(("name", "target"), CASES)
def test_connected_to_the_logits_when_nothing_is_known(name: str, target: str) -> None:
    logits = torch.randn(SIZE, requires_grad=True)
    planes = {target: torch.full(SIZE, float("nan")), f"{target}_valid": torch.zeros(2, 1, 12, 13, dtype=torch.bool)}
    value = parse_loss(f"{name}({target})")({target: logits}, planes)
    value.total.backward()
    assert value.total.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize(("name", "target"), CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(name: str, target: str, dtype: torch.dtype) -> None:
    logits = torch.randn(SIZE).to(dtype).requires_grad_()
    loss, planes = parse_loss(f"{name}({target})"), {target: masks("random")}
    value = loss({target: logits}, planes)
    assert value.total.dtype == torch.float32
    assert value.total.item() == pytest.approx(loss({target: logits.float()}, planes).total.item())


@pytest.mark.parametrize(("name", "target"), CASES)
@pytest.mark.parametrize("known", [None, 0.7], ids=["all known", "some unknown"])
def test_gradient_agrees_with_finite_differences(name: str, target: str, known: float | None) -> None:
    size = (2, 1, 11, 12)
    logits = torch.randn(size, dtype=torch.float64, requires_grad=True)
    planes = {target: torch.rand(size, dtype=torch.float64)}
    if known is not None:
        planes[f"{target}_valid"] = torch.rand(size) < known
    loss = parse_loss(f"{name}({target})")
    assert torch.autograd.gradcheck(lambda x: loss({target: x}, planes).total, (logits,), fast_mode=True)


@pytest.mark.parametrize(("name", "target"), CASES)
def test_a_perfect_prediction_is_no_worse_than_any_other(name: str, target: str) -> None:
    truth = masks("random")
    loss = parse_loss(f"{name}({target})")
    perfect = loss({target: (2 * truth - 1) * 50}, {target: truth}).total
    assert perfect.item() == pytest.approx(0, abs=1e-4)
    assert loss({target: torch.randn(SIZE)}, {target: truth}).total > perfect


@pytest.mark.parametrize("name", LOSSES)
def test_the_line_says_what_it_is(name: str) -> None:
    spec = LOSSES[name]
    assert spec.formula
    assert spec.summary
    assert "(N, " in (spec.function.__doc__ or "") or "Shapes as" in (spec.function.__doc__ or "")
