"""Curves as Plotly figures: plain dictionaries, so that drawing needs the browser's Plotly and nothing here.

Colours are written as CSS variables, ``var(--loss-0)`` or ``var(--loss-0)/0.15``, which the page's script turns into
values: light and dark then share one figure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from html import escape
from typing import Any

from basrelief.report.contents import Curve, MetricFacts, StudyContents
from basrelief.report.tables import decimals_for, describe_metric, finite, order_metrics, primary_facts, shorten

COLOURS = 8
# Colours, dashes and markers together tell losses apart without colour; the same ones are drawn in the page's legend.
DASHES = ("", "7,3", "2,2", "8,3,2,3", "12,4", "12,3,2,3,2,3", "4,4", "1,3")
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "pentagon")

Figure = dict[str, Any]


def draw_curves(contents: StudyContents) -> list[Figure]:
    """Return one figure a metric of the first table: the mean over seeds of each loss, and a band over the seeds.

    Returns
    -------
    list of dict
        ``metric`` and ``description`` for the heading, ``data`` and ``layout`` for Plotly; the primary metric first.
    """
    by_metric: dict[str, list[Curve]] = defaultdict(list)
    for curve in contents.curves:
        by_metric[curve.metric].append(curve)
    facts = {one.name: one for one in order_metrics(contents)}
    return [_draw_metric(name, by_metric[name], facts[name], contents) for name in facts if name in by_metric]


def _draw_metric(name: str, curves: Sequence[Curve], facts: MetricFacts, contents: StudyContents) -> Figure:
    values = [finite(value) for curve in curves for value in curve.values]
    decimals = decimals_for(values)
    data: list[dict[str, Any]] = []
    for index, row in enumerate(contents.losses):
        own = [curve for curve in curves if curve.loss == row.name]
        if own:
            data += _draw_loss(index, row.name, own, decimals)
    epochs = sorted({epoch for curve in curves for epoch in curve.epochs})
    is_primary = name == primary_facts(contents).name
    shapes, annotations = _draw_baselines(contents, name) if is_primary else ([], [])
    layout = lay_out(
        x={"title": {"text": "epoch", "standoff": 8}} | _span_epochs(epochs),
        y={"hoverformat": f".{decimals}f", "nticks": 7},
    )
    layout |= {"shapes": shapes, "annotations": annotations}
    description = describe_metric(facts)
    return {"metric": name, "description": description, "primary": is_primary, "data": data, "layout": layout}


def lay_out(*, x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    """Return the layout that all figures share, with what their axes have of their own."""
    axis = {"gridcolor": "var(--rule)", "linecolor": "var(--rule)", "zeroline": False, "automargin": True}
    return {
        "autosize": True,
        "showlegend": False,
        "hovermode": "x",
        "margin": {"l": 52, "r": 12, "t": 10, "b": 42},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "var(--muted)"},
        "hoverlabel": {"bgcolor": "var(--panel)", "font": {"color": "var(--ink)", "size": 12}, "namelength": -1},
        "xaxis": axis | x,
        "yaxis": axis | y,
    }


def _span_epochs(epochs: Sequence[int]) -> dict[str, Any]:
    """Return the part of the axis that keeps its ticks on whole epochs and its ends at the first and the last one."""
    if not epochs:
        return {}
    pad = 0.02 * (epochs[-1] - epochs[0]) or 1
    span: dict[str, Any] = {"range": [epochs[0] - pad, epochs[-1] + pad]}
    return span | ({"tickvals": epochs} if len(epochs) <= 10 else {"tickformat": "d", "nticks": 10})


def _draw_loss(index: int, name: str, curves: Sequence[Curve], decimals: int) -> list[dict[str, Any]]:
    by_epoch: dict[int, list[float]] = {epoch: [] for epoch in sorted({e for curve in curves for e in curve.epochs})}
    for curve in curves:
        for epoch, value in zip(curve.epochs, curve.values, strict=False):
            number = finite(value)
            if number is not None:
                by_epoch[epoch].append(number)
    epochs = list(by_epoch)
    low, high, mean, text = [], [], [], []
    for seen in by_epoch.values():
        low.append(min(seen) if seen else None)
        high.append(max(seen) if seen else None)
        mean.append(sum(seen) / len(seen) if seen else None)
        seeds = f"{len(seen)} seed{'' if len(seen) == 1 else 's'}"
        text.append(f"{min(seen):.{decimals}f} to {max(seen):.{decimals}f}, {seeds}" if len(seen) > 1 else seeds)

    colour = f"var(--loss-{index % COLOURS})"
    dash = DASHES[index % len(DASHES)]
    line: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        # Plotly reads a small HTML in names, so a user's text is escaped once more here.
        "name": escape(shorten(name)),
        "meta": {"loss": index},
        "x": epochs,
        "y": mean,
        "text": text,
        "hovertemplate": f"%{{y:.{decimals}f}} (%{{text}})<extra>%{{fullData.name}}</extra>",
        "connectgaps": False,
        "line": {
            "color": colour,
            "width": 2,
            "dash": dashed(dash),
        },
        "marker": {"color": colour, "symbol": MARKERS[index % len(MARKERS)], "size": 7, "maxdisplayed": 9},
    }
    if len(epochs) == 1:
        # A band has no width at one epoch: whiskers show the spread instead.
        if mean[0] is not None and low[0] is not None and high[0] is not None:
            whisker = {"type": "data", "symmetric": False, "array": [high[0] - mean[0]], "color": colour}
            line["error_y"] = whisker | {"arrayminus": [mean[0] - low[0]]}
        return [line]
    x, y = _outline_band(epochs, low, high)
    band = {
        "type": "scatter",
        "mode": "lines",
        "meta": {"loss": index},
        "x": x,
        "y": y,
        "fill": "toself",
        "fillcolor": f"{colour}/0.14",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    return [band, line]


def dashed(dash: str) -> str:
    """Return one of ``DASHES`` as Plotly writes it."""
    return ",".join(f"{part}px" for part in dash.split(",")) if dash else "solid"


def _outline_band(
    epochs: Sequence[int], low: Sequence[float | None], high: Sequence[float | None]
) -> tuple[list[int | None], list[float | None]]:
    """Return the band's outline: one closed polygon for each stretch without a gap, with None between them."""
    x: list[int | None] = []
    y: list[float | None] = []
    stretch: list[int] = []
    for place in range(len(epochs) + 1):
        if place < len(epochs) and low[place] is not None:
            stretch.append(place)
            continue
        if stretch:
            if x:
                x.append(None)
                y.append(None)
            back = stretch[::-1]
            x += [epochs[i] for i in stretch + back]
            y += [high[i] for i in stretch] + [low[i] for i in back]
        stretch = []
    return x, y


def _draw_baselines(contents: StudyContents, metric: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    shapes, annotations = [], []
    for place, (name, scores) in enumerate(contents.baselines.items()):
        score = finite(scores.get(metric))
        if score is None:
            continue
        line = {"color": "var(--muted)", "width": 1.5, "dash": "dot"}
        shapes.append({"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": score, "y1": score, "line": line})
        annotations.append(
            {
                "xref": "paper",
                "x": 1,
                "xanchor": "right",
                "y": score,
                # Labels alternate between above and below, so that two baselines close together stay readable.
                "yanchor": ("bottom", "top")[place % 2],
                "showarrow": False,
                "text": f"baseline {escape(shorten(name))} (test)",
                "font": {"size": 11, "color": "var(--muted)"},
            }
        )
    return shapes, annotations
