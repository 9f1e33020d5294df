from __future__ import annotations

import dataclasses
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from basrelief.config import TrainSettings
from basrelief.data.store import Store
from basrelief.engine import probe
from basrelief.engine.bare_step import BareSteps
from basrelief.engine.machine import Machine
from basrelief.engine.probe import choose, compare, first_candidates, later_candidates, probe_machine
from basrelief.engine.probe_cache import ENTRIES, cache_file, keep, recall
from basrelief.engine.run_plan import RunPlan

RULE = Machine("cpu", "bf16", True, 2)
FP32 = dataclasses.replace(RULE, precision="fp32")
PLAIN = dataclasses.replace(RULE, channels_last=False)
ONE = dataclasses.replace(RULE, threads=1)
ROWS = np.arange(20)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for every test, on a quiet machine with two cores that has bfloat16."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(probe, "others_use", lambda: 0.0)
    monkeypatch.setattr(probe, "computes_bfloat16", lambda kind: True)
    monkeypatch.setattr(probe.psutil, "cpu_count", lambda logical=True: 2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Clock:
    """Time that passes by what steps are said to take, not by what they do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.steps = 0.0, []
        self.takes: Callable[[Machine], float] = lambda machine: 0.01
        monkeypatch.setattr(probe.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(BareSteps, "seconds", lambda _, machine, samples: self.step(machine, samples))

    def step(self, machine: Machine, samples: int) -> float:
        seconds = self.takes(machine) * samples / 8
        self.now += seconds
        self.steps.append((machine, samples))
        return seconds


def plan(epochs: int = 1000, machine: Machine = RULE, batch_size: int = 8, **chosen: object) -> RunPlan:
    settings = TrainSettings(
        lr=1e-3,
        network="masknet",
        resolution=(32, 32),
        epochs=epochs,
        batch_size=batch_size,
        metric="mask/iou",
        **chosen,
    )
    return RunPlan(settings, "bce(mask)", 0, ("mask",), True, machine)


def test_noise_below_a_tenth_never_changes_the_rule() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):  # steps are held up now and then, and never run ahead
        times = {m: (1 + 0.1 * rng.exponential(size=9)).tolist() for m in (RULE, FP32, PLAIN, ONE)}
        assert choose(RULE, times)[0] == RULE


def test_the_clearly_faster_is_chosen_though_the_machine_slows_down_meanwhile() -> None:
    drift = [1, 1, 5, 9, 9]
    best, gain = choose(RULE, {RULE: [2 * d for d in drift], FP32: [1 * d for d in drift]})
    assert best == FP32
    assert gain == pytest.approx(2)


def test_of_two_faster_ones_the_first_stays_unless_the_second_is_clearly_better() -> None:
    assert choose(RULE, {RULE: [2.0] * 5, FP32: [1.0] * 5, PLAIN: [0.95] * 5})[0] == FP32
    assert choose(RULE, {RULE: [2.0] * 5, FP32: [1.0] * 5, PLAIN: [0.5] * 5})[0] == PLAIN


def test_too_few_rounds_decide_nothing() -> None:
    assert choose(RULE, {RULE: [9.0] * 4, FP32: [1.0] * 4})[0] == RULE
    assert choose(RULE, {RULE: [], FP32: []}) == (RULE, 1.0)


def test_hopeless_and_failing_candidates_cost_no_further_rounds() -> None:
    calls: list[Machine] = []

    def timer(machine: Machine) -> float:
        calls.append(machine)
        if machine == PLAIN:
            raise RuntimeError("no kernel")
        return 10.0 if machine == FP32 else 1.0

    times = compare(RULE, [FP32, PLAIN], timer, math.inf)
    assert len(times[RULE]) == probe.ROUNDS[1]
    assert (calls.count(FP32), calls.count(PLAIN)) == (2, 1)  # one to warm up, one that counts; one that fails


def test_first_steps_do_not_count() -> None:
    taken = iter([99.0, 1.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0] + [1.0, 2.0] * 20)
    times = compare(RULE, [FP32], lambda machine: next(taken), math.inf)
    assert 99.0 not in times[RULE]


def test_what_was_asked_for_is_not_tried_otherwise() -> None:
    assert {m.precision for m in first_candidates(plan(precision="bf16"))} == {"bf16"}
    assert {m.precision for m in first_candidates(plan())} == {"bf16", "fp32"}
    assert later_candidates(RULE, plan(threads=2), math.inf) == []
    assert later_candidates(RULE, plan(), math.inf) == [ONE]
    assert not any(m.compile for m in later_candidates(RULE, plan(), math.inf))  # on a CPU only when asked for


def test_a_cpu_that_would_imitate_bfloat16_never_tries_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "computes_bfloat16", lambda kind: False)
    assert {m.precision for m in first_candidates(plan(machine=FP32))} == {"fp32"}


@pytest.mark.parametrize(
    ("capability", "bf16", "expected"),
    [((9, 0), True, {"bf16", "tf32"}), ((7, 5), False, {"fp32", "fp16"}), ((6, 0), False, {"fp32", "fp16"})],
)
def test_gpus_try_what_their_generation_has(
    capability: tuple[int, int], bf16: bool, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(probe, "computes_bfloat16", lambda kind: bf16)
    rule = Machine("cuda:0", "bf16" if bf16 else "fp32", True, 8)
    candidates = first_candidates(plan(machine=rule))
    assert {m.precision for m in candidates} | {rule.precision} == expected


def test_compiling_is_tried_only_where_a_long_training_pays_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "why_not_compiled", lambda kind: None)
    rule = Machine("cuda:0", "bf16", True, 8)
    assert [m.compile for m in later_candidates(rule, plan(machine=rule), 3600.0)] == [True]
    assert later_candidates(rule, plan(machine=rule), 300.0) == []
    assert later_candidates(rule, plan(machine=rule, compile=False), 3600.0) == []
    monkeypatch.setattr(probe, "why_not_compiled", lambda kind: "no compiler")
    assert later_candidates(rule, plan(machine=rule), 3600.0) == []


def test_a_faster_machine_is_found_said_and_recalled(scenes_store: Store, clock: Clock) -> None:
    clock.takes = lambda machine: 0.01 * machine.threads * (2 if machine.precision == "bf16" else 1)
    machine, how = probe_machine(plan(), scenes_store, ROWS)
    assert machine == dataclasses.replace(FP32, threads=1)
    assert how == "measured 4.0 times as fast as cpu, bf16, channels last, 2 threads"
    clock.steps.clear()
    assert probe_machine(plan(), scenes_store, ROWS) == (machine, "as measured before")
    assert clock.steps == []
    probe_machine(plan(batch_size=4), scenes_store, ROWS)
    assert clock.steps  # another batch size is another question


def test_equals_keep_the_rule_and_that_is_recalled_too(scenes_store: Store, clock: Clock) -> None:
    assert probe_machine(plan(), scenes_store, ROWS) == (RULE, "nothing else measured clearly faster")
    assert probe_machine(plan(), scenes_store, ROWS) == (RULE, "as measured before")


@pytest.mark.parametrize("takes", [0.001, 0.05, 0.4, 2.0, 30.0])
@pytest.mark.parametrize("epochs", [60, 200, 20_000])
def test_a_probe_takes_at_most_its_share_of_the_training(
    scenes_store: Store, clock: Clock, takes: float, epochs: int
) -> None:
    clock.takes = lambda machine: takes * (1 if machine.precision == "bf16" else 1.4)
    probe_machine(plan(epochs, batch_size=16), scenes_store, ROWS)
    training = epochs * 2 * takes * 2
    slowest = 1.4 * takes * 2
    first = 2 * takes  # two steps of a part of the batch, before which nothing is known
    assert clock.now <= first + min(8.0, 0.05 * training) + 2 * slowest
    if takes == 30.0:
        assert len(clock.steps) == 2


def test_short_trainings_are_not_measured_at_all(scenes_store: Store, clock: Clock) -> None:
    assert probe_machine(plan(epochs=10), scenes_store, ROWS)[0] == RULE
    assert clock.steps == []
    assert not (cache_file() or Path()).exists()


def test_a_busy_machine_is_not_measured_and_nothing_is_kept(
    scenes_store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "others_use", lambda: 0.9)
    machine, how = probe_machine(plan(), scenes_store, ROWS)
    assert machine == RULE
    assert "too busy" in how
    clock.takes = lambda machine: 0.01 * machine.threads
    used = iter((0.0, 0.9))  # others begin while the probe runs
    monkeypatch.setattr(probe, "others_use", lambda: next(used))
    assert probe_machine(plan(), scenes_store, ROWS) == (machine, how)
    monkeypatch.setattr(probe, "others_use", lambda: 0.0)
    assert probe_machine(plan(), scenes_store, ROWS)[0] == ONE


def test_real_steps_leave_generator_threads_and_data_as_they_were(
    scenes_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "SECONDS", 1.0)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    fp32 = dataclasses.replace(FP32, threads=1)
    machine, _ = probe_machine(plan(machine=fp32, threads=1, precision="fp32"), scenes_store, ROWS)
    assert machine.threads == 1
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_a_network_that_fails_is_left_to_training_to_explain(scenes_store: Store, clock: Clock) -> None:
    def fail(machine: Machine) -> float:
        raise RuntimeError("out of memory")

    clock.takes = fail
    assert probe_machine(plan(), scenes_store, ROWS) == (RULE, "by rule")
    assert not (cache_file() or Path()).exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"findings": 3}', '{"findings": {"x": 3}}', "\udcff", '{"findings": NaN}']
)
def test_a_damaged_cache_is_written_anew(text: str) -> None:
    path = cache_file()
    assert path is not None
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert recall({"a": 1}) is None
    keep({"a": 1}, {"threads": 2})
    assert recall({"a": 1}) == {"threads": 2}


@pytest.mark.parametrize(
    "wrong",
    [{"precision": "fp8"}, {"threads": "2"}, {"threads": 0}, {"threads": 99}, {"compile": 1}, {"compile": True}],
)
def test_a_cache_that_says_what_cannot_be_is_not_believed(
    scenes_store: Store, clock: Clock, wrong: dict[str, object]
) -> None:
    probe_machine(plan(), scenes_store, ROWS)
    path = cache_file()
    assert path is not None
    document = json.loads(path.read_text())
    for finding in document["findings"].values():
        finding.update(wrong)
    path.write_text(json.dumps(document))
    assert probe_machine(plan(), scenes_store, ROWS) == (RULE, "nothing else measured clearly faster")


def test_many_writers_at_once_leave_a_whole_file() -> None:
    threads = [threading.Thread(target=keep, args=({"n": n}, {"threads": n})) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    path = cache_file()
    assert path is not None
    assert json.loads(path.read_text())["findings"]
    assert [item.name for item in path.parent.iterdir()] == ["machine.json"]


def test_a_cache_that_cannot_be_written_or_found_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep({"a": 1}, {"threads": 2})
    assert recall({"a": 1}) is None
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache_file() is None
    keep({"a": 1}, {"threads": 2})


def test_the_oldest_findings_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basrelief.engine.probe_cache.ENTRIES", 3)
    for number in range(5):
        keep({"n": number}, {"threads": number})
    assert [recall({"n": number}) is not None for number in range(5)] == [False, False, True, True, True]
    assert ENTRIES >= 100
