from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.statistics import decide, diagnose, influence, paired_interval
from basrelief.statistics.influence import outlying, skewness


def left_out(d: np.ndarray, groups: np.ndarray | None, margin: float, limit: float) -> tuple[str, list[str], list[str]]:
    """Return the decision, and those without each seed and each unit, each by a whole new interval."""

    def decision(kept: np.ndarray, labels: np.ndarray | None) -> str:
        interval = paired_interval(kept, np.zeros_like(kept), groups=labels)
        assert interval.p_value is not None
        return decide(interval, 0.0 if interval.p_value < limit else 1.0, margin=margin, higher_is_better=True)

    labels = np.arange(d.shape[1]) if groups is None else groups
    seeds = [decision(np.delete(d, seed, axis=0), groups) for seed in range(len(d))]
    units = []
    for label in np.unique(labels):
        kept = labels != label
        units.append(decision(d[:, kept], None if groups is None else groups[kept]))
    return decision(d, groups), seeds, units


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.35, 0.6]), st.booleans(), st.sampled_from([0.05, 0.01]))
def test_leaving_one_out_is_what_a_new_interval_says(seed: int, margin: float, grouped: bool, limit: float) -> None:
    rng = np.random.default_rng(seed)
    d = 0.5 * rng.random() + 0.2 * rng.standard_normal((4, 1)) + 0.3 * rng.standard_normal((4, 9))
    d[:, 0] += rng.choice([0, 3])  # sometimes one image carries it
    groups = np.array([3, 3, 1, 7, 7, 7, 7, 2, 9]) if grouped else None
    labels = np.arange(9) if groups is None else np.unique(groups)
    whole, seeds, units = left_out(d, groups, margin, limit)
    got = influence(d, np.zeros_like(d), margin=margin, higher_is_better=True, groups=groups, limit=limit)
    assert got.decision == whole
    assert dict(zip(got.seeds, got.without_seed, strict=True)) == {
        i: other for i, other in enumerate(seeds) if other != whole
    }
    assert dict(zip(got.units, got.without_unit, strict=True)) == {
        int(label): other for label, other in zip(labels, units, strict=True) if other != whole
    }


def test_a_result_that_one_image_hides_names_it() -> None:
    rng = np.random.default_rng(0)
    d = 0.3 + 0.1 * rng.standard_normal((5, 1)) + 0.1 * rng.standard_normal((5, 20))
    d[:, 4] = -6.0
    got = influence(d, np.zeros_like(d), margin=0.0, higher_is_better=True)
    assert (got.decision, got.units, got.without_unit, got.seeds) == ("undecided", (4,), ("a",), ())


def test_two_seeds_or_two_images_leave_nothing_to_leave_out() -> None:
    got = influence(np.ones((2, 2)), np.zeros((2, 2)), margin=0.1, higher_is_better=False)
    assert (got.decision, got.seeds, got.units) == ("b", (), ())
    assert influence(np.ones((1, 5)), np.zeros((1, 5)), margin=0.1, higher_is_better=True).decision == "undecided"


def test_a_collapsed_run_is_seen_and_two_do_not_hide_each_other() -> None:
    rng = np.random.default_rng(2)
    scores = 0.8 + 0.01 * rng.standard_normal((10, 1)) + 0.02 * rng.standard_normal((10, 30))
    assert diagnose(scores).outlying_seed is None
    scores[3] = 0.1
    assert diagnose(scores).outlying_seed == 3
    scores[7] = 0.15
    found = diagnose(scores)
    assert (found.outlying_seeds, found.outlying_seed) == ((3, 7), 3)


def test_outliers_are_found_in_about_their_error_rate_where_there_are_none() -> None:
    rows = np.random.default_rng(0).standard_normal((4000, 5))
    assert outlying(rows).any(axis=1).mean() == pytest.approx(0.05, abs=0.012)
    assert not outlying(np.zeros((2, 5))).any()
    assert outlying(np.array([0.0, 0.0, 0.0, 1.0])).tolist() == [False, False, False, True]


def test_skewed_images_are_too_few_and_the_heaviest_is_named_by_its_group() -> None:
    d = np.zeros((3, 40)) + 0.01 * np.random.default_rng(0).standard_normal((3, 40))
    d[:, 10:12] = 5.0
    found = diagnose(d, groups=np.arange(40) // 2)
    assert found.units_skewed
    assert found.top_unit == 5
    assert found.top_share > 0.9
    # By hand: nineteen at 0 and one at 1 have m2 = 0.0475, m3 = 0.04275, so skewness 4.129.
    assert skewness(np.array([0.0] * 19 + [1.0])) == pytest.approx(0.04275 / 0.0475**1.5)
    assert skewness(np.ones(4)) == 0
