"""What a study gives up for its minutes, and in which order; and how its seeds follow the clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.studies.minutes import (
    FILL,
    FREE,
    OVER,
    Choice,
    choose_size,
    describe_choice,
    halves,
    list_choices,
    refusal,
    seeds_in_time,
)

IDEAL = Choice(3, 5, 20, (128, 128))


def costing(choice: Choice) -> float:
    """Return seconds: 10 for all, 1 for each training, and 1 for each epoch at 128 px."""
    height, width = choice.resolution
    return 10 + choice.losses * choice.seeds * (1 + choice.epochs * height * width / 128**2)


def chosen(seconds: float, free: tuple[str, ...] = FREE, ideal: Choice = IDEAL, **options: bool) -> Choice | None:
    return choose_size(list_choices(ideal, free, halves(ideal.resolution), **options), costing, seconds)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (336, (3, 5, 20, 128)),  # 10 + 15 * 21 = 325 seconds, and 97 % of 336 are 325.9
        (300, (3, 5, 17, 128)),  # epochs first
        (200, (3, 5, 11, 128)),
        (180, (3, 5, 39, 64)),  # 10 epochs at 128 px take 175 of 174.6: a lower resolution, and the time is used
        (90, (3, 5, 16, 64)),
        (70, (3, 5, 11, 64)),
        (55, (3, 5, 7, 64)),  # then to a quarter of the epochs
        (46, (3, 5, 5, 64)),
        (44, (3, 4, 6, 64)),  # then seeds
        (35, (3, 3, 6, 64)),
        (26, (2, 3, 6, 64)),  # then a loss
        (23, None),
        (900, (3, 5, 56, 128)),  # more time: up to three times the epochs, then seeds
        (1130, (3, 6, 59, 128)),
        (9999, (3, 10, 60, 128)),
    ],
)
def test_what_is_given_up_or_added_for_a_time_comes_in_the_order_promised(
    seconds: float, expected: tuple[int, int, int, int] | None
) -> None:
    found = chosen(seconds)
    assert (found and (found.losses, found.seeds, found.epochs, found.resolution[0])) == expected


def test_a_race_and_a_number_of_seeds_that_was_given_keep_their_seeds() -> None:
    assert chosen(9999, grows=False) == dataclasses.replace(IDEAL, epochs=60)
    assert chosen(9999, ("epochs",)) == dataclasses.replace(IDEAL, epochs=60)
    assert chosen(120, ("epochs",)) == dataclasses.replace(IDEAL, epochs=6)


@given(
    st.builds(
        Choice, st.integers(1, 8), st.just(5), st.integers(1, 60), st.sampled_from([(128, 128), (64, 64), (128, 96)])
    ),
    st.sets(st.sampled_from(FREE)),
    st.floats(5, 5000),
    st.floats(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_nothing_that_was_given_changes_the_plan_fits_and_more_time_never_makes_it_less(
    ideal: Choice, free: set[str], seconds: float, more: float
) -> None:
    choices = list_choices(ideal, free, halves(ideal.resolution))
    assert len(choices) == len(set(choices))
    less, longer = choose_size(choices, costing, seconds), choose_size(choices, costing, seconds * more)
    for name in set(FREE) - free:
        assert {getattr(choice, name) for choice in choices} == {getattr(ideal, name)}
    if less is None:
        assert costing(choices[-1]) > FILL * seconds
        return
    assert longer is not None
    assert costing(less) <= seconds
    assert costing(longer) >= costing(less)
    assert choices.index(longer) <= choices.index(less)


@given(st.integers(3, 60), st.floats(30, 1500))
@settings(max_examples=60, deadline=None)
def test_no_time_is_left_lying_where_more_could_be_done_with_it(epochs: int, seconds: float) -> None:
    ideal = dataclasses.replace(IDEAL, epochs=epochs)
    choices = list_choices(ideal, FREE, halves(ideal.resolution))
    found = choose_size(choices, costing, seconds)
    if found is None or found == choices[0]:
        return
    # Steps of the ladder are of an epoch, or of a seed or loss that leaves time for more epochs; few epochs are coarse.
    assert costing(found) >= seconds * FILL * (1 - max(0.15, 1.3 / found.epochs)) - 10


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [((64, 64), []), ((48, 64), []), ((120, 120), []), ((128, 96), [(64, 48)]), ((256, 256), [(128, 128), (64, 64)])],
)
def test_the_resolution_is_halved_down_to_64_px_and_stays_a_multiple_of_16(
    resolution: tuple[int, int], expected: list[tuple[int, int]]
) -> None:
    assert halves(resolution) == expected


def test_the_plan_is_said_with_all_that_it_gave_up_and_all_that_it_gained() -> None:
    small = Choice(2, 3, 5, (64, 64))
    said = describe_choice(small, IDEAL, 4, 3.91)
    assert said == [
        "Time: 2 losses x 3 seeds x 5 epochs at 64x64, some 3.9 minutes of 4, with packing, searches and report.",
        "Given up for that: 15 of 20 epochs, the resolution 128x128, 2 of 5 seeds, 1 of 3 losses.",
    ]
    large = dataclasses.replace(IDEAL, seeds=6, epochs=60)
    assert describe_choice(large, IDEAL, 30, 29)[1:] == [
        "Time was left for more: 60 epochs in place of 20, 6 seeds in place of 5."
    ]
    assert len(describe_choice(IDEAL, IDEAL, 30, 29)) == 1
    assert "a little more than the 4 asked for" in describe_choice(small, IDEAL, 4, 4.2)[0]
    assert "3 networks" in describe_choice(IDEAL, IDEAL, 4, 4.2, "networks")[0]


def test_a_refusal_says_which_minutes_would_do_and_they_do() -> None:
    smallest = list_choices(IDEAL, FREE, halves(IDEAL.resolution))[-1]
    text = refusal(0.1, smallest, costing(smallest) / 60, [])
    enough = float(text.split("Give --minutes ")[1].split(";")[0])
    assert chosen(60 * enough) is not None
    assert "or give less with --seeds or --epochs" in refusal(0.1, smallest, 1, ["seeds", "epochs"])


def paced(seconds: float, behind: float = 0.0, done: int = 0) -> Callable[[int], float]:
    """Return what a study takes whose seeds take so many seconds each, with so much behind it after ``done``."""
    return lambda seeds: behind + (seeds - done) * seconds


@pytest.mark.parametrize(
    ("planned", "begun", "seconds", "expected"),
    [
        (5, 1, paced(20), 5),
        (5, 1, paced(22), 5),  # 110 of 100 seconds are borne
        (5, 1, paced(23), 4),  # and no more
        (5, 1, paced(60), 3),  # never below three
        (5, 5, paced(60), 5),  # nor below what has begun
        (5, 2, paced(15), 7),  # 105 is nearer than 90
        (5, 2, paced(2), 10),
        (5, 5, paced(40, behind=80, done=5), 5),  # 120 would be further away than 80, and too much
        (10, 1, paced(1), 10),
        (2, 1, paced(60), 2),  # of a plan that had fewer
    ],
)
def test_seeds_follow_the_clock(planned: int, begun: int, seconds: Callable[[int], float], expected: int) -> None:
    assert seeds_in_time(planned, begun, seconds, 100, grows=True) == expected


def test_a_race_drops_seeds_but_adds_none() -> None:
    assert seeds_in_time(5, 1, paced(2), 100, grows=False) == 5
    assert seeds_in_time(5, 1, paced(30), 100, grows=False) == 3


@given(st.integers(3, 10), st.floats(0.1, 100), st.floats(0, 120))
@settings(max_examples=60, deadline=None)
def test_a_second_look_by_the_same_clock_changes_nothing(planned: int, each: float, behind: float) -> None:
    once = seeds_in_time(planned, 0, paced(each, behind), 100, grows=True)
    assert seeds_in_time(once, 0, paced(each, behind), 100, grows=True) == once
    assert once <= 3 or behind + once * each <= OVER * 100 + 1e-6
