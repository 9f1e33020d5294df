"""Verdicts from scores that are made up, so that the right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from basrelief.studies.cautions import is_rising
from basrelief.studies.results import compare, score_matrix
from basrelief.studies.verdict import verdict
from made_up import results


def test_a_clear_winner_is_named_with_its_interval() -> None:
    document = verdict(results({"bce": 0.8, "dice": 0.7, "ssim": 0.6}))
    assert document["winner"] == "bce"
    assert [pair["decision"] for pair in document["pairs"]] == ["a", "a", "a"]
    pair = document["pairs"][0]
    assert pair["ci"][0] < pair["difference"] < pair["ci"][1]
    assert document["summary"].startswith("bce is the better loss here: mask/iou 0.80")
    assert "ahead of dice by 0.1" in document["summary"]


def test_for_errors_the_smaller_is_better() -> None:
    document = verdict(results({"rmse": 0.3, "ssim": 0.5}, metric="depth/rmse"))
    assert document["winner"] == "rmse"
    assert document["pairs"][0]["difference"] < 0
    assert document["better"] == "lower"
    assert " m," in document["summary"] or " m " in document["summary"]


def test_losses_without_a_difference_are_practically_equal() -> None:
    document = verdict(results({"bce": 0.8, "dice": 0.8}, noise=0.0005))
    assert document["pairs"][0]["decision"] == "equal"
    assert document["winner"] is None
    assert "practically equal" in document["summary"]


def test_noise_leaves_it_undecided_and_says_how_many_seeds_would_do() -> None:
    document = verdict(results({"bce": 0.80, "dice": 0.77}, seeds=3, noise=0.04))
    assert document["pairs"][0]["decision"] == "undecided"
    assert document["winner"] is None
    assert document["pairs"][0]["more_seeds"] >= 1
    assert "more seed" in document["summary"]


def test_the_better_of_two_equal_losses_that_beat_the_rest_wins() -> None:
    document = verdict(results({"bce": 0.8001, "dice": 0.8, "ssim": 0.5}, noise=0.0005))
    assert document["winner"] in ("bce", "dice")
    assert document["pairs"][0]["decision"] == "equal"


def test_one_seed_has_no_interval_and_no_winner() -> None:
    document = verdict(results({"bce": 0.9, "dice": 0.1}, seeds=1))
    assert document["winner"] is None
    assert document["pairs"][0] == {
        **document["pairs"][0],
        "ci": [None, None],
        "decision": "undecided",
        "more_seeds": None,
    }
    assert all(row["ci"] == [None, None] for row in document["losses"])
    assert "one seed cannot tell" in document["summary"]


def test_a_pair_uses_the_seeds_both_finished_and_failures_are_counted() -> None:
    made = results({"bce": 0.8, "dice": 0.7}, missing=("dice", 2))
    document = verdict(made)
    assert document["losses"][1]["failed"] == 1
    assert document["losses"][1]["seeds"] == 4
    interval = compare(made, "bce", "dice", "mask/iou")
    assert interval is not None
    assert interval.seeds == 4
    assert any("1 of 5 trainings with dice failed" in warning for warning in document["warnings"])


def test_images_without_a_score_are_left_out_for_both() -> None:
    def hole(name: str, seed: int, scores: np.ndarray) -> np.ndarray:
        return np.where((name == "bce") & (np.arange(len(scores)) == 3), np.nan, scores)

    made = results({"bce": 0.8, "dice": 0.7}, change=hole)
    interval = compare(made, "bce", "dice", "mask/iou")
    assert interval is not None
    assert interval.units == 39


def test_another_metric_that_would_name_another_winner_is_said() -> None:
    made = results({"bce": 0.8, "dice": 0.7}, second=("mask/dice", {"bce": 0.6, "dice": 0.9}))
    assert "by mask/dice it would be dice" in verdict(made)["summary"]


def test_rising_curves_are_noticed_and_flat_ones_are_not() -> None:
    curves = {"bce": [0.1, 0.7, 0.75, 0.76, 0.76], "dice": [0.1, 0.2, 0.3, 0.4, 0.5]}
    made = results({"bce": 0.8, "dice": 0.7}, curves=curves)
    assert (is_rising(made, "bce"), is_rising(made, "dice")) == (False, True)
    assert any("dice was still improving" in warning for warning in verdict(made)["warnings"])


def test_a_loss_no_better_than_the_baseline_is_said_to_have_learned_nothing() -> None:
    made = results({"bce": 0.8, "dice": -0.2})
    assert any(w.startswith("dice is no better than predicting the mean") for w in verdict(made)["warnings"])


def test_the_matrix_is_seeds_by_images() -> None:
    values, rows, groups = score_matrix(results({"bce": 0.8, "dice": 0.7}), "dice", "mask/iou")
    assert values.shape == (5, 40)
    assert rows.tolist() == groups.tolist() == list(range(40))
    assert values.mean() == pytest.approx(0.7, abs=0.05)
