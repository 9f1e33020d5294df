"""The trials of a study over hosts, as events: trials of unequal length, slow hosts, hosts lost and trials begun again.

What it stands for is ``--executor ray`` with ``--out`` on a disk that all hosts see: trials begin in their order where
there is room, one whose host is lost begins again from its last checkpoint on whatever is free, at most four times.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

import numpy as np

RETRIES = 3  # as basrelief.studies.on_ray has it


@dataclass(frozen=True)
class World:
    """What a study meets.

    Attributes
    ----------
    hosts, each
        Hosts, and trials at once on each.
    spread
        Standard deviation of the logarithm of trials' lengths, apart from their losses.
    losses
        Length of each loss's trials, relative to their mean.
    slow, slowness
        Share of hosts that are slow, and how many times as long everything takes on them.
    lost_every
        Hours after which a host is lost, on average; 0: never.
    back
        Hours until another stands in its place.
    start
        Hours that a trial needs to begin: torch, the store.
    checkpoint
        Hours of training between checkpoints, of which a lost host costs what was done since the last.
    """

    hosts: int
    each: int = 1
    spread: float = 0.05
    losses: tuple[float, ...] = (1.0,)
    slow: float = 0.0
    slowness: float = 1.0
    lost_every: float = 0.0
    back: float = 0.25
    start: float = 0.005
    checkpoint: float = 0.1


@dataclass(frozen=True)
class Outcome:
    """Hours until the last trial ends, hours of work, trials begun again, and trials given up."""

    hours: float
    work: float
    again: int
    given_up: int


def arithmetic(trial_hours: float, trials: int, world: World) -> float:
    """Return the hours if trials were equally long, hosts equally fast, and nothing was lost."""
    return trial_hours * -(-trials // (world.hosts * world.each))


def simulate(trial_hours: float, seeds: int, world: World, seed: int) -> Outcome:
    """Run all trials of a study once, seed after seed, as its plan orders them."""
    rng = np.random.default_rng(seed)
    scale = np.mean(world.losses)
    lengths = [
        trial_hours * loss / scale * float(np.exp(rng.normal(0, world.spread) - world.spread**2 / 2))
        for _ in range(seeds)
        for loss in world.losses
    ]
    slow = rng.permutation(world.hosts) < round(world.slow * world.hosts)
    waiting = deque((length, 0) for length in lengths)
    losses = [_lost(rng, world, 0.0) for _ in range(world.hosts)]
    free = [(0.0, number, host) for number, host in enumerate(np.repeat(np.arange(world.hosts), world.each).tolist())]
    heapq.heapify(free)
    returned: list[tuple[float, float, int]] = []  # when a lost trial waits again, its hours left, its tries
    end = work = 0.0
    again = given_up = 0
    while waiting or returned:
        now, place, host = heapq.heappop(free)
        while returned and (returned[0][0] <= now or not waiting):
            at, left, tries = heapq.heappop(returned)
            now = max(now, at)
            waiting.append((left, tries))
        while losses[host] <= now:  # lost with nothing at work, or by another trial's account
            back = losses[host] + world.back
            losses[host] = _lost(rng, world, back)
            now = max(now, back)
        left, tries = waiting.popleft()
        pace = world.slowness if slow[host] else 1.0
        done = now + world.start + left * pace
        if losses[host] >= done:
            end, work = max(end, done), work + done - now
            heapq.heappush(free, (done, place, host))
            continue
        lost = losses[host]
        work += lost - now
        trained = max(0.0, lost - now - world.start) / pace
        kept = world.checkpoint * (trained // world.checkpoint)
        if tries == RETRIES:
            given_up += 1
        else:
            again += 1
            heapq.heappush(returned, (lost, left - kept, tries + 1))
        heapq.heappush(free, (lost, place, host))
    return Outcome(end, work, again, given_up)


def _lost(rng: np.random.Generator, world: World, since: float) -> float:
    return since + float(rng.exponential(world.lost_every)) if world.lost_every else float("inf")
