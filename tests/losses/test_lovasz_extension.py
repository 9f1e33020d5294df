"""Reference values of the Lovász losses: by hand, and by the definition through sets instead of sorted sums."""

from __future__ import annotations

import itertools

import pytest
import torch

from basrelief.errors import UsageError
from basrelief.losses.lovasz_extension import lovasz, lovasz_hinge


def plane(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


def by_sets(errors: list[float], target: list[float]) -> float:
    """Lovász's extension as an integral over θ ≥ 0 of the Jaccard loss with the pixels {error > θ} taken wrong."""
    levels = sorted({0.0, *(e for e in errors if e > 0)})
    total = 0.0
    for low, high in itertools.pairwise(levels):
        wrong = [e > low for e in errors]
        both = sum(t for t, w in zip(target, wrong, strict=True) if not w)
        union = sum(target) + sum(1 - t for t, w in zip(target, wrong, strict=True) if w)
        total += (high - low) * (1 - both / union)
    return total


def test_lovasz_by_hand() -> None:
    # Errors 0.6 (mask), 0.3 (not), 0.1 (mask): J = 1/2, then 2/3, then 1; 0.6/2 + 0.3/6 + 0.1/3.
    assert lovasz(plane(0.4, 0.3, 0.9), plane(1, 0, 1)).item() == pytest.approx(0.6 / 2 + 0.3 / 6 + 0.1 / 3)


def test_lovasz_of_hard_predictions_is_the_jaccard_loss() -> None:
    # One hit, one miss, one false alarm: 1 - 1/3.
    assert lovasz(plane(1, 0, 1, 0), plane(1, 1, 0, 0)).item() == pytest.approx(2 / 3)


def test_lovasz_without_target_is_the_largest_error() -> None:
    pred = plane(0.2, 0.7, 0.1).requires_grad_()
    value = lovasz(pred, plane(0, 0, 0))
    value.backward()
    assert value.item() == pytest.approx(0.7)
    assert pred.grad is not None
    assert pred.grad.flatten().tolist() == [0, 1, 0]


def test_lovasz_hinge_by_hand() -> None:
    # Errors 1 - 0.5 (mask), 1 + 1 (not), 1 - 3 < 0 (mask): the sorted first is not mask, J = 1/3, then 2/3.
    assert lovasz_hinge(plane(0.5, 1, 3), plane(1, 0, 1)).item() == pytest.approx(2 / 3 + 0.5 / 3)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["binary", "soft"])
def test_both_agree_with_the_definition_by_sets(seed: int, kind: str) -> None:
    torch.manual_seed(seed)
    pred, logits, target = torch.rand(9).double(), torch.randn(9).double(), torch.rand(9).double()
    target = target.round() if kind == "binary" else target
    hinge = (1 - (2 * target - 1) * logits).tolist()
    size = (1, 1, 3, 3)
    value = lovasz(pred.reshape(size), target.reshape(size)).item()
    assert value == pytest.approx(by_sets((pred - target).abs().tolist(), target.tolist()))
    value = lovasz_hinge(logits.reshape(size), target.reshape(size)).item()
    assert value == pytest.approx(by_sets(hinge, target.tolist()))


@pytest.mark.parametrize("fn", [lovasz, lovasz_hinge])
@pytest.mark.parametrize("over", ["image", "batch"])
@pytest.mark.parametrize("empty", ["score", "zero", "skip"])
def test_unknown_pixels_take_no_part(fn, over: str, empty: str) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    pred, target = torch.rand(3, 2, 4, 6).double(), torch.rand(3, 2, 4, 6).double().round()
    target[1, 0] = 0
    pred[..., 1] = target[..., 1]  # errors of 0 beside the unknown ones
    cropped = pred[..., :3].clone().requires_grad_()
    expected = fn(cropped, target[..., :3], over=over, empty=empty)
    expected.backward()
    valid = torch.ones(3, 1, 4, 6, dtype=torch.bool)
    valid[..., 3:] = False
    pred[..., 4] = 1e4  # the largest errors of all, were they known
    pred.requires_grad_()
    value = fn(pred, target.masked_fill(~valid, float("nan")), valid=valid, over=over, empty=empty)
    value.backward()
    assert value.item() == pytest.approx(expected.item())
    assert pred.grad is not None
    assert cropped.grad is not None
    wrong = (pred - target).detach()[..., :3] != 0  # at an error of 0 there is no one gradient
    assert torch.allclose(pred.grad[..., :3][wrong], cropped.grad[wrong])
    assert (pred.grad[..., 3:] == 0).all()


