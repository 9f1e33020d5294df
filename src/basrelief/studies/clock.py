"""A study under way, and the minutes it may take: how many seeds it has, decided between blocks of trials."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from basrelief.config import ExecutionSettings
from basrelief.engine.watcher import Watcher
from basrelief.files import read_json, write_json
from basrelief.studies.budget import jobs_of
from basrelief.studies.costs import report_seconds, seeds_a_block
from basrelief.studies.minutes import FEWEST_SEEDS, seeds_in_time
from basrelief.studies.plan import TRIALS, StudyPlan
from basrelief.studies.stores import PLAN
from basrelief.studies.trials import outcome_of

LATE = 1.15  # times the minutes: said where nothing is left to give up


class StudyClock:
    """Keeps a study to its minutes, where it has any.

    What was spent is noted in ``plan.json`` between blocks, so that a study that was stopped and started again still
    counts it; of a block that was cut short, the seconds of the trials that ended count.

    Parameters
    ----------
    folder
        Of the study, which may not be there yet.
    started
        When this start of it began, by ``time.monotonic()``.
    """

    def __init__(self, folder: Path, started: float) -> None:
        self.folder, self.started = folder, started
        self.before = _spent_before(folder)
        self.blocks: list[tuple[int, float]] = []  # trials trained in them, and seconds
        self.at = 0.0
        self.running = 0
        self.warned = False

    def spent(self) -> float:
        """Return the seconds that the study has taken, by all starts."""
        return self.before + time.monotonic() - self.started

    def another_block(
        self, plan: StudyPlan, seeds_done: int, execution: ExecutionSettings, watcher: Watcher
    ) -> tuple[StudyPlan, tuple[int, ...]]:
        """Return the plan, with fewer or more seeds where the clock says so, and the seeds to train next.

        Called between blocks: all trials of the first ``seeds_done`` seeds have an outcome. There are no seeds to train
        when all is done. Without ``--minutes`` they are all that are left.

        Seeds are dropped when the next one would come too late, and added when all are done, not before: the machine
        may become faster or slower until then.
        """
        document = read_json(self.folder / PLAN)
        notes: dict[str, Any] | None = document.get("clock")
        if notes is None or "extended" in document:  # by seeds that somebody asked for
            return plan, plan.seeds[seeds_done:]
        self._end_block()
        size = seeds_a_block(len(plan.losses) * plan.folds, jobs_of(execution))
        fitting, begun, takes = self._fitting(plan, notes)
        seeds = len(plan.seeds)
        if fitting <= begun < seeds:
            seeds = begun
        elif begun == seeds < fitting:
            seeds = min(fitting, seeds + size)
        if seeds != len(plan.seeds):
            plan, said = self._changed(plan, seeds, notes)
            watcher.say(said)
            document["plan"]["seeds"] = list(plan.seeds)
            document["plan"]["said"] = list(plan.said)
        notes |= {
            "seconds": self.spent(),
            "trials": len(_finished(self.folder)),
            "seed_seconds": self._seed_seconds(plan, notes),
        }
        write_json(self.folder / PLAN, document)
        block = plan.seeds[seeds_done : min(seeds_done + size, max(fitting, begun))]
        least = not notes["seeds_open"] or fitting <= FEWEST_SEEDS
        if block and self.blocks and least and takes > LATE * 60 * notes["minutes"] and not self.warned:
            why = "fewer seeds would say too little" if notes["seeds_open"] else "seeds were given, so none is dropped"
            watcher.say(
                f"Time: slower than planned. All takes some {takes / 60:.2g} minutes, not {notes['minutes']:g}: {why}."
            )
            self.warned = True
        self.at = time.monotonic()
        self.running = sum(self._left(plan, seed) for seed in block)
        return plan, block

    def _end_block(self) -> None:
        """Note how long the block took that has just ended."""
        if self.running:
            self.blocks.append((self.running, time.monotonic() - self.at))
        self.running = 0

    def _fitting(self, plan: StudyPlan, notes: dict[str, Any]) -> tuple[int, int, float]:
        """Return how many seeds fit, of how many a trial has begun, and what all takes, in seconds."""
        a_seed = len(plan.losses) * plan.folds
        each = self._seed_seconds(plan, notes) / a_seed
        left = [self._left(plan, seed) for seed in plan.seeds]
        there = {trial.seed for trial in plan.trials() if (self.folder / trial.folder).exists()}
        begun = max((number for number, seed in enumerate(plan.seeds, 1) if seed in there), default=0)

        def seconds(seeds: int) -> float:
            waiting = sum(left[:seeds]) + a_seed * max(0, seeds - len(left))
            return self.spent() + waiting * each + report_seconds(seeds * a_seed)

        fitting = len(left)
        if notes["seeds_open"]:
            fitting = seeds_in_time(fitting, begun, seconds, 60 * notes["minutes"], grows=notes["grows"])
        return fitting, begun, seconds(fitting)

    def _seed_seconds(self, plan: StudyPlan, notes: dict[str, Any]) -> float:
        """Return what a seed takes: as the blocks so far took, or the last one if it took longer; or as planned.

        A machine that has just become slower may stay so, and being late is worse than being early.
        """
        if not self.blocks:
            return float(notes["seed_seconds"])
        number, last = self.blocks[-1]
        trials = sum(trained for trained, _ in self.blocks)
        pace = max(last / number, sum(seconds for _, seconds in self.blocks) / trials)
        return pace * len(plan.losses) * plan.folds

    def _changed(self, plan: StudyPlan, seeds: int, notes: dict[str, Any]) -> tuple[StudyPlan, str]:
        before = len(plan.seeds)
        pace, did = ("slower", "dropped") if seeds < before else ("faster", "added")
        number = "1 seed is" if abs(seeds - before) == 1 else f"{abs(seeds - before)} seeds are"
        said = (
            f"Time: {pace} than planned, so {number} {did} to keep to {notes['minutes']:g} minutes: {seeds} in place "
            f"of {before}. Scores had no say in it."
        )
        first = plan.seeds[0]
        changed = dataclasses.replace(plan, seeds=tuple(range(first, first + seeds)), said=(*plan.said, said))
        return changed, said

    def _left(self, plan: StudyPlan, seed: int) -> int:
        """Return how many trials of a seed have no outcome."""
        trials = (trial for trial in plan.trials() if trial.seed == seed)
        return sum(outcome_of(self.folder / trial.folder) is None for trial in trials)


def _spent_before(folder: Path) -> float:
    """Return the seconds that earlier starts of a study spent, as far as they noted them."""
    if not (folder / PLAN).exists():
        return 0.0
    notes = read_json(folder / PLAN).get("clock")
    if not notes:
        return 0.0
    unnoted = _finished(folder)[notes["trials"] :]
    return float(notes["seconds"] + sum(outcome["seconds"] for outcome in unnoted))


def _finished(folder: Path) -> list[dict[str, Any]]:
    """Return the ``run.json`` of the trials that are finished, in the order in which they were."""
    runs = sorted(folder.glob(f"{TRIALS}/*/*/run.json"), key=lambda path: path.stat().st_mtime)
    outcomes = (outcome_of(path.parent) for path in runs)
    return [outcome for outcome in outcomes if outcome and "seconds" in outcome]
