from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from basrelief.statistics import (
    Interval,
    decide,
    failure_bound,
    holm,
    holm_limits,
    images_needed,
    mean_interval,
    more_seeds,
    paired_interval,
    seeds_needed,
)
from basrelief.statistics.intervals import by_group, errors_of_mean, mean_squares, two_sided

scores = arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(2, 12)), elements=st.floats(-1, 1, width=32))


def test_interval_equals_the_analysis_of_variance_done_by_hand() -> None:
    # Two seeds, three images, worked out on paper: mean 3; mean squares seed 6, image 12.5, rest 0.5 (df 1, 2, 2).
    d = np.array([[0.0, 2.0, 4.0], [1.0, 4.0, 7.0]])
    # rows 2, 4; columns 0.5, 3, 5.5; rest ±0.5, 0, ∓0.5
    from scipy.stats import t

    interval = mean_interval(d)
    ms_seed, ms_image, ms_rest = 3 * 2 / 1, 2 * 12.5 / 2, (4 * 0.25) / 2
    variance = (ms_seed + ms_image - ms_rest) / 6
    # In the degrees of freedom alone, each is raised by twice its relative standard deviation, √(2/df): √2 and 1.
    seed, image = ms_seed * (1 + 2 * 2**0.5), ms_image * (1 + 2 * 1)
    df = (seed + image - ms_rest) ** 2 / (seed**2 / 1 + image**2 / 2 + ms_rest**2 / 2)
    both, of_seeds, of_images = errors_of_mean(mean_squares(d))
    assert [float(part) for part in both] == pytest.approx([variance**0.5, df], rel=1e-12)
    # The seeds' means alone, 2 and 4, have a standard error of 1 with one degree of freedom: the widest interval.
    assert [float(part) for part in of_seeds] == pytest.approx([1, 1])
    assert [float(part) for part in of_images] == pytest.approx([(12.5 / 6) ** 0.5, 2])
    assert interval.difference == 3
    assert interval.high is not None
    assert interval.high - 3 == pytest.approx(t.ppf(0.975, 1), rel=1e-9)
    assert interval.p_value == pytest.approx(2 * t.sf(3, 1), rel=1e-9)
    assert (interval.seed_variance, interval.unit_variance, interval.rest_variance) == pytest.approx(
        ((6 - 0.5) / 3, (12.5 - 0.5) / 2, 0.5)
    )


def test_paired_interval_is_that_of_the_difference() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 4, 9))
    assert paired_interval(a, b) == mean_interval(a - b)


@given(scores)
def test_groups_of_one_image_each_change_nothing(d: np.ndarray) -> None:
    plain, grouped = mean_interval(d), mean_interval(d, groups=np.arange(d.shape[1]))
    assert grouped.difference == plain.difference
    assert grouped.low == pytest.approx(plain.low, abs=1e-9)
    assert grouped.high == pytest.approx(plain.high, abs=1e-9)


@given(scores)
def test_counting_every_image_twice_in_groups_adds_no_certainty(d: np.ndarray) -> None:
    twice = np.repeat(d, 2, axis=1)
    grouped = mean_interval(twice, groups=np.repeat(np.arange(d.shape[1]), 2))
    plain = mean_interval(d)
    assert grouped.low == pytest.approx(plain.low, abs=1e-9)
    assert grouped.units == plain.units


@given(scores)
def test_the_interval_contains_the_mean_and_mirrors(d: np.ndarray) -> None:
    interval, mirrored = mean_interval(d), mean_interval(-d)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low <= interval.difference <= interval.high
    assert mirrored.low == pytest.approx(-interval.high, abs=1e-9)


@pytest.mark.parametrize(
    ("seed_sd", "image_sd", "rest_sd"), [(1, 0.5, 1), (0.02, 1, 0.5), (0.1, 1, 1)], ids=["seeds", "images", "both"]
)
def test_coverage_of_simulated_studies_is_nominal(seed_sd: float, image_sd: float, rest_sd: float) -> None:
    rng = np.random.default_rng(0)
    hits, trials = 0, 400
    for _ in range(trials):
        d = seed_sd * rng.normal(size=(5, 1)) + image_sd * rng.normal(size=(1, 40)) + rest_sd * rng.normal(size=(5, 40))
        interval = mean_interval(d)
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= 0 <= interval.high
    assert 0.92 <= hits / trials <= 0.99


