"""Errors of depth against the formulas in plain NumPy, written from the papers, and on values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from basrelief.metrics import METRICS, count_images, score_batch, summarise


def plane(*rows: list[float]) -> torch.Tensor:
    """One image a row, one pixel high."""
    return torch.tensor(rows).reshape(len(rows), 1, 1, -1)


def scores(
    pred: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None, **options: object
) -> dict[str, np.ndarray]:
    targets = {"depth": target} if valid is None else {"depth": target, "depth_valid": valid}
    found = score_batch({"depth": pred}, targets, **options)  # type: ignore[arg-type]
    return {name: values.numpy() for name, values in found.items()}


def formulas(p: np.ndarray, t: np.ndarray) -> dict[str, float]:
    """Eigen, Puhrsch and Fergus 2014, section 4.1, on the known depths of an image, both in the data's unit."""
    g, factor = np.log(p) - np.log(t), np.maximum(p / t, t / p)
    return {
        "depth/mae": np.abs(p - t).mean(),
        "depth/rmse": np.sqrt(((p - t) ** 2).mean()),
        "depth/abs_rel": (np.abs(p - t) / t).mean(),
        "depth/sq_rel": ((p - t) ** 2 / t).mean(),
        "depth/log10": np.abs(np.log10(p) - np.log10(t)).mean(),
        "depth/rmse_log": np.sqrt((g**2).mean()),
        "depth/silog": g.std(),  # lambda = 1: the standard deviation
        "depth/delta1": (factor < 1.25).mean(),
        "depth/delta2": (factor < 1.25**2).mean(),
        "depth/delta3": (factor < 1.25**3).mean(),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("known", [1.0, 0.6])
def test_every_error_is_the_formula_of_its_paper(dtype: torch.dtype, known: float) -> None:
    target = torch.rand(3, 1, 9, 14, dtype=dtype) * 0.9 + 0.05
    pred = (target * torch.exp(0.4 * torch.randn_like(target))).clamp(0, 1)
    valid = torch.rand(target.shape) < known
    found = scores(pred, target.masked_fill(~valid, float("nan")), valid, depth_max=8.0)
    images = [(8 * pred[i][valid[i]].numpy(), 8 * target[i][valid[i]].numpy()) for i in range(3)]
    for name in formulas(*images[0]):
        expected = [formulas(*image)[name] for image in images]
        assert found[name] == pytest.approx(expected, rel=1e-5 if dtype == torch.float32 else 1e-12), name
    together = formulas(*(np.concatenate(planes) for planes in zip(*images, strict=True)))
    summary = summarise(found)
    for name, expected in together.items():
        if f"{name}_pooled" in METRICS:
            assert summary[f"{name}_pooled"] == pytest.approx(expected, rel=1e-5), name


def test_errors_are_in_the_datas_unit() -> None:
    # Errors 0.1 and 0.3 of a maximum of 10 m: mean 2 m, root of (1 + 9)/2.
    found = scores(plane([0.5, 0.5]), plane([0.4, 0.8]), depth_max=10.0)
    assert found["depth/mae"].item() == pytest.approx(2)
    assert found["depth/rmse"].item() == pytest.approx(math.sqrt(5))
    assert found["depth/sq_rel"].item() == pytest.approx((1 / 4 + 9 / 8) / 2)
    assert found["depth/abs_rel"].item() == pytest.approx((1 / 4 + 3 / 8) / 2)


def test_pooled_weighs_pixels_and_leaves_unknown_ones_out() -> None:
    nan = float("nan")
    target = plane([1.0, 1, 1, nan], [3, nan, nan, nan])
    summary = summarise(scores(torch.zeros(2, 1, 1, 4), target, ~target.isnan()))
    assert summary["depth/rmse"] == pytest.approx((1 + 3) / 2)
    assert summary["depth/rmse_pooled"] == pytest.approx(math.sqrt((3 * 1 + 9) / 4))
    assert summary["depth/mae_pooled"] == pytest.approx(6 / 4)


def test_deltas_are_strict() -> None:
    # Factors of 1.25, 1.25, 1.25² and 1, of numbers that float32 holds without rounding.
    found = scores(plane([0.625, 0.5, 0.78125, 0.5]), plane([0.5, 0.625, 0.5, 0.5]))
    assert found["depth/delta1"].item() == 1 / 4
    assert found["depth/delta2"].item() == 3 / 4
    assert found["depth/delta3"].item() == 1


def test_a_truth_of_zero_has_no_ratio_and_a_prediction_of_zero_the_floor() -> None:
    # Truths 0, 0.5, 0.5; predicted 0.3, 0.5 and 0. Only the last two have ratios: 1 and 1e-6/0.5.
    found = scores(plane([0.3, 0.5, 0.0]), plane([0.0, 0.5, 0.5]))
    assert found["depth/mae"].item() == pytest.approx(0.8 / 3)
    assert found["depth/abs_rel"].item() == pytest.approx((0 + 1) / 2, rel=1e-5)
    assert found["depth/log10"].item() == pytest.approx(math.log10(5e5) / 2, rel=1e-5)
    assert found["depth/delta3"].item() == 1 / 2


def test_an_image_whose_truth_is_all_zero_has_errors_but_no_ratios() -> None:
    found = scores(torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, 1, 2, 2))
    assert found["depth/rmse"].item() == 0.5
    assert np.isnan([found[f"depth/{name}"].item() for name in ("abs_rel", "silog", "delta1")]).all()


def test_silog_does_not_see_a_factor_and_rmse_log_does() -> None:
    target = torch.rand(1, 1, 8, 8) * 0.4 + 0.1
    found = scores(2 * target, target)
    assert found["depth/silog"].item() == pytest.approx(0, abs=1e-3)
    assert found["depth/rmse_log"].item() == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize(("align", "scale", "shift"), [("median", 2.0, 0.0), ("scale_shift", 0.5, 0.2)])
def test_alignment_takes_its_kind_of_error_away_and_is_in_the_name(align: str, scale: float, shift: float) -> None:
    target = torch.rand(3, 1, 7, 9, dtype=torch.float64) * 0.3 + 0.1
    target[2] = float("nan")
    valid = torch.rand(3, 1, 7, 9) < 0.8
    valid[2] = False
    found = scores(scale * target.nan_to_num(0.1) + shift, target, valid, depth_max=5.0, align=(align,))
    for name in ("rmse", "mae", "abs_rel", "sq_rel", "log10", "rmse_log"):
        assert found[f"depth/{name}@{align}"][:2] == pytest.approx([0, 0], abs=1e-7), name
        assert found[f"depth/{name}"][0] > 0.01, "the score without alignment is given beside it, as it is"
        assert np.isnan(found[f"depth/{name}@{align}"][2])
    assert found[f"depth/delta1@{align}"][:2].tolist() == [1, 1]
    summary = summarise(found)
    assert summary[f"depth/rmse_pooled@{align}"] == pytest.approx(0, abs=1e-7)
    assert f"depth/ssim@{align}" not in summary


def test_nothing_is_aligned_unless_asked() -> None:
    target = torch.rand(2, 1, 4, 4)
    assert not any("@" in name for name in scores(target, target))


def test_all_unknown_gives_none_and_no_nan() -> None:
    valid = torch.zeros(2, 1, 24, 24, dtype=torch.bool)
    found = scores(torch.ones(2, 1, 24, 24), torch.full((2, 1, 24, 24), float("nan")), valid)
    summary = summarise(found)
    assert len(summary) > 20
    assert set(summary.values()) == {None}
    assert count_images(found) == {"images": 2, "depth_unknown": 2}
