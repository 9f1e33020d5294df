from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from basrelief.statistics import decide, holm, paired_interval, race, race_pairs
from basrelief.statistics.intervals import MeanSquares
from basrelief.statistics.looks import Finish, Look, look_weights, run_looks, settle

ASKED = {"planned": 10, "higher_is_better": True}


def simulate(means: dict[str, float], seed: int = 0, blocks: int = 10, spread: float = 0.01) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = 0.1 * rng.standard_normal((1, 30))
    return {
        name: 0.5 + mean + images + spread * rng.standard_normal((blocks, 1)) + 0.02 * rng.standard_normal((blocks, 30))
        for name, mean in means.items()
    }


FAR = {"best": 0.3, "second": 0.2, "third": 0.1, "last": 0.0}


def grow(scores: dict[str, np.ndarray], **asked: object) -> tuple[object, dict[str, np.ndarray]]:
    """Run a race as a study does, a block at a time, and return it with the scores that it trained."""
    have = {name: rows[:0] for name, rows in scores.items()}
    standing = race(have, **{**ASKED, **asked})
    while not standing.over:
        have = {name: scores[name][: len(rows) + (name in standing.live)] for name, rows in have.items()}
        standing = race(have, **{**ASKED, **asked})
    return standing, have


def test_losses_far_behind_are_dropped_early_and_the_best_one_wins() -> None:
    standing, have = grow(simulate(FAR))
    assert standing.live == ("best",)
    assert {one.name for one in standing.dropped} == {"second", "third", "last"}
    assert all(one.after <= 5 and one.p_value < 0.05 and one.behind > 0.05 for one in standing.dropped)
    assert sum(len(rows) for rows in have.values()) <= 20
    pairs = race_pairs(have, **ASKED)
    assert [pairs["best", other].decision for other in ("second", "third", "last")] == ["a", "a", "a"]
    assert all((pair.p_adjusted or 1) < 0.05 for pair in pairs.values() if pair.decision != "undecided")


def test_the_direction_of_the_metric_and_the_order_of_names_change_nothing_else() -> None:
    scores = simulate(FAR)
    lower = {name: -rows for name, rows in reversed(scores.items())}
    up, _ = grow(scores)
    down, have = grow(lower, higher_is_better=False)
    assert down.live == up.live
    assert {(one.name, one.after) for one in down.dropped} == {(one.name, one.after) for one in up.dropped}
    assert race_pairs(have, planned=10, higher_is_better=False)["last", "best"].decision == "b"


def test_rows_after_the_drop_change_nothing_so_that_a_race_can_be_taken_up_again() -> None:
    scores = simulate(FAR, seed=3)
    standing, have = grow(scores)
    assert race(scores, **ASKED) == standing
    wild = {name: np.vstack([have[name], 9 + scores[name][len(have[name]) :]]) for name in scores}
    assert race(wild, **ASKED).dropped == standing.dropped
    assert race_pairs(wild, **ASKED) == race_pairs(have, **ASKED)


def test_no_look_comes_before_the_third_seed_or_before_every_live_loss_has_it() -> None:
    scores = simulate(FAR)
    assert race({name: rows[:2] for name, rows in scores.items()}, **ASKED).seeds == 0
    late = {**scores, "last": scores["last"][:2]}
    standing = race(late, **ASKED)
    assert (standing.seeds, standing.dropped, standing.over) == (0, (), False)


def test_three_planned_seeds_make_the_race_the_full_study() -> None:
    scores = {name: rows[:3] for name, rows in simulate({"a": 0.1, "b": 0.09, "c": 0.0}).items()}
    standing = race(scores, planned=3, higher_is_better=True)
    assert (standing.dropped, standing.over, standing.seeds) == ((), True, 3)
    names = [("a", "b"), ("a", "c"), ("b", "c")]
    intervals = [paired_interval(scores[one], scores[two]) for one, two in names]
    adjusted = holm([interval.p_value or 0.0 for interval in intervals])
    pairs = race_pairs(scores, planned=3, higher_is_better=True)
    for name, interval, p in zip(names, intervals, adjusted, strict=True):
        assert pairs[name].interval == interval
        assert pairs[name].p_adjusted == pytest.approx(p)
        assert pairs[name].decision == decide(interval, p, margin=0, higher_is_better=True)


def test_losses_equal_within_the_margin_are_not_dropped() -> None:
    scores = simulate({"a": 0.02, "b": 0.0, "far": -0.4}, spread=0.0001)
    assert {one.name for one in race(scores, **ASKED).dropped} == {"b", "far"}
    standing, have = grow(scores, margin=0.05)
    assert (standing.live, [one.name for one in standing.dropped]) == (("a", "b"), ["far"])
    pairs = race_pairs(have, **ASKED, margin=lambda a, b: 0.05)
    assert [pair.decision for pair in pairs.values()] == ["equal", "a", "a"]


def test_a_failed_training_is_left_out_of_its_pairs() -> None:
    scores = simulate(FAR)
    scores["second"][1] = np.nan
    standing, have = grow(scores)
    assert standing.live == ("best",)
    interval = race_pairs(have, **ASKED)["best", "second"].interval
    assert interval is not None
    assert interval.seeds == len(have["second"]) - 1
    scores["third"][:] = np.nan
    pairs = race_pairs(scores, **ASKED)
    assert pairs["best", "third"].interval is pairs["best", "third"].p_adjusted is None
    assert pairs["best", "third"].decision == "undecided"


