from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from basrelief.errors import BasreliefError, UsageError
from basrelief.functional import ssim as ssim_module
from basrelief.functional.blur import blur, spread
from basrelief.functional.ms_ssim import ms_ssim_per_image
from basrelief.functional.ssim import ssim_per_image

C1, C2 = 0.01**2, 0.03**2


def gaussian(window: int) -> np.ndarray:
    x = np.arange(window) - window // 2
    g = np.exp(-(x**2) / (2 * 1.5**2))
    return np.outer(g, g) / g.sum() ** 2


def maps_by_the_formula(
    p: np.ndarray, t: np.ndarray, kernel: np.ndarray, norm: float = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return l·cs and cs of Wang et al. 2004, eq. 13, with plain two-dimensional convolutions."""

    def mean(a: np.ndarray) -> np.ndarray:
        return convolve2d(a, kernel, mode="valid")

    mp, mt = mean(p), mean(t)
    vp, vt, cov = norm * (mean(p * p) - mp**2), norm * (mean(t * t) - mt**2), norm * (mean(p * t) - mp * mt)
    cs = (2 * cov + C2) / (vp + vt + C2)
    return (2 * mp * mt + C1) / (mp**2 + mt**2 + C1) * cs, cs


def by_the_formula(p: np.ndarray, t: np.ndarray, window: int = 11) -> float:
    return float(maps_by_the_formula(p, t, gaussian(window))[0].mean())


def halved(a: np.ndarray) -> np.ndarray:
    """Mean of 2x2 pixels; the last row or column of an odd side is averaged with its own copy, which is alone."""
    a = np.pad(a, [(0, side % 2) for side in a.shape], mode="edge")
    return (a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2]) / 4


def ms_by_the_formula(p: np.ndarray, t: np.ndarray, window: int = 11, scales: int = 5) -> float:
    """Wang, Simoncelli and Bovik 2003, eq. 7, with means below 0 counted as 0."""
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    weights = weights / (weights.sum() if scales < 5 else 1)  # the five sum to 1.0001, and are used as published
    product = 1.0
    for scale, weight in enumerate(weights):
        if scale:
            p, t = halved(p), halved(t)
        whole, cs = maps_by_the_formula(p, t, gaussian(window))
        product *= max(0.0, (whole if scale == scales - 1 else cs).mean()) ** weight
    return float(product)


def pair(shape: tuple[int, ...], noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = rng.random(shape)
    return p, np.clip(p + rng.normal(0, noise, shape), 0, 1)


def tensors(p: np.ndarray, t: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(p)[None, None], torch.tensor(t)[None, None]


@pytest.mark.parametrize(
    ("shape", "window"), [((24, 17), 11), ((11, 11), 11), ((9, 20), 5), ((83, 64), 11), ((3, 70), 3)]
)
def test_agrees_with_the_published_formula(shape: tuple[int, int], window: int) -> None:
    p, t = pair(shape)
    ours = ssim_per_image(*tensors(p, t), window=window)
    assert ours.item() == pytest.approx(by_the_formula(p, t, window), abs=1e-10)


def test_uniform_window_and_sample_covariance_follow_their_formula() -> None:
    p, t = pair((20, 15))
    ours = ssim_per_image(*tensors(p, t), window=7, kernel="uniform", sample_covariance=True)
    expected = maps_by_the_formula(p, t, np.full((7, 7), 1 / 49), norm=49 / 48)[0].mean()
    assert ours.item() == pytest.approx(float(expected), abs=1e-10)


def test_reflected_border_is_the_mirrored_image_without_padding() -> None:
    p, t = pair((9, 14))  # smaller than the window, which a mirrored image may be
    mirrored = (np.pad(a, 5, mode="reflect") for a in (p, t))
    ours = ssim_per_image(*tensors(p, t), border="reflect")
    assert ours.item() == pytest.approx(by_the_formula(*mirrored), abs=1e-10)


@pytest.mark.parametrize(("base", "spread_of"), [(0.0, 1.0), (0.95, 0.05), (0.9, 0.1), (0.5, 0.04)])
@pytest.mark.parametrize("size", [11, 64])
def test_float32_stays_near_float64_on_bright_and_on_flat_images(base: float, spread_of: float, size: int) -> None:
    # E[x²] - E[x]² cancels most where the values are large beside their spread; the worst is a single window.
    p, t = base + spread_of * torch.rand(2, 20, 1, size, size, dtype=torch.float64)
    p, t = p.float(), t.float()
    assert (ssim_per_image(p, t) - ssim_per_image(p.double(), t.double())).abs().max() < 1e-5


def test_equal_images_score_exactly_one_and_order_does_not_matter() -> None:
    p, t = torch.rand(2, 3, 2, 20, 20)
    assert (ssim_per_image(p, p) == 1).all()
    assert torch.allclose(ssim_per_image(p, t), ssim_per_image(t, p))


def test_each_plane_is_on_its_own_however_many_are_worked_on_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    p, t = torch.rand(2, 3, 4, 30, 21, dtype=torch.float64)
    p.requires_grad_()
    whole = ssim_per_image(p, t)
    (gradient,) = torch.autograd.grad(whole.sum(), p)
    alone = [ssim_per_image(p[i : i + 1, k : k + 1], t[i : i + 1, k : k + 1]) for i in range(3) for k in range(4)]
    assert torch.allclose(torch.cat(alone).view(3, 4), whole)
    monkeypatch.setattr(ssim_module, "PART", 5 * 30 * 21)
    parts = ssim_per_image(p, t)
    assert torch.allclose(parts, whole)
    assert torch.allclose(torch.autograd.grad(parts.sum(), p)[0], gradient)


def test_all_known_equals_no_validity() -> None:
    p, t = torch.rand(2, 2, 3, 20, 20, dtype=torch.float64)
    assert torch.allclose(ssim_per_image(p, t, torch.ones(2, 1, 20, 20, dtype=torch.bool)), ssim_per_image(p, t))


@pytest.mark.parametrize("function", [ssim_per_image, ms_ssim_per_image], ids=["ssim", "ms_ssim"])
def test_unknown_pixels_do_not_matter_even_when_nan(function) -> None:
    p = torch.rand(2, 1, 24, 24, dtype=torch.float64)
    t = (p + 0.1 * torch.rand_like(p)).clamp(0, 1)
    valid = torch.ones(2, 1, 24, 24, dtype=torch.bool)
    valid[..., :5] = False
    other, changed = t.clone(), p.clone()
    other[..., :5] = float("nan")
    changed[..., :5] = float("nan")
    changed.requires_grad_()
    options = {"scales": 2} if function is ms_ssim_per_image else {}
    value = function(changed, other, valid, **options)
    assert torch.allclose(function(p, t, valid, **options), value)
    value.sum().backward()
    assert changed.grad is not None
    assert changed.grad.isfinite().all()
    assert (changed.grad[..., :5] == 0).all()
    assert (changed.grad[..., 5:] != 0).any()


def test_windows_are_weighted_by_validity_and_left_out_when_less_than_half_known() -> None:
    # One window of 3x3 equal weights each, three columns of windows: 6 of 9, 3 of 9 and 3 of 9 pixels known.
    p, t = torch.rand(2, 1, 1, 3, 5, dtype=torch.float64)
    valid = torch.tensor([True, True, False, False, True]).expand(1, 1, 3, 5)
    a, b = p[0, 0, :, :2].flatten(), t[0, 0, :, :2].flatten()
    cov = ((a - a.mean()) * (b - b.mean())).mean()
    light = (2 * a.mean() * b.mean() + C1) / (a.mean() ** 2 + b.mean() ** 2 + C1)
    expected = light * (2 * cov + C2) / (a.var(correction=0) + b.var(correction=0) + C2)
    ours = ssim_per_image(p, t, valid, window=3, kernel="uniform")
    assert ours.item() == pytest.approx(expected.item(), abs=1e-12)


def test_an_image_without_a_known_window_is_nan_and_its_gradient_is_zero() -> None:
    p = torch.rand(1, 1, 16, 16, requires_grad=True)
    score = ssim_per_image(p, torch.rand(1, 1, 16, 16), torch.zeros(1, 1, 16, 16, dtype=torch.bool))
    assert score.isnan().all()
    torch.where(score.isnan(), torch.zeros_like(score), score).sum().backward()
    assert p.grad is not None
    assert (p.grad == 0).all()


@pytest.mark.parametrize("known", [None, 0.8], ids=["all known", "some unknown"])
@pytest.mark.parametrize("target_too", [False, True], ids=["pred", "pred and target"])
@pytest.mark.parametrize(
    "options",
    [{}, {"border": "reflect"}, {"kernel": "uniform", "window": 7, "sample_covariance": True}],
    ids=["ours", "reflect", "uniform"],
)
def test_gradients_agree_with_finite_differences(known: float | None, target_too: bool, options: dict) -> None:
    p, t = torch.rand(2, 1, 2, 11, 12, dtype=torch.float64)
    valid = None if known is None else torch.rand(1, 1, 11, 12) < known
    p.requires_grad_()
    t.requires_grad_(target_too)
    assert torch.autograd.gradcheck(lambda p, t: ssim_per_image(p, t, valid, **options), (p, t))


@pytest.mark.parametrize("known", [None, 0.8], ids=["all known", "some unknown"])
def test_gradients_of_ms_ssim_agree_with_finite_differences(known: float | None) -> None:
    p = torch.rand(1, 2, 11, 13, dtype=torch.float64)
    t = (p + 0.3 * torch.rand_like(p)).requires_grad_()
    p.requires_grad_()
    valid = None if known is None else torch.rand(1, 1, 11, 13) < known
    assert torch.autograd.gradcheck(lambda p, t: ms_ssim_per_image(p, t, valid, window=3, scales=3), (p, t))


def test_spread_is_the_transpose_of_blur() -> None:
    planes = torch.rand(41, 2, 3, 37, dtype=torch.float64)
    windows = torch.rand(31, 2, 3, 27, dtype=torch.float64)
    forward = (blur(planes, 11, "gaussian") * windows).sum()
    assert forward.item() == pytest.approx((planes * spread(windows, 11, "gaussian")).sum().item())


def test_nothing_is_computed_for_a_gradient_that_nobody_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a gradient was computed")

    monkeypatch.setattr(ssim_module, "spread", fail)
    p, t = torch.rand(2, 1, 1, 20, 20)
    ssim_per_image(p, t)
    with torch.no_grad():
        ssim_per_image(p.requires_grad_(), t)
    with pytest.raises(AssertionError, match="a gradient"):
        ssim_per_image(p, t)


def test_an_evaluation_first_does_not_spoil_training_after() -> None:
    with torch.inference_mode():
        ssim_per_image(torch.rand(1, 1, 29, 31), torch.rand(1, 1, 29, 31), window=9)
    p = torch.rand(1, 1, 29, 31, requires_grad=True)
    ssim_per_image(p, torch.rand(1, 1, 29, 31), window=9).sum().backward()
    assert p.grad is not None


def test_autocast_does_not_lower_the_precision() -> None:
    p, t = torch.rand(2, 1, 1, 40, 40)
    with torch.autocast("cpu", torch.bfloat16):
        low = ssim_per_image(p, t)
    assert low.dtype == torch.float32
    assert torch.equal(low, ssim_per_image(p, t))


def test_memory_layout_does_not_matter() -> None:
    p, t = torch.rand(2, 2, 3, 20, 24)
    layout = torch.channels_last
    assert torch.allclose(ssim_per_image(p.to(memory_format=layout), t), ssim_per_image(p, t))


def test_an_image_smaller_than_the_window_is_an_error_that_names_both() -> None:
    small = torch.rand(1, 1, 8, 20)
    with pytest.raises(BasreliefError, match=r"8x20 px, smaller than its window of 11 px.*window=7"):
        ssim_per_image(small, small)
    with pytest.raises(BasreliefError, match=r"too small to be mirrored for its window of 17 px.*window=15"):
        ssim_per_image(small, small, window=17, border="reflect")
    assert ssim_per_image(small, small, window=15, border="reflect").item() == 1


@pytest.mark.parametrize("window", [4, 1, -3, 5.0, True, "11"])
def test_a_window_that_is_not_odd_is_an_error(window: object) -> None:
    with pytest.raises(UsageError, match=r"window is .*odd whole number"):
        ssim_per_image(torch.rand(1, 1, 20, 20), torch.rand(1, 1, 20, 20), window=window)  # type: ignore[arg-type]


@pytest.mark.parametrize(("option", "value"), [("kernel", "gauss"), ("border", "same")])
def test_a_misspelt_option_is_an_error_that_lists_the_known_ones(option: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"{option} of ssim '{value}'.*Known"):
        ssim_per_image(torch.rand(1, 1, 20, 20), torch.rand(1, 1, 20, 20), **{option: value})


@pytest.mark.parametrize(
    ("shape", "window", "scales"), [((176, 161), 11, 5), ((50, 45), 11, 3), ((83, 96), 5, 4), ((20, 30), 11, 1)]
)
def test_ms_ssim_agrees_with_the_published_formula(shape: tuple[int, int], window: int, scales: int) -> None:
    p, t = pair(shape, noise=0.2)
    ours = ms_ssim_per_image(*tensors(p, t), window=window, scales=scales)
    assert ours.item() == pytest.approx(ms_by_the_formula(p, t, window, scales), abs=1e-10)


def test_ms_ssim_of_opposite_images_is_zero_with_a_zero_gradient() -> None:
    p = torch.rand(1, 1, 44, 44).round().requires_grad_()
    score = ms_ssim_per_image(p, 1 - p.detach(), scales=3)
    assert score.item() == 0
    score.sum().backward()
    assert p.grad is not None
    assert (p.grad == 0).all()


def test_ms_ssim_treats_all_known_as_no_validity() -> None:
    p, t = torch.rand(2, 2, 3, 45, 47, dtype=torch.float64)
    valid = torch.ones(2, 1, 45, 47, dtype=torch.bool)
    assert torch.allclose(ms_ssim_per_image(p, t, valid, scales=3), ms_ssim_per_image(p, t, scales=3))


def test_ms_ssim_without_a_known_window_is_nan_and_its_gradient_is_zero() -> None:
    p = torch.rand(2, 1, 44, 44, requires_grad=True)
    valid = torch.ones(2, 1, 44, 44, dtype=torch.bool)
    valid[0] = False
    score = ms_ssim_per_image(p, torch.rand(2, 1, 44, 44), valid, scales=3)
    assert score.isnan().tolist() == [[True], [False]]
    torch.where(score.isnan(), torch.zeros_like(score), score).sum().backward()
    assert p.grad is not None
    assert (p.grad[0] == 0).all()
    assert p.grad.isfinite().all()


def test_ms_ssim_of_too_small_an_image_says_what_fits() -> None:
    def score(size: int, **options: int) -> None:
        ms_ssim_per_image(torch.rand(1, 1, size, 300), torch.rand(1, 1, size, 300), **options)

    score(161)
    with pytest.raises(BasreliefError, match=r"160x300 px; 5 scales .* 11 px need at least 161 px.*scales=4.*window=9"):
        score(160)
    with pytest.raises(BasreliefError, match=r"at least 41 px.*scales=2"):
        score(40, scales=3)
    with pytest.raises(BasreliefError, match=r"8x300 px.*Use a larger resolution\.$"):
        score(8)
    with pytest.raises(UsageError, match="scales is 6"):
        score(400, scales=6)