@pytest.mark.parametrize(("empty", "expected"), [("score", 0.4), ("zero", 0.1), ("skip", 0.2)])
def test_a_class_without_target_counts_as_asked(empty: str, expected: float) -> None:
    # The first class has one pixel, missed by 0.2; the second has none, with a largest error of 0.6.
    pred = torch.tensor([[[[0.8, 0.0]], [[0.6, 0.1]]]])
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]])
    assert lovasz(pred, target, empty=empty).item() == pytest.approx(expected)


def test_over_batch_and_pooled_classes_are_one_row_of_pixels() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 4, 5), torch.rand(2, 3, 4, 5).round()
    row = logits.reshape(1, 1, 1, -1), target.reshape(1, 1, 1, -1)
    value = lovasz_hinge(logits, target, over="batch", classes="pooled")
    assert value.item() == pytest.approx(lovasz_hinge(*row).item(), rel=1e-5)
    images = torch.stack(
        [lovasz_hinge(x.reshape(1, 1, 1, -1), t.reshape(1, 1, 1, -1)) for x, t in zip(logits, target, strict=True)]
    )
    assert lovasz_hinge(logits, target, classes="pooled").item() == pytest.approx(images.mean().item(), rel=1e-5)
    by_class = [
        lovasz(torch.sigmoid(logits[:, k : k + 1].reshape(1, 1, 1, -1)), target[:, k : k + 1].reshape(1, 1, 1, -1))
        for k in range(3)
    ]
    assert lovasz(torch.sigmoid(logits), target, over="batch").item() == pytest.approx(
        sum(by_class).item() / 3, rel=1e-5
    )


@pytest.mark.parametrize("fn", [lovasz, lovasz_hinge])
@pytest.mark.parametrize("known", ["all", "some"])
@pytest.mark.parametrize("over", ["image", "batch"])
def test_gradient_is_the_true_one(fn, known: str, over: str) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    pred = torch.rand(2, 2, 3, 5, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, 2, 3, 5, dtype=torch.float64).round()
    valid = None if known == "all" else torch.rand(2, 1, 3, 5) < 0.6
    assert torch.autograd.gradcheck(lambda p: fn(p, target, valid=valid, over=over), (pred,))


def test_weights_of_many_pixels_keep_their_digits_in_float32() -> None:
    # Only false alarms beside one hit: the weight of the i-th wrong pixel is 1/(i·(i + 1)), small beside 1.
    size = 40_000
    pred = torch.linspace(0.9, 0.1, size).reshape(1, 1, 1, -1).requires_grad_()
    target = torch.zeros(1, 1, 1, size)
    target[..., -1] = 1
    with torch.no_grad():
        pred[..., -1] = 1
    lovasz(pred, target).backward()
    ranks = torch.arange(1, size, dtype=torch.float64)
    assert pred.grad is not None
    assert torch.allclose(pred.grad.flatten()[:-1].double(), 1 / (ranks * (ranks + 1)), rtol=1e-4, atol=0)


def test_bad_options_are_named() -> None:
    planes = torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)
    with pytest.raises(UsageError, match="lovasz's empty 'present'"):
        lovasz(*planes, empty="present")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="lovasz_hinge's classes 'all'"):
        lovasz_hinge(*planes, classes="all")  # type: ignore[arg-type]