def test_the_winner_is_better_than_a_loss_dropped_by_another_one_long_before() -> None:
    """Loss 2 was dropped for 1, and 1 for 0: then 0 is better than 2, though that pair was never told apart."""
    apart = [(2, 3, 1, 0.01), (1, 6, 0, 0.02)]
    p_values, ahead, equal = np.array([0.003, 0.9, 0.002]), np.array([0, 2, 1]), np.zeros(3, dtype=bool)
    claims = settle(Finish(apart, p_values, ahead, equal, 6), losses=3, level=0.95)
    assert (claims.better.tolist(), claims.by_race.tolist()) == ([0, 0, 1], [False, True, False])
    assert claims.p_values[1] == 0.01
    # While 1 still runs and is not told apart from 0, nothing is said of 0 and 2.
    undecided = settle(Finish(apart[:1], np.array([0.3, 0.9, 0.002]), ahead, equal, 6), losses=3, level=0.95)
    assert undecided.better.tolist() == [-1, -1, 1]


def test_an_unsteady_loss_is_not_taken_for_a_steady_one() -> None:
    """Among steady losses the pooled variance is small; a loss whose own runs differ widely is not dropped by it."""
    steady = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0, "e": 0.0}
    scores = {name: rows[:3] for name, rows in simulate(steady, seed=2, spread=0.001).items()}
    scores["e"] = scores["a"] + np.array([[-0.9], [-0.1], [-0.2]])
    assert race(scores, **ASKED).dropped == ()
    scores["e"] = scores["a"] - 0.4 + np.array([[0.01], [-0.01], [0.0]])
    assert [one.name for one in race(scores, **ASKED).dropped] == ["e"]


def look(means: list[float], seed_squares: list[float]) -> Look:
    """Return three pairs on three seeds and ten images, with hardly any noise but the seeds'."""
    tiny = np.full(3, 1e-12)
    squares = MeanSquares(np.array(seed_squares), tiny, tiny, np.full(3, 3.0), np.full(3, 10.0))
    return Look(np.array(means), squares)


def first_look(means: list[float], seed_squares: list[float], margin: float = 0.0) -> Finish:
    return run_looks(
        {3: look(means, seed_squares)},
        losses=3,
        planned=4,
        higher_is_better=True,
        margins=np.full(3, margin),
        level=0.95,
    )


def test_the_p_value_of_a_drop_is_that_of_the_pooled_variance_for_rivals_and_looks() -> None:
    # Pairs (0, 1), (0, 2), (1, 2); mean square 2 of all three, so a standard error of √(2 / 30) with 2·2 degrees of
    # freedom; times the two rivals, over the look's half of the error rate.
    found = first_look([0.1, 3.0, 2.9], [1.0, 4.0, 1.0])
    expected = 2 * t.sf(3.0 / (2 / 30) ** 0.5, 4) * 2 / 0.5
    assert [(loss, seeds, rival) for loss, seeds, rival, _ in found.dropped] == [(2, 3, 0)]
    assert found.dropped[0][3] == pytest.approx(expected, rel=1e-6)
    # A pair is decided on its own p-value where that is larger, over the look's weight alone.
    assert found.p_values[1] == pytest.approx(2 * t.sf(3.0 / (4 / 30) ** 0.5, 2) / 0.5, rel=1e-6)


def test_a_drop_is_a_hundredth_as_sure_at_most_as_the_pair_itself() -> None:
    found = first_look([0.0, 9.0, 9.0], [1e-6, 50.0, 50.0])
    own = 2 * t.sf(9.0 / (50 / 30) ** 0.5, 2)
    pooled = 2 * t.sf(9.0 / (100 / 3 / 30) ** 0.5, 4)
    assert pooled > own / 100
    assert found.dropped[0][3] == pytest.approx(pooled * 4, rel=1e-6)
    found = first_look([0.0, 90.0, 90.0], [1e-6, 50.0, 50.0])
    own = 2 * t.sf(90.0 / (50 / 30) ** 0.5, 2)
    assert found.dropped[0][3] == pytest.approx(own / 100 * 4, rel=1e-6)


def test_a_dropped_loss_is_not_called_equal_to_any() -> None:
    found = first_look([0.7, 1.0, 0.3], [1e-8, 1e-8, 1e-8], margin=0.5)
    assert {loss for loss, _, _, _ in found.dropped} == {1, 2}
    assert not found.equal.any()


def test_the_looks_share_the_error_rate() -> None:
    for planned in (1, 3, 4, 10):
        weights = look_weights(planned)
        assert sum(weights.values()) == pytest.approx(1)
        assert max(weights) == planned
        assert list(weights) == sorted(weights)
    assert min(look_weights(10)) == 3


def test_equal_losses_are_seldom_dropped() -> None:
    """Half the error rate is spent before the last look: of 40 races among three equal losses few drop any."""
    races = [race(simulate({"a": 0, "b": 0, "c": 0}, seed=seed), **ASKED) for seed in range(40)]
    assert sum(bool(one.dropped) for one in races) <= 5


def test_scores_without_seeds_and_images_are_refused() -> None:
    with pytest.raises(ValueError, match="Scores"):
        race({"a": np.zeros(3), "b": np.zeros(3)}, **ASKED)
