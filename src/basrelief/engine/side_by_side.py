"""Whether several trainings at once get further than one after another: real steps, in as many real processes."""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loky
import numpy as np

from basrelief.data.store import Store, open_store
from basrelief.engine.bare_step import BareSteps
from basrelief.engine.machine import Machine
from basrelief.engine.run_plan import RunPlan
from basrelief.parallel import begin_process

ROUNDS = 5  # most of them, in each of which every way has its turn
FEWEST = 3  # of them, from which something is concluded
CLEARLY = 1.1  # times as fast: what several at once must be, so that noise does not choose
WINDOW = (0.4, 2.0)  # shortest and longest seconds that a way is timed at a time
STEPS = 4  # that one training makes in a window, where that is not too long
WARM = 2.0  # steps of each process before anything counts, in units of a step
PROMPTLY = 0.05  # seconds until all processes have been told when to begin


@dataclass(frozen=True)
class Way:
    """So many trainings at once, each with so many threads."""

    jobs: int
    threads: int


@dataclass(frozen=True)
class _Spec:
    plan: RunPlan
    store: Path
    rows: np.ndarray
    machine: Machine
    samples: int


def time_ways(
    plan: RunPlan, store: Store, rows: np.ndarray, machine: Machine, ways: Sequence[Way], seconds: float, step: float
) -> dict[Way, list[float]]:
    """Time steps of the plan's training in each of these ways, in turn.

    Parameters
    ----------
    plan, store, rows, machine
        The training, its samples, and how it computes but for the threads.
    ways
        What to compare.
    seconds
        That this may take in all, with the starting of processes.
    step
        Seconds of a step, about.

    Returns
    -------
    dict
        Steps a second of all trainings together, a number for each round; fewer than ``FEWEST`` where time ran out.
    """
    until = time.monotonic() + seconds
    most = max(way.jobs for way in ways)
    size = plan.settings.batch_size
    spec = _Spec(plan, store.path, np.resize(rows, size), machine, size)
    window = min(max(STEPS * step, WINDOW[0]), WINDOW[1])
    rates: dict[Way, list[float]] = {way: [] for way in ways}
    executor = loky.ProcessPoolExecutor(most, initializer=_begin, initargs=(os.getpid(),))
    try:

        def rate(way: Way, length: float) -> float:
            begin = time.monotonic() + PROMPTLY
            asked = [executor.submit(_steps, spec, way.threads, begin, length) for _ in range(way.jobs)]
            return float(sum(future.result(max(0.0, until - time.monotonic())) for future in asked))

        ready = time.monotonic() + 1.0  # no process is back so soon, so each gets one
        for future in [executor.submit(_steps, spec, 1, ready, 0.0) for _ in range(most)]:
            future.result(max(0.0, until - time.monotonic()))
        for way in ways:
            rate(way, WARM * step)
        for _ in range(ROUNDS):
            if time.monotonic() + len(ways) * (window + PROMPTLY + step) > until and min(map(len, rates.values())):
                break
            for way in ways:
                rates[way].append(rate(way, window))
    except TimeoutError:
        pass
    finally:
        executor.shutdown(wait=True, kill_workers=True)
    return rates


def fastest(rates: Mapping[Way, Sequence[float]]) -> tuple[Way, float]:
    """Return the way that is clearly the fastest, or else the first, and how many times as fast as the first it is.

    The median of the ratios within each round must say so, and that of the best rounds.
    """
    ways = list(rates)
    best, gain = ways[0], 1.0
    for way in ways[1:]:
        pairs = list(zip(rates[best], rates[way], strict=False))
        if len(pairs) >= FEWEST and _gain(pairs) > CLEARLY:
            best = way
            gain = statistics.median(b / a for a, b in zip(rates[ways[0]], rates[way], strict=False))
    return best, gain


def _gain(pairs: Iterable[tuple[float, float]]) -> float:
    pairs = list(pairs)
    best = max(b for _, b in pairs) / max(a for a, _ in pairs)
    return min(statistics.median(b / a for a, b in pairs), best)


def _begin(parent: int) -> None:
    begin_process(parent)
    os.dup2(2, 1)


_built: dict[str, Any] = {}


def _steps(spec: _Spec, threads: int, begin: float, length: float) -> float:
    """Make steps from the moment ``begin`` of the system's clock on, and return how many a second."""
    if "steps" not in _built:
        _built["steps"] = BareSteps(spec.plan, open_store(spec.store), spec.rows)
    bare: BareSteps = _built["steps"]
    machine = dataclasses.replace(spec.machine, threads=threads)
    time.sleep(max(0.0, begin - time.monotonic()))
    if not length:
        bare.seconds(machine, spec.samples)
        return 0.0
    end, done = begin + length, 0.0
    now = time.monotonic()
    while now < end:
        bare.seconds(machine, spec.samples)
        after = time.monotonic()
        done += min(1.0, (end - now) / (after - now))  # of the last step, the part within
        now = after
    return done / length
