from __future__ import annotations

import numpy as np
import pytest

from basrelief.statistics import bootstrap_interval, bootstrap_intervals


def test_bounds_are_those_of_the_crossed_variance() -> None:
    """Of additive effects the bootstrap's variance is known: (n−1)/n and (m−1)/m of each source's, their sum."""
    rng = np.random.default_rng(0)
    seeds, images = rng.standard_normal((20, 1)), rng.standard_normal((1, 50))
    d = seeds + images
    sd = (seeds.var() / 20 + images.var() / 50) ** 0.5
    bounds = bootstrap_intervals(d[None], draws=4000).losses[0]
    assert bounds is not None
    assert bounds == pytest.approx((d.mean() - 1.96 * sd, d.mean() + 1.96 * sd), abs=0.12 * sd)


def test_a_pair_has_the_interval_of_its_difference() -> None:
    y = np.random.default_rng(1).random((3, 4, 20))
    together = bootstrap_intervals(y)
    assert list(together.pairs) == [(0, 1), (0, 2), (1, 2)]
    for (i, j), bounds in together.pairs.items():
        assert bounds == pytest.approx(bootstrap_interval(y[i], y[j]))
    assert bootstrap_intervals(y, pairs=[(0, 2)]).pairs == {(0, 2): together.pairs[0, 2]}


def test_the_same_arguments_give_the_same_bounds_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.random.default_rng(1).random((2, 3, 30))
    before = bootstrap_intervals(y)
    monkeypatch.setattr("basrelief.statistics.bootstrap.CHUNK_BYTES", 30 * 8 * 7)
    after = bootstrap_intervals(y)
    assert np.array(after.losses) == pytest.approx(np.array(before.losses))
    assert bootstrap_intervals(y, seed=1).losses != before.losses


def test_groups_are_drawn_as_a_whole() -> None:
    y = np.repeat(np.random.default_rng(1).random((1, 4, 10)), 5, axis=2)
    grouped = bootstrap_intervals(y, groups=np.repeat(np.arange(10), 5)).losses[0]
    assert grouped == pytest.approx(bootstrap_intervals(y[:, :, ::5]).losses[0])
    alone = bootstrap_intervals(y).losses[0]
    assert alone is not None
    assert grouped is not None
    assert alone[1] - alone[0] < grouped[1] - grouped[0]


def test_a_missing_seed_and_a_missing_image_are_left_out_for_that_loss_alone() -> None:
    y = np.random.default_rng(1).random((3, 5, 12))
    whole = bootstrap_intervals(y)
    y[1, 4] = np.nan
    y[2, :, 3] = np.nan
    holes = bootstrap_intervals(y)
    assert holes.losses[0] == whole.losses[0]
    assert holes.losses[2] == pytest.approx(bootstrap_intervals(np.delete(y[2:], 3, axis=2)).losses[0])
    assert holes.losses[1] is not None
    assert holes.losses[1][0] < y[1, :4].mean() < holes.losses[1][1]
    assert sum(holes.losses[1]) / 2 == pytest.approx(y[1, :4].mean(), abs=0.02)
    assert holes.pairs[0, 1] is not None
    assert holes.pairs[0, 1] != whole.pairs[0, 1]


def test_one_seed_one_image_or_no_score_has_no_interval() -> None:
    y = np.random.default_rng(1).random((2, 3, 4))
    assert bootstrap_intervals(y[:, :1]).losses == (None, None)
    assert bootstrap_intervals(y[:, :, :1]).losses == (None, None)
    y[1] = np.nan
    found = bootstrap_intervals(y)
    assert found.losses[0] is not None
    assert (found.losses[1], found.pairs[0, 1]) == (None, None)


@pytest.mark.parametrize("shape", [(2, 3), (2, 0, 3)], ids=["two axes", "no seeds"])
def test_scores_of_another_form_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Scores"):
        bootstrap_intervals(np.zeros(shape))
    with pytest.raises(ValueError, match="groups"):
        bootstrap_intervals(np.zeros((1, 2, 3)), groups=[1, 2])
