"""The search of learning rates: a range test and the rates tried after it, a small plot of each a loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from basrelief.report.contents import RateSearch, StudyContents
from basrelief.report.panels import HEIGHT, Axis, Panel, linear_axis, log_axis, points, x_place, y_place
from basrelief.report.tables import NOTHING, format_seconds, order_losses, primary_facts

ROOM = 0.6  # how far above the loss before training a plot reaches, as a share of how far it fell
GRID_HEIGHT = 110


@dataclass(frozen=True)
class RateCard:
    """How one loss found its rate; ``grid`` is None where no rates were tried after the range test."""

    index: int
    name: str
    rate: str
    reason: str
    cost: str
    curve: Panel | None
    grid: Panel | None
    folds: Sequence[str]


def format_rate(rate: float | None) -> str:
    """Return a learning rate as it is typed, in two or three digits: 0.003, 1e-05."""
    return NOTHING if rate is None else f"{rate:.2g}"


def format_searches(contents: StudyContents) -> list[RateCard]:
    """Return a card a loss, in the order of the table of losses; with folds, the first one's plots and all rates."""
    own: dict[str, list[RateSearch]] = {}
    for search in contents.searches:
        own.setdefault(search.loss, []).append(search)
    rates = [rate for search in contents.searches for rate in _rates(search)]
    if not rates:
        return []
    x = log_axis(min(rates), max(rates))
    scores = [float(score) for search in contents.searches for _, score in search.grid if score is not None]
    y = _padded(scores)
    higher = primary_facts(contents).higher_is_better
    cards = []
    for index, row in order_losses(contents):
        searches = sorted(own.get(row.name, ()), key=lambda search: search.fold)
        if not searches:
            continue
        first = searches[0]
        steps = [search.steps for search in searches if search.steps is not None]
        seconds = [search.seconds for search in searches if search.seconds is not None]
        said = [f"{sum(steps):,} steps"] if steps else []
        said += [format_seconds(sum(seconds))] if seconds else []
        cards.append(
            RateCard(
                index=index,
                name=row.name,
                rate=format_rate(first.rate),
                reason=first.reason,
                cost=", ".join(said),
                curve=_draw_curve(first, x),
                grid=_draw_grid(first, x, y, higher=higher) if scores and first.grid else None,
                folds=[format_rate(search.rate) for search in searches] if len(searches) > 1 else [],
            )
        )
    return cards


def _rates(search: RateSearch) -> list[float]:
    found = [rate for rate, _ in (*search.curve, *search.grid)]
    return found if search.rate is None else [*found, search.rate]


def _draw_curve(search: RateSearch, x: Axis) -> Panel | None:
    if len(search.curve) < 2:
        return None
    losses = [loss for _, loss in search.curve]
    start, low = losses[0], min(losses)
    # The last steps may be many times as high as the first: what was learned stays in view.
    drop = start - low or abs(start) or 1.0
    y = linear_axis([low - 0.1 * drop, start + ROOM * drop])
    gone = next((n for n, loss in enumerate(losses) if loss > y.high and n > losses.index(low)), len(losses))
    shown = search.curve[: gone + 1]  # what leaves the plot at its top ends there
    return Panel(
        says=f"loss by learning rate, lowest {low:.3g}",
        lines=[points([(x_place(x, rate), y_place(y, loss)) for rate, loss in shown])],
        marks=_mark(search, x),
        x_ticks=[(x_place(x, value), text) for value, text in x.ticks],
        y_ticks=[(y_place(y, value), text) for value, text in y.ticks],
    )


def _draw_grid(search: RateSearch, x: Axis, y: Axis, *, higher: bool) -> Panel:
    """Return the tried rates with their scores; one whose trial failed stands hollow at the bad end of the axis."""
    worst = y.low if higher else y.high
    dots = [
        (x_place(x, rate), y_place(y, worst if score is None else score, GRID_HEIGHT), score is None)
        for rate, score in search.grid
    ]
    return Panel(
        says="score on the validation images of "
        + ", ".join(
            f"{format_rate(rate)}: {'failed' if score is None else f'{score:.3g}'}" for rate, score in search.grid
        ),
        dots=dots,
        marks=_mark(search, x),
        x_ticks=[(x_place(x, value), text) for value, text in x.ticks],
        y_ticks=[(y_place(y, value, GRID_HEIGHT), text) for value, text in y.ticks],
        height=GRID_HEIGHT,
        bottom=GRID_HEIGHT - (HEIGHT - Panel("").bottom),
    )


def _mark(search: RateSearch, x: Axis) -> list[tuple[float, str]]:
    return [] if search.rate is None else [(x_place(x, search.rate), format_rate(search.rate))]


def _padded(values: Sequence[float]) -> Axis:
    if not values:
        return linear_axis([])
    low, high = min(values), max(values)
    pad = 0.15 * (high - low) or 0.05 * (abs(high) or 1.0)
    return linear_axis([low - pad, high + pad])
