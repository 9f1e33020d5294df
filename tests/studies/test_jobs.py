"""How many trials train at once: as asked, by rule where measuring does not pay, or measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from basrelief.config import ExecutionSettings, TrainSettings
from basrelief.data.store import Store
from basrelief.engine import processes, side_by_side
from basrelief.engine.machine import Machine
from basrelief.engine.run_plan import RunPlan
from basrelief.engine.side_by_side import Way, fastest, time_ways
from basrelief.studies import jobs
from basrelief.studies.cards import VISIBLE, cards_of

MACHINE = Machine("cpu", "fp32", channels_last=True, threads=4)
ROWS = np.arange(12)
AUTO = ExecutionSettings()


def run_plan(**settings: Any) -> RunPlan:
    given = {"network": "masknet", "resolution": (32, 32), "epochs": 50, "batch_size": 4, "metric": "mask/iou"}
    train = TrainSettings(**{**given, "lr": 1e-3, **settings})
    return RunPlan(train, "bce(mask)", 0, ("mask",), False, MACHINE)


class Timed:
    """Stands in for the timing, and remembers what it was asked."""

    def __init__(self, rates: dict[Way, float]) -> None:
        self.rates, self.asked = rates, 0

    def __call__(self, plan: Any, store: Any, rows: Any, machine: Any, ways: Sequence[Way], *limits: float) -> Any:
        self.asked += 1
        return {way: [self.rates.get(way, 0.1)] * 3 for way in ways}


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Timed:
    """Four quiet cores and a long study, on which two at once are twice as fast as one."""
    found = Timed({Way(1, 4): 10.0, Way(2, 2): 20.0, Way(4, 1): 19.0})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jobs, "available_threads", lambda: 4)
    monkeypatch.setattr(jobs, "others_use", lambda: 0.0)
    monkeypatch.setattr(jobs, "_seconds", lambda *_: 10.0)
    monkeypatch.setattr(jobs, "time_ways", found)
    return found


def test_what_was_measured_is_chosen_and_kept(scenes_store: Store, timed: Timed) -> None:
    for _ in range(2):
        number, machine, said = jobs.choose_jobs(run_plan(), scenes_store, ROWS, MACHINE, AUTO, trials=10)
        assert (number, machine) == (2, dataclasses.replace(MACHINE, threads=2))
        assert "2, with 2 threads each (measured 2.00 times as fast as one after another with 4 threads)" in said
    assert timed.asked == 1


def test_a_number_that_is_asked_for_shares_the_threads_unless_they_are_given(scenes_store: Store, timed: Timed) -> None:
    asked = ExecutionSettings(jobs=3)
    assert jobs.choose_jobs(run_plan(), scenes_store, ROWS, MACHINE, asked, trials=9)[1].threads == 1
    given = dataclasses.replace(MACHINE, threads=2)
    number, machine, said = jobs.choose_jobs(run_plan(threads=2), scenes_store, ROWS, given, asked, trials=9)
    assert (number, machine, timed.asked) == (3, given, 0)
    assert "(as asked)" in said


def test_given_threads_stay_and_the_cores_are_filled(scenes_store: Store, timed: Timed) -> None:
    machine = dataclasses.replace(MACHINE, threads=1)
    timed.rates = {Way(1, 1): 10.0, Way(4, 1): 30.0}
    found = jobs.choose_jobs(run_plan(threads=1), scenes_store, ROWS, machine, AUTO, trials=10)
    assert found[:2] == (4, machine)


@pytest.mark.parametrize(
    ("why", "seconds", "busy", "trials"),
    [("too short a study", 0.001, 0.0, 10), ("other programs", 10.0, 0.9, 10), ("one after another", 10.0, 0.0, 1)],
)
def test_by_rule_they_train_one_after_another(
    why: str,
    seconds: float,
    busy: float,
    trials: int,
    scenes_store: Store,
    timed: Timed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "_seconds", lambda *_: seconds)
    monkeypatch.setattr(jobs, "others_use", lambda: busy)
    number, machine, said = jobs.choose_jobs(run_plan(), scenes_store, ROWS, MACHINE, AUTO, trials=trials)
    assert (number, machine, timed.asked) == (1, MACHINE, 0)
    assert why in said


def test_no_more_train_at_once_than_memory_holds(
    scenes_store: Store, timed: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "available_bytes", lambda device: 2 * jobs.PROCESS)
    number, machine, said = jobs.choose_jobs(run_plan(), scenes_store, ROWS, MACHINE, AUTO, trials=10)
    assert (number, machine, timed.asked) == (1, MACHINE, 0)
    assert "nothing else to try" in said


def test_a_gain_within_the_noise_chooses_nothing() -> None:
    one, two = Way(1, 2), Way(2, 1)
    assert fastest({one: [10, 10, 10], two: [10.5, 10.9, 14.0]}) == (one, 1.0)
    assert fastest({one: [10, 10], two: [20, 20]}) == (one, 1.0), "too few rounds"
    assert fastest({one: [10, 4, 10], two: [10.4, 10.4, 10.4]})[0] == one, "a round in which something else ran"
    best, gain = fastest({one: [10, 10, 10], two: [15, 14, 16]})
    assert (best, gain) == (two, 1.5)


def test_steps_are_timed_in_real_processes(scenes_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "WINDOW", (0.1, 0.1))
    ways = [Way(1, 1), Way(2, 1)]
    rates = time_ways(run_plan(), scenes_store, ROWS, MACHINE, ways, 120.0, 0.02)
    assert [len(found) for found in rates.values()] == [side_by_side.ROUNDS] * 2
    assert all(rate > 0 for found in rates.values() for rate in found)


def test_where_time_runs_out_nothing_is_concluded(scenes_store: Store) -> None:
    rates = time_ways(run_plan(), scenes_store, ROWS, MACHINE, [Way(1, 1)], 0.01, 0.02)
    assert rates == {Way(1, 1): []}


def test_every_card_is_the_first_one_to_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that plans are equal, whichever card a trial runs on."""
    monkeypatch.setattr(processes, "gpus", lambda device: 0 if device == "cpu" else 3)
    monkeypatch.delenv(VISIBLE, raising=False)
    assert cards_of("auto") == (((VISIBLE, "0"),), ((VISIBLE, "1"),), ((VISIBLE, "2"),))
    assert cards_of("cuda:1") == cards_of("cpu") == ((),)
    monkeypatch.setenv(VISIBLE, "4, 5,GPU-abc")
    assert [card[0][1] for card in cards_of("cuda")] == ["4", "5", "GPU-abc"]
