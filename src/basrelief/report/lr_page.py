"""A learning-rate range test as one HTML page: a curve a loss, the rate it suggests, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from basrelief.report.page import join_parts, join_scripts, read_plotly, template_of, to_json
from basrelief.report.plots import COLOURS, DASHES, Figure, dashed, lay_out
from basrelief.report.rates import format_rate
from basrelief.report.tables import finite

ROOM = 0.6  # how far above the loss before training a plot reaches, as a share of how far it fell


@dataclass(frozen=True)
class LrContents:
    """Everything on the page.

    ``losses`` are those of the command's document. ``curves[name]`` are the lines of that loss's curve, with "repeat",
    "step", "lr", "loss", "smoothed" and "smoothed_lr". ``held_fixed`` are (name, value) rows; ``notes`` sentences;
    ``repeat`` is the command line that makes the tests again.
    """

    title: str
    losses: Sequence[Mapping[str, Any]]
    curves: Mapping[str, Sequence[Mapping[str, Any]]]
    held_fixed: Sequence[tuple[str, str]]
    notes: Sequence[str] = ()
    repeat: str = ""


def render_lr_range(contents: LrContents) -> str:
    """Return the page as one self-contained HTML document, which needs no network and treats every text as text."""
    from markupsafe import Markup

    figures = [draw_lr(index, loss, contents.curves[loss["name"]]) for index, loss in enumerate(contents.losses)]
    return template_of("lr_range.html.j2").render(
        contents=contents,
        colours=COLOURS,
        dashes=DASHES,
        figures_json=Markup(to_json(figures)),
        style=Markup(join_parts("style.css", "lr_range.css")),
        script=Markup(join_scripts("curves.js", "start.js")),
        plotly=Markup(read_plotly()),
    )


def draw_lr(index: int, loss: Mapping[str, Any], curve: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the figure of one loss: the batches' losses as dots, a smoothed line a test, the suggestion marked.

    Losses have figures of their own, for their values cannot be compared.
    """
    colour = f"var(--loss-{index % COLOURS})"
    data: list[dict[str, Any]] = []
    for number in range(1, len(loss["tests"]) + 1):
        rows = [row for row in curve if row["repeat"] == number]
        dots = {
            "type": "scatter",
            "mode": "markers",
            "meta": {"loss": index},
            "x": [row["lr"] for row in rows],
            "y": [finite(row["loss"]) for row in rows],
            "marker": {"color": f"{colour}/0.3", "size": 4},
            "hoverinfo": "skip",
        }
        line = {
            "type": "scatter",
            "mode": "lines",
            "name": f"test {number}",
            "meta": {"loss": index},
            "x": [row["smoothed_lr"] for row in rows],
            "y": [finite(row["smoothed"]) for row in rows],
            "line": {"color": colour, "width": 2.2, "dash": dashed(DASHES[(number - 1) % len(DASHES)])},
            "hovertemplate": "%{y:.4g} at %{x:.2g}<extra>%{fullData.name}</extra>",
        }
        data += [dots, line]
    tests = loss["tests"]
    ends: list[float] = [
        math.log10(min(test["low"] for test in tests)),
        math.log10(max(test["high"] for test in tests)),
    ]
    x: dict[str, Any] = {"type": "log", "title": {"text": "learning rate", "standoff": 8}, "range": ends, "dtick": 1}
    x |= {"exponentformat": "power", "hoverformat": ".2g"}
    layout = lay_out(x=x, y={"title": {"text": "loss of the batch", "standoff": 8}, "nticks": 7} | _span(curve))
    layout |= {"hovermode": "closest", "shapes": [], "annotations": []}
    if loss["suggestion"] is not None:
        at = math.log10(loss["suggestion"])
        mark = {"color": "var(--ink)", "width": 1.5, "dash": "dot"}
        # Plotly takes a shape's place on a logarithmic axis as the number itself, an annotation's as its logarithm.
        ends_at = {"y0": 0, "y1": 1, "x0": loss["suggestion"], "x1": loss["suggestion"]}
        layout["shapes"] = [{"type": "line", "yref": "paper", "line": mark, **ends_at}]
        layout["annotations"] = [
            {
                "x": at,
                "xanchor": "left" if at < sum(ends) / 2 else "right",
                "yref": "paper",
                "y": 1,
                "yanchor": "top",
                "showarrow": False,
                "text": escape(f" suggested: {format_rate(loss['suggestion'])} "),
                "font": {"size": 12, "color": "var(--ink)"},
                "bgcolor": "var(--page)",
            }
        ]
    return {"data": data, "layout": layout}


def _span(curve: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the part of the axis that keeps what was learned in view; the last steps may be many times as high."""
    smoothed = [value for value in (finite(row["smoothed"]) for row in curve) if value is not None]
    if not smoothed:
        return {}
    firsts = [finite(row["smoothed"]) for row in curve if row["step"] == 1]
    start, low = max(value for value in [*firsts, smoothed[0]] if value is not None), min(smoothed)
    drop = start - low or abs(start) or 1.0
    return {"range": [low - 0.15 * drop, start + ROOM * drop]}
