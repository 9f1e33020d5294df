"""How each loss trained: a table of what is often judged by eye, and small multiples of loss and gradient shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from basrelief.report.contents import Curve, StudyContents, TermCurve
from basrelief.report.panels import Axis, Panel, linear_axis, points, x_place, y_place
from basrelief.report.tables import NOTHING, Score, finite, order_losses

SHADES = (0.85, 0.5, 0.25, 0.12)  # of a loss's colour, for its terms from the foot up


@dataclass(frozen=True)
class BehaviourLine:
    """One row of the table of training behaviour."""

    index: int
    name: str
    cells: Sequence[Score]


@dataclass(frozen=True)
class TrainingCard:
    """One loss's small plots; ``terms`` are (name, shade, first and last share) of what is stacked in ``shares``."""

    index: int
    name: str
    loss: Panel | None
    shares: Panel | None
    terms: Sequence[tuple[str, float, str]]


def behaviour_header(contents: StudyContents) -> list[tuple[str, str]]:
    """Return the table's columns after the name: a heading and a hint each."""
    columns = [
        ("Epochs to 95 %", "of its gain"),
        ("Not worse", "than the epoch before"),
        ("Fluctuation", "of the score, of its gain"),
        ("Fluctuation", "of the loss, of its gain"),
        ("Drops", "by over half the gain"),
        ("Failed", "of its trainings"),
    ]
    if any(cost.step_ms is not None for cost in contents.costs):
        columns.append(("Step", "ms"))
    if any(cost.step_memory is not None for cost in contents.costs):
        columns.append(("Memory", "of a step"))
    return columns


def format_behaviour(contents: StudyContents) -> list[BehaviourLine]:
    """Return the rows, in the order of the table of losses; none where the verdict says nothing of it."""
    found = {entry["name"]: entry for entry in contents.verdict.get("behaviour") or ()}
    costs = {cost.loss: cost for cost in contents.costs}
    width = len(behaviour_header(contents))
    lines = []
    for index, row in order_losses(contents):
        entry = found.get(row.name)
        if entry is None:
            continue
        cost = costs.get(row.name)
        trainings = int(entry.get("trainings") or 0) + int(entry.get("failed") or 0)
        cells = [
            _figure(entry.get("epochs_to_95"), "{:.3g}"),
            _figure(entry.get("monotone"), "{:.0%}"),
            _figure(entry.get("fluctuation"), "{:.1%}"),
            _figure(entry.get("loss_fluctuation"), "{:.1%}"),
            Score(str(entry.get("drops", NOTHING))),
            Score(f"{entry.get('failed', 0)} of {trainings}"),
            Score(NOTHING if cost is None or cost.step_ms is None else f"{cost.step_ms:.3g}"),
            Score(NOTHING if cost is None else say_bytes(cost.step_memory), _kind(cost)),
        ]
        if not any(one.step_ms is not None for one in contents.costs):
            del cells[6]
        lines.append(BehaviourLine(index, row.name, cells[:width]))
    return lines


def say_bytes(count: float | None) -> str:
    """Return a number of bytes in MiB or GiB."""
    if count is None:
        return NOTHING
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def draw_training(contents: StudyContents) -> list[TrainingCard]:
    """Return a card a loss: its own value on the training batches, and what its terms contribute to the gradient."""
    cards = []
    for index, row in order_losses(contents):
        loss = draw_loss([curve for curve in contents.training if curve.loss == row.name])
        terms = [curve for curve in contents.terms if curve.loss == row.name]
        shares = draw_shares(terms) if len(terms) > 1 else None
        if loss is None and shares is None:
            continue
        named = [
            (term.term, SHADES[place % len(SHADES)], f"{100 * term.shares[0]:.0f} % → {100 * term.shares[-1]:.0f} %")
            for place, term in enumerate(terms)
            if shares is not None
        ]
        cards.append(TrainingCard(index, row.name, loss, shares, named))
    return cards


def draw_loss(curves: Sequence[Curve]) -> Panel | None:
    """Return the mean of the trials' training losses by epoch, with a band from the lowest to the highest."""
    by_epoch: dict[int, list[float]] = {}
    for curve in curves:
        for epoch, value in zip(curve.epochs, curve.values, strict=False):
            number = finite(value)
            if number is not None:
                by_epoch.setdefault(epoch, []).append(number)
    if len(by_epoch) < 2:
        return None
    epochs = sorted(by_epoch)
    # One epoch that shoots up must not flatten all others: the axis ends at the first epoch's height or a little over.
    values = [value for seen in by_epoch.values() for value in seen]
    x = linear_axis([float(epoch) for epoch in epochs], wanted=4, whole=True)
    y = linear_axis(values)
    band = [(x_place(x, e), y_place(y, max(by_epoch[e]))) for e in epochs]
    band += [(x_place(x, e), y_place(y, min(by_epoch[e]))) for e in reversed(epochs)]
    means = [sum(by_epoch[e]) / len(by_epoch[e]) for e in epochs]
    line = [(x_place(x, e), y_place(y, mean)) for e, mean in zip(epochs, means, strict=True)]
    return Panel(
        says=f"training loss by epoch, from {means[0]:.3g} to {means[-1]:.3g}",
        lines=[points(line)],
        areas=[(points(band), 0.16)] if any(len(seen) > 1 for seen in by_epoch.values()) else [],
        x_ticks=[(x_place(x, value), text) for value, text in x.ticks],
        y_ticks=[(y_place(y, value), text) for value, text in y.ticks],
    )


def draw_shares(terms: Sequence[TermCurve]) -> Panel | None:
    """Return the terms' shares of the gradient by epoch, stacked from 0 to 1."""
    length = min(len(term.shares) for term in terms)
    if length < 2:
        return None
    x = linear_axis([1.0, float(length)], wanted=4, whole=True)
    y = Axis(0.0, 1.0)
    below = [0.0] * length
    areas = []
    for place, term in enumerate(terms):
        above = [low + (finite(share) or 0.0) for low, share in zip(below, term.shares, strict=False)]
        outline = [(x_place(x, e + 1), y_place(y, value)) for e, value in enumerate(above)]
        outline += [(x_place(x, e + 1), y_place(y, value)) for e, value in reversed(list(enumerate(below)))]
        areas.append((points(outline), SHADES[place % len(SHADES)]))
        below = above
    return Panel(
        says="share of the gradient by epoch, "
        + ", ".join(f"{term.term} from {100 * term.shares[0]:.0f} to {100 * term.shares[-1]:.0f} %" for term in terms),
        areas=areas,
        x_ticks=[(x_place(x, value), text) for value, text in x.ticks],
        y_ticks=[(y_place(y, value), text) for value, text in ((0.0, "0"), (0.5, "50 %"), (1.0, "100 %"))],
    )


def _figure(figure: Mapping[str, Any] | None, form: str) -> Score:
    median = None if not figure else finite(figure.get("median"))
    if figure is None or median is None:
        return Score(NOTHING)
    low, high = finite(figure.get("lowest")), finite(figure.get("highest"))
    middle = _form(form, median)
    if low is None or high is None or low == high:
        return Score(middle)
    return Score(middle, f"{_form(form, low)} to {_form(form, high)}")


def _form(form: str, value: float) -> str:
    return form.format(value).replace("%", " %").replace("-", "\N{MINUS SIGN}")


def _kind(cost: Any) -> str:
    return "" if cost is None or cost.step_memory is None else str(cost.memory_kind or "")
