"""The plan of composites: equal numbers for every background, nothing shared between splits, spread over everything."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.composing.plan import Cell, Plan, make_plan, read_shares
from basrelief.errors import DataError, UsageError

SHARES = read_shares("70/15/15")


def cells(plan: Plan) -> list[Cell]:
    places = plan.places()
    return [plan.cell(number, places[number], k) for number in plan.backgrounds for k in range(plan.each)]


@given(
    backgrounds=st.integers(3, 40),
    foregrounds=st.integers(3, 30),
    mirror=st.booleans(),
    positions=st.integers(1, 3),
    limit=st.one_of(st.none(), st.integers(3, 400)),
    divided=st.booleans(),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_any_plan_keeps_splits_apart_and_backgrounds_equal(
    backgrounds: int, foregrounds: int, mirror: bool, positions: int, limit: int | None, divided: bool, seed: int
) -> None:
    plan, _ = make_plan(
        backgrounds,
        foregrounds,
        shares=SHARES if divided else None,
        mirror=mirror,
        positions=positions,
        limit=limit,
        seed=seed,
    )
    made = cells(plan)
    assert len(made) == plan.count == len(set(made)), "no composite is planned twice"
    assert set(Counter(cell.background for cell in made).values()) == {plan.each}
    assert limit is None or plan.count <= limit
    assert all(0 <= c.background < backgrounds and 0 <= c.foreground < foregrounds for c in made)
    for name in ("background", "foreground"):
        places = {(getattr(cell, name), cell.split) for cell in made}
        assert len(places) == len({number for number, _ in places}), f"a {name} stands in two splits"
    assert {cell.split for cell in made} == ({"train", "val", "test"} if divided else {None})
    if not mirror:
        assert not any(cell.mirror for cell in made)
    most = max(len(part.foregrounds) for part in plan.parts)
    for part in plan.parts:
        if len(part.foregrounds) == most:
            assert max(c.position for c in made if c.split == part.split) < positions
    if limit is None:
        full = [c for c in made if c.split == max(plan.parts, key=lambda part: len(part.foregrounds)).split]
        used = len({cell.background for cell in full})
        assert len(full) == used * most * positions * (1 + mirror), "every pair, direction and position"


@given(total=st.integers(3, 60), each=st.integers(1, 50), limit=st.integers(3, 3000))
@settings(max_examples=60, deadline=None)
def test_a_limit_takes_what_makes_most_of_it(total: int, each: int, limit: int) -> None:
    plan, notes = make_plan(total, each, shares=None, limit=limit)
    used = len(plan.backgrounds)
    said = [note for note in notes if "composites rather than" in note]
    assert bool(said) == (plan.count < min(limit, total * each)), "what a limit does not reach is said"
    if total * each <= limit:
        assert (used, plan.each) == (total, each)
    elif limit >= total:
        best = max(b * min(each, limit // b) for b in range(-(-2 * total // 3), total + 1))
        assert plan.count == best
        assert used >= 2 * total / 3
    else:
        assert plan.count == limit


def test_the_kitchens_2000_are_exactly_2000_spread_over_everything() -> None:
    plan, notes = make_plan(175, 200, shares=SHARES, mirror=True, positions=4, limit=2000)
    assert (plan.count, len(plan.backgrounds), plan.each) == (2000, 125, 16)
    assert not notes
    made = cells(plan)
    assert len({cell.foreground for cell in made}) == 200
    assert Counter(cell.mirror for cell in made) == {False: 1000, True: 1000}
    assert all(450 < count < 550 for count in Counter(cell.position for cell in made).values())
    for part in plan.parts:
        own = Counter(cell.foreground for cell in made if cell.split == part.split)
        assert max(own.values()) - min(own.values()) <= 1, "figures recur equally often"
    first = [cell for cell in made if cell.background == plan.backgrounds[0]]
    assert len({cell.foreground for cell in first}) == 16
    assert len({(cell.mirror, cell.position) for cell in first}) == 8
    shares = [len(part.backgrounds) / 125 for part in plan.parts]
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.01)


def test_the_write_ups_400_000_and_far_more_are_planned_without_a_list() -> None:
    plan, notes = make_plan(100, 100, shares=None, mirror=True, positions=20)
    assert plan.count == 400_000
    assert "flattered" in notes[0]
    plan, _ = make_plan(20_000, 5_000, shares=SHARES, mirror=True, positions=20)
    assert plan.count == 20_000 * 3_500 * 40
    last = plan.backgrounds[-1]
    assert plan.cell(last, plan.places()[last], plan.each - 1).background == last


def test_splits_with_fewer_foregrounds_take_more_positions_and_a_note_says_so() -> None:
    plan, notes = make_plan(10, 10, shares=SHARES, positions=2)
    assert plan.each == 7 * 2
    positions = Counter((c.split, c.position) for c in cells(plan))
    assert {p for s, p in positions if s == "train"} == {0, 1}
    assert max(p for s, p in positions if s == "test") > 1
    assert "more than 2 positions" in " ".join(notes)


def test_blocks_of_neighbours_stay_whole_and_frames_at_their_borders_are_left_out() -> None:
    plan, notes = make_plan(100, 20, shares=SHARES, group_blocks=10)
    split = {number: part.split for part in plan.parts for number in part.backgrounds}
    for block in range(10):
        assert len({split[i] for i in range(10 * block, 10 * block + 10) if i in split}) == 1
    neighbours = [(split[i], split[i + 1]) for i in range(99) if i in split and i + 1 in split]
    assert all(a == b for a, b in neighbours), "neighbours in different splits"
    assert f"{100 - len(split)} at their borders left out" in notes[0]
    assert len(split) < 100


@pytest.mark.parametrize(("backgrounds", "foregrounds", "what"), [(2, 9, "backgrounds: 2"), (9, 1, "foregrounds: 1")])
def test_too_few_to_divide_says_how_many_are_needed(backgrounds: int, foregrounds: int, what: str) -> None:
    with pytest.raises(DataError, match=rf"Number of {what}; train, val and test need.*3 or more are needed"):
        make_plan(backgrounds, foregrounds, shares=SHARES)
    make_plan(backgrounds, foregrounds, shares=None)


def test_a_limit_below_the_splits_and_strange_shares_are_refused() -> None:
    with pytest.raises(UsageError, match="--limit 2 is too few"):
        make_plan(9, 9, shares=SHARES, limit=2)
    for text in ("70/30", "a/b/c", "0/0/0", "-1/1/1", "nan/1/1", "group", ""):
        with pytest.raises(UsageError, match="expected shares"):
            read_shares(text)
    assert read_shares("80/0/20") == (0.8, 0.0, 0.2)
    assert read_shares("random") is None


def test_the_division_depends_on_the_seed() -> None:
    plans = [make_plan(30, 30, shares=SHARES, seed=seed)[0].parts for seed in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]
