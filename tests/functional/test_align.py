from __future__ import annotations

import numpy as np
import pytest
import torch

from basrelief.functional.align import (
    align_median,
    align_scale_shift,
    fit_scale_shift,
    lower_median_per_image,
    median_per_image,
)

SIZE = (4, 1, 5, 7)


def some_unknown() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Four images with NaN where the target is unknown; the last one is wholly unknown."""
    pred, target = torch.rand(2, *SIZE, dtype=torch.float64)
    valid = torch.rand(SIZE) > 0.4
    valid[3] = False
    return pred, target.masked_fill(~valid, float("nan")), valid


def test_scale_and_shift_are_numpys_line_through_the_known_pixels() -> None:
    pred, target, valid = some_unknown()
    scale, shift = fit_scale_shift(pred, target, valid)
    for image in range(3):
        line = np.polyfit(pred[image][valid[image]].numpy(), target[image][valid[image]].numpy(), 1)
        assert (scale[image].item(), shift[image].item()) == pytest.approx(tuple(line))


def test_a_line_by_hand() -> None:
    # Through (0, 1), (1, 3), (2, 5): t = 2p + 1.
    pred, target = torch.tensor([[0.0, 1, 2], [1, 3, 5]]).reshape(2, 1, 1, 1, 3)
    scale, shift = fit_scale_shift(pred, target)
    assert (scale.item(), shift.item()) == pytest.approx((2, 1))
    assert torch.allclose(align_scale_shift(pred, target), target)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1.0, 77.7, 1e-30])
def test_a_constant_prediction_becomes_the_targets_mean_though_its_own_mean_is_rounded(constant: float) -> None:
    target = torch.rand(1, 1, 61, 67)
    scale, shift = fit_scale_shift(torch.full_like(target, constant), target)
    assert scale.item() == 0
    assert shift.item() == pytest.approx(target.mean().item())


def test_a_small_spread_far_from_zero_is_not_lost_in_float32() -> None:
    wave = torch.linspace(0, 1, 400).reshape(1, 1, 20, 20)
    scale, _ = fit_scale_shift(wave * 0.01 + 50, wave)
    assert scale.item() == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize("align", [align_median, align_scale_shift])
def test_an_image_without_a_known_pixel_is_left_as_it_is(align) -> None:  # type: ignore[no-untyped-def]
    pred, target, valid = some_unknown()
    aligned = align(pred, target, valid)
    assert torch.equal(aligned[3], pred[3])
    assert aligned.isfinite().all()


@pytest.mark.parametrize("align", [align_median, align_scale_shift])
def test_gradients_are_those_of_finite_differences_beside_nan_targets(align) -> None:  # type: ignore[no-untyped-def]
    pred, target, valid = some_unknown()
    assert torch.autograd.gradcheck(lambda p: align(p, target, valid)[valid], pred.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("align", [align_median, align_scale_shift])
def test_all_known_equals_no_validity(align) -> None:  # type: ignore[no-untyped-def]
    pred, target = torch.rand(2, 3, 2, 4, 5)
    assert torch.allclose(align(pred, target), align(pred, target, torch.ones(3, 1, 4, 5, dtype=torch.bool)))


def test_median_ratio_is_numpys_over_known_pixels() -> None:
    pred, target, valid = some_unknown()
    aligned = align_median(pred, target, valid)
    for image in range(3):
        p, t = pred[image][valid[image]].numpy(), target[image][valid[image]].numpy()
        assert np.allclose(aligned[image][valid[image]].numpy(), p * np.median(t) / np.median(p))


def test_a_prediction_with_median_zero_is_left_as_it_is() -> None:
    pred, target = torch.tensor([0.0, 0, 1]).reshape(1, 1, 1, 3), torch.ones(1, 1, 1, 3)
    assert torch.equal(align_median(pred, target), pred)


@pytest.mark.parametrize(
    ("values", "middle", "lower"),
    [([3.0, 1, 2], 2, 2), ([4.0, 1, 3, 2], 2.5, 2), ([5.0], 5, 5), ([1.0, 1, 1, 9], 1, 1)],
)
def test_medians_by_hand(values: list[float], middle: float, lower: float) -> None:
    plane = torch.tensor(values).reshape(1, 1, 1, -1)
    valid = torch.ones_like(plane, dtype=torch.bool)
    for known in (None, valid):
        assert median_per_image(plane, known).item() == middle
        assert lower_median_per_image(plane, known).item() == lower
