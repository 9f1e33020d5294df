"""What a loss expression does around the functions: types, shapes, other people's functions, copies."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from basrelief.errors import ExpressionError, UsageError
from basrelief.losses.expression import parse_loss

LOGITS = {"mask": torch.randn(3, 2, 16, 16), "depth": torch.randn(3, 1, 16, 16)}
PLANES = {"mask": (torch.rand(3, 2, 16, 16) > 0.5).float(), "depth": torch.rand(3, 1, 16, 16)}


class Power(nn.Module):
    """The mean of a power of the error, with a factor that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(3.0))

    def forward(
        self, pred: Tensor, target: Tensor, *, valid: Tensor | None = None, power: float | None = 2.0
    ) -> Tensor:
        error = (pred - target).abs() if valid is None else (pred - target)[valid].abs()
        return self.factor * (error if power is None else error**power).mean()


@pytest.mark.parametrize(
    "text", ["rmse(depth)", "cl_dice(mask)", "cross_entropy(mask)", "balance(bce(mask) + l1(depth))"]
)
def test_autocast_does_not_cast_a_loss_down(text: str) -> None:
    logits = {name: plane.clone().requires_grad_() for name, plane in LOGITS.items()}
    plain = parse_loss(text)(logits, PLANES).total
    with torch.autocast("cpu", torch.bfloat16):
        loss = parse_loss(text)
        value = loss(logits, PLANES)
        shares = loss.gradient_shares(logits, PLANES, value.weights)
    assert value.total.dtype == torch.float32
    assert value.total.item() == plain.item()
    assert sum(share.item() for share in shares.values()) == pytest.approx(1)


def test_a_module_is_called_with_its_options_and_its_parameters_are_the_losss() -> None:
    planes = {**PLANES, "depth_valid": torch.rand(3, 1, 16, 16) > 0.3}
    planes["depth"] = PLANES["depth"].where(planes["depth_valid"], torch.tensor(float("nan")))
    loss = parse_loss("own(depth, power=1)", losses={"own": Power()})
    value = loss(LOGITS, planes)
    by_hand = 3 * (torch.sigmoid(LOGITS["depth"]) - planes["depth"])[planes["depth_valid"]].abs().mean()
    assert value.total.item() == pytest.approx(by_hand.item())
    assert [parameter.item() for parameter in loss.parameters()] == [3]
    assert list(loss.state_dict()) == ["own.own.factor"]
    assert parse_loss("own(depth, power=None)", losses={"own": Power()})(LOGITS, PLANES).total.isfinite()


def test_a_function_that_knows_nothing_of_validity_never_sees_an_unknown_value() -> None:
    valid = torch.ones(3, 1, 16, 16, dtype=torch.bool)
    valid[..., :4] = False
    planes = {"depth": PLANES["depth"].masked_fill(~valid, float("nan")), "depth_valid": valid}
    logits = LOGITS["depth"].clone().requires_grad_()
    value = parse_loss("own(depth)", losses={"own": torch.nn.functional.mse_loss})({"depth": logits}, planes)
    value.total.backward()
    assert value.total.isfinite()
    assert logits.grad is not None
    assert (logits.grad[..., :4] == 0).all()


@pytest.mark.parametrize(
    ("function", "text", "message"),
    [
        (nn.MSELoss, "own(depth)", "give a function"),
        (3, "own(depth)", "give a function"),
        (lambda pred, target, *, power: pred.mean(), "own(depth)", "needs its option power"),
        (lambda pred, target: 1.0, "own(depth)", "holds a single number"),
        (lambda pred, target: pred, "own(depth)", r"shape \(3, 1, 16, 16\)"),
    ],
    ids=["class", "number", "option without default", "float", "plane"],
)
def test_what_is_no_loss_is_said_to_be_none(function, text: str, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message):
        parse_loss(text, losses={"own": function})(LOGITS, PLANES)


@pytest.mark.parametrize(
    "valid",
    [
        torch.ones(3, 16, 16, dtype=torch.bool),
        torch.ones(1, 1, 16, 16, dtype=torch.bool),
        torch.ones(3, 1, 1, 1, dtype=torch.bool),
        torch.ones(3, 1, 16, 16),
        [True],
    ],
    ids=["three dimensions", "one image", "no pixels", "numbers", "a list"],
)
def test_validity_of_another_shape_or_type_is_refused(valid: object) -> None:
    with pytest.raises(UsageError, match=r"mask_valid is .* must be a bool tensor \(3, 1, 16, 16\)"):
        parse_loss("dice(mask)")(LOGITS, {**PLANES, "mask_valid": valid})  # type: ignore[dict-item]


def test_planes_without_images_or_channels_are_refused() -> None:
    for shape in ((0, 1, 8, 8), (2, 8, 8), (2, 0, 8, 8)):
        with pytest.raises(UsageError, match=r"expected \(N, channels, height, width\)"):
            parse_loss("mse(mask)")({"mask": torch.zeros(shape)}, {"mask": torch.zeros(shape)})


def test_unknown_activations_are_named() -> None:
    with pytest.raises(UsageError, match="sigmoid"):
        parse_loss("dice(mask)")(LOGITS, PLANES, activations={"mask": "sigmod"})
    with pytest.raises(UsageError, match="mask"):
        parse_loss("dice(mask)")(LOGITS, PLANES, activations={"msk": "sigmoid"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bce(mask) # pixels\n + dice(mask)", "'#' is not part"),
        ("ssim(mask, window=5, window=7)", "window a second time"),
        ("dice(mask, smooth=[1, 2, 3])", "a list of two"),
        (None, "written as a text"),
    ],
)
def test_texts_that_would_silently_mean_something_else(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_loss(text)


def test_a_sharp_inside_quotes_is_a_text() -> None:
    with pytest.raises(ExpressionError, match="no definition of dice"):
        parse_loss("dice(mask, like='#1')")


@pytest.mark.parametrize("text", ["bce(mask) + ssim(depth, window=[5, 11])", "balance(bce(mask) + dice(mask))"])
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))], ids=["copy", "pickle"]
)
def test_a_loss_can_be_copied_and_sent_to_another_process(text: str, copied) -> None:  # type: ignore[no-untyped-def]
    loss = parse_loss(text)
    other = copied(loss)
    assert str(other) == text
    assert other(LOGITS, PLANES).total.item() == loss(LOGITS, PLANES).total.item()


def test_gradient_shares_in_inference_mode() -> None:
    loss = parse_loss("bce(mask) + rmse(depth)")
    with torch.inference_mode():
        logits = {name: plane + 0 for name, plane in LOGITS.items()}
        planes = {name: plane + 0 for name, plane in PLANES.items()}
        shares = loss.gradient_shares(logits, planes, loss(logits, planes).weights)
    assert sum(share.item() for share in shares.values()) == pytest.approx(1)


def test_write_up_b_s_losses_of_depth() -> None:
    text = "bce(mask) + dice(mask) + bce(depth) + dice(depth) + ssim(depth, window=3) + l1(depth)"
    assert str(parse_loss(text)) == text
    assert parse_loss(text)(LOGITS, PLANES).total.isfinite()
