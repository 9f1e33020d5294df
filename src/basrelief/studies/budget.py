"""What a study may spend: ``--budget time`` gives every loss the same time, ``--minutes`` plans a study that fits.

Both are decided once, from measurements made when the study is planned, and stored; so the bits of a training depend on
the plan and never on the clock.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from basrelief.config import ExecutionSettings, StudySettings
from basrelief.data.source import DataOptions, Source
from basrelief.data.splits import Split
from basrelief.data.store import FACTS, Store
from basrelief.engine.run_plan import RunPlan
from basrelief.errors import BasreliefError, UsageError
from basrelief.losses.expression import parse_loss
from basrelief.metrics import check_metric
from basrelief.option_texts import SEARCH
from basrelief.studies.checks import check_fits
from basrelief.studies.costs import Cost, equal_time_epochs, report_seconds, search_seconds, seed_seconds
from basrelief.studies.factors import PLURALS
from basrelief.studies.lr_budget import search_budget
from basrelief.studies.minutes import (
    FREE,
    OVER,
    Choice,
    choose_size,
    describe_choice,
    halves,
    list_choices,
    refusal,
)
from basrelief.studies.plan import StudyPlan
from basrelief.studies.rehearse import Survey, measure_costs, survey
from basrelief.studies.stores import STORE

MEASURING = 0.06  # of the minutes that measuring may take, but not more than
LONGEST = 60.0  # seconds
FOR_EQUAL_TIME = 20.0  # seconds that measuring may take where no minutes are given
SURVEYED = 200  # samples that are packed at once, without looking how long packing takes
PACKING = 0.6  # of the minutes that packing may take
ROUGHLY = 3.0  # times the minutes: what a few bare steps must promise before a study is refused by them alone


class Budget:
    """The time of a study that is being planned.

    Parameters
    ----------
    folder, settings
        The study, and what was asked for.
    started
        When its command began, by ``time.monotonic()``.
    """

    def __init__(self, folder: Path, settings: StudySettings, started: float) -> None:
        self.folder, self.settings, self.started = folder, settings, started
        self.ideal: Choice | None = None
        self.images = 0  # that a training sees in an epoch
        self.notes: dict[str, Any] | None = None
        if settings.train.stages and (settings.minutes is not None or settings.budget == "time"):
            option = "--minutes" if settings.minutes is not None else "--budget time"
            raise UsageError(
                f"{option} chooses epochs, and a --resolution in stages fixes them and what each costs. Give one "
                f"--resolution, or leave {option} out."
            )

    @property
    def limit(self) -> float:
        """The seconds that all may take."""
        assert self.settings.minutes is not None
        return 60 * self.settings.minutes

    def spent(self) -> float:
        """Return the seconds since the command began."""
        return time.monotonic() - self.started

    def before_packing(self, plan: StudyPlan, source: Source, options: DataOptions) -> StudyPlan:
        """Return the plan at a resolution at which it can fit its minutes, the highest.

        Raises
        ------
        UsageError
            When packing alone takes too long, or nothing can fit by far.
        """
        if self.settings.minutes is None:
            return plan
        self.ideal = _size_of(plan)
        free = self._free()
        if "epochs" in free:  # which are chosen after packing, and said then
            plan = _without(plan, "Epochs:")
        smaller = [at for at in halves(self.ideal.resolution) if _works_at(plan, source, at)]
        smaller = smaller if "resolution" in free else []
        if (self.folder / STORE / FACTS).exists() or (not smaller and len(plan.entries) <= SURVEYED):
            return plan
        found = survey(self.folder, source, plan, options, [self.ideal.resolution, *smaller])
        if found is None:
            return plan
        packing = 0.0 if source.format == "store" and not smaller else found.pack
        if packing > PACKING * self.limit:
            limit = int(len(plan.entries) * 0.3 * self.limit / packing)
            raise UsageError(
                f"--minutes {self.settings.minutes:g}: packing the {len(plan.entries)} samples alone takes some "
                f"{packing / 60:.2g} minutes. Pack them once with basrelief pack and give that store, take fewer "
                f"(--limit {max(3, limit)}), or give more minutes."
            )
        self.images = round(0.7 * len(plan.entries))
        measuring = min(LONGEST, MEASURING * self.limit)
        before = self.spent() + packing + measuring

        def estimate(choice: Choice) -> float:
            return before + self._rest(plan, choice, _rough(plan, found, choice.resolution))

        choices = list_choices(self.ideal, free, smaller, grows=not plan.race)
        chosen = choose_size(choices, estimate, self.limit)
        if chosen is None and estimate(choices[-1]) > ROUGHLY * self.limit:
            raise self._refused(choices[-1], estimate)
        resolution = (chosen or choices[-1]).resolution
        if resolution == self.ideal.resolution:
            return plan
        plan = _without(plan, "Resolution:")
        said = f"Resolution: {resolution[0]}x{resolution[1]} (height x width), so that the study fits its minutes."
        train = plan.train.model_copy(update={"resolution": resolution})
        return dataclasses.replace(plan, train=train, said=(*plan.said, said))

    def after_packing(
        self, plan: StudyPlan, trials: Mapping[str, tuple[RunPlan, Split]], store: Store, say: Callable[[str], None]
    ) -> StudyPlan:
        """Return the plan with the epochs of each loss, and with the seeds and losses that fit its minutes.

        Parameters
        ----------
        plan
            Without anything else open.
        trials
            A training of each loss or level, and the split that it uses.
        store
            The packed data.
        say
            Told of each sentence that is added to the plan.

        Raises
        ------
        UsageError
            When nothing fits.
        """
        settings = self.settings
        if settings.minutes is None and settings.budget == "steps":
            return plan
        self.images = min(len(split.rows["train"]) for _, split in trials.values())
        measuring = FOR_EQUAL_TIME if settings.minutes is None else min(LONGEST, MEASURING * self.limit)
        judged = str(plan.train.metric).split("/")[0]
        costs = measure_costs(self.folder, trials, store, judged, settings.watch, measuring)
        said: list[str] = []
        if settings.minutes is not None:
            plan, said = self._fitted(plan, costs)
            costs = {name: costs[name] for name in plan.losses}
        if settings.budget == "time":
            assert plan.train.epochs is not None
            seconds = {name: cost.train for name, cost in costs.items()}
            epochs = equal_time_epochs(seconds, plan.train.epochs)
            changes = {name: {**plan.changes.get(name, {}), "epochs": own} for name, own in epochs.items()}
            plan = dataclasses.replace(plan, changes=changes)
            said.append(describe_equal_time(seconds, epochs))
        for sentence in said:
            say(sentence)
        return dataclasses.replace(plan, said=(*plan.said, *said))

    def _fitted(self, plan: StudyPlan, costs: Mapping[str, Cost]) -> tuple[StudyPlan, list[str]]:
        """Return the plan at the size that fits, and what to say of it."""
        assert self.ideal is not None
        assert self.settings.minutes is not None
        assert plan.train.resolution is not None
        before, free = self.spent(), self._free() - {"resolution"}
        ideal = dataclasses.replace(self.ideal, resolution=plan.train.resolution)

        def estimate(choice: Choice) -> float:
            return before + self._rest(plan, choice, costs)

        choices = list_choices(ideal, free, grows=not plan.race)
        chosen = choose_size(choices, estimate, self.limit)
        if chosen is None and estimate(choices[-1]) > OVER * self.limit:
            raise self._refused(choices[-1], estimate)
        chosen = chosen or choices[-1]
        takes, levels = estimate(chosen), PLURALS[plan.factor]
        said = describe_choice(chosen, self.ideal, self.settings.minutes, takes / 60, levels)
        if chosen.losses < len(plan.losses):
            plan = _without(plan, "Losses:")
            kept = list(plan.losses)[: chosen.losses]
            said.insert(0, f"Losses: {'; '.join(plan.losses[name] for name in kept)}.")
            plan = dataclasses.replace(
                plan,
                losses={name: plan.losses[name] for name in kept},
                changes={name: plan.changes[name] for name in kept if name in plan.changes},
            )
        names = list(plan.losses)
        self.notes = {
            "minutes": self.settings.minutes,
            "seeds_open": "seeds" in free and not plan.race,  # a race spreads its error rate over those planned
            "grows": "seeds" in free and not plan.race,
            "seconds": self.spent(),
            "trials": 0,
            "seed_seconds": seed_seconds(
                costs,
                self._epochs(names, chosen.epochs, costs),
                folds=plan.folds,
                jobs=jobs_of(plan, self.settings.execution),
            ),
            "planned_seconds": takes,
        }
        seeds = tuple(range(plan.seeds[0], plan.seeds[0] + chosen.seeds))
        train = plan.train.model_copy(update={"epochs": chosen.epochs})
        return dataclasses.replace(plan, train=train, seeds=seeds), said

    def _rest(self, plan: StudyPlan, choice: Choice, costs: Mapping[str, Cost]) -> float:
        """Return the seconds from now on: searches, trainings and report."""
        names = list(plan.losses)[: choice.losses]
        epochs = self._epochs(names, choice.epochs, costs)
        train = plan.train.model_copy(update={"resolution": choice.resolution, "epochs": choice.epochs})
        budget = search_budget(train, self.images) if plan.train.lr == SEARCH else None
        searched = search_seconds(costs, names, budget, folds=plan.folds) if budget else 0.0
        each = seed_seconds(costs, epochs, folds=plan.folds, jobs=jobs_of(plan, self.settings.execution))
        return searched + choice.seeds * each + report_seconds(choice.seeds * plan.folds * len(names))

    def _epochs(self, names: Sequence[str], epochs: int, costs: Mapping[str, Cost]) -> dict[str, int]:
        if self.settings.budget == "time":
            return equal_time_epochs({name: costs[name].train for name in names}, epochs)
        return dict.fromkeys(names, epochs)

    def _free(self) -> set[str]:
        """Return what was left open, of what may be planned."""
        given = {
            "losses": self.settings.losses or self.settings.vary != "loss",
            "seeds": self.settings.seeds is not None,
            "epochs": self.settings.train.epochs is not None,
            "resolution": self.settings.train.resolution is not None,
        }
        return {name for name in FREE if not given[name]}

    def _refused(self, smallest: Choice, estimate: Callable[[Choice], float]) -> UsageError:
        assert self.settings.minutes is not None
        assert self.ideal is not None
        free = self._free()
        given = [name for name in ("seeds", "epochs") if name not in free]
        if "resolution" not in free and halves(smallest.resolution):
            given.append("resolution")
        other = None
        if given:  # what would fit if nothing of it had been given
            ideal = dataclasses.replace(self.ideal, resolution=smallest.resolution)
            choices = list_choices(ideal, {"seeds", "epochs"} | free)
            choices += [dataclasses.replace(choices[-1], epochs=e) for e in range(choices[-1].epochs - 1, 0, -1)]
            other = choose_size(choices, estimate, self.limit)
        text = refusal(self.settings.minutes, smallest, estimate(smallest) / 60, given, PLURALS[self.settings.vary])
        return UsageError(text + (f" In that time fit {other}." if other else ""))


def jobs_of(plan: StudyPlan, execution: ExecutionSettings) -> int:
    """Return how many trials run at once."""
    return execution.jobs if isinstance(execution.jobs, int) else plan.jobs


def describe_equal_time(seconds: Mapping[str, float], epochs: Mapping[str, int]) -> str:
    """Return what equal time came to, in a sentence; ``seconds`` are those of an epoch."""
    if len(set(epochs.values())) == 1 and max(seconds.values()) < 2 * min(seconds.values()):
        return f"Equal time: {next(iter(epochs.values()))} epochs each, since a step takes about as long with all."
    listed = ", ".join(f"{name} {count}" for name, count in epochs.items())
    said = f"Equal time, in epochs: {listed}."
    shared = min(seconds[name] * count for name, count in epochs.items())
    slow = [name for name, count in epochs.items() if count == 1 and seconds[name] > 1.5 * shared]
    if slow:
        said += f" A single epoch of {', '.join(slow)} takes longer than the time of the others: give more --epochs."
    return said


def _size_of(plan: StudyPlan) -> Choice:
    assert plan.train.epochs is not None
    assert plan.train.resolution is not None
    return Choice(len(plan.losses), len(plan.seeds), plan.train.epochs, plan.train.resolution)


def _without(plan: StudyPlan, beginning: str) -> StudyPlan:
    said = tuple(sentence for sentence in plan.said if not sentence.startswith(beginning))
    return dataclasses.replace(plan, said=said)


def _works_at(plan: StudyPlan, source: Source, resolution: tuple[int, int]) -> bool:
    """Tell whether losses and metric can be computed at a resolution."""
    train = plan.train.model_copy(update={"resolution": resolution})
    try:
        check_metric(str(train.metric), plan.heads, source.classes, resolution)
        for expression in plan.losses.values():
            check_fits(parse_loss(expression), source.location, source.classes, train)
    except BasreliefError:
        return False
    return True


def _rough(plan: StudyPlan, found: Survey, resolution: tuple[int, int]) -> dict[str, Cost]:
    """Return costs by bare steps, with what trainings take beside them, about: half a second, and a third more."""
    size = plan.train.batch_size or len(plan.entries)
    steps = max(1, -(-round(0.7 * len(plan.entries)) // size))
    return {
        name: Cost(0.5, 1.1 * steps * step, 0.15 * steps * step, 0.2 * steps * step, steps)
        for name, step in found.steps[resolution].items()
    }
