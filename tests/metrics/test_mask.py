"""Scores of masks on values worked out by hand; each test says how."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from basrelief.metrics import count_images, score_batch, summarise


def masks(*rows: list[float]) -> torch.Tensor:
    """One image a row, one class, one pixel high."""
    return torch.tensor(rows).reshape(len(rows), 1, 1, -1)


def scores(pred: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None) -> dict[str, np.ndarray]:
    targets = {"mask": target} if valid is None else {"mask": target, "mask_valid": valid}
    return {name: values.numpy() for name, values in score_batch({"mask": pred}, targets).items()}


def test_one_of_two_predicted_and_of_two_true_pixels() -> None:
    # Predicted {0, 1, 2}, true {1, 4} of five pixels: one in common.
    found = scores(masks([0.9, 0.8, 0.7, 0.2, 0.1]), masks([0, 1, 0, 0, 1]))
    assert found["mask/iou"] == pytest.approx([1 / 4])
    assert found["mask/dice"] == pytest.approx([2 / 5])
    assert found["mask/precision"] == pytest.approx([1 / 3])
    assert found["mask/recall"] == pytest.approx([1 / 2])
    assert found["mask/accuracy"] == pytest.approx([2 / 5])


def test_soft_scores_sum_probabilities() -> None:
    # Σp·t = 0.5 + 0.25, Σp = 0.5 + 0.25 + 0.25, Σt = 2.
    found = scores(masks([0.5, 0.25, 0.25]), masks([1, 1, 0]))
    assert found["mask/soft_dice"] == pytest.approx([2 * 0.75 / 3])
    assert found["mask/soft_iou"] == pytest.approx([0.75 / (3 - 0.75)])


def test_calibration_error_by_hand() -> None:
    # The bin up to 2/15 holds 0.1 and 0.1 (none true), the one up to 12/15 holds 0.75, 0.75 and 0.8 (two true): gaps
    # of 0.2 and of |2.3 − 2|, over five pixels.
    found = scores(masks([0.1, 0.1, 0.75, 0.75, 0.79]), masks([0, 0, 1, 1, 0]))
    assert found["mask/ece"] == pytest.approx([(0.2 + 0.29) / 5])


def test_a_calibrated_network_has_next_to_no_calibration_error() -> None:
    pred = torch.rand(1, 1, 500, 500)
    found = scores(pred, (torch.rand_like(pred) < pred).float())
    assert found["mask/ece"][0] < 0.005
    overconfident = scores((pred * 4 - 1.5).clamp(0, 1), (torch.rand_like(pred) < pred).float())
    assert overconfident["mask/ece"][0] > 0.1


@pytest.mark.parametrize(
    ("pred", "target", "expected"),
    [
        ([0.0, 0.0], [0, 0], {"iou": 1, "dice": 1, "precision": 1, "recall": 1, "accuracy": 1, "soft_dice": 1}),
        ([0.0, 0.9], [0, 0], {"iou": 0, "dice": 0, "precision": 0, "recall": 0, "accuracy": 0.5, "soft_dice": 0}),
        ([0.0, 0.0], [0, 1], {"iou": 0, "dice": 0, "precision": 0, "recall": 0, "accuracy": 0.5, "soft_iou": 0}),
        ([1.0, 1.0], [1, 1], {"iou": 1, "dice": 1, "precision": 1, "recall": 1, "accuracy": 1, "soft_iou": 1}),
        ([0.1, 0.1], [0, 0], {"iou": 1, "soft_dice": 0, "soft_iou": 0}),
    ],
    ids=["both empty", "nothing true", "nothing predicted", "both full", "faint on nothing"],
)
def test_empty_masks_have_one_documented_value(
    pred: list[float], target: list[float], expected: dict[str, float]
) -> None:
    found = scores(masks(pred), masks(target))
    assert {name: found[f"mask/{name}"].item() for name in expected} == expected


def test_boundaries_of_empty_masks() -> None:
    empty, disc = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    disc[..., 4:9, 5:11] = 1
    pairs = [(empty, empty), (disc, empty), (empty, disc), (disc, disc)]
    assert [scores(pred, target)["mask/boundary_f"].item() for pred, target in pairs] == [1, 0, 0, 1]


def test_unknown_pixels_do_not_count_and_an_unknown_image_has_no_score() -> None:
    valid = torch.tensor([[True, True, False], [False, False, False]]).reshape(2, 1, 1, 3)
    target = masks([1, 0, float("nan")], [float("nan")] * 3)
    found = scores(masks([0.9, 0.1, 0.9], [0.9, 0.9, 0.9]), target, valid)
    for name in ("iou", "dice", "precision", "recall", "accuracy", "soft_dice", "ece"):
        assert found[f"mask/{name}"][0] == pytest.approx({"soft_dice": 1.8 / 2, "ece": 0.1}.get(name, 1)), name
        assert np.isnan(found[f"mask/{name}"][1]), name
        assert summarise(found)[f"mask/{name}"] == found[f"mask/{name}"][0]


def test_what_lies_outside_0_to_1_is_cut() -> None:
    # A head without a sigmoid may say 1.5; as a probability that is 1.
    found = scores(masks([1.5, -0.5]), masks([1, 0]))
    assert found["mask/soft_dice"].item() == 1
    assert found["mask/ece"].item() == 0


def test_pooled_adds_all_pixels_first() -> None:
    # Image 1: 3 of 3 right. Image 2: 0 of 1. Per image (1 + 0)/2; pooled 3/(3 + 2).
    found = scores(masks([0.9, 0.9, 0.9, 0.1], [0.9, 0.1, 0.1, 0.1]), masks([1, 1, 1, 0], [0, 1, 0, 0]))
    summary = summarise(found)
    assert summary["mask/iou"] == pytest.approx(0.5)
    assert summary["mask/iou_pooled"] == pytest.approx(3 / 5)
    assert summary["mask/dice_pooled"] == pytest.approx(6 / 8)
    assert summary["mask/precision_pooled"] == summary["mask/recall_pooled"] == pytest.approx(3 / 4)
    assert summary["mask/accuracy_pooled"] == pytest.approx(6 / 8)


def test_pooled_calibration_lets_images_outweigh_each_other() -> None:
    # 0.6 twice: true in one image and not in the other. Gaps of 0.4 and 0.6 alone, |1.2 − 1| / 2 together.
    summary = summarise(scores(masks([0.6], [0.6]), masks([1], [0])))
    assert summary["mask/ece"] == pytest.approx(0.5)
    assert summary["mask/ece_pooled"] == pytest.approx(0.1)


def test_classes_are_scored_apart_and_averaged_for_the_image() -> None:
    pred = torch.tensor([[[[0.9, 0.1]], [[0.9, 0.9]]]])
    target = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]]])
    found = score_batch({"mask": pred}, {"mask": target}, classes=("sun", "moon"))
    assert found["mask/iou/sun"].item() == 1
    assert found["mask/iou/moon"].item() == 0.5
    assert found["mask/iou"].item() == 0.75


def test_a_class_that_is_unknown_in_an_image_is_left_out_of_its_mean() -> None:
    pred, target = torch.tensor([[[[0.9, 0.1]], [[0.9, 0.9]]]]), torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]]])
    valid = torch.tensor([[[[True, True]], [[False, False]]]])
    found = score_batch({"mask": pred}, {"mask": target, "mask_valid": valid}, classes=("sun", "moon"))
    assert found["mask/iou"].item() == 1
    assert found["mask/iou/moon"].isnan()


def test_empty_and_unknown_masks_are_counted_by_class() -> None:
    target = torch.zeros(4, 2, 2, 2)
    target[0, 0] = target[1, 1] = target[3] = 1
    valid = torch.ones(4, 1, 2, 2, dtype=torch.bool)
    valid[3] = False
    classes = ("sun", "moon")
    found = score_batch({"mask": target}, {"mask": target, "mask_valid": valid}, classes=classes)
    counts = count_images({name: values.numpy() for name, values in found.items()}, classes)
    # Image 2 has neither; image 3 is not known at all, and so is not empty.
    assert counts == {"images": 4, "mask_empty": 1, "mask_empty/sun": 2, "mask_empty/moon": 2, "mask_unknown": 1}
