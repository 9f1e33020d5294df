"""Warnings: said where there is something to do about, and not said where there is nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from basrelief.studies.cautions import seeds_far_off
from basrelief.studies.results import StudyResults
from basrelief.studies.verdict import verdict
from made_up import results


def warned(made: StudyResults) -> str:
    return "\n".join(verdict(made)["warnings"])


def test_a_sound_study_has_the_one_warning_that_one_rate_deserves() -> None:
    assert [warning[:40] for warning in verdict(results({"bce": 0.8, "dice": 0.7}, images=200))["warnings"]] == [
        "All losses were trained at one learning "
    ]


def test_a_collapsed_seed_is_named_with_what_it_may_mean() -> None:
    """Of the lead of 0.8 on the baseline, 0, seed 2 has lost three quarters. By hand: 1 of 5 may be 66 % of all."""

    def collapse(name: str, seed: int, scores: np.ndarray) -> np.ndarray:
        return scores * 0.25 if (name, seed) == ("dice", 2) else scores

    made = results({"bce": 0.8, "dice": 0.8}, change=collapse)
    assert seeds_far_off(made, "dice") == [2]
    assert seeds_far_off(made, "bce") == []
    assert "dice came out far worse with seed 2 than with the others" in warned(made)
    assert "up to 66% of trainings may end so" in warned(made)


def test_several_collapses_are_all_named() -> None:
    def collapse(name: str, seed: int, scores: np.ndarray) -> np.ndarray:
        return scores * 0.1 if name == "dice" and seed in (2, 4) else scores

    assert "far worse with seeds 2 and 4" in warned(results({"bce": 0.8, "dice": 0.8}, change=collapse))


def test_a_seed_that_merely_falls_out_of_line_is_named_where_it_matters() -> None:
    def lower(by: float) -> list[int]:
        def change(name: str, seed: int, scores: np.ndarray) -> np.ndarray:
            return scores - by * ((name, seed) == ("dice", 4))

        return seeds_far_off(results({"bce": 0.8, "dice": 0.8}, noise=0.002, change=change), "dice")

    assert lower(0.1) == [4]
    assert lower(0.004) == []
    assert lower(-0.1) == []  # far better is no harm


def test_ordinary_seeds_are_rarely_called_far_off() -> None:
    found = [seeds_far_off(results({"bce": 0.8}, noise=0.02, images=12, salt=salt), "bce") for salt in range(100)]
    assert sum(map(bool, found)) <= 3


def test_folds_count_as_trainings() -> None:
    made = results({"bce": 0.8, "dice": 0.7}, missing=("dice", 1))
    plan = dataclasses.replace(made.plan, folds=3)
    ended = {(name, seed, fold): how for (name, seed, _), how in made.ended.items() for fold in range(3)}
    ended["dice", 1, 0] = ended["dice", 1, 1] = "finished"
    folded = dataclasses.replace(made, plan=plan, trials=tuple(plan.trials()), ended=ended)
    assert "1 of 15 trainings with dice failed" in warned(folded)
    del ended["bce", 0, 2]
    folded = dataclasses.replace(folded, ended=ended)
    assert "Only 29 of 30 trainings are there, and only a seed with all its folds counts" in warned(folded)


def test_networks_that_score_alike_are_said_to_and_a_loss_under_two_names_is_not() -> None:
    made = results({"bce": 0.8, "dice": 0.8}, noise=0.0)
    assert "bce and dice scored alike on every test image" in warned(made)
    plan = dataclasses.replace(made.plan, losses=dict.fromkeys(made.plan.losses, "bce(mask)"))
    assert "scored alike" not in warned(dataclasses.replace(made, plan=plan))
    changes = {name: {"network": name} for name in plan.losses}
    plan = dataclasses.replace(plan, factor="network", changes=changes)
    assert "scored alike" in warned(dataclasses.replace(made, plan=plan))


def test_few_images_that_make_a_close_call_are_said_and_a_clear_one_is_not() -> None:
    """By hand: 3 of 40 images differ by 0.2 more than the rest; with 0.008 for these t is about 2.7 on 39."""

    def made(rest: float) -> StudyResults:
        def few(name: str, seed: int, scores: np.ndarray) -> np.ndarray:
            return scores + (name == "bce") * (rest + 0.2 * (np.arange(len(scores)) >= 37))

        return results({"bce": 0.7, "dice": 0.7}, noise=0.001, change=few)

    assert "Few images make most of what tells bce from dice" in warned(made(0.008))
    assert "Few images" not in warned(made(0.1))


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_empty_masks_and_an_overlap_alone_are_a_warning_from_a_tenth_on(share: float) -> None:
    made = results({"bce": 0.8, "dice": 0.7}, empty_masks=share)
    assert ("dice hardly learns from those" in warned(made)) == (share > 0.1)
