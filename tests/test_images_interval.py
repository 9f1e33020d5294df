"""The interval of one network over further images: what it covers, and what it does not claim to know."""

from __future__ import annotations

import numpy as np
import pytest

from basrelief.statistics import draw_images, images_interval, resampled_bounds


@pytest.mark.parametrize("groups", [None, 6, 20])
def test_it_covers_the_true_mean_also_where_images_come_in_groups(groups: int | None) -> None:
    rng, hits, repeats = np.random.default_rng(0), 0, 600
    for _ in range(repeats):
        if groups is None:
            values, labels = rng.normal(size=12), None
        else:
            labels = np.repeat(np.arange(groups), 5)
            values = rng.normal(size=groups)[labels] + 0.5 * rng.normal(size=len(labels))
        found = images_interval(values, groups=labels)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert 0.92 < hits / repeats < 0.98  # 0.95 ± 3 standard errors


def test_a_few_equal_scores_show_no_spread_and_have_no_interval() -> None:
    for count in (1, 2, 5):
        found = images_interval(np.full(count, 0.7))
        assert (found.low, found.high, found.p_value) == (None, None, None)
    many = images_interval(np.full(6, 0.7))  # 2 · 0.5⁶ is below 0.05
    assert (many.low, many.high) == (pytest.approx(0.7), pytest.approx(0.7))
    assert images_interval(np.full(6, 0.7), level=0.99).low is None
    grouped = images_interval(np.full(12, 0.7), groups=np.repeat([0, 1, 2], 4))
    assert (grouped.low, grouped.units) == (None, 3)
    assert images_interval([0.7, 0.7, 0.8]).low is not None


@pytest.mark.parametrize(("units", "plain"), [(5, 0.84), (10, 0.90)])
def test_pooled_ratios_of_few_images_are_covered_where_plain_percentiles_fall_short(units: int, plain: float) -> None:
    rng, repeats = np.random.default_rng(1), 300
    hits = np.zeros(2)
    for _ in range(repeats):
        area = rng.lognormal(size=units)
        shared = area * rng.beta(6, 2, size=units)  # a true ratio of 0.75
        drawn = np.concatenate([(w @ shared) / (w @ area) for w in draw_images(units)])
        bounds = resampled_bounds(drawn, units=units)
        assert bounds is not None
        ends = np.quantile(drawn, [0.025, 0.975])
        hits += bounds[0] <= 0.75 <= bounds[1], ends[0] <= 0.75 <= ends[1]
    assert hits[0] / repeats > 0.89
    assert hits[1] / repeats < plain + 0.03
    assert hits[0] > hits[1]


def test_pooled_values_of_too_few_images_or_of_no_known_pixel_have_no_interval() -> None:
    assert resampled_bounds(np.linspace(0, 1, 100), units=4) is None
    assert resampled_bounds(np.full(100, np.nan), units=40) is None
    assert resampled_bounds([0.25, np.nan, 0.25], units=40) == (0.25, 0.25)


def test_the_bounds_of_many_images_are_the_plain_percentiles() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    bounds = resampled_bounds(values, units=100_000)
    assert bounds == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1e-3)
