"""What a study cost: time and steps, the search of learning rates with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.report.contents import LossCost
from basrelief.studies.lr_search import read_searches
from basrelief.studies.results import StudyResults


def gather_costs(folder: Path, results: StudyResults, steps: Mapping[str, int]) -> list[LossCost]:
    """Return the cost of each loss that has finished trainings or a search; ``steps`` are those of its trainings."""
    searches = read_searches(folder)
    costs = []
    for name in results.plan.losses:
        runs = [results.runs[name, seed] for seed in results.seeds_of(name)]
        own = [entry for entry in searches if entry["name"] == name]
        if not runs and not own:
            continue
        searched = [search_steps(entry) for entry in own]
        seconds = [entry.get("seconds") for entry in own]
        costs.append(
            LossCost(
                loss=name,
                trainings=len(runs) * results.plan.folds,
                steps=steps.get(name),
                seconds=float(sum(run["seconds"] for run in runs)),
                search_steps=_sum(searched) if own else None,
                search_seconds=_sum(seconds) if own else None,
            )
        )
    return costs


def cost_facts(results: StudyResults) -> list[tuple[str, str]]:
    """Return rows about the whole study; none where no training finished."""
    runs = list(results.runs.values())
    if not runs:
        return []
    return [
        ("Trainings", f"{len(runs) * results.plan.folds} finished, {len(results.failures)} failed"),
        ("Throughput", f"{np.median([run['images_per_second'] for run in runs]):.0f} images/s (median of trainings)"),
    ]


def search_steps(entry: Mapping[str, Any]) -> int | None:
    """Return the steps of a search: those of the range test and those of all rates that were tried after it."""
    steps = entry.get("steps")
    if not isinstance(steps, int):
        return None
    grid = entry.get("grid_steps")
    return steps + (grid if isinstance(grid, int) else 0)


def _sum(values: list[Any]) -> Any:
    """Return the sum, or None where one is not known."""
    return None if not values or None in values else sum(values)
