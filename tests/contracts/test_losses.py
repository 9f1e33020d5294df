"""What every loss of the table must do, in our definition and in every other it knows. A new line inherits these."""

from __future__ import annotations

import inspect

import pytest
import torch

from basrelief.errors import BasreliefError, DataError
from basrelief.losses import LOSSES
from basrelief.losses.expression import parse_loss
from basrelief.losses.loss import Loss

SIZE = (2, 2, 12, 13)
SMALLER = {"ssim": "window=5", "ms_ssim": "window=5, scales=2"}  # so that small images do
OWN = [(name, target, "") for name, spec in LOSSES.items() for target in spec.targets]
CASES = [
    *OWN,
    *((name, spec.targets[0], f'like="{package}"') for name, spec in LOSSES.items() for package in spec.like),
    *(
        (name, spec.targets[0], 'over="batch"')
        for name, spec in LOSSES.items()
        if "over" in inspect.signature(spec.function).parameters
    ),
]
every_loss = pytest.mark.parametrize(("name", "target", "option"), CASES)


def loss_of(name: str, target: str, option: str = "") -> Loss:
    options = [option] if option else []
    if name in SMALLER:
        known = inspect.signature(LOSSES[name].function).parameters
        fixed = LOSSES[name].like.get(option[6:-1], {}) if option.startswith("like") else {}
        options += [o for o in SMALLER[name].split(", ") if o.split("=")[0] in known and o.split("=")[0] not in fixed]
    return parse_loss(f"{name}({', '.join([target, *options])})")


def size_for(loss: Loss, small: tuple[int, ...] = SIZE) -> tuple[int, ...]:
    """The smallest size at which this definition works, from ``small`` on."""
    for height, width in (small[2:], (24, 25), (48, 50)):
        zeros = {target: torch.zeros(1, 2, height, width) for target in loss.targets}
        try:
            loss(zeros, zeros)
        except BasreliefError:
            continue
        return (*small[:2], height, width)
    raise AssertionError(f"{loss} works at no size tried")


def truth(kind: str, size: tuple[int, ...] = SIZE) -> torch.Tensor:
    target = torch.zeros(size)
    if kind == "full":
        target += 1
    elif kind == "pixel":
        target[..., 3, 4] = 1
    elif kind == "random":
        target = (torch.rand(size) > 0.6).float()
    return target


@every_loss
@pytest.mark.parametrize("kind", ["empty", "full", "pixel", "random"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4], ids=["flat", "usual", "huge"])
def test_value_and_gradient_are_finite(name: str, target: str, option: str, kind: str, scale: float) -> None:
    loss = loss_of(name, target, option)
    size = size_for(loss)
    logits = (torch.randn(size) * scale).requires_grad_()
    value = loss({target: logits}, {target: truth(kind, size)})
    value.total.backward()
    assert value.total.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@every_loss
@pytest.mark.parametrize("sign", [1, -1], ids=["perfect", "perfectly wrong"])
@pytest.mark.parametrize("kind", ["empty", "full", "pixel", "random"])
def test_certain_predictions_are_finite(name: str, target: str, option: str, kind: str, sign: int) -> None:
    loss = loss_of(name, target, option)
    planes = {target: truth(kind, size_for(loss))}
    logits = (sign * (2 * planes[target] - 1) * 1e4).requires_grad_()
    value = loss({target: logits}, planes)
    value.total.backward()
    assert value.total.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@every_loss
def test_connected_to_the_logits_when_nothing_is_known(name: str, target: str, option: str) -> None:
    loss = loss_of(name, target, option)
    size = size_for(loss)
    logits = torch.randn(size, requires_grad=True)
    unknown = torch.zeros(size[0], 1, *size[2:], dtype=torch.bool)
    value = loss({target: logits}, {target: torch.full(size, float("nan")), f"{target}_valid": unknown})
    value.total.backward()
    assert value.total.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@every_loss
