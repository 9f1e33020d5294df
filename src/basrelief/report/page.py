"""The report as one HTML page: everything inside it, nothing fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from basrelief.report.basis import format_basis, format_race
from basrelief.report.behaviour import behaviour_header, draw_training, format_behaviour
from basrelief.report.contents import StudyContents
from basrelief.report.costs import format_costs
from basrelief.report.forest import format_pairs
from basrelief.report.pictures import Wall, build_wall
from basrelief.report.planes import build_planes
from basrelief.report.plots import COLOURS, DASHES, draw_curves
from basrelief.report.rates import format_rate, format_searches
from basrelief.report.spreads import draw_spreads, say_ahead
from basrelief.report.strata import format_ranking, format_strata
from basrelief.report.tables import (
    NOTHING,
    describe_outcome,
    format_losses,
    format_more,
    order_losses,
    order_metrics,
    primary_facts,
    shorten,
    summary_beside,
)
from basrelief.report.terms import HEIGHT, WIDTH, format_terms
from basrelief.report.words import factor_word, factor_words

if TYPE_CHECKING:
    from jinja2 import Template

STYLES = ("style.css", "parts/plots.css", "parts/wall.css", "parts/planes.css")
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
    from markupsafe import Markup

    spreads, curves = draw_spreads(contents), draw_curves(contents)
    figures = [*spreads, *curves]
    wall = planes = None
    if contents.pictures is not None and len(contents.pictures.ids):
        columns = [(index, row.name) for index, row in order_losses(contents)]
        wall, planes = build_wall(contents.pictures, columns), build_planes(contents.pictures, columns)
    lines, baselines = format_losses(contents)
    kind, badge = describe_outcome(contents)
    primary = primary_facts(contents)
    word, words = factor_word(contents.verdict), factor_words(contents.verdict)
    terms = format_terms(contents)  # of single terms the training loss says all
    shown: dict[str, Any] = {
        "forest": format_pairs(contents),
        "spreads": spreads,
        "ahead": say_ahead(contents),
        "curves": curves,
        "strata": format_strata(contents),
        "ranking": format_ranking(contents),
        "behaviour": format_behaviour(contents),
        "behaviour_header": behaviour_header(contents),
        "cards": draw_training(contents),
        "terms": terms if any(len(loss["lines"]) > 1 for loss in terms) else [],
        "wall": wall,
        "planes": planes,
        "wall_intro": "" if wall is None else _wall_intro(wall, word, primary.name),
        "searches": format_searches(contents),
        "race": format_race(contents),
    }
    costs_header, costs = format_costs(contents)
    return template_of("study.html.j2").render(
        shown,
        contents=contents,
        word=word,
        words=words,
        wall_study=True,
        wall_ahead=False,
        wall_every=False,
        wall_given="as given",
        summary=summary_beside(badge, contents),
        outcome=kind,
        badge=badge,
        basis=format_basis(contents),
        primary=primary,
        primary_target=primary.name.partition("/")[0],
        level=_level(contents),
        metrics=order_metrics(contents),
        more=format_more(contents),
        lines=lines,
        baselines=baselines,
        failures=[(row.name, failure) for row in contents.losses for failure in row.failures],
        has_shares=any(card.shares for card in shown["cards"]),
        rates_grid=any(card.grid for card in shown["searches"]),
        costs_header=costs_header,
        costs=costs,
        spark=(WIDTH, HEIGHT),
        sections=_sections(words, shown),
        figures=figures,
        figures_json=Markup(to_json([{"data": one["data"], "layout": one["layout"]} for one in figures])),
        colours=COLOURS,
        dashes=DASHES,
        marker_paths=MARKER_PATHS,
        nothing=NOTHING,
        style=Markup(join_parts(*STYLES)),
        script=Markup(join_scripts("curves.js", "wall.js", "compare.js", "start.js")),
        plotly=Markup(read_plotly()) if figures else "",
    )


def _sections(words: str, shown: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Return (anchor and part's name, title, whether it is there), in the order a reader needs them."""
    return [
        ("losses", words.capitalize(), True),
        ("pairs", "Paired differences", bool(shown["forest"])),
        ("spreads", "Scores of the images", bool(shown["spreads"])),
        ("curves", "Curves", bool(shown["curves"])),
        ("pictures", "Pictures", bool(shown["wall"])),
        ("planes", "Planes of the classes", bool(shown["planes"])),
        ("strata", "Where it holds", bool(shown["strata"] or shown["ranking"])),
        ("behaviour", "Training behaviour", bool(shown["behaviour"] or shown["cards"])),
        ("terms", "Terms", bool(shown["terms"])),
        ("rates", "Learning rates", bool(shown["searches"])),
        ("race", "Race", shown["race"] is not None),
        ("details", "Details", True),
    ]


def _wall_intro(wall: Wall, word: str, metric: str) -> str:
    return (
        f"The same {len(wall.rows)} validation images for every {word}, seed {wall.seed}; beneath each prediction the "
        f"{metric} of that image."
    )


def _level(contents: StudyContents) -> str:
    level = contents.verdict.get("level", 0.95)
    return f"{100 * level:g} %" if isinstance(level, int | float) else "95 %"


def template_of(name: str) -> Template:
    """Return one of the templates beside this file, which escapes whatever is put into it."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(read_part),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shorten"] = shorten
    environment.filters["rate"] = format_rate
    return environment.get_template(name)


def to_json(value: Any) -> str:
    """Return JSON that no text inside can break out of a script element with."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def read_part(name: str) -> str:
    """Return the text of a template, style or script that lies beside this file."""
    return resources.files("basrelief.report").joinpath(name).read_text(encoding="utf-8")


def join_parts(*names: str) -> str:
    """Return the texts of several parts, one after the other."""
    return "".join(read_part(name) for name in names)


def join_scripts(*names: str) -> str:
    """Return scripts from the folder ``parts`` as one, which share their names and leave none to the page."""
    return f'(() => {{\n"use strict";\n{join_parts(*(f"parts/{name}" for name in ("base.js", *names)))}}})();\n'


def read_plotly() -> str:
    """Return plotly.js, fit to stand inside a page."""
    from plotly.offline import get_plotlyjs

    # plotly.js comes without a closing tag inside today; should a later one hold it, the page must not break.
    source: str = get_plotlyjs()
    return source.replace("</script", "<\\/script")
