from __future__ import annotations

import pytest
import torch

from basrelief.errors import BasreliefError, UsageError
from basrelief.functional.ms_ssim import ms_ssim_per_image
from basrelief.functional.ssim import ssim_per_image
from basrelief.losses.structure import ms_ssim, ssim

LOSSES = [pytest.param(ssim, {}, id="ssim"), pytest.param(ms_ssim, {"window": 5, "scales": 3}, id="ms_ssim")]


def images(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a pair that is alike, so that no factor of MS-SSIM is at its floor."""
    target = torch.rand(shape, dtype=dtype)
    return (target + 0.3 * torch.rand(shape, dtype=dtype)).clamp(0, 1), target


def test_two_flat_images_give_the_luminance_term_alone() -> None:
    # Contrast and structure of flat images are C2/C2 = 1; luminance is (2·0.5·0.25 + 1e-4) / (0.25 + 0.0625 + 1e-4).
    p, t = torch.full((2, 1, 12, 12), 0.5), torch.full((2, 1, 12, 12), 0.25)
    expected = (0.25 + 1e-4) / (0.3125 + 1e-4)
    assert ssim(p, t).item() == pytest.approx(1 - expected, abs=1e-6)
    # MS-SSIM has the luminance at the coarsest scale only, to the power of its weight among the first two.
    assert ms_ssim(p, t, window=3, scales=2).item() == pytest.approx(
        1 - expected ** (0.2856 / (0.0448 + 0.2856)), abs=1e-6
    )


def test_several_windows_are_summed_and_a_list_is_as_good_as_a_tuple() -> None:
    p, t = images(2, 1, 24, 24)
    both = ssim(p, t, window=(5, 11))
    assert both.item() == pytest.approx((ssim(p, t, window=5) + ssim(p, t, window=11)).item())
    assert torch.equal(ssim(p, t, window=[5, 11]), both)
    assert ssim(p, t, window=[5, 11], half=True).item() == pytest.approx(both.item() / 2)
    ms = ms_ssim(p, t, window=[3, 5], scales=2)
    assert ms.item() == pytest.approx((ms_ssim(p, t, window=3, scales=2) + ms_ssim(p, t, window=5, scales=2)).item())


@pytest.mark.parametrize(("loss", "options"), LOSSES)
@pytest.mark.parametrize("window", [(), (5, 4), [5, None], "5", 0])
def test_a_bad_window_is_an_error_that_names_the_loss(loss, options: dict, window: object) -> None:
    p, t = images(1, 1, 44, 44)
    with pytest.raises(UsageError, match=rf"^{loss.__name__}: window is .*odd whole number"):
        loss(p, t, **{**options, "window": window})


@pytest.mark.parametrize(("loss", "options"), LOSSES)
def test_too_small_an_image_is_an_error_and_not_a_wrong_number(loss, options: dict) -> None:
    with pytest.raises(BasreliefError, match=rf"^{loss.__name__}: the image is 10x10 px"):
        loss(*images(1, 1, 10, 10), **options)


@pytest.mark.parametrize(("loss", "options"), LOSSES)
def test_is_the_mean_over_images_and_channels_that_are_known(loss, options: dict) -> None:
    p, t = images(3, 2, 24, 26)
    per_image = ssim_per_image if loss is ssim else ms_ssim_per_image
    assert loss(p, t, **options).item() == pytest.approx(1 - per_image(p, t, **options).mean().item())
    valid = torch.ones(3, 1, 24, 26, dtype=torch.bool)
    valid[1] = False
    assert loss(p, t, valid=valid, **options).item() == pytest.approx(loss(p[::2], t[::2], **options).item())


@pytest.mark.parametrize(("loss", "options"), LOSSES)
def test_nothing_known_gives_zero_with_a_zero_gradient(loss, options: dict) -> None:
    p = torch.full((2, 1, 24, 24), float("nan"), requires_grad=True)
    value = loss(p, torch.full_like(p, float("nan")), valid=torch.zeros(2, 1, 24, 24, dtype=torch.bool), **options)
    value.backward()
    assert value.item() == 0
    assert p.grad is not None
    assert (p.grad == 0).all()


@pytest.mark.parametrize(("loss", "options"), LOSSES)
@pytest.mark.parametrize("known", [None, True], ids=["no validity", "all known"])
def test_a_prediction_of_nan_shows(loss, options: dict, known: bool | None) -> None:
    p, t = images(2, 1, 24, 24)
    p[0, 0, 3, 3] = float("nan")
    assert loss(p, t, valid=None if known is None else torch.ones_like(p, dtype=torch.bool), **options).isnan()


@pytest.mark.parametrize(("loss", "options"), LOSSES)
@pytest.mark.parametrize("shape", [(1, 1, 17, 40), (2, 5, 23, 19)])
@pytest.mark.parametrize("kind", ["empty", "full", "pixel", "random"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4], ids=["flat", "usual", "huge"])
def test_value_and_gradient_are_finite(loss, options: dict, shape: tuple[int, ...], kind: str, scale: float) -> None:
    target = {"empty": torch.zeros, "full": torch.ones}.get(kind, torch.rand)(shape).round()
    if kind == "pixel":
        target.zero_()[..., 3, 4] = 1
    logits = (torch.randn(shape) * scale).requires_grad_()
    for pred in (logits.sigmoid(), logits, target + 0 * logits, 1 - target + 0 * logits):
        value = loss(pred, target, **options)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize(("loss", "options"), LOSSES)
def test_a_perfect_prediction_costs_exactly_nothing(loss, options: dict) -> None:
    p, _ = images(2, 2, 24, 24)
    p.requires_grad_()
    value = loss(p, p.detach().clone(), **options)
    value.backward()
    assert value.item() == 0
    assert p.grad is not None
    assert (p.grad == 0).all()


@pytest.mark.parametrize(("loss", "options"), LOSSES)
@pytest.mark.parametrize("known", [None, 0.8], ids=["all known", "some unknown"])
def test_gradient_agrees_with_finite_differences(loss, options: dict, known: float | None) -> None:
    p, t = images(2, 1, 17, 18, dtype=torch.float64)
    valid = None if known is None else torch.rand(p.shape) < known
    p.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss(p, t, valid=valid, **options), (p,), fast_mode=True)
    assert loss(p, t, valid=valid, **options).dtype == torch.float64


@pytest.mark.parametrize(("loss", "options"), LOSSES)
def test_a_step_down_the_gradient_makes_it_less(loss, options: dict) -> None:
    p, t = images(2, 1, 24, 24)
    p.requires_grad_()
    before = loss(p, t, **options)
    (gradient,) = torch.autograd.grad(before, p)
    assert loss(p - gradient, t, **options) < before
