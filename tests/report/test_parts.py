"""The parts of the page: what they say of a verdict that says everything, and of one that says little."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from basrelief.report import Curve, RateSearch, StudyContents, TermCurve, render_markdown, render_study
from basrelief.report.basis import format_basis, format_race
from basrelief.report.behaviour import behaviour_header, draw_loss, draw_shares, format_behaviour
from basrelief.report.costs import format_costs
from basrelief.report.forest import format_pairs
from basrelief.report.rates import format_searches
from basrelief.report.spreads import draw_spreads, say_ahead
from basrelief.report.strata import format_ranking, format_strata

Study = Callable[..., StudyContents]


def ys(points: str) -> list[float]:
    return [float(pair.split(",")[1]) for pair in points.split()]


def test_a_pair_is_turned_so_that_the_better_mean_comes_first(full: Study) -> None:
    made = full(2)
    pair = dict(made.verdict["pairs"][0])
    names = [row.name for row in made.losses]
    turned = pair | {"a": names[1], "b": names[0], "difference": -0.013, "ci": [-0.022, -0.004], "decision": "b"}
    turned["bootstrap_ci"] = [-0.03, -0.01]
    for given in (pair | {"bootstrap_ci": [0.01, 0.03]}, turned):
        forest = format_pairs(replace(made, verdict={**made.verdict, "pairs": [given]}))
        assert forest is not None
        line = forest.pairs[0]
        assert (line.a, line.b, line.kind) == (names[0], names[1], "a")
        assert line.words == f"{names[0]} better"
        assert (line.score.mean, line.score.interval) == ("+0.0130", "+0.0040 to +0.0220")
        assert line.bootstrap == "+0.0100 to +0.0300"


def test_an_undecided_pair_says_what_would_decide_it_and_what_it_hangs_on(full: Study) -> None:
    forest = format_pairs(full(3))
    assert forest is not None
    assert forest.pairs[2].words == (
        "undecided; about 4 more seeds (2 to 15), or about 240 more test images (90 or more)"
    )
    assert [line.care for line in forest.pairs] == ["", "hangs on seed 2", ""]
    low, width = (forest.pairs[0].mark[name] for name in ("thin_low", "thin_width"))
    assert 0 <= low < low + width <= 100


def test_of_many_pairs_those_with_the_best_loss_are_shown_at_once(full: Study) -> None:
    made = full(6)
    forest = format_pairs(made)
    assert forest is not None
    best = made.losses[0].name
    assert len(forest.pairs) == 5
    assert all(line.a == best for line in forest.pairs)
    assert len(forest.others) == 10
    assert "10 more pairs, without the best loss" in render_study(made)


@pytest.mark.parametrize(
    ("hanging", "said"),
    [
        ({"image": "a/b"}, "image a/b"),
        ({"group": 7}, "group 7 of the test images"),
        ({"last_epoch": True}, "the last epoch"),
        ({"seed": 0}, "seed 0"),
    ],
)
def test_what_a_decision_hangs_on_is_named(full: Study, hanging: dict[str, Any], said: str) -> None:
    made = full(2)
    pair = dict(made.verdict["pairs"][0], hangs_on=hanging)
    rows = dict(format_basis(replace(made, verdict={**made.verdict, "pairs": [pair]})))
    assert rows["Hangs on"].endswith(f"on {said}; without it the decision is another")


def test_the_basis_says_interval_choice_and_where_the_order_changes(full: Study) -> None:
    rows = dict(format_basis(full(3)))
    assert rows["Best and next"] == (
        "bce(mask) + 2*dice(mask) − bce(mask): +0.0130 in mask/iou (95 % interval +0.0040 to +0.0220)"
    )
    assert rows["Rests on"] == "3 seeds of each of the 3 losses, 412 test images"
    assert rows["Chosen on validation"] == "bce(mask) + 2*dice(mask); the test images confirm it"
    assert rows["Other metrics"] == "the order changes in 1 of 3 others: mask/dice"
    assert rows["Strata"] == "the order changes in 1 of 2: small figure"


@pytest.mark.parametrize(
    ("confirmed", "said"), [(False, "do not confirm it"), (None, "cannot tell"), (True, "the test images confirm it")]
)
def test_a_choice_that_the_test_does_not_confirm_is_said(full: Study, confirmed: bool | None, said: str) -> None:
    made = full(2)
    assert (
        said
        in dict(format_basis(replace(made, verdict={**made.verdict, "confirmed": confirmed})))["Chosen on validation"]
    )


def test_an_older_verdict_leaves_out_what_it_lacks(study: Study) -> None:
    made = study(3)
    assert [name for name, _ in format_basis(made)] == ["Best and next", "Rests on", "Practically equal"]
    assert not format_strata(made)
    assert not format_ranking(made)
    assert not format_behaviour(made)
    assert not format_searches(made)
    assert format_race(made) is None
    assert format_costs(made) == ([], [])
    html = render_study(made)
    for anchor in ("strata", "behaviour", "rates", "race", "spreads", "terms"):
        assert f'id="{anchor}"' not in html
        assert f'href="#{anchor}"' not in html


@pytest.mark.parametrize(
    ("factor", "word", "words"),
    [("network", "network", "networks"), ("lr", "learning rate", "learning rates"), ("loss", "loss", "losses")],
)
def test_headings_say_what_was_varied(full: Study, factor: str, word: str, words: str) -> None:
    made = full(6)
    made = replace(made, verdict={**made.verdict, "factor": factor})
    html = render_study(made)
    assert f'<h2 id="losses">{words.capitalize()}</h2>' in html
    assert f"without the best {word}<" in html
    assert f"## {words.capitalize()}\n" in render_markdown(made)
    assert f"| {word.capitalize()} | mask/iou" in render_markdown(made)


def test_strata_mark_the_best_and_say_whether_the_order_holds(full: Study) -> None:
    lines = format_strata(full(2))
    assert [line.name for line in lines] == ["no figure", "small figure", "large figure"]
    assert [line.images for line in lines] == ["3", "31 (12 groups)", "31"]
    assert [line.holds for line in lines] == ["–", "changes", "holds"]
    assert lines[0].scores[0].interval == ""
    assert {line.best for line in lines} == {0}
    assert [line.holds for line in format_ranking(full(2))] == ["", "changes", "holds", "holds"]


def test_behaviour_has_a_column_for_memory_only_where_it_is_known(full: Study) -> None:
    made = full(2)
    line = format_behaviour(made)[0]
    assert [cell.mean for cell in line.cells] == ["11", "71 %", "3.1 %", "–", "2", "0 of 3", "26.4", "300 MiB"]
    assert line.cells[0].interval == "9 to 14"
    costs = [replace(cost, step_ms=None, step_memory=None) for cost in made.costs]
    bare = replace(made, costs=costs)
    assert len(format_behaviour(bare)[0].cells) == len(behaviour_header(bare)) == 6
    memory = replace(made, costs=[replace(cost, step_ms=None) for cost in made.costs])
    assert format_behaviour(memory)[0].cells[-1].mean == "300 MiB"
    assert len(format_behaviour(memory)[0].cells) == len(behaviour_header(memory)) == 7


def test_a_small_plot_of_a_loss_falls_as_the_loss_does_and_needs_two_epochs() -> None:
    panel = draw_loss([Curve("a", 0, "loss", [1, 2, 3], [3.0, 2.0, 1.0]), Curve("a", 1, "loss", [1, 2], [5.0, None])])
    assert panel is not None
    heights = ys(panel.lines[0])
    assert heights == sorted(heights)  # downward on a screen
    assert "from 4 to 1" in panel.says
    assert draw_loss([Curve("a", 0, "loss", [1], [3.0])]) is None
    assert draw_loss([Curve("a", 0, "loss", [1, 2], [float("nan"), None])]) is None


def test_shares_of_the_gradient_are_stacked_up_to_one() -> None:
    terms = [
        TermCurve("a", "one", [1, 1], [1, 1], [0.25, 0.5]),
        TermCurve("a", "two", [1, 1], [1, 1], [0.75, 0.5]),
    ]
    panel = draw_shares(terms)
    assert panel is not None
    assert min(ys(panel.areas[1][0])) == panel.top
    assert max(ys(panel.areas[0][0])) == panel.bottom
    assert ys(panel.areas[0][0])[:2] == ys(panel.areas[1][0])[:1:-1]  # one's top is two's foot


def test_searches_share_one_axis_and_mark_what_failed(full: Study) -> None:
    cards = format_searches(full(3))
    assert [card.rate for card in cards] == ["0.003", "0.006", "0.009"]
    assert cards[0].cost == "340 steps, 22 s"
    grids = [card.grid for card in cards]
    assert all(grid is not None and [hollow for *_, hollow in grid.dots] == [False] * 3 + [True] for grid in grids)
    assert len({str(grid.y_ticks) for grid in grids if grid is not None}) == 1
    marks = [card.curve.marks[0][0] for card in cards if card.curve is not None]
    assert marks == sorted(marks)
    assert marks[0] < marks[-1]


def test_a_search_that_found_no_rate_and_one_of_folds_are_shown(full: Study) -> None:
    made = full(2)
    one, two = (row.name for row in made.losses)
    searches = [
        RateSearch(one, None, "It diverged at once.", curve=[(1e-6, 1.0), (1e-5, 2.0)]),
        RateSearch(two, 0.01, "Fine.", fold=0),
        RateSearch(two, 0.02, "Fine.", fold=1),
    ]
    cards = format_searches(replace(made, searches=searches))
    assert (cards[0].rate, cards[1].folds) == ("–", ["0.01", "0.02"])
    assert cards[0].curve is not None
    assert cards[0].curve.marks == []
    html = render_study(replace(made, searches=searches))
    assert "It diverged at once." in html
    assert "0.01, 0.02" in html


def test_spreads_turn_round_for_errors_and_leave_the_best_out_of_the_differences(full: Study) -> None:
    for classes, rising in ((1, True), (0, False)):
        made = full(3, classes=classes)
        scores, differences = draw_spreads(made)
        assert len(scores["data"]) == 3
        assert len(differences["data"]) == 2
        y = scores["data"][0]["y"]
        assert (y[0] < y[-1]) == rising  # from worst to best
        assert scores["data"][0]["x"][0] == 0
        assert scores["data"][0]["x"][-1] == 100
    assert say_ahead(made)[0][3] == "ahead on 31 % of the images"
    assert len(draw_spreads(full(1))) == 1


def test_the_race_says_what_was_dropped_when_and_saved(full: Study) -> None:
    made = full(3)
    race = format_race(made)
    assert race is not None
    assert race["said"] == ["12 of 20 trainings were made, which saved 40 % of the steps."]
    assert [(row["name"], row["when"]) for row in race["rows"]] == [("focal(mask, gamma=2)", "after 3 seeds")]
    assert race["rows"][0]["why"] == "0.0264 behind bce(mask) + 2*dice(mask) (p 0.0041, for all looks and rivals)"
    over = {**made.verdict["race"], "over": True, "planned": 10, "seeds": 4}
    ended = format_race(replace(made, verdict={**made.verdict, "race": over}))
    assert ended is not None
    assert ended["said"][0] == "It was over after 4 of 10 seeds."
    none = format_race(replace(made, verdict={**made.verdict, "race": {"dropped": []}}))
    assert none == {"rows": [], "said": [], "reasons": False}


def test_costs_add_up_and_a_sum_with_a_gap_is_no_sum(full: Study) -> None:
    made = full(2)
    header, lines = format_costs(made)
    assert header == ["Trainings", "Steps", "Training time", "Search, steps", "Search, time"]
    assert lines[-1].cells == ["6", "5,400", "8 min 20 s", "680", "43 s"]
    gap = [replace(made.costs[0], steps=None), made.costs[1]]
    assert format_costs(replace(made, costs=gap))[1][-1].cells[1] == "–"


def test_hostile_text_stays_text_in_every_new_part(full: Study) -> None:
    made = full(2, side=16, count=1)
    hostile = "<script>alert(1)</script>\"'&{{ 7*7 }}"
    name = made.losses[0].name

    def swap(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: swap(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [swap(item) for item in value]
        return hostile if value in (name, "small", "figure", "mask/dice") else value

    changed = replace(
        made,
        verdict=swap(made.verdict) | {"factor": hostile},
        losses=[replace(made.losses[0], name=hostile), made.losses[1]],
        terms=[replace(one, loss=swap(one.loss), term=hostile) for one in made.terms],
        training=[replace(one, loss=swap(one.loss)) for one in made.training],
        spreads=[replace(one, loss=swap(one.loss), against=swap(one.against)) for one in made.spreads],
        searches=[replace(one, loss=swap(one.loss), reason=hostile) for one in made.searches],
        costs=[replace(one, loss=swap(one.loss), memory_kind=hostile) for one in made.costs],
    )
    html = render_study(changed)
    assert len(re.findall("<script", html)) == len(re.findall("<script", render_study(made)))
    assert "{{ 7*7 }}" in html


def test_one_failed_loss_beside_others_and_nothing_but_failures_make_a_page(full: Study) -> None:
    made = full(3)
    gone = [replace(row, scores={}, seeds=0, failed=3, failures=["not finite"], best_epochs=[]) for row in made.losses]
    pairs = [dict(pair, difference=None, ci=[None, None], bootstrap_ci=[None, None], decision="undecided",
                  more_seeds=None, more_images=None) for pair in made.verdict["pairs"]]  # fmt: skip
    bare = replace(
        made,
        verdict={**made.verdict, "pairs": pairs, "winner": None, "strata": [], "behaviour": []},
        losses=gone, curves=(), training=(), terms=(), spreads=(), pictures=None, costs=(), searches=(),
    )  # fmt: skip
    assert "not finite" in render_study(bare)
    assert "nan" not in render_markdown(bare).lower()
    some = replace(made, losses=[made.losses[0], gone[1], made.losses[2]])
    assert "not finite" in render_study(some)
