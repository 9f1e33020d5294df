"""Depth losses beside mmseg, Depth Anything, the Monocular Depth Estimation Toolbox and MiDaS.

None of them is installed: their formulas are written out here in numpy, from what their sources compute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from basrelief.losses import LOSSES

Array = np.ndarray[Any, np.dtype[np.float64]]
SIZES = [(4, 1, 12, 13), (2, 1, 3, 3), (1, 1, 1, 2), (3, 1, 64, 5)]


def inputs(size: tuple[int, ...], zeros: float = 0.0) -> tuple[Array, Array]:
    """Return depths in (0, 1]; a share ``zeros`` of the target is 0, though never a whole image."""
    rng = np.random.default_rng(1)
    pred, target = rng.uniform(0.02, 1, size), rng.uniform(0.02, 1, size)
    holes = rng.random(size) < zeros
    holes[..., 0, 0] = False
    return pred, np.where(holes, 0, target)


def ours(name: str, pred: Array, target: Array, **options: Any) -> float:
    return float(LOSSES[name].function(torch.tensor(pred), torch.tensor(target), **options))


def silog_of_mmseg(pred: Array, target: Array, eps: float) -> float:
    """mmseg 1.x: per image, over target > eps, both clamped at eps, lambda 0.5; then the mean over all images."""
    roots = []
    for p, t in zip(pred, target, strict=True):
        known = t > eps
        g = np.log(np.maximum(t, eps))[known] - np.log(np.maximum(p, eps))[known]
        roots.append(np.sqrt((g**2).mean() - 0.5 * g.mean() ** 2) if known.any() else 0.0)
    return float(np.mean(roots))


def silog_of_depth_anything(pred: Array, target: Array, known: Array) -> float:
    """Depth-Anything-V2, metric depth: all known pixels of the batch together, lambda 0.5, no clamp."""
    g = np.log(target[known]) - np.log(pred[known])
    return float(np.sqrt((g**2).mean() - 0.5 * g.mean() ** 2))


def silog_of_the_toolbox(pred: Array, target: Array) -> float:
    """Monocular-Depth-Estimation-Toolbox: pooled over target > 0, unbiased variance plus 0.15 of the squared mean."""
    known = target > 0
    g = np.log(pred[known]) - np.log(target[known])
    return float(np.sqrt(g.var(ddof=1) + 0.15 * g.mean() ** 2))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("zeros", [0.0, 0.3])
def test_silog_of_mmseg(size: tuple[int, ...], zeros: float) -> None:
    pred, target = inputs(size, zeros)
    like = LOSSES["silog"].like["mmseg"]
    assert ours("silog", pred, target, **like) == pytest.approx(silog_of_mmseg(pred, target, 1e-6), abs=1e-5)
    # Its function's own default is another eps than its module's; both are a floor of ours.
    pred[..., 0, 0] = 1e-5
    assert ours("silog", pred, target, **like, floor=1e-4) == pytest.approx(
        silog_of_mmseg(pred, target, 1e-4), abs=1e-5
    )


def test_mmseg_counts_an_image_without_a_target_as_perfect_and_ours_leaves_it_out() -> None:
    pred, target = inputs((2, 1, 6, 6))
    target[1] = 0
    theirs = silog_of_mmseg(pred, target, 1e-6)
    assert ours("silog", pred, target, **LOSSES["silog"].like["mmseg"]) == pytest.approx(2 * theirs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("zeros", [0.0, 0.3])
def test_silog_of_depth_anything(size: tuple[int, ...], zeros: float) -> None:
    pred, target = inputs(size, zeros)
    known = target > 0
    value = ours("silog", pred, target, valid=torch.tensor(known), **LOSSES["silog"].like["depth_anything"])
    assert value == pytest.approx(silog_of_depth_anything(pred, target, known), abs=1e-5)


def test_depth_anything_is_infinite_at_a_prediction_of_zero_and_ours_stops_at_its_floor() -> None:
    pred, target = inputs((1, 1, 4, 4))
    pred[0, 0, 0, 0] = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        assert not np.isfinite(silog_of_depth_anything(pred, target, target > 0))
    assert np.isfinite(ours("silog", pred, target, **LOSSES["silog"].like["depth_anything"]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("zeros", [0.0, 0.3])
def test_silog_of_the_toolbox(size: tuple[int, ...], zeros: float) -> None:
    pred, target = inputs(size, zeros)
    if (target > 0).sum() < 2:
        return  # a single pixel has no unbiased variance: theirs is NaN, ours takes it as 0
    value = ours("silog", pred, target, **LOSSES["silog"].like["mde_toolbox"])
    assert value == pytest.approx(silog_of_the_toolbox(pred, target), abs=1e-5)


def test_the_toolbox_is_nan_for_a_single_known_pixel_and_ours_is_not() -> None:
    pred, target = np.full((1, 1, 1, 1), 0.2), np.full((1, 1, 1, 1), 0.4)
    with np.errstate(divide="ignore", invalid="ignore"), pytest.warns(RuntimeWarning, match="Degrees of freedom"):
        assert np.isnan(silog_of_the_toolbox(pred, target))
    value = ours("silog", pred, target, **LOSSES["silog"].like["mde_toolbox"])
    assert value == pytest.approx(np.sqrt(0.15) * np.log(2))


@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize("zeros", [0.0, 0.3])
def test_ssi_of_midas_by_its_normal_equations(size: tuple[int, ...], zeros: float) -> None:
    """MiDaS solves [[Σp², Σp], [Σp, M]] x = [Σpt, Σt] for each image and takes Σ r² / (2M), over the whole batch."""
    pred, target = inputs(size, zeros)
    known = target > 0
    squares, each = 0.0, []
    for p, t, m in zip(pred, target, known, strict=True):
        p, t = p[m], t[m]
        x = np.linalg.solve([[(p * p).sum(), p.sum()], [p.sum(), len(p)]], [(p * t).sum(), t.sum()])
        left = ((x[0] * p + x[1] - t) ** 2).sum()
        squares += left
        each.append(left / (2 * len(p)))
    valid = torch.tensor(known)
    assert ours("ssi", pred, target, valid=valid, over="batch") == pytest.approx(squares / (2 * known.sum()), abs=1e-5)
    assert ours("ssi", pred, target, valid=valid) == pytest.approx(np.mean(each), abs=1e-5)


@pytest.mark.parametrize("size", [*SIZES[:2], SIZES[3]])
def test_ssi_of_depth_anything_by_median(size: tuple[int, ...]) -> None:
    """Depth Anything: both minus their median, over their mean distance from it; the mean |difference|, not halved."""

    def normal(x: Array) -> Array:
        offsets = x - np.sort(x.ravel())[(x.size - 1) // 2]  # torch's median: the lower of the middle two
        return offsets / np.abs(offsets).mean()

    pred, target = inputs(size)
    each = [np.abs(normal(p) - normal(t)).mean() for p, t in zip(pred, target, strict=True)]
    assert ours("ssi", pred, target, by="median") == pytest.approx(np.mean(each) / 2, abs=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_berhu_as_published_over_the_batch(size: tuple[int, ...]) -> None:
    """Laina et al. 2016: c is a fifth of the largest error of the batch."""
    pred, target = inputs(size)
    e = np.abs(pred - target)
    c = e.max() / 5
    expected = np.where(e <= c, e, (e**2 + c**2) / (2 * c)).mean()
    assert ours("berhu", pred, target, over="batch") == pytest.approx(expected, abs=1e-5)


def test_gradient_matching_of_midas_divides_by_pixels_and_ours_by_pairs() -> None:
    """MiDaS: at each scale Σ|differences| across and down over the number of pixels of that scale."""
    pred, target = inputs((1, 1, 32, 32))
    r = (pred - target)[0, 0]
    theirs, expected = 0.0, 0.0
    for step in (1, 2, 4, 8):
        s = r[::step, ::step]
        total = np.abs(np.diff(s, axis=0)).sum() + np.abs(np.diff(s, axis=1)).sum()
        theirs += total / s.size
        expected += total / (2 * s.shape[0] * (s.shape[0] - 1))
    assert ours("gradient", pred, target) == pytest.approx(expected, abs=1e-12)
    assert 1.4 < theirs / expected < 2  # twice as much, but for the pairs that the border lacks
