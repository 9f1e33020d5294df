"""Figures of training behaviour on curves whose noise, rise and falls are known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.config import Stage
from basrelief.studies.behaviour import behaviour, drops, epochs_to, fluctuation, monotone_share, step_costs
from basrelief.studies.results import StudyResults
from made_up import results


def noisy(sigma: float, epochs: int = 4000) -> np.ndarray:
    rise = 1 - np.exp(-np.arange(epochs) / 40)
    return rise + np.random.default_rng(0).normal(0, sigma, epochs)


@pytest.mark.parametrize("sigma", [0.002, 0.02])
def test_fluctuation_is_the_noise_over_the_gain(sigma: float) -> None:
    curve = noisy(sigma)
    assert fluctuation(curve) == pytest.approx(sigma / (curve.max() - curve[0]), rel=0.05)


def test_the_first_steep_rise_is_no_fluctuation() -> None:
    """By hand: of a curve that gains half of what is left each epoch, only what bends after half the gain counts."""
    curve = 1 - 0.5 ** np.arange(8.0)  # 0, 0.5, 0.75, …
    gain = 1 - 0.5**7
    off = [0.5**n - (0.5 ** (n - 1) + 0.5 ** (n + 1)) / 2 for n in range(2, 7)]  # of what is left; epochs 3 to 7
    assert curve[1] >= gain / 2
    by_hand = math.sqrt(2 / 3 * float(np.mean(np.square([off[0] * 1, *off[1:]])))) / gain
    assert fluctuation(curve) == pytest.approx(by_hand)
    assert fluctuation(np.linspace(0, 1, 30)) == pytest.approx(0, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 50), st.floats(-5, 5), st.integers(0, 5))
def test_no_figure_depends_on_the_unit(scale: float, shift: float, seed: int) -> None:
    curve = np.cumsum(np.random.default_rng(seed).normal(0.3, 0.4, 15))
    moved = scale * curve + shift
    assert epochs_to(moved) == epochs_to(curve)
    assert monotone_share(moved) == monotone_share(curve)
    assert drops(moved) == drops(curve)
    assert (fluctuation(moved) is None) == (fluctuation(curve) is None)
    if fluctuation(curve) is not None:
        assert fluctuation(moved) == pytest.approx(fluctuation(curve), rel=1e-6)


def test_epochs_to_most_of_the_gain_count_from_one() -> None:
    assert epochs_to(np.array([0.2, 0.5, 0.95, 1.0, 0.9])) == 4  # 0.2 + 0.95 * 0.8 = 0.96
    assert epochs_to(np.array([0.2, 0.5, 0.97, 1.0, 0.9])) == 3


def test_monotone_share_and_drops() -> None:
    curve = np.array([0.0, 0.5, 0.4, 1.0, 0.3, 0.3])  # one fall by a tenth, one by more than half of the gain
    assert monotone_share(curve) == pytest.approx(3 / 5)
    assert drops(curve) == 1


@pytest.mark.parametrize("curve", [[], [0.4], [0.5, 0.4, 0.3], [0.2, 0.2]])
def test_a_curve_without_a_gain_has_no_figure_of_it(curve: list[float]) -> None:
    array = np.array(curve)
    assert fluctuation(array) is None
    assert epochs_to(array) is None
    assert drops(array) == 0


def with_histories(made: StudyResults, curve: list[float], **columns: list[float | None]) -> StudyResults:
    count = len(curve)
    frame = pl.DataFrame(
        {
            "epoch": range(1, count + 1),
            "step": [10 * (n + 1) for n in range(count)],
            "seconds": [9.0] + [0.5] * (count - 1),
            "train/loss": [1 - value for value in curve],
            f"val/{made.plan.train.metric}": curve,
            **columns,
        }
    )
    return dataclasses.replace(made, histories={(*cell, 0): frame for cell in made.runs})


def test_a_loss_has_the_median_of_its_trainings_and_its_terms_shares() -> None:
    shares: dict[str, list[float | None]] = {"share/bce(mask)": [0.9, 0.6, None], "share/dice(mask)": [0.1, 0.4, None]}
    made = with_histories(results({"bce": 0.8, "dice": 0.7}, missing=("dice", 1)), [0.1, 0.8, 0.9], **shares)
    first, second = behaviour(made)
    assert (first["trainings"], first["failed"], second["trainings"], second["failed"]) == (5, 0, 4, 1)
    assert first["epochs_to_95"] == {"median": 3, "lowest": 3, "highest": 3}
    assert first["shares"] == [
        {"term": "bce(mask)", "first": pytest.approx(0.9), "last": pytest.approx(0.6)},
        {"term": "dice(mask)", "first": pytest.approx(0.1), "last": pytest.approx(0.4)},
    ]
    assert first["loss_fluctuation"] is None  # two epochs from half of the gain on are too few


def test_for_errors_a_falling_curve_is_a_gain() -> None:
    made = with_histories(results({"rmse": 0.3}, metric="depth/rmse"), [1.0, 0.5, 0.31, 0.3])
    assert behaviour(made)[0]["epochs_to_95"]["median"] == 3
    assert behaviour(made)[0]["monotone"]["median"] == 1


def test_only_the_last_stage_counts() -> None:
    made = with_histories(results({"bce": 0.8}), [0.9, 0.1, 0.2, 0.6, 0.6])
    stages = (Stage(resolution=(8, 8), batch_size=4, epochs=2), Stage(resolution=(16, 16), batch_size=4, epochs=3))
    plan = dataclasses.replace(made.plan, train=made.plan.train.model_copy(update={"stages": stages}))
    entry = behaviour(dataclasses.replace(made, plan=plan))[0]
    assert (entry["epochs"], entry["epochs_to_95"]["median"], entry["drops"]) == (3, 2, 0)


def test_the_first_epoch_is_no_measure_of_a_step() -> None:
    made = with_histories(results({"bce": 0.8, "dice": 0.7}), [0.1, 0.8, 0.9])
    for run in made.runs.values():
        run["step_memory"] = {"bytes": 1000, "kind": "counted"}
    assert step_costs(made)[0] == {"name": "bce", "step_ms": 50.0, "step_memory": 1000, "memory_kind": "counted"}


def test_without_histories_the_curves_of_the_runs_do() -> None:
    entry = behaviour(results({"bce": 0.8}))[0]
    assert (entry["epochs"], entry["epochs_to_95"]["median"], entry["loss_fluctuation"]) == (5, 2, None)
    assert step_costs(results({"bce": 0.8}))[0]["step_ms"] is None