def test_identical_scores_are_practically_equal() -> None:
    a = np.random.default_rng(0).random((3, 10))
    interval = paired_interval(a, a)
    assert (interval.low, interval.high) == (0, 0)
    assert decide(interval, 1.0, margin=0.005, higher_is_better=True) == "equal"


@pytest.mark.parametrize("shape", [(1, 8), (3, 1)], ids=["one seed", "one image"])
def test_one_seed_or_one_image_has_no_interval_and_decides_nothing(shape: tuple[int, int]) -> None:
    interval = mean_interval(np.random.default_rng(0).random(shape) + 5)
    assert interval.low is interval.high is interval.p_value is None
    assert decide(interval, None, margin=1e9, higher_is_better=True) == "undecided"
    assert more_seeds(interval, margin=0.1) is None


def test_better_follows_the_metric_direction() -> None:
    rng = np.random.default_rng(0)
    interval = mean_interval(0.2 + 0.01 * rng.normal(size=(4, 30)))
    assert decide(interval, interval.p_value, margin=0.005, higher_is_better=True) == "a"
    assert decide(interval, interval.p_value, margin=0.005, higher_is_better=False) == "b"
    assert decide(interval, 0.5, margin=0.005, higher_is_better=True) == "undecided"


def test_more_seeds_would_indeed_decide() -> None:
    """Studies with the variances found and the advised number of seeds decide about as often as not, or more often."""
    rng = np.random.default_rng(3)

    def simulate(seeds: int) -> np.ndarray:
        return 0.05 + 0.05 * rng.normal(size=(seeds, 1)) + 0.05 * rng.normal(size=(seeds, 50))

    undecided = next(i for i in (mean_interval(simulate(3)) for _ in range(100)) if (i.p_value or 0) > 0.05)
    more = more_seeds(undecided, margin=0.005)
    assert more is not None
    fresh = [mean_interval(simulate(3 + more)) for _ in range(200)]
    decided = np.mean([(i.p_value or 1) < 0.05 for i in fresh])
    before = np.mean([(mean_interval(simulate(3)).p_value or 1) < 0.05 for _ in range(200)])
    assert decided > max(0.4, before)
    assert (more_seeds(undecided, margin=0.005, comparisons=10) or 999) > more


def test_more_seeds_is_none_where_images_are_too_few() -> None:
    rng = np.random.default_rng(3)
    d = 0.01 + rng.normal(size=(1, 5)) + 1e-6 * rng.normal(size=(3, 5))
    assert more_seeds(mean_interval(d), margin=0.005) is None


def test_holm_matches_the_worked_example() -> None:
    # By hand: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, made monotone.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize(("seeds", "bound"), [(3, 0.63), (5, 0.45), (10, 0.26)])
def test_failure_bound_with_no_failure_is_the_closed_form(seeds: int, bound: float) -> None:
    assert failure_bound(seeds, 0) == pytest.approx(1 - 0.05 ** (1 / seeds))
    assert round(failure_bound(seeds, 0), 2) == bound
    assert failure_bound(seeds, seeds) == 1


@pytest.mark.parametrize(
    "bad", [np.zeros(3), np.zeros((0, 3)), np.full((2, 2), np.nan)], ids=["one axis", "empty", "not finite"]
)
def test_scores_of_another_form_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Scores"):
        mean_interval(bad)


def test_mismatched_arrays_groups_and_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="alike"):
        paired_interval(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="groups"):
        mean_interval(np.zeros((2, 3)), groups=[1, 2])
    with pytest.raises(ValueError, match="level"):
        mean_interval(np.zeros((2, 3)), level=1.0)


@settings(max_examples=25)
@given(scores, st.floats(0.5, 0.99))
def test_a_higher_level_never_narrows_the_interval(d: np.ndarray, level: float) -> None:
    wide, narrow = mean_interval(d, level=0.995), mean_interval(d, level=level)
    assert wide.low is not None
    assert narrow.low is not None
    assert wide.low <= narrow.low + 1e-12


