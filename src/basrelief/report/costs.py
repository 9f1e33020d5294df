"""What each loss cost, as a table: trainings, steps, time, and the search of its learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from basrelief.report.contents import StudyContents
from basrelief.report.tables import NOTHING, format_seconds, order_losses


@dataclass(frozen=True)
class CostLine:
    """One row; ``index`` is None in the last one, the sum."""

    index: int | None
    name: str
    cells: Sequence[str]


def format_costs(contents: StudyContents) -> tuple[list[str], list[CostLine]]:
    """Return the header after the name, and the rows with their sum; none where nothing is known."""
    costs = {cost.loss: cost for cost in contents.costs}
    if not costs:
        return [], []
    searched = any(cost.search_steps is not None or cost.search_seconds is not None for cost in contents.costs)
    header = ["Trainings", "Steps", "Training time", *(["Search, steps", "Search, time"] if searched else [])]

    def cells(numbers: Sequence[float | None]) -> list[str]:
        trainings, steps, seconds, search_steps, search_seconds = numbers
        own = [_whole(trainings), _whole(steps), format_seconds(seconds)]
        return own + ([_whole(search_steps), format_seconds(search_seconds)] if searched else [])

    rows: list[tuple[int | None, str, list[float | None]]] = []
    for index, row in order_losses(contents):
        cost = costs.get(row.name)
        if cost is not None:
            numbers: list[float | None] = [cost.trainings, cost.steps, cost.seconds]
            rows.append((index, row.name, [*numbers, cost.search_steps, cost.search_seconds]))
    sums = [_sum([numbers[place] for _, _, numbers in rows]) for place in range(5)]
    lines = [CostLine(index, name, cells(numbers)) for index, name, numbers in rows]
    return header, [*lines, CostLine(None, "all together", cells(sums))] if len(lines) > 1 else lines


def _whole(number: float | None) -> str:
    return NOTHING if number is None else f"{number:,.0f}"


def _sum(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
