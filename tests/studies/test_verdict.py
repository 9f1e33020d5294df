"""What verdict.json says beside the winner: how sure it is, what it hangs on, and whether it holds elsewhere."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pytest

from basrelief.statistics import bootstrap_interval, decide, paired_interval
from basrelief.studies.decisions import bounds, decide_all, shown_interval
from basrelief.studies.factors import FACTORS
from basrelief.studies.results import StudyResults, score_matrix
from basrelief.studies.standing import is_ahead_once
from basrelief.studies.summary import _against
from basrelief.studies.verdict import verdict
from made_up import results


def test_the_document_is_plain_json_and_the_same_again() -> None:
    made = results(
        {"bce": 0.8, "dice": 0.7, "ssim": 0.7}, second=("mask/dice", dict.fromkeys(("bce", "dice", "ssim"), 0.5))
    )
    text = json.dumps(verdict(made), allow_nan=False)
    assert text == json.dumps(verdict(made), allow_nan=False)
    document = json.loads(text)
    assert set(document["losses"][0]) == {
        "name", "expression", "level", "mean", "ci", "bootstrap_ci", "seeds", "failed", "failure_bound",
    }  # fmt: skip
    assert set(document["pairs"][0]) == {
        "a", "b", "difference", "ci", "bootstrap_ci", "decision", "by_race", "seeds", "more_seeds", "more_seeds_range",
        "more_images", "more_images_range", "p_adjusted", "hangs_on",
    }  # fmt: skip


def test_one_seed_or_no_training_at_all_gives_a_whole_document() -> None:
    one = verdict(results({"bce": 0.9, "dice": 0.1}, seeds=1))
    assert one["pairs"][0]["bootstrap_ci"] == one["losses"][0]["bootstrap_ci"] == [None, None]
    assert (one["confirmed"], one["ranking"]["holds"], one["pairs"][0]["hangs_on"]) == (None, None, None)
    none = results({"bce": 0.9, "dice": 0.1}, seeds=1)
    none = dataclasses.replace(none, runs={}, scores=results({"bce": 0.9, "dice": 0.1}, seeds=0).scores, ended={})
    document = verdict(none)
    assert document["losses"][0]["mean"] is None
    assert document["pairs"][0]["seeds"] == 0
    json.dumps(document, allow_nan=False)


def test_a_loss_all_of_whose_trainings_failed_leaves_the_others_comparable() -> None:
    made = results({"bce": 0.8, "dice": 0.7, "ssim": 0.6}, seeds=3)
    gone = {(name, seed) for name, seed in made.runs if name == "ssim"}
    runs = {cell: run for cell, run in made.runs.items() if cell not in gone}
    kept = results({"bce": 0.8, "dice": 0.7}, seeds=3).scores
    ended = {cell: "failed" if cell[0] == "ssim" else how for cell, how in made.ended.items()}
    failures = dict.fromkeys(gone, "diverged")
    document = verdict(dataclasses.replace(made, runs=runs, scores=kept, failures=failures, ended=ended))
    assert [pair["decision"] for pair in document["pairs"]] == ["a", "undecided", "undecided"]
    assert document["pairs"][1]["ci"] == document["pairs"][1]["bootstrap_ci"] == [None, None]
    assert document["losses"][2]["failure_bound"] == 1
    assert any("3 of 3 trainings with ssim failed" in warning for warning in document["warnings"])


def test_the_bootstrap_stands_beside_the_interval() -> None:
    made = results({"bce": 0.8, "dice": 0.7})
    pair = verdict(made)["pairs"][0]
    one, two = (score_matrix(made, name, "mask/iou")[0] for name in ("bce", "dice"))
    assert pair["bootstrap_ci"] == pytest.approx(bootstrap_interval(one, two))
    assert pair["ci"][0] < pair["bootstrap_ci"][0] < pair["bootstrap_ci"][1] < pair["ci"][1]


def test_what_more_would_decide_comes_with_its_range() -> None:
    document = verdict(results({"bce": 0.80, "dice": 0.77}, seeds=3, noise=0.04))
    pair = document["pairs"][0]
    low, high = pair["more_seeds_range"]
    assert low <= pair["more_seeds"]
    assert high is None or high >= pair["more_seeds"]
    assert f"About {pair['more_seeds']} more seed" in document["summary"]
    decided = verdict(results({"bce": 0.8, "dice": 0.7}))["pairs"][0]
    assert decided["more_seeds"] is decided["more_seeds_range"] is decided["more_images"] is None


def test_where_seeds_would_not_do_the_images_are_counted() -> None:
    rng = np.random.default_rng(1)
    taste = rng.normal(0.01, 0.1, 40)  # of the images, the same for every seed

    def tasted(name: str, seed: int, scores: np.ndarray) -> np.ndarray:
        return scores + taste * (name == "bce")

    document = verdict(results({"bce": 0.7, "dice": 0.7}, seeds=10, noise=0.001, change=tasted))
    pair = document["pairs"][0]
    assert (pair["decision"], pair["more_seeds"]) == ("undecided", None)
    assert pair["more_images"] > 20
    assert "Seeds alone will hardly decide it; about" in document["summary"]
    assert f"{pair['more_images']:,} more test images" in document["summary"]


@pytest.mark.parametrize(
    ("val", "chosen", "confirmed"),
    [({"bce": 0.8, "dice": 0.7}, "bce", True), ({"bce": 0.7, "dice": 0.8}, "dice", False), (None, None, None)],
)
def test_what_validation_would_choose_is_confirmed_on_test_or_not(
    val: dict[str, float] | None, chosen: str | None, confirmed: bool | None
) -> None:
    document = verdict(results({"bce": 0.8, "dice": 0.7}, val=val))
    assert (document["chosen_on_val"], document["confirmed"]) == (chosen, confirmed)
    said = "On the validation images dice was best; the test does not confirm it." in document["summary"]
    assert said == (confirmed is False)


def test_for_errors_validation_chooses_the_smallest() -> None:
    document = verdict(results({"rmse": 0.3, "ssim": 0.5}, metric="depth/rmse", val={"rmse": 0.3, "ssim": 0.5}))
    assert (document["chosen_on_val"], document["confirmed"]) == ("rmse", True)


def test_a_choice_that_nothing_beats_is_confirmed() -> None:
    document = verdict(results({"bce": 0.8, "dice": 0.8}, noise=0.03, val={"bce": 0.1, "dice": 0.8}))
    assert document["winner"] is None
    assert document["confirmed"] is True


def test_the_ranking_tells_which_metrics_agree() -> None:
    scores = {"bce": 0.8, "dice": 0.7, "ssim": 0.6}
    made = results(scores, second=("mask/dice", {"bce": 0.8, "dice": 0.5, "ssim": 0.6}))
    ranking = verdict(made)["ranking"]
    first, other = ranking["metrics"]
    assert (first["metric"], first["order"], first["tau"]) == ("mask/iou", ["bce", "dice", "ssim"], 1)
    assert (other["order"], other["winner"], other["holds"]) == (["bce", "ssim", "dice"], "bce", False)
    assert other["tau"] == pytest.approx(1 / 3)  # one of three pairs is the other way round
    assert ranking["holds"] is False
    same = verdict(results(scores, second=("mask/ece", {"bce": 0.1, "dice": 0.2, "ssim": 0.3})))["ranking"]
    assert (same["holds"], same["metrics"][1]["order"]) == (True, ["bce", "dice", "ssim"])


def test_a_result_that_one_seed_makes_says_which() -> None:
    """By hand: all but seed 3 differ by 0.0049, practically equal; with it t is 3.6 on 7 degrees of freedom."""

    def lucky(name: str, seed: int, scores: np.ndarray) -> np.ndarray:
        return scores + (name == "bce") * (0.02 if seed == 3 else 0.0049)

    document = verdict(results({"bce": 0.8, "dice": 0.8}, noise=0.0, seeds=8, change=lucky))
    assert (document["pairs"][0]["decision"], document["pairs"][0]["hangs_on"]) == ("a", {"seed": 3})
    said = "That bce is ahead of dice hangs on seed 3: without it the answer changes."
    assert any(warning.startswith(said) for warning in document["warnings"])


def test_seeds_are_named_by_their_numbers_where_some_failed() -> None:
    def lucky(name: str, seed: int, scores: np.ndarray) -> np.ndarray:
        return scores + (name == "bce") * (0.02 if seed == 5 else 0.0049)

    made = results({"bce": 0.8, "dice": 0.8}, noise=0.0, seeds=9, change=lucky, missing=("dice", 1))
    assert verdict(made)["pairs"][0]["hangs_on"] == {"seed": 5}


@pytest.mark.parametrize(("groups", "expected"), [(np.arange(80), "image-7"), (np.arange(80) // 2 + 100, 103)])
def test_a_result_that_one_image_or_group_makes_says_which(groups: np.ndarray, expected: str | int) -> None:
    """Without it the losses differ by 0.0049 everywhere; image 3 has no score, so that places are not rows."""
    odd = [7] if expected == "image-7" else [6, 7]

    def spoiled(name: str, seed: int, scores: np.ndarray) -> np.ndarray:
        rows = np.arange(len(scores))
        return np.where(rows == 3, np.nan, scores + (name == "bce") * np.where(np.isin(rows, odd), 0.03, 0.0049))

    document = verdict(results({"bce": 0.8, "dice": 0.8}, noise=0.0, change=spoiled, groups=groups))
    kind = "image" if expected == "image-7" else "group"
    assert (document["pairs"][0]["decision"], document["pairs"][0]["hangs_on"]) == ("a", {kind: expected})
    assert any(f"hangs on {kind} {expected}: without it" in warning for warning in document["warnings"])


def test_what_it_hangs_on_is_what_leaving_each_seed_out_by_hand_finds() -> None:
    found = set()
    for salt in range(12):
        made = results({"bce": 0.8, "dice": 0.77}, noise=0.015, salt=salt)
        pair = verdict(made)["pairs"][0]
        if pair["decision"] != "a":
            continue
        one, two = (score_matrix(made, name, "mask/iou")[0] for name in ("bce", "dice"))
        rest = [paired_interval(np.delete(one, seed, 0), np.delete(two, seed, 0)) for seed in range(5)]
        changed = {s for s, i in enumerate(rest) if decide(i, i.p_value, margin=0.005, higher_is_better=True) != "a"}
        named = (pair["hangs_on"] or {}).get("seed")
        assert named in changed if changed else named is None
        found.add(bool(changed))
    assert found == {True, False}, "other noise is needed for this test"


def test_a_clear_result_hangs_on_nothing() -> None:
    document = verdict(results({"bce": 0.8, "dice": 0.7, "ssim": 0.6}))
    assert [pair["hangs_on"] for pair in document["pairs"]] == [None] * 3
    assert not any("hangs on" in warning for warning in document["warnings"])


def test_a_lead_at_the_chosen_epochs_alone_hangs_on_them() -> None:
    once = {"bce": [0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.9], "dice": [0.1, 0.4, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7]}
    made = results({"bce": 0.9, "dice": 0.7}, curves=once)
    assert is_ahead_once(made, "bce", "dice")
    document = verdict(made)
    assert document["pairs"][0]["hangs_on"] == {"last_epoch": True}
    assert any("at the chosen epochs alone" in warning for warning in document["warnings"])
    steady = {"bce": [0.1, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9, 0.2], "dice": once["dice"]}
    assert verdict(results({"bce": 0.9, "dice": 0.7}, curves=steady))["pairs"][0]["hangs_on"] is None


def test_the_chosen_epoch_itself_does_not_count_as_late() -> None:
    curves = {"bce": [0.1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.9, 0.3], "dice": [0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]}
    made = results({"bce": 0.9, "dice": 0.5}, curves={name: [*curve[:4], *curve] for name, curve in curves.items()})
    for (name, _), run in made.runs.items():
        run["best_epoch"] = 11 if name == "bce" else 12
    assert is_ahead_once(made, "bce", "dice")


def test_intervals_are_shown_within_what_a_score_can_be() -> None:
    made = results({"bce": 0.97, "dice": 0.5}, noise=0.3, seeds=3)
    document = verdict(made)
    raw = decide_all(made, "mask/iou").means["bce"]
    assert raw is not None
    assert raw.high is not None
    assert raw.high > 1
    assert document["losses"][0]["ci"][1] == max(1, raw.difference)
    assert shown_interval(-0.2, 1.3, 0.5, *bounds("mask/iou")) == [0, 1]
    assert shown_interval(-0.2, 1.3, 0.5, *bounds("mask/ssim")) == [-0.2, 1]
    assert shown_interval(-0.2, 9, 0.5, *bounds("depth/rmse")) == [0, 9]


def test_a_raced_study_is_decided_by_the_races_rule() -> None:
    """dice was dropped after three seeds; it stays behind, and counts as no failure and as nothing missing."""
    made = results({"bce": 0.9, "ssim": 0.8, "dice": 0.5}, seeds=6)
    kept = {cell for cell in made.runs if cell[0] != "dice" or cell[1] < 3}
    scores = results({"bce": 0.9, "ssim": 0.8, "dice": 0.5}, seeds=6, keep=kept).scores
    raced = dataclasses.replace(
        made,
        runs={cell: run for cell, run in made.runs.items() if cell in kept},
        ended={cell: how for cell, how in made.ended.items() if cell[:2] in kept},
        scores=scores,
        race={
            "dropped": [{"name": "dice", "seeds": 3}],
            "margins": [{"a": a, "b": b, "margin": 0.005} for a, b in itertools.combinations(made.plan.losses, 2)],
        },
    )
    document = verdict(raced)
    assert document["race"] == raced.race
    assert document["winner"] == "bce"
    assert [pair["decision"] for pair in document["pairs"]] == ["a", "a", "a"]
    assert not any("trainings are there" in warning for warning in document["warnings"])


@pytest.mark.parametrize(
    ("factor", "noun"),
    [("loss", "loss"), ("network", "network"), ("augmentation", "augmentation"), ("lr", "learning rate")],
)
def test_the_words_name_what_is_varied(factor: str, noun: str) -> None:
    made = results({"one": 0.8, "two": 0.7})
    changes = {name: {FACTORS[factor]: name} for name in made.plan.losses}
    document = verdict(dataclasses.replace(made, plan=dataclasses.replace(made.plan, factor=factor, changes=changes)))
    assert document["factor"] == factor
    assert document["losses"][1]["level"] == ("two(mask)" if factor == "loss" else "two")
    assert document["summary"].startswith(f"one is the better {noun} here")
    at_one_rate = [warning for warning in document["warnings"] if "at one learning rate" in warning]
    assert len(at_one_rate) == (factor != "lr")


def test_epochs_that_differ_since_the_time_is_equal_are_said() -> None:
    made = results({"bce": 0.8, "dice": 0.7})
    plan = dataclasses.replace(made.plan, changes={"bce": {"epochs": 4}, "dice": {}})
    assert "5 seeds, 4 to 5 epochs, one learning rate" in verdict(dataclasses.replace(made, plan=plan))["summary"]


def lost(made: StudyResults, gone: set[tuple[str, int]], **more: Any) -> StudyResults:
    """Return made-up results of which some trainings failed."""
    keep = {*made.runs} - gone
    means = {"bce": 0.9, "dice": 0.7, "ssim": 0.5}
    return dataclasses.replace(
        made,
        runs={cell: run for cell, run in made.runs.items() if cell in keep},
        ended={cell: "failed" if cell[:2] in gone else how for cell, how in made.ended.items()},
        failures=dict.fromkeys(gone, "diverged"),
        scores=results(means, seeds=len(made.plan.seeds), keep=keep).scores,
        **more,
    )


def test_a_loss_without_a_score_is_named_as_what_leaves_it_open() -> None:
    made = results({"bce": 0.9, "dice": 0.7, "ssim": 0.5}, seeds=4)
    document = verdict(lost(made, {("ssim", seed) for seed in range(4)}))
    assert document["winner"] is None
    assert "Undecided: no loss can be called better than all others, since ssim has no score." in document["summary"]
    assert "Of the rest, bce is the better: ahead of dice by 0.2" in document["summary"]
    assert "within reason" not in document["summary"], "neither seeds nor images are what lacks"
    failed = next(warning for warning in document["warnings"] if "trainings with ssim failed" in warning)
    assert "flatters" not in failed, "it has no mean that could"


def test_a_pair_that_the_race_decided_is_said_as_it_is() -> None:
    """The interval of a loss dropped early may hold 0, and without two common seeds there is none."""
    pair = {"a": "dice", "b": "bce", "decision": "b", "difference": -0.2, "ci": [-0.45, 0.05], "by_race": True}
    said = _against(pair, "bce", "mask/iou")
    assert said == "ahead of dice by 0.2 (95 % interval -0.05 to 0.45, decided by the race)"
    assert "-0.45 to 0.05" in _against(pair | {"decision": "a", "difference": 0.2}, "dice", "mask/iou")
    pair = {"a": "bce", "b": "dice", "decision": "a", "difference": -0.2, "ci": [-0.3, -0.1], "by_race": False}
    assert _against(pair, "bce", "depth/rmse") == "ahead of dice by 0.2 (95 % interval 0.1 to 0.3)"
    for hole in ({"ci": [None, None]}, {"ci": [None, None], "difference": None}):
        assert _against(pair | hole | {"by_race": True}, "bce", "mask/iou") == "ahead of dice by the race's rule"


def test_a_race_without_common_seeds_of_winner_and_dropped_gives_a_whole_document() -> None:
    """bce failed on the seeds that dice ran on, so dice was dropped for ssim and bce's lead on it is the race's."""
    made = results({"bce": 0.9, "dice": 0.5, "ssim": 0.7}, seeds=6)
    gone = {("bce", seed) for seed in range(3)} | {("dice", seed) for seed in range(3, 6)}
    margins = [{"a": a, "b": b, "margin": 0.005} for a, b in itertools.combinations(made.plan.losses, 2)]
    race = {"dropped": [{"name": "dice", "seeds": 3}], "margins": margins, "over": True, "seeds": 5}
    document = verdict(lost(made, gone, race=race))
    assert "a race over after 5 of 6 seeds" in document["summary"]
    json.dumps(document, allow_nan=False)


def test_where_images_belong_to_groups_more_groups_are_asked_for() -> None:
    """By the test above, of images alone; here two share a group, so what lacks is counted in groups."""
    alone = verdict(results({"bce": 0.8, "dice": 0.7}))
    grouped = verdict(results({"bce": 0.8, "dice": 0.7}, groups=np.arange(80) // 2))
    assert (alone["unit"], grouped["unit"]) == ("image", "group")


@pytest.mark.parametrize(
    ("factor", "words"),
    [("loss", "at this learning rate and 5 epochs"), ("lr", "at these learning rates and 5 epochs")],
)
def test_a_study_of_rates_is_not_told_of_one_rate(factor: str, words: str) -> None:
    made = results({"one": 0.8, "two": 0.7}, curves={"one": [0.1, 0.2, 0.3, 0.4, 0.5]})
    changes = {name: {FACTORS[factor]: name} for name in made.plan.losses}
    made = dataclasses.replace(made, plan=dataclasses.replace(made.plan, factor=factor, changes=changes))
    rising = next(warning for warning in verdict(made)["warnings"] if "still improving" in warning)
    assert words in rising
    assert ("another learning rate" in rising) == (factor != "lr")
