"""Scores kept as arrays: sorted by image, and none mistaken for another's."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from basrelief.errors import DataError
from basrelief.studies.scores import ScoreTable

IDS = pl.Series([f"image-{row}" for row in range(8)])


def table(**seeds: list[int]) -> ScoreTable:
    return ScoreTable("mask/iou", seeds, np.array([0, 0, 0, 0, 7, 7, 8, 9]), IDS)


def frame(rows: list[int], values: list[float | None], split: str = "test", **more: list[float]) -> pl.DataFrame:
    return pl.DataFrame({"split": [split] * len(rows), "row": rows, "mask/iou": values, **more})


def test_shuffled_rows_of_several_folds_come_out_by_image() -> None:
    found = table(bce=[3, 5])
    found.add("bce", 5, [frame([7, 4], [0.7, 0.4]), frame([6, 5], [0.6, 0.5])])
    found.add("bce", 3, [frame([4, 5, 6, 7], [0.04, 0.05, None, 0.07])])
    values = found.matrix("bce", "mask/iou")
    np.testing.assert_array_equal(values, [[0.04, 0.05, np.nan, 0.07], [0.4, 0.5, 0.6, 0.7]])
    assert found.rows().tolist() == [4, 5, 6, 7]
    assert found.groups().tolist() == [7, 7, 8, 9]


def test_other_images_than_before_are_an_error_and_no_comparison() -> None:
    found = table(bce=[0], dice=[0])
    found.add("bce", 0, [frame([4, 5], [0.1, 0.2])])
    with pytest.raises(DataError, match="dice, seed 0, are of other test images"):
        found.add("dice", 0, [frame([4, 6], [0.1, 0.2])])


def test_validation_scores_are_kept_of_the_primary_metric_alone() -> None:
    found = table(bce=[0])
    parts = [frame([4], [0.1], **{"mask/dice": [0.2]}), frame([1, 0], [0.3, None], "val", **{"mask/dice": [0.4, 0.5]})]
    found.add("bce", 0, parts)
    assert found.metrics == ("mask/iou", "mask/dice")
    assert found.matrix("bce", "mask/dice").tolist() == [[pytest.approx(0.2)]]
    assert found.matrix("bce", "mask/dice", "val").size == 0
    assert found.of_rows("bce", 0, "val", np.array([1, 0, 3])) == [0.3, None, None]


def test_the_primary_metric_keeps_every_digit() -> None:
    found = table(bce=[0])
    found.add("bce", 0, [frame([4], [1 / 3])])
    assert found.matrix("bce", "mask/iou")[0, 0] == 1 / 3


def test_a_loss_without_any_training_has_no_scores() -> None:
    assert table(bce=[]).matrix("bce", "mask/iou").shape == (0, 0)
    assert table(bce=[]).of_rows("bce", 0, "val", np.array([1])) == [None]


def test_groups_of_one_image_each_are_no_groups() -> None:
    found = table(bce=[0])
    found.add("bce", 0, [frame([3, 6, 7], [0.1, 0.2, 0.3])])
    assert found.units(np.ones(3, bool)) is None
    found = table(bce=[0])
    found.add("bce", 0, [frame([4, 5, 6], [0.1, 0.2, 0.3])])
    units = found.units(np.array([True, False, True]))
    assert units is not None
    assert units.tolist() == [7, 8]