def test_what_is_unknown_has_no_influence(name: str, target: str, option: str) -> None:
    loss = loss_of(name, target, option)
    size = size_for(loss)
    valid = torch.ones(size[0], 1, *size[2:], dtype=torch.bool)
    valid[0, :, :, 9:] = False
    found = []
    for filling, logit in ((float("nan"), 0.0), (1.0, 3.0), (0.0, -3.0)):
        torch.manual_seed(0)
        logits, hidden = torch.randn(size, dtype=torch.float64), truth("random", size).double()
        hidden[0, :, :, 9:], logits[0, :, :, 9:] = filling, logit
        logits.requires_grad_()
        value = loss({target: logits}, {target: hidden, f"{target}_valid": valid})
        value.total.backward()
        assert logits.grad is not None
        assert (logits.grad[0, :, :, 9:] == 0).all()
        found.append(value.total.item())
    assert found == pytest.approx([found[0]] * 3)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(name: str, target: str, option: str, dtype: torch.dtype) -> None:
    loss = loss_of(name, target, option)
    planes = {target: truth("random", size_for(loss))}
    logits = torch.randn_like(planes[target]).to(dtype).requires_grad_()
    value = loss({target: logits}, planes)
    assert value.total.dtype == torch.float32
    assert value.total.item() == pytest.approx(loss({target: logits.float()}, planes).total.item())


@every_loss
@pytest.mark.parametrize("known", [None, 0.7], ids=["all known", "some unknown"])
def test_gradient_agrees_with_finite_differences(name: str, target: str, option: str, known: float | None) -> None:
    loss = loss_of(name, target, option)
    size = size_for(loss, (2, 2, 11, 12))
    torch.manual_seed(1)
    logits = torch.randn(size, dtype=torch.float64, requires_grad=True)
    planes = {target: torch.rand(size, dtype=torch.float64)}
    if name.startswith("lovasz"):  # not defined for soft targets
        planes[target] = planes[target].round()
    if known is not None:
        planes[f"{target}_valid"] = torch.rand(size[0], 1, *size[2:]) < known
    assert torch.autograd.gradcheck(lambda x: loss({target: x}, planes).total, (logits,), fast_mode=True)


@pytest.mark.parametrize(("name", "target", "option"), OWN)
def test_a_perfect_prediction_is_no_worse_than_any_other(name: str, target: str, option: str) -> None:
    loss = loss_of(name, target, option)
    size = size_for(loss)
    planes = {target: truth("random", size)}
    if name == "cross_entropy":  # one class a pixel
        planes[target] = torch.cat([planes[target][:, :1], 1 - planes[target][:, :1]], dim=1)
    perfect = loss({target: (2 * planes[target] - 1) * 50}, planes).total
    assert perfect.item() == pytest.approx(0, abs=1e-4)
    assert loss({target: torch.randn(size)}, planes).total > perfect


@pytest.mark.parametrize(("name", "target", "option"), OWN)
def test_the_order_of_images_does_not_matter(name: str, target: str, option: str) -> None:
    loss = loss_of(name, target, option)
    size = size_for(loss)
    logits, planes = torch.randn(size, dtype=torch.float64), truth("random", size)
    one = loss({target: logits}, {target: planes}).total
    other = loss({target: logits.flip(0)}, {target: planes.flip(0)}).total
    assert one.item() == pytest.approx(other.item())


@every_loss
def test_a_target_that_is_no_number_is_an_error_that_names_the_sample(name: str, target: str, option: str) -> None:
    loss = loss_of(name, target, option)
    size = size_for(loss)
    broken = truth("random", size)
    broken[1, 0, 2, 2] = float("nan")
    with pytest.raises(DataError, match=rf"'{target}' of sample 1 .*{target}_valid"):
        loss({target: torch.randn(size)}, {target: broken})


@pytest.mark.parametrize("name", LOSSES)
def test_the_line_says_what_it_is(name: str) -> None:
    spec = LOSSES[name]
    assert spec.formula
    assert spec.summary
    assert spec.source
    assert "(N, " in (spec.function.__doc__ or "") or "Shapes as" in (spec.function.__doc__ or "")


@pytest.mark.parametrize("name", LOSSES)
def test_other_definitions_are_options_of_the_function(name: str) -> None:
    spec = LOSSES[name]
    known = inspect.signature(spec.function).parameters
    for package, options in spec.like.items():
        assert set(options) <= set(known), package
