from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from basrelief.errors import BasreliefError
from basrelief.functional.ssim import ssim_per_image


def by_the_formula(p: np.ndarray, t: np.ndarray, window: int = 11) -> float:
    """Wang et al. 2004, eq. 13, with plain two-dimensional convolutions."""
    x = np.arange(window) - window // 2
    g = np.exp(-(x**2) / (2 * 1.5**2))
    kernel = np.outer(g, g) / g.sum() ** 2

    def blur(a: np.ndarray) -> np.ndarray:
        return convolve2d(a, kernel, mode="valid")

    mp, mt = blur(p), blur(t)
    vp, vt, cov = blur(p * p) - mp**2, blur(t * t) - mt**2, blur(p * t) - mp * mt
    c1, c2 = 0.01**2, 0.03**2
    return float((((2 * mp * mt + c1) * (2 * cov + c2)) / ((mp**2 + mt**2 + c1) * (vp + vt + c2))).mean())


@pytest.mark.parametrize(("shape", "window"), [((24, 17), 11), ((11, 11), 11), ((9, 20), 5)])
def test_agrees_with_the_published_formula(shape: tuple[int, int], window: int) -> None:
    rng = np.random.default_rng(0)
    p = rng.random(shape)
    t = np.clip(p + rng.normal(0, 0.1, shape), 0, 1)
    ours = ssim_per_image(torch.tensor(p)[None, None], torch.tensor(t)[None, None], window=window)
    assert ours.item() == pytest.approx(by_the_formula(p, t, window), abs=1e-10)


def test_equal_images_score_one_and_order_does_not_matter() -> None:
    p, t = torch.rand(2, 3, 2, 20, 20, dtype=torch.float64)
    assert torch.allclose(ssim_per_image(p, p), torch.ones(3, 2, dtype=torch.float64))
    assert torch.allclose(ssim_per_image(p, t), ssim_per_image(t, p))


def test_all_known_equals_no_validity() -> None:
    p, t = torch.rand(2, 2, 1, 20, 20, dtype=torch.float64)
    assert torch.allclose(ssim_per_image(p, t, torch.ones(2, 1, 20, 20, dtype=torch.bool)), ssim_per_image(p, t))


def test_unknown_pixels_do_not_matter_even_when_nan() -> None:
    p, t = torch.rand(2, 2, 1, 24, 24, dtype=torch.float64)
    valid = torch.ones(2, 1, 24, 24, dtype=torch.bool)
    valid[..., :5] = False
    other = t.clone()
    other[..., :5] = float("nan")
    changed = p.clone()
    changed[..., :5] = 0.5
    assert torch.allclose(ssim_per_image(p, t, valid), ssim_per_image(changed, other, valid))


def test_an_image_without_a_known_window_is_nan_and_its_gradient_is_zero() -> None:
    p = torch.rand(1, 1, 16, 16, requires_grad=True)
    score = ssim_per_image(p, torch.rand(1, 1, 16, 16), torch.zeros(1, 1, 16, 16, dtype=torch.bool))
    assert score.isnan().all()
    torch.where(score.isnan(), torch.zeros_like(score), score).sum().backward()
    assert p.grad is not None
    assert (p.grad == 0).all()


def test_an_image_smaller_than_the_window_is_an_error_that_names_both() -> None:
    with pytest.raises(BasreliefError, match=r"8x20 px, smaller than its window of 11 px.*window=7"):
        ssim_per_image(torch.rand(1, 1, 8, 20), torch.rand(1, 1, 8, 20))
    with pytest.raises(BasreliefError, match="odd"):
        ssim_per_image(torch.rand(1, 1, 20, 20), torch.rand(1, 1, 20, 20), window=4)


def test_an_evaluation_first_does_not_spoil_training_after() -> None:
    with torch.inference_mode():
        ssim_per_image(torch.rand(1, 1, 29, 31), torch.rand(1, 1, 29, 31))
    p = torch.rand(1, 1, 29, 31, requires_grad=True)
    ssim_per_image(p, torch.rand(1, 1, 29, 31)).sum().backward()
    assert p.grad is not None
