"""Histograms of values whose range nobody knows beforehand."""

from __future__ import annotations

import itertools
import math
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.data.histogram import BINS, SHOWN, show_shares, show_tally, tally, total

PARTS = st.lists(
    st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=1, max_size=30), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=60)
@given(PARTS, st.randoms(use_true_random=False))
def test_the_order_does_not_matter_and_every_value_is_in_its_bin(parts, shuffle) -> None:
    tallies = [tally(np.array([part], dtype=np.float32)) for part in parts]
    found = reduce(add, tallies)
    shuffle.shuffle(tallies)
    again = reduce(add, tallies)
    values = np.array([value for part in parts for value in part], dtype=np.float32).astype(np.float64)
    assert (found.exponent, found.first) == (again.exponent, again.first)
    assert found.counts.tolist() == again.counts.tolist()
    assert (found.low, found.high) == (values.min(), values.max())
    assert len(found.counts) <= BINS
    edges = np.ldexp(found.first + np.arange(len(found.counts) + 1.0), found.exponent)
    counts = [int(((values >= a) & (values < b)).sum()) for a, b in itertools.pairwise(edges)]
    assert found.counts.tolist() == counts
    shown = show_tally(found)
    assert len(shown["counts"]) <= SHOWN
    assert len(shown["edges"]) == len(shown["counts"]) + 1
    assert total(shown) == len(values)
    assert shown["edges"][0] <= values.min()
    assert shown["edges"][-1] > values.max()


def test_unknown_values_are_left_out() -> None:
    values = np.array([[np.nan, 1.0, 2.0], [np.inf, -np.inf, 2.0]], dtype=np.float32)
    found = tally(values)
    assert found is not None
    assert found.counts.sum() == 3
    assert (found.low, found.high) == (1.0, 2.0)
    assert tally(np.full(5, np.nan, np.float32)) is None
    assert tally(np.empty(0, np.float32)) is None


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-40, 3e38])
def test_one_value_alone_and_the_ends_of_float32(value: float) -> None:
    found = tally(np.full(7, value, np.float32))
    assert found is not None
    assert found.counts.tolist() == [7]
    assert all(math.isfinite(edge) for edge in show_tally(found)["edges"])


def test_a_quantile_is_within_a_bin_of_that_of_the_values() -> None:
    values = np.random.default_rng(0).gamma(2, 1, 100_000).astype(np.float32)
    found = reduce(add, [tally(part) for part in np.split(values, 10)])
    for share in (0.005, 0.5, 0.995):
        assert found.quantile(share) == pytest.approx(np.quantile(values, share), abs=2 * 2.0**found.exponent)


def test_shares_end_at_a_round_number() -> None:
    assert show_shares([0.0, 0.04])["edges"][-1] == 0.05
    assert show_shares([0.05])["edges"][-1] == 0.05
    assert show_shares([0.6])["edges"][-1] == 1.0
    assert total(show_shares([0.05, 0.0, 0.01])) == 3
    assert total(show_shares([])) == 0


def test_a_large_map_is_counted_by_rows_and_keeps_its_ends() -> None:
    values = np.random.default_rng(0).gamma(2, 1, (700, 500)).astype(np.float32)
    values[1, 1], values[1, 2], values[::9, 7] = 90.0, -5.0, np.nan
    found = tally(values)
    assert found is not None
    assert (found.low, found.high) == (-5.0, 90.0)
    assert found.counts.sum() == pytest.approx(np.isfinite(values).sum(), rel=0.01)
    assert found.quantile(0.5) == pytest.approx(np.nanquantile(values, 0.5), abs=2 * 2.0**found.exponent)
