"""Reference values: each says where it comes from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from basrelief.errors import UsageError
from basrelief.metrics import METRICS, check_metric, higher_is_better, metric_spec, metrics_for, score_batch, summarise


def masks(*rows: list[float]) -> torch.Tensor:
    """One image a row, one class, one pixel high."""
    return torch.tensor(rows).reshape(len(rows), 1, 1, -1)


def scores(pred: torch.Tensor, target: torch.Tensor, **options: object) -> dict[str, np.ndarray]:
    targets = {"mask": target, **{k: v for k, v in options.items() if k == "mask_valid"}}
    return {k: v.numpy() for k, v in score_batch({"mask": pred}, targets, ssim=False).items()}  # type: ignore[arg-type]


def test_iou_and_dice_by_hand() -> None:
    # Predicted {0, 1}, true {1, 2}: one in common, three in all: 1/3 and 2·1/(2 + 2).
    found = scores(masks([0.9, 0.8, 0.1, 0.2]), masks([0, 1, 1, 0]))
    assert found["mask/iou"] == pytest.approx([1 / 3])
    assert found["mask/dice"] == pytest.approx([0.5])


def test_an_empty_mask_scores_one_if_nothing_and_zero_if_anything_is_predicted() -> None:
    found = scores(masks([0.1, 0.1], [0.1, 0.9]), masks([0, 0], [0, 0]))
    assert found["mask/iou"].tolist() == found["mask/dice"].tolist() == [1, 0]


def test_unknown_pixels_do_not_count_and_an_unknown_image_has_no_score() -> None:
    valid = torch.tensor([[True, True, False], [False, False, False]]).reshape(2, 1, 1, 3)
    found = scores(masks([0.9, 0.1, 0.9], [0.9, 0.9, 0.9]), masks([1, 0, 0], [1, 1, 1]), mask_valid=valid)
    assert found["mask/iou"][0] == 1
    assert np.isnan(found["mask/iou"][1])
    assert summarise(found)["mask/iou"] == 1


def test_pooled_adds_all_pixels_first() -> None:
    # Image 1: 3 of 3 right. Image 2: 0 of 1. Per image (1 + 0)/2; pooled 3/(3 + 2).
    found = scores(masks([0.9, 0.9, 0.9, 0.1], [0.9, 0.1, 0.1, 0.1]), masks([1, 1, 1, 0], [0, 1, 0, 0]))
    summary = summarise(found)
    assert summary["mask/iou"] == pytest.approx(0.5)
    assert summary["mask/iou_pooled"] == pytest.approx(3 / 5)
    assert summary["mask/dice_pooled"] == pytest.approx(6 / 8)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_summaries_do_not_depend_on_how_images_are_batched(sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(sum(sizes))
    count = sum(sizes)
    pred, target = (
        torch.rand(count, 2, 6, 6, generator=generator),
        torch.rand(count, 2, 6, 6, generator=generator).round(),
    )
    whole = scores(pred, target)
    parts = [scores(p, t) for p, t in zip(pred.split(sizes), target.split(sizes), strict=True)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in whole}
    assert summarise(joined) == pytest.approx(summarise(whole))


def test_classes_are_scored_apart_and_averaged_for_the_image() -> None:
    pred = torch.tensor([[[[0.9, 0.1]], [[0.9, 0.9]]]])
    target = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]]])
    found = score_batch({"mask": pred}, {"mask": target}, classes=("sun", "moon"), ssim=False)
    assert found["mask/iou/sun"].item() == 1
    assert found["mask/iou/moon"].item() == 0.5
    assert found["mask/iou"].item() == 0.75


def test_depth_errors_are_in_the_datas_unit() -> None:
    # Errors 0.1 and 0.3 of a maximum of 10 m: mean 2 m, root of (1 + 9)/2.
    pred, target = torch.tensor([0.5, 0.5]).reshape(1, 1, 1, 2), torch.tensor([0.4, 0.8]).reshape(1, 1, 1, 2)
    found = score_batch({"depth": pred}, {"depth": target}, depth_max=10.0, ssim=False)
    assert found["depth/mae"].item() == pytest.approx(2)
    assert found["depth/rmse"].item() == pytest.approx(math.sqrt(5))


def test_depth_pooled_weighs_pixels_and_leaves_unknown_ones_out() -> None:
    pred = torch.zeros(2, 1, 1, 4)
    target = torch.tensor([[1.0, 1, 1, float("nan")], [3, float("nan"), float("nan"), float("nan")]]).reshape(
        2, 1, 1, 4
    )
    planes = {"depth": target, "depth_valid": ~target.isnan()}
    found = {k: v.numpy() for k, v in score_batch({"depth": pred}, planes, ssim=False).items()}
    summary = summarise(found)
    assert summary["depth/rmse"] == pytest.approx((1 + 3) / 2)
    assert summary["depth/rmse_pooled"] == pytest.approx(math.sqrt((3 * 1 + 9) / 4))
    assert summary["depth/mae_pooled"] == pytest.approx(6 / 4)


def test_all_unknown_gives_none_and_no_nan() -> None:
    planes = {"depth": torch.zeros(2, 1, 3, 3), "depth_valid": torch.zeros(2, 1, 3, 3, dtype=torch.bool)}
    found = {k: v.numpy() for k, v in score_batch({"depth": torch.ones(2, 1, 3, 3)}, planes, ssim=False).items()}
    assert set(summarise(found).values()) == {None}


def test_ssim_is_one_for_a_perfect_prediction() -> None:
    target = torch.rand(2, 1, 16, 16).round()
    found = score_batch({"mask": target, "depth": target}, {"mask": target, "depth": target})
    assert found["mask/ssim"].tolist() == pytest.approx([1, 1])
    assert found["depth/ssim"].tolist() == pytest.approx([1, 1])


def test_every_metric_of_the_table_is_computed() -> None:
    planes = {"mask": torch.rand(2, 1, 16, 16).round(), "depth": torch.rand(2, 1, 16, 16)}
    found = {k: v.double().numpy() for k, v in score_batch(planes, planes).items()}
    assert list(summarise(found)) == metrics_for(("mask", "depth")) == list(METRICS)


def test_directions_and_names() -> None:
    assert higher_is_better("mask/iou/cat/dog")
    assert not higher_is_better("depth/rmse")
    assert "cat/dog" in metric_spec("mask/iou/cat/dog", ("cat/dog", "x")).meaning
    for name, message in [("mask/iuo", "mask/iou"), ("depth/rmse", "needs depth"), ("mask/iou_pooled", "each image")]:
        with pytest.raises(UsageError, match=message):
            check_metric(name, ("mask",))
