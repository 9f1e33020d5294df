"""Which rates are tried and taken, and what that may cost: the rules alone, on made-up scores."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.config import TrainSettings
from basrelief.studies.lr_budget import SHORTEST, search_budget
from basrelief.studies.lr_grid import FIRST, THEN, choose_rate, first_rates, next_rates

CENTRES = st.floats(-5, 0).map(lambda power: 10**power)


def tried_at(peak: float, centre: float, bound: float = math.inf, breaks: float = math.inf) -> dict[float, Any]:
    """Return rate -> score after all trainings, where the score falls off on either side of ``peak``."""

    def score(rate: float) -> float | None:
        return None if rate >= breaks else -abs(math.log(rate / peak))

    tried = {rate: score(rate) for rate in first_rates(centre, centre, bound)}
    return tried | {rate: score(rate) for rate in next_rates(tried, bound)}


def test_the_first_rates_lie_between_the_networks_own_and_the_suggestion() -> None:
    assert first_rates(1e-2, 1e-4) == [0.00032, 0.001, 0.0032]
    assert first_rates(None, 1e-3) == [0.00032, 0.001, 0.0032]


def test_they_move_down_where_the_range_test_broke() -> None:
    assert first_rates(1e-3, 1e-3, bound=2e-3) == [1e-4, 0.00032, 1e-3]


@settings(deadline=None, max_examples=50)
@given(CENTRES, st.floats(-1.5, 1.5))
def test_a_peak_up_to_30_times_off_is_found_within_a_factor_of_two(centre: float, off: float) -> None:
    peak = centre * 10**off
    tried = tried_at(peak, centre)
    assert len(tried) == FIRST + THEN, "the budget is spent, and no rate twice"
    best = max(tried, key=lambda rate: tried[rate])
    assert abs(math.log10(best / peak)) < 0.3


@settings(deadline=None, max_examples=100)
@given(CENTRES, st.floats(-2, 2), st.floats(-3, 2))
def test_no_rate_lies_where_the_range_test_broke_nor_above_one_that_failed(
    centre: float, off: float, room: float
) -> None:
    bound = centre * 10**room
    within = tried_at(centre * 10**off, centre, bound)
    assert len(within) == FIRST + THEN
    assert all(rate < bound for rate in within)
    tried = tried_at(centre * 10**off, centre, breaks=bound)
    assert len(tried) == FIRST + THEN
    if room > -2.4:
        assert any(score is not None for score in tried.values())


def test_where_nothing_trains_the_search_goes_down_by_decades() -> None:
    tried = tried_at(1e-3, 1e-1, breaks=1e-4)
    assert sorted(tried)[:2] == [0.00032, 0.0032]
    assert choose_rate(tried, lambda best, rate: True) is None


@pytest.mark.parametrize(
    ("alike", "expected"),
    [
        (set(), 1e-2),  # the best itself
        ({1e-3, 1e-1}, 1e-2),  # a plateau around it: its middle
        ({1e-3, 1e-4}, 1e-3),  # a plateau below it
        ({1e-1}, 1e-2),  # of two, the lower
        ({1e-3}, 1e-3),
        ({1e-4}, 1e-2),  # no neighbour, so no plateau
    ],
)
def test_the_middle_of_those_as_good_as_the_best_is_taken(alike: set[float], expected: float) -> None:
    tried = {1e-4: 0.40, 1e-3: 0.48, 1e-2: 0.5, 1e-1: 0.45, 1.0: None}
    found = choose_rate(tried, lambda best, rate: best == 1e-2 and rate in alike)
    assert found is not None
    assert found[0] == expected


def test_a_flat_curve_gives_the_middle_not_the_luckiest() -> None:
    tried = {1e-4: 0.5, 1e-3: 0.5, 1e-2: 0.5, 1e-1: 0.5, 1.0: 0.51}
    found = choose_rate(tried, lambda best, rate: True)
    assert found is not None
    assert found[0] == 1e-2


@settings(deadline=None, max_examples=100)
@given(images=st.integers(2, 100_000), batch=st.integers(1, 512), epochs=st.integers(1, 300))
def test_a_search_costs_at_most_two_trials_whatever_their_length(images: int, batch: int, epochs: int) -> None:
    train = TrainSettings(resolution=(32, 32), epochs=epochs, batch_size=batch)
    trial = epochs * math.ceil(images / batch)
    budget = search_budget(train, images)
    assert (budget is None) == (trial < SHORTEST)
    if budget is None:
        return
    assert budget.total <= 2 * trial
    assert 20 <= budget.range_steps <= 100
    assert 0 < budget.images <= images
    assert budget.steps == budget.epochs * math.ceil(budget.images / batch), "what the trainings then make"
    assert budget.steps <= 500
    assert budget.trainings == 3 or budget.steps >= 80, "five of too few steps would say less than three of more"
    if trial >= 500:
        assert 0.79 * min(trial / 4, 500) <= budget.steps


def test_stages_count_by_their_pixels() -> None:
    staged = TrainSettings(**{"resolution": "32:8x40,64:8x10"})
    single = TrainSettings(resolution=(64, 64), epochs=20, batch_size=8)
    assert search_budget(staged, 80) == search_budget(single, 80)
