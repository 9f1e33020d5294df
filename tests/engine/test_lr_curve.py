"""Reading the curve of a range test: losses of any sign and scale, noise, divergence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.engine.lr_curve import LEVELS, LrCurve, Suggestion, agree

RATES = np.geomspace(1e-6, 10, 140)


def fall(at: float = 1e-2, breaks: float = 1.0, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Return losses that fall from 1 to 0, half of it at the rate ``at``, and rise without bound beyond ``breaks``."""
    way = 1 / (1 + (RATES / at) ** 1.5)
    return way + np.maximum(0, np.log10(RATES / breaks)) * 20 + noise * np.random.default_rng(seed).normal(size=140)


def made(losses: np.ndarray) -> LrCurve:
    curve = LrCurve(len(losses))
    for rate, loss in zip(RATES.tolist(), losses.tolist(), strict=True):
        curve.add(rate, loss)
        if curve.diverged:
            break
    return curve


def test_smoothing_is_an_exponential_mean_without_its_bias() -> None:
    curve = LrCurve(100)  # which remembers 6 steps: keep = 1 - 1 / 6
    for rate, loss in ((1e-3, 3.0), (1e-2, 0.0), (1e-1, 6.0)):
        curve.add(rate, loss)
    k = 5 / 6  # by hand: (3 k² + 0 k + 6) / (k² + k + 1)
    assert curve.smoothed == pytest.approx([3, 3 * k / (k + 1), (3 * k**2 + 6) / (k**2 + k + 1)])
    assert math.log10(curve.smoothed_rates[2]) == pytest.approx((-3 * k**2 - 2 * k - 1) / (k**2 + k + 1))


@pytest.mark.parametrize("optimizer", sorted(LEVELS))
def test_the_suggestion_stands_where_the_known_curve_is_at_the_optimizers_level(optimizer: str) -> None:
    level = LEVELS[optimizer]
    exact = 1e-2 * (1 / level - 1) ** (1 / 1.5)  # where 1 / (1 + (rate / 0.01)^1.5) is at the level
    found = made(fall()).suggest(optimizer)
    assert found.rate is not None
    assert 0.5 < found.rate / exact < 2
    assert found.lowest_at is not None
    assert found.diverged_at is not None
    assert found.rate < found.lowest_at < found.diverged_at


@settings(max_examples=30, deadline=None)
@given(st.floats(-9, 9), st.floats(-1000, 1000), st.sampled_from(sorted(LEVELS)))
def test_neither_scale_nor_sign_of_a_loss_moves_the_suggestion(power: float, offset: float, optimizer: str) -> None:
    plain = made(fall(noise=0.01)).suggest(optimizer)
    other = made(10**power * (fall(noise=0.01) + offset)).suggest(optimizer)
    assert plain.rate is not None
    assert other.rate == pytest.approx(plain.rate, rel=0.05)
    assert other.diverged_at == pytest.approx(plain.diverged_at, rel=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_noise_of_batches_alone_neither_diverges_nor_suggests(seed: int) -> None:
    curve = made(np.random.default_rng(seed).normal(size=140) + 5)
    assert not curve.diverged
    found = curve.suggest("sgd")
    assert found.rate is None
    assert "never fell" in found.reason


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_noise_on_a_curve_moves_the_suggestion_less_than_threefold(seed: int) -> None:
    for optimizer in LEVELS:
        plain, noisy = made(fall()).suggest(optimizer), made(fall(noise=0.05, seed=seed)).suggest(optimizer)
        assert plain.rate is not None
        assert noisy.rate is not None
        assert 1 / 3 < noisy.rate / plain.rate < 3


def test_a_constant_loss_is_no_curve() -> None:
    curve = made(np.full(140, 0.7))
    assert not curve.diverged
    assert curve.suggest("adamw").rate is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_the_test_and_stays_out_of_the_curve(bad: float) -> None:
    losses = fall()
    losses[110] = bad
    curve = made(losses)
    assert curve.diverged
    assert len(curve.losses) == 111
    assert curve.smoothed[-1] is None
    found = curve.suggest("adamw")
    assert found.rate is not None
    assert found.diverged_at == pytest.approx(RATES[110])


def test_a_bounded_loss_that_falls_back_to_its_start_has_diverged() -> None:
    losses = 0.4 + 0.6 * np.minimum(1.0, fall(breaks=0.3))  # never above 1, as Dice
    curve = made(losses)
    assert curve.diverged
    assert curve.rates[-1] > 0.3


def test_a_loss_that_breaks_at_once_says_to_begin_lower() -> None:
    found = made(np.array([1.0, math.nan, 1.0])).suggest("sgd")
    assert found.rate is None
    assert "--lr-min" in found.reason


def test_a_curve_still_falling_at_its_end_says_so() -> None:
    found = made(fall(at=5.0, breaks=1e9)).suggest("sgd")
    assert found.rate is not None
    assert "--lr-max" in found.reason


def test_several_tests_suggest_their_median_and_say_when_they_disagree() -> None:
    def say(*rates: float | None) -> tuple[float | None, str]:
        return agree([Suggestion(rate, "Because of it.", 1.0, None) for rate in rates])

    assert say(0.02) == (0.02, "Because of it.")
    assert say(0.001, 0.1, 0.01)[0] == pytest.approx(0.01)
    assert "far apart" in say(0.001, 0.1, 0.01)[1]
    assert say(0.01, 0.04)[0] == pytest.approx(0.02)
    assert "far apart" not in say(0.01, 0.04)[1]
    assert say(0.01, None, 0.01)[0] == pytest.approx(0.01)
    assert "1 found none" in say(0.01, None, 0.01)[1]
    assert say(0.01, None, None)[0] is None