@settings(max_examples=25)
@given(scores)
def test_the_interval_excludes_zero_exactly_where_the_p_value_is_below_its_level(d: np.ndarray) -> None:
    interval = mean_interval(d + 0.3, level=0.9)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.p_value is not None
    if abs(interval.p_value - 0.1) > 1e-6:
        assert (interval.low > 0 or interval.high < 0) == (interval.p_value < 0.1)


def test_three_seeds_never_claim_more_than_their_means_alone() -> None:
    rng = np.random.default_rng(2)
    seeds = np.array([[0.02], [0.0], [-0.02]])
    d = 1 + seeds + 0.5 * rng.standard_normal((1, 40)) + 0.01 * rng.standard_normal((3, 40))
    from scipy.stats import ttest_1samp

    both = errors_of_mean(mean_squares(d))[0]
    assert two_sided(d.mean(), *both) < 1e-6  # what Satterthwaite's degrees of freedom alone would claim
    assert mean_interval(d).p_value == pytest.approx(ttest_1samp(d.mean(axis=1), 0).pvalue)


def test_many_studies_at_once_have_the_mean_squares_of_each() -> None:
    rng = np.random.default_rng(0)
    d, groups = rng.standard_normal((4, 3, 10)), np.array([0, 0, 1, 1, 1, 2, 3, 3, 3, 3])
    together = mean_squares(by_group(d, groups))
    for study in range(4):
        alone = mean_squares(by_group(d[study], groups))
        assert [float(part[study]) for part in together[:3]] == pytest.approx([float(part) for part in alone[:3]])


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=8))
def test_a_p_value_is_significant_by_holm_exactly_below_its_limit(p_values: list[float]) -> None:
    for limit, p, adjusted in zip(holm_limits(p_values), p_values, holm(p_values), strict=True):
        if abs(p / limit - 1) > 1e-9:
            assert (p < limit) == (adjusted < 0.05)


def found(difference: float, seeds: int = 5, units: int = 50) -> Interval:
    return Interval(difference, difference - 9, difference + 9, 0.5, seeds, units, 1.0, 0.25, 1.0)


def test_seeds_needed_is_the_smallest_number_that_decides() -> None:
    from scipy.stats import t

    need = seeds_needed(found(0.7), margin=0.01)
    assert need is not None
    assert need.number is not None
    assert need.number == more_seeds(found(0.7), margin=0.01)

    def half_of_seeds(n: int) -> float:  # where seeds' noise rules the interval is about that over their means
        return float(t.ppf(0.975, n - 1)) * ((1 + 1 / 50 + 0.25 * 0) / n + 0.25 / 50) ** 0.5

    assert half_of_seeds(5 + need.number + 1) < 0.7
    assert half_of_seeds(5 + need.number - 2) > 0.7
    assert (need.low or 0) <= need.number <= (need.high or 10**9)


def test_needs_grow_with_more_pairs_and_say_none_beyond_the_limit() -> None:
    one, ten = seeds_needed(found(0.7), margin=0.01), seeds_needed(found(0.7), margin=0.01, comparisons=10)
    assert one is not None
    assert ten is not None
    assert (ten.number or 0) > (one.number or 0)
    tiny = seeds_needed(found(0.001), margin=0.0)
    assert tiny is not None
    assert tiny.number is tiny.high is None
    assert images_needed(mean_interval(np.ones((1, 4))), margin=0.1) is None


def test_images_help_only_where_images_are_the_noise() -> None:
    by_seeds = images_needed(found(0.7), margin=0.01)
    by_images = images_needed(Interval(0.2, -1, 1, 0.3, 10, 20, 0.0001, 1.0, 0.1), margin=0.01)
    assert by_seeds is not None
    assert by_seeds.number is None
    assert by_images is not None
    assert by_images.number is not None
    assert 60 < by_images.number < 100  # 0.2 > 1.98 / sqrt(n) from about n = 99 on
