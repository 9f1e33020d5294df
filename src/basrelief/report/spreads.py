"""How scores are spread over the test images, as figures: images from worst to best, and each against the best loss."""

from __future__ import annotations

from html import escape
from typing import Any

from basrelief.report.contents import Spread, StudyContents
from basrelief.report.plots import COLOURS, DASHES, Figure, dashed, lay_out
from basrelief.report.tables import decimals_for, describe_metric, finite, order_losses, primary_facts, shorten


def draw_spreads(contents: StudyContents) -> list[Figure]:
    """Return the figures: the scores of the images in order, and, with two losses or more, the differences."""
    known = [spread for spread in contents.spreads if len(spread.scores) > 1]
    if not known:
        return []
    primary = primary_facts(contents)
    title = f"{describe_metric(primary)}, images from worst to best"
    figures = [_draw(contents, "scores", title, f"{primary.name} of the test images, from worst to best")]
    against = next((spread.against for spread in known if spread.differences), None)
    if against is not None:
        title = f"difference to {shorten(against)}, image by image, from lowest to highest"
        figures.append(_draw(contents, "differences", title, f"differences in {primary.name} to {against}"))
        figures[-1]["layout"]["shapes"] = _draw_zero(contents)
    return figures


def _draw(contents: StudyContents, what: str, description: str, label: str) -> Figure:
    primary = primary_facts(contents)
    # Lower is better: the worst images are those with the highest values.
    turned = what == "scores" and not primary.higher_is_better
    decimals = decimals_for([value for spread in contents.spreads for value in spread.scores])
    index = {row.name: place for place, row in enumerate(contents.losses)}
    data = []
    for spread in contents.spreads:
        values = [finite(value) for value in (spread.scores if what == "scores" else spread.differences)]
        if spread.loss in index and len(values) > 1:
            data.append(_line(spread, index[spread.loss], values[::-1] if turned else values, decimals))
    layout = lay_out(
        x={"title": {"text": "share of the test images, %", "standoff": 8}, "range": [-1, 101], "nticks": 6},
        y={"hoverformat": f".{decimals}f", "nticks": 7},
    )
    return {"metric": label, "description": description, "primary": False, "data": data, "layout": layout}


def _line(spread: Spread, index: int, values: list[float | None], decimals: int) -> dict[str, Any]:
    last = len(values) - 1
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escape(shorten(spread.loss)),
        "meta": {"loss": index},
        "x": [round(100 * place / last, 2) for place in range(len(values))],
        "y": [None if value is None else round(value, decimals + 1) for value in values],
        "hovertemplate": f"%{{x:.0f}} %: %{{y:.{decimals}f}}<extra>%{{fullData.name}}</extra>",
        "line": {
            "color": f"var(--loss-{index % COLOURS})",
            "width": 2,
            "dash": dashed(DASHES[index % len(DASHES)]),
        },
    }


def _draw_zero(contents: StudyContents) -> list[dict[str, Any]]:
    """Return the line of no difference, in the band of practical equality."""
    span = {"xref": "paper", "x0": 0, "x1": 1}
    line = {"color": "var(--ink)", "width": 1}
    shapes = [{"type": "line", **span, "y0": 0, "y1": 0, "line": line}]
    margin = finite(contents.verdict.get("margin"))
    if margin:
        band = {"type": "rect", **span, "y0": -margin, "y1": margin, "layer": "below", "line": {"width": 0}}
        shapes.insert(0, band | {"fillcolor": "var(--even)/0.14"})
    return shapes


def say_ahead(contents: StudyContents) -> list[tuple[int, str, str, str]]:
    """Return (place, loss, best loss, sentence): on how many images each is ahead of the loss with the best mean."""
    spreads = {spread.loss: spread for spread in contents.spreads}
    said = []
    for index, row in order_losses(contents):
        spread = spreads.get(row.name)
        if spread is None or spread.ahead is None:
            continue
        text = f"ahead on {100 * spread.ahead:.0f} % of the images"
        if spread.tied:
            text += f", the same on {100 * spread.tied:.0f} %"
        said.append((index, spread.loss, spread.against, text))
    return said
