"""What a search of learning rates may cost, the same for every loss, and where there is too little to search with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from basrelief.config import TrainSettings
from basrelief.engine.lr_curve import FEWEST
from basrelief.option_texts import SEARCH
from basrelief.studies.lr_grid import FIRST, THEN
from basrelief.studies.plan import StudyPlan

RANGE: dict[str, Any] = {"low": 1e-6, "high": 10.0, "steps": 100, "repeats": 1}  # of a range test at its longest
SHARE = 0.25  # of a trial that a short training is, where that is neither too little nor more than needed
ENOUGH, MOST = 100, 500  # steps of a short training: at least, where the whole may cost them, and at most
WHOLE = 2.0  # trials that a search may cost
SHORTEST = 40  # steps of a trial; before a shorter one a search could make too few steps to tell rates apart


@dataclass(frozen=True)
class SearchBudget:
    """What the search makes for each loss and fold.

    Attributes
    ----------
    range_steps
        Of the range test, at most.
    trainings
        Short ones, each at a rate of its own.
    epochs, images, steps
        Of each: passes, images in each pass, and steps in all.
    """

    range_steps: int
    trainings: int
    epochs: int
    images: int
    steps: int

    @property
    def total(self) -> int:
        """All steps, at most."""
        return self.range_steps + self.trainings * self.steps


def search_budget(train: TrainSettings, images: int) -> SearchBudget | None:
    """Return what a search costs before trials on so many training images; None where they are too short for one.

    All together costs no more than two trials. A short training is a quarter of a trial, but of 100 to 500 steps; there
    are five of them, or three where five of 100 steps would cost too much, and then they may be shorter still.
    Stages at other resolutions count by their pixels, for the search is at the resolution of the last one. Where so
    many steps are a few epochs and a part of one, each epoch has fewer images instead.
    """
    last = train.course()[-1]
    pixels = last.resolution[0] * last.resolution[1]
    trial = 0.0
    for stage in train.course():
        length = -(-images // stage.batch_size)
        share = stage.resolution[0] * stage.resolution[1] * stage.batch_size / (pixels * last.batch_size)
        trial += stage.epochs * length * share
    if trial < SHORTEST:
        return None
    range_steps = min(RANGE["steps"], max(FEWEST, int(trial / 3)))
    wanted = min(MOST, max(ENOUGH, int(SHARE * trial)))
    left = WHOLE * trial - range_steps
    trainings = FIRST + THEN if left >= (FIRST + THEN) * ENOUGH else FIRST
    steps = min(wanted, int(left / trainings))
    length = -(-images // last.batch_size)
    epochs = steps // length if steps >= 4 * length else -(-steps // length)
    batches = min(length, steps // epochs)
    return SearchBudget(range_steps, trainings, epochs, min(images, batches * last.batch_size), epochs * batches)


def search_steps(plan: StudyPlan, images: int) -> int:
    """Return how many steps the search makes for each loss (of each fold) with so many training images, at most.

    They are steps at the batch size and resolution of the trials' last stage. 0 where nothing is searched.
    """
    budget = search_budget(plan.train, images) if plan.train.lr == SEARCH else None
    return budget.total if budget else 0


def without_search(plan: StudyPlan, images: int, rate: float) -> StudyPlan:
    """Return the plan with ``rate`` for all where its trials are too short for a search, and say so in it."""
    if plan.train.lr != SEARCH or search_budget(plan.train, images) is not None:
        return plan
    sentence = (
        f"Learning rate: {rate:g} for all. Trainings of fewer than {SHORTEST} steps are too short to search rates with."
    )
    train = plan.train.model_copy(update={"lr": rate})
    return dataclasses.replace(plan, train=train, said=(*plan.said, sentence))
