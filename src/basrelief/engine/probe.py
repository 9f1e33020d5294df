"""A few seconds of real training steps that tell how this machine computes a network fastest."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import psutil
import torch

from basrelief.data.store import Store
from basrelief.engine.bare_step import BareSteps, as_found
from basrelief.engine.machine import (
    AMPERE,
    Machine,
    available_threads,
    computes_bfloat16,
    device_name,
    why_not_compiled,
)
from basrelief.engine.probe_cache import keep, recall
from basrelief.engine.run_plan import RunPlan

SECONDS = 8.0  # that a probe may take, and
SHARE = 0.05  # of the estimated training
FEWEST_STEPS = 100  # in a shorter training, that share is too few steps to compare anything
ROUNDS = (5, 9)  # fewest and most of them, in each of which every candidate makes one step
CLEARLY = 1.1  # times as fast: what a candidate must be, so that noise does not choose
HOPELESS = 1.5  # times the best candidate's time: left out of further rounds
FEW = 8  # samples of the smallest batch that is timed
BUSY = 0.25  # share of the CPUs that other programs may use while timings mean something
COMPILATION_PAYS = 20 * 60  # seconds of training, of which a minute of compiling is a twentieth
CHOSEN = ("precision", "channels_last", "threads", "compile")  # fields of a Machine that a probe may set
Timer = Callable[[Machine], float]


def probe_machine(plan: RunPlan, store: Store, rows: np.ndarray) -> tuple[Machine, str]:
    """Measure how the plan's training is computed fastest, or recall it, or keep to the rule where that does not pay.

    What the settings give (``precision``, ``threads``, ``compile``) stays; the rest is compared by real steps on the
    store's samples, the candidates taking turns. Another choice than the plan's is made only where it is clearly
    faster, so that equal commands choose equally. A finding is kept for this machine and network (``probe_cache``).

    Parameters
    ----------
    plan
        The training; ``plan.machine`` is the rule's choice.
    rows
        The training samples.

    Returns
    -------
    machine, how
        The choice, and why it was made, in words.
    """
    rule, settings = plan.machine, plan.settings
    key = finding_key(plan, store)
    found = recall(key)
    if found is not None and (machine := _from_finding(found, plan)) is not None:
        return machine, "as measured before"
    assert settings.epochs is not None
    steps = settings.epochs * math.ceil(len(rows) / settings.batch_size)
    kind = rule.device.split(":")[0]
    if kind == "mps" or steps < FEWEST_STEPS:
        return rule, "by rule: too short a training to measure" if kind != "mps" else "by rule"
    if rule.processes > 1:
        return rule, "by rule: several processes"
    if not first_candidates(plan) and not later_candidates(rule, plan, math.inf):
        return rule, "as asked"
    too_busy = rule, "by rule: other programs keep the CPU too busy to measure"
    if kind == "cpu" and others_use() > BUSY:
        return too_busy
    with as_found(rule.device):
        machine, how, settled = _search(plan, BareSteps(plan, store, rows), steps)
    if kind == "cpu" and machine != rule and others_use() > BUSY:  # they may have begun meanwhile
        return too_busy
    if settled:
        keep(key, {name: getattr(machine, name) for name in CHOSEN})
    return machine, how


def first_candidates(plan: RunPlan) -> list[Machine]:
    """Return the other precisions and memory formats to try, in the order preferred."""
    rule = plan.machine
    kind = rule.device.split(":")[0]
    precisions = [rule.precision]
    if plan.settings.precision == "auto" and kind == "cpu":
        precisions += [p for p in ("fp32", "bf16") if p != rule.precision and (p == "fp32" or computes_bfloat16(kind))]
    elif plan.settings.precision == "auto" and kind == "cuda":
        if torch.cuda.get_device_capability(rule.device) >= AMPERE:
            precisions.append("tf32")
        if not computes_bfloat16(kind):
            precisions.append("fp16")
    formats = [rule.channels_last, not rule.channels_last]
    pairs = list(itertools.product(precisions, formats))[1:]
    return [dataclasses.replace(rule, precision=p, channels_last=last) for p, last in pairs]


def later_candidates(best: Machine, plan: RunPlan, estimate: float) -> list[Machine]:
    """Return fewer threads, or compiled, to try with the best so far, for ``estimate`` seconds of training."""
    kind = best.device.split(":")[0]
    found: list[Machine] = []
    if kind == "cpu" and plan.settings.threads is None:
        cores = min(psutil.cpu_count(logical=False) or best.threads, best.threads)
        fewer = sorted({cores, cores // 2, 1} - {0, best.threads}, reverse=True)
        found += [dataclasses.replace(best, threads=number) for number in fewer]
    pays = estimate >= COMPILATION_PAYS
    if kind == "cuda" and plan.settings.compile is None and pays and why_not_compiled(kind) is None:
        found.append(dataclasses.replace(best, compile=True))
    return found


def compare(rule: Machine, candidates: Sequence[Machine], timer: Timer, until: float) -> dict[Machine, list[float]]:
    """Time steps of all in turn, after one each that does not count, until ``time.perf_counter()`` says ``until``.

    A candidate that fails (no memory, no kernel) or is hopeless is left out of further rounds; ``rule`` never is.
    """
    times: dict[Machine, list[float]] = {machine: [] for machine in (rule, *candidates)}
    alive = list(times)
    for number in range(ROUNDS[1] + 1):
        for machine in list(alive):
            if time.perf_counter() > until:
                return times
            try:
                seconds = timer(machine)
            except Exception:
                if machine == rule:  # which training will say better
                    raise
                alive.remove(machine)
                continue
            if number:
                times[machine].append(seconds)
        best = min((min(found) for found in times.values() if found), default=math.inf)
        alive = [m for m in alive if m == rule or not times[m] or min(times[m]) < HOPELESS * best]
    return times


def choose(rule: Machine, times: Mapping[Machine, Sequence[float]]) -> tuple[Machine, float]:
    """Return the rule's choice, unless another is clearly faster, and how many times as fast as the rule's it is.

    Both the median of the ratios within each round must say so, since what slows the machine down for a while slows
    all, and the ratio of the shortest times, since a step may be held up but never runs ahead. Of several that are
    faster, one must be clearly faster than those before it.
    """
    best = rule
    for machine, seconds in times.items():
        pairs = list(zip(times[best], seconds, strict=False))
        if len(pairs) >= ROUNDS[0]:
            shortest = min(a for a, _ in pairs) / min(b for _, b in pairs)
            if min(statistics.median(a / b for a, b in pairs), shortest) > CLEARLY:
                best = machine
    gained = [a / b for a, b in zip(times[rule], times[best], strict=False)]
    return best, statistics.median(gained) if gained else 1.0


def _search(plan: RunPlan, bare: BareSteps, steps: int) -> tuple[Machine, str, bool]:
    """Return the machine chosen, why, and whether that was settled by measurement and is worth keeping."""
    rule, size = plan.machine, plan.settings.batch_size
    started = time.perf_counter()
    few = min(FEW, size)
    try:
        bare.seconds(rule, few)
        seconds = bare.seconds(rule, few) / few  # for each sample; the first step also sets up
        estimate = steps * size * seconds
        until = started + min(SECONDS, SHARE * estimate)
        candidates = first_candidates(plan)
        later = later_candidates(rule, plan, estimate)
        # One round more warms up; candidates differ from the rule by about a factor of two, one way or the other.
        needed = (ROUNDS[0] + 1) * (1 + max(len(candidates), len(later)))
        left = until - time.perf_counter()
        samples = next((n for n in (size, size // 2, few) if n >= few and needed * n * seconds < left), 0)
        if not samples:
            return rule, "by rule: measuring would take too long a part of this training", False

        def timer(machine: Machine) -> float:
            return bare.seconds(machine, samples)

        best, gain = choose(rule, compare(rule, candidates, timer, until)) if candidates else (rule, 1.0)
        for machine in later_candidates(best, plan, estimate):
            # Compiling may take a minute; it is tried only where a training is so long that this is little.
            limit = time.perf_counter() + SHARE * estimate if machine.compile else until
            best, more = choose(best, compare(best, [machine], timer, limit))
            gain *= more
    except Exception:  # what goes wrong here goes wrong in training, which says what and where
        return rule, "by rule", False
    if best == rule:
        return rule, "nothing else measured clearly faster", True
    return best, f"measured {gain:.1f} times as fast as {rule}", True


def finding_key(plan: RunPlan, store: Store) -> dict[str, Any]:
    """Return everything that a finding depends on."""
    settings, rule = plan.settings, plan.machine
    return {
        "device": f"{rule.device.split(':')[0]} {device_name(rule)}",
        "available": available_threads(),
        "torch": torch.__version__,
        "basrelief": metadata.version("basrelief"),
        "network": settings.network,
        "heads": list(plan.heads),
        "classes": len(store.facts.classes),
        "background": plan.background,
        "resolution": list(store.facts.resolution),
        "batch_size": settings.batch_size,
        "optimizer": settings.optimizer,
        "loss": plan.loss,
        "asked": [settings.precision, settings.threads, settings.compile],
        "rule": [getattr(rule, name) for name in CHOSEN],
        "processes": rule.processes,
    }


def _from_finding(found: dict[str, Any], plan: RunPlan) -> Machine | None:
    """Return the machine of a finding, or None where a file that somebody changed says what cannot be."""
    rule = plan.machine
    values: dict[str, Any] = {name: found.get(name) for name in CHOSEN}
    if any(type(value) is not type(getattr(rule, name)) for name, value in values.items()):
        return None
    machine = dataclasses.replace(rule, **values)
    first = dataclasses.replace(machine, threads=rule.threads, compile=rule.compile)
    known = first in (rule, *first_candidates(plan))
    return machine if known and machine in (first, *later_candidates(first, plan, math.inf)) else None


def others_use() -> float:
    """Return the share of this process's CPUs that others use, looked at for a third of a second."""
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    shares = psutil.cpu_percent(interval=0.3, percpu=True)
    used = [share for number, share in enumerate(shares) if mine is None or number in mine]
    return sum(used) / len(used) / 100 if used else 0.0
