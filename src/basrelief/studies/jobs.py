"""How many trials train at once on a machine: as asked, or measured when a study is planned."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from basrelief.config import ExecutionSettings
from basrelief.data.store import Store
from basrelief.engine.bare_step import BareSteps, as_found
from basrelief.engine.machine import Machine, available_threads
from basrelief.engine.memory import MARGIN, available_bytes, count_needs
from basrelief.engine.probe import BUSY, FEW, FEWEST_STEPS, SHARE, finding_key, others_use
from basrelief.engine.probe_cache import keep, recall
from basrelief.engine.run_plan import RunPlan
from basrelief.engine.side_by_side import FEWEST, Way, fastest, time_ways
from basrelief.studies.cards import cards_of

MOST = 16  # trials at once of one machine's CPUs
MOST_A_CARD = 4  # of one GPU
SECONDS = 12.0  # that measuring may take, and
LEAST = 6.0  # that it takes: processes must start. A study of which that is more than SHARE has one job
PROCESS = 500 * 2**20  # bytes of a process with torch in it, before any training; on a GPU about as many of the card


def choose_jobs(
    plan: RunPlan, store: Store, rows: np.ndarray, machine: Machine, asked: ExecutionSettings, *, trials: int
) -> tuple[int, Machine, str]:
    """Choose how many of a study's trials train at once, and with how many threads each.

    Where it is left open, real steps are timed: one training with all threads against several with fewer, and on a
    GPU several on a card, as many as its memory holds. A number that is asked for shares the threads, unless those
    are given too. A study so short that measuring would be a twentieth of it has one job.

    Parameters
    ----------
    plan, store, rows
        The first training, its data and its training samples.
    machine
        How it computes, as probed.
    asked
        What ``--jobs`` and ``--executor`` say. On Ray the jobs of a node are what is chosen here.
    trials
        How many trainings the study has.

    Returns
    -------
    jobs, machine, sentence
        The machine with the threads of each, and why, in words.
    """
    cards = len(cards_of(plan.settings.device)) if machine.device.startswith("cuda") else 1
    on_cpu = machine.device == "cpu"
    if asked.jobs != "auto" and asked.executor == "local":
        if on_cpu and plan.settings.threads is None and asked.jobs > 1:
            machine = dataclasses.replace(machine, threads=max(1, available_threads() // asked.jobs))
        return asked.jobs, machine, _sentence(Way(asked.jobs, machine.threads), on_cpu, "as asked")
    alone = Way(min(cards, max(1, trials)), machine.threads)
    on_each_card = f"one on each of {cards} GPUs" if cards > 1 else ""

    def by_rule(why: str) -> tuple[int, Machine, str]:
        return alone.jobs, machine, _sentence(alone, on_cpu, on_each_card or why)

    if trials < 2 or machine.device == "mps":
        return by_rule("one after another")
    assert plan.settings.epochs is not None
    steps = trials * plan.settings.epochs * math.ceil(len(rows) / plan.settings.batch_size)
    if steps < FEWEST_STEPS:
        return by_rule("too short a study to measure")
    try:
        ways = _ways(plan, store, machine, rows, trials // cards)
        key = finding_key(plan, store) | {"ways": [dataclasses.astuple(way) for way in ways]}
        if len(ways) < 2:
            return by_rule("nothing else to try" if on_cpu else "no more fit a card")
        found = recall(key)
        if found is None:
            step = _seconds(plan, store, rows, machine)
            budget = min(SECONDS, SHARE * steps * step / cards)
            if budget < LEAST:
                return by_rule("too short a study to measure")
            if on_cpu and others_use() > BUSY:
                return by_rule("other programs keep the CPU too busy to measure")
            rates = time_ways(plan, store, rows, machine, ways, budget, step)
            if min(map(len, rates.values())) < FEWEST:
                return by_rule("measuring took too long")
            way, gain = fastest(rates)
            if way != ways[0] and on_cpu and others_use() > BUSY:  # they may have begun meanwhile
                return by_rule("other programs keep the CPU too busy to measure")
            found = {"jobs": way.jobs, "threads": way.threads, "gain": gain}
            keep(key, found)
        way, gain = Way(int(found["jobs"]), int(found["threads"])), float(found["gain"])
        if way not in ways:
            return by_rule("one after another")
    except Exception:  # what goes wrong here goes wrong in training, which says what and where
        return by_rule("one after another")
    if way == ways[0]:
        return by_rule("more at once measured not clearly faster")
    why = f"measured {gain:.2f} times as fast as {'one after another' if cards == 1 else 'one on each GPU'}"
    why += f" with {machine.threads} threads" if on_cpu and machine.threads > 1 else ""
    chosen = Way(way.jobs * cards, way.threads)
    return chosen.jobs, dataclasses.replace(machine, threads=way.threads), _sentence(chosen, on_cpu, why)


def _ways(plan: RunPlan, store: Store, machine: Machine, rows: np.ndarray, trials: int) -> list[Way]:
    """Return one training at a time, and what to compare it with: at most so many trials at once, and what fits."""
    alone = Way(1, machine.threads)
    if machine.device.startswith("cuda"):
        most = min(MOST_A_CARD, trials, _fit_a_card(plan, store, rows, machine))
        return [alone, *(Way(jobs, machine.threads) for jobs in range(2, most + 1))]
    cores, given = available_threads(), plan.settings.threads
    numbers = [cores // given] if given else sorted({2, 4, cores})
    needs = count_needs(plan, store)
    room = round(MARGIN * available_bytes(machine.device))
    fit = MOST if needs is None else room // (needs.of(plan.settings.batch_size) + PROCESS)
    jobs = [number for number in numbers if 2 <= number <= min(cores, trials, MOST, fit)]
    return [alone, *(Way(number, given or cores // number) for number in jobs)]


def _seconds(plan: RunPlan, store: Store, rows: np.ndarray, machine: Machine) -> float:
    """Return the seconds of a step, about: those of a few samples, which the first one warmed up for."""
    few = min(FEW, plan.settings.batch_size)
    with as_found(machine.device):
        bare = BareSteps(plan, store, rows)
        bare.seconds(machine, few)
        return min(bare.seconds(machine, few) for _ in range(2)) * plan.settings.batch_size / few


def _fit_a_card(plan: RunPlan, store: Store, rows: np.ndarray, machine: Machine) -> int:  # pragma: no cover - CUDA
    """Return how many trainings a GPU's memory holds, by what torch takes for a step of one."""
    with as_found(machine.device):
        torch.cuda.reset_peak_memory_stats(machine.device)
        free = available_bytes(machine.device)
        bare = BareSteps(plan, store, rows)
        for _ in range(2):
            bare.seconds(machine, plan.settings.batch_size)
        peak = torch.cuda.max_memory_reserved(machine.device)
    return int(MARGIN * free // (peak + PROCESS))


def _sentence(way: Way, on_cpu: bool, why: str) -> str:
    threads = f", with {way.threads} thread{'s' if way.threads > 1 else ''} each" if on_cpu and way.jobs > 1 else ""
    return f"Trainings at once: {way.jobs}{threads} ({why})."
