"""What a study costs, in seconds, from what a training of each loss or level costs: sums alone, nothing is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from basrelief.studies.lr_budget import SearchBudget

REPORT, REPORT_TRIAL = 2.0, 0.1  # seconds of verdict and report, and more for each trial, about
BUSY = 0.85  # share of its time for which a job should have a trial


@dataclass(frozen=True)
class Cost:
    """What one training costs, in seconds, on all the data.

    Attributes
    ----------
    start, finish
        Before the first step, and from the last epoch to the last file.
    train, validate
        Of an epoch: its steps, and what follows them.
    steps
        Of an epoch.
    """

    start: float
    train: float
    validate: float
    finish: float
    steps: int

    def trial(self, epochs: int) -> float:
        """Return the seconds of a training."""
        return self.start + epochs * (self.train + self.validate) + self.finish

    def search(self, budget: SearchBudget) -> float:
        """Return the seconds of a learning-rate search: a range test, and short trainings that are validated."""
        step = self.train / self.steps
        training = self.start + budget.steps * step + budget.epochs * self.validate + self.finish
        return self.start + budget.range_steps * step + budget.trainings * training


def equal_time_epochs(seconds: Mapping[str, float], epochs: int) -> dict[str, int]:
    """Return the epochs of each loss that take the time that ``epochs`` of the cheapest take.

    The cheapest is the measure since it is the one that gets the epochs asked for: no loss is trained longer than the
    user wanted. Epochs are rounded, not cut: each loss is at most half an epoch away from the same time, and a loss
    that was measured a little dearer by chance does not lose an epoch. Each gets at least one.

    Parameters
    ----------
    seconds
        Of training an epoch, for each loss or level, without validation.
    epochs
        Of the cheapest.
    """
    shared = epochs * min(seconds.values())
    return {name: max(1, int(shared / own + 0.5)) for name, own in seconds.items()}


def makespan(seconds: Sequence[float], jobs: int) -> float:
    """Return how long tasks take when ``jobs`` of them run at once, each begun in this order when a job is free."""
    ends = [0.0] * max(1, jobs)
    for task in seconds:
        first = ends.index(min(ends))
        ends[first] += task
    return max(ends)


def seeds_a_block(trials: int, jobs: int) -> int:
    """Return how many seeds, of so many trials each, run in one go, so that no job waits for long at its end."""
    for seeds in range(1, jobs + 1):
        rounds = -(-seeds * trials // jobs)
        if seeds * trials >= BUSY * rounds * jobs:
            return seeds
    return 1


def seed_seconds(costs: Mapping[str, Cost], epochs: Mapping[str, int], *, folds: int = 1, jobs: int = 1) -> float:
    """Return the seconds of one seed of every loss, on average over a block of seeds where several jobs share them."""
    trials = [costs[name].trial(own) for _ in range(folds) for name, own in epochs.items()]
    block = seeds_a_block(len(trials), jobs)
    return makespan(trials * block, jobs) / block


def search_seconds(costs: Mapping[str, Cost], names: Sequence[str], budget: SearchBudget, *, folds: int = 1) -> float:
    """Return the seconds of the learning-rate searches, one for each loss and fold."""
    return folds * sum(costs[name].search(budget) for name in names)


def report_seconds(trials: int) -> float:
    """Return the seconds that verdict and report of so many trials take, about."""
    return REPORT + REPORT_TRIAL * trials
