"""The report as one HTML page: everything inside it, nothing fetched."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from basrelief.report.contents import StudyContents
from basrelief.report.pictures import build_wall
from basrelief.report.plots import COLOURS, DASHES, draw_curves
from basrelief.report.tables import (
    NOTHING,
    describe_outcome,
    format_losses,
    format_more,
    format_pairs,
    order_losses,
    order_metrics,
    primary_facts,
    shorten,
    summary_beside,
)
from basrelief.report.terms import HEIGHT, WIDTH, format_terms

# The markers of the curves in a box of 10 by 10 around the origin, in the order of plots.MARKERS.
MARKER_PATHS = (
    "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",
    "M-3.6 -3.6H3.6V3.6H-3.6Z",
    "M0 -5L5 0L0 5L-5 0Z",
    "M0 -4.6L4.6 3.6H-4.6Z",
    "M0 4.6L4.6 -3.6H-4.6Z",
    "M-1.5 -4.6H1.5V-1.5H4.6V1.5H1.5V4.6H-1.5V1.5H-4.6V-1.5H-1.5Z",
    "M0 -2.1L2.4 -4.5L4.5 -2.4L2.1 0L4.5 2.4L2.4 4.5L0 2.1L-2.4 4.5L-4.5 2.4L-2.1 0L-4.5 -2.4L-2.4 -4.5Z",
    "M0 -4.8L4.6 -1.5L2.8 3.9H-2.8L-4.6 -1.5Z",
)


def render_study(contents: StudyContents) -> str:
    """Return the study's report as one self-contained HTML document.

    The page needs no network, follows the reader's light or dark setting, and treats every text in ``contents`` as
    text. The wall of pictures keeps its state in the address: ``report.html#sort=disagree`` opens it so.

    Parameters
    ----------
    contents
        What the report shows.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    figures = draw_curves(contents)
    wall = None
    if contents.pictures is not None and len(contents.pictures.ids):
        wall = build_wall(contents.pictures, [(index, row.name) for index, row in order_losses(contents)])
    lines, baselines = format_losses(contents)
    kind, badge = describe_outcome(contents)
    primary = primary_facts(contents)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["shorten"] = shorten
    return environment.from_string(read_part("template.html.j2")).render(
        contents=contents,
        summary=summary_beside(badge, contents),
        outcome=kind,
        badge=badge,
        primary=primary,
        primary_target=primary.name.partition("/")[0],
        level=_level(contents),
        metrics=order_metrics(contents),
        more=format_more(contents),
        lines=lines,
        baselines=baselines,
        failures=[(row.name, failure) for row in contents.losses for failure in row.failures],
        forest=format_pairs(contents),
        terms=format_terms(contents),
        spark=(WIDTH, HEIGHT),
        figures=figures,
        figures_json=Markup(to_json([{"data": one["data"], "layout": one["layout"]} for one in figures])),
        wall=wall,
        colours=COLOURS,
        dashes=DASHES,
        marker_paths=MARKER_PATHS,
        nothing=NOTHING,
        style=Markup(read_part("style.css")),
        script=Markup(read_part("script.js")),
        plotly=Markup(read_plotly()) if figures else "",
    )


def _level(contents: StudyContents) -> str:
    level = contents.verdict.get("level", 0.95)
    return f"{100 * level:g} %" if isinstance(level, int | float) else "95 %"


def to_json(value: Any) -> str:
    """Return JSON that no text inside can break out of a script element with."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def read_part(name: str) -> str:
    """Return the text of a template, style or script that lies beside this file."""
    return resources.files("basrelief.report").joinpath(name).read_text(encoding="utf-8")


def read_plotly() -> str:
    """Return plotly.js, fit to stand inside a page."""
    from plotly.offline import get_plotlyjs

    # plotly.js comes without a closing tag inside today; should a later one hold it, the page must not break.
    source: str = get_plotlyjs()
    return source.replace("</script", "<\\/script")
