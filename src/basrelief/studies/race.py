"""``--race``: after every block of seeds the losses are looked at, and those that can no longer win are stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basrelief.files import write_json
from basrelief.metrics import higher_is_better
from basrelief.statistics import race
from basrelief.statistics.looks import FIRST_LOOK
from basrelief.studies.decisions import race_inputs
from basrelief.studies.plan import StudyPlan
from basrelief.studies.results import RACE, collect, read_race
from basrelief.studies.stored import Prepared
from basrelief.studies.watcher import StudyWatcher


def block_length(plan: StudyPlan, done: int) -> int:
    """Return how many seeds to train before the next look."""
    return max(1, FIRST_LOOK - done) if plan.race else len(plan.seeds)


def running(plan: StudyPlan, race: Mapping[str, Any] | None, done: int) -> list[str]:
    """Return the losses that the seed after ``done`` of them is trained with."""
    dropped = {} if race is None else {row["name"]: row["seeds"] for row in race["dropped"]}
    return [name for name in plan.losses if done < dropped.get(name, len(plan.seeds))]


def look(folder: Path, prepared: Prepared, watcher: StudyWatcher) -> dict[str, Any]:
    """Look at the scores that are there, drop what can no longer win, and return what is written to ``race.json``.

    Everything follows from the scores, so that a study that was stopped drops the same losses after the same seeds.

    Returns
    -------
    dict
        ``planned`` and ``seeds`` (looked at), ``live``, ``dropped`` (name, seeds, by, behind, p_value), ``over``,
        ``trainings``, ``of`` (those of the full study), ``saved`` (share of its steps), ``margins`` (a, b, margin; as
        they were at the first look).
    """
    plan, metric = prepared.plan, str(prepared.plan.train.metric)
    before = read_race(folder)
    scores, margins, groups = race_inputs(collect(folder, prepared), metric)
    found = race(
        scores,
        planned=len(plan.seeds),
        higher_is_better=higher_is_better(metric),
        margin=lambda a, b: margins[a, b],
        groups=groups,
    )
    known = {row["name"] for row in before["dropped"]} if before else set()
    dropped = [
        {"name": one.name, "seeds": one.after, "by": one.by, "behind": one.behind, "p_value": one.p_value}
        for one in found.dropped
    ]
    for row in dropped:
        if row["name"] not in known:
            watcher.say(
                f"Race: {row['name']} stops after {row['seeds']} seeds, {row['behind']:.3g} behind {row['by']} "
                f"(p {row['p_value']:.2g}, for all looks and rivals)."
            )
    document = {
        "planned": len(plan.seeds),
        "seeds": found.seeds,
        "live": list(found.live),
        "dropped": dropped,
        "over": found.over,
        **_saved(plan, {one.name: one.after for one in found.dropped}, found.seeds),
        "margins": [{"a": a, "b": b, "margin": margin} for (a, b), margin in margins.items()],
    }
    write_json(folder / RACE, document)
    return document


def _saved(plan: StudyPlan, stopped: Mapping[str, int], seeds: int) -> dict[str, Any]:
    """Return how many trainings there were, of how many, and what share of the steps was saved."""
    epochs = {name: plan.changes.get(name, {}).get("epochs", plan.train.epochs) for name in plan.losses}
    trained = {name: stopped.get(name, seeds) for name in plan.losses}
    whole = len(plan.seeds) * sum(epochs.values())
    return {
        "trainings": plan.folds * sum(trained.values()),
        "of": plan.folds * len(plan.seeds) * len(plan.losses),
        "saved": 1 - sum(trained[name] * epochs[name] for name in plan.losses) / whole,
    }
