"""Two networks compared on the same images, as one HTML page that works offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from basrelief.report.contents import MetricFacts, Pictures
from basrelief.report.page import template_of
from basrelief.report.panels import linear_axis
from basrelief.report.scores import (
    count_of,
    facts_of,
    format_score,
    gather_refused,
    page_frame,
    say_images,
    wall_settings,
    warn,
)
from basrelief.report.square import draw_square
from basrelief.report.tables import shorten

MOST_DOTS = 4000  # of the scatter; of more images, some spread over all are drawn
BADGES = {"a": ("winner", "a is better"), "b": ("winner", "b is better"), "equal": ("equal", "Practically equal")}


def render_comparison(
    document: Mapping[str, Any],
    metrics: Sequence[MetricFacts],
    pairs: Sequence[tuple[float, float]],
    pictures: Pictures | None,
    *,
    repeat: str = "",
) -> str:
    """Return the page as one self-contained HTML document, which needs no network and treats every text as text.

    Parameters
    ----------
    document
        What ``basrelief compare --json`` gives.
    metrics
        How its metrics are to be read, in their order.
    pairs
        The primary metric of a and b, image by image.
    pictures
        From where a leads most to where b does; None: no wall.
    repeat
        The command line that makes the page again; "" leaves it out.
    """
    primary = facts_of(metrics, document["metric"])
    a, b = document["a"]["name"], document["b"]["name"]
    outcome, badge = BADGES.get(document["decision"], ("undecided", "Undecided"))
    number = 0 if pictures is None else len(pictures.ids)
    intro = (
        f"{count_of(number, 'image')}, from where a ({a}) leads most by {primary.name} down to where b ({b}) does; "
        "beneath each prediction that image’s own."
    )
    return template_of("comparison.html.j2").render(
        page_frame(wall=pictures is not None),
        **wall_settings(pictures, [a, b], intro, "from a’s lead to b’s", primary),
        title=f"{a} and {b}",
        primary=primary,
        outcome=outcome,
        badge=badge,
        summary=document["summary"],
        level=f"{100 * document['level']:g} %",
        warnings=warn(document),
        facts=_facts(document),
        lines=[_line(facts, document["metrics"][facts.name]) for facts in _first(metrics, primary)],
        refused=gather_refused(document["refused"]),
        scatter=_scatter(primary, pairs, a, b),
        scatter_says=_say_ahead(primary, pairs),
        failed=document["failed"],
        repeat=repeat,
    )


def _first(metrics: Sequence[MetricFacts], primary: MetricFacts) -> list[MetricFacts]:
    return [primary, *(facts for facts in metrics if facts.name != primary.name)]


def _line(facts: MetricFacts, found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": facts.name,
        "unit": facts.unit,
        "higher": facts.higher_is_better,
        "meaning": facts.meaning,
        "difference": format_score(found["difference"], [found["low"], found["high"]], signed=True),
        "a": format_score(found["a"], None).mean,
        "b": format_score(found["b"], None).mean,
    }


def _facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for side in ("a", "b"):
        rows += [(side, str(document[side]["run"])), (f"{side}, chosen", document[side]["note"])]
    rows += [("Data", document["on"]), ("Images", say_images(document))]
    if document["seen"]:
        rows.append(("Left out, seen in training", count_of(document["seen"], "image")))
    rows.append(("Practically equal up to", f"{document['margin']:.3g}"))
    return [(name, text) for name, text in rows if text]


def _scatter(primary: MetricFacts, pairs: Sequence[tuple[float, float]], a: str, b: str) -> Any:
    dots = list(pairs) if len(pairs) <= MOST_DOTS else list(pairs)[:: -(-len(pairs) // MOST_DOTS)]
    values = [value for pair in pairs for value in pair]
    pad = 0.03 * (max(values) - min(values))
    axis = linear_axis([min(values) - pad, max(values) + pad])
    return draw_square(
        f"{primary.name} of each image, {a} across and {b} up",
        f"a, {shorten(a, 40)}",
        f"b, {shorten(b, 40)}",
        axis,
        axis,
        guides=[[(axis.low, axis.low), (axis.high, axis.high)]],
        dots=dots,
    )


def _say_ahead(primary: MetricFacts, pairs: Sequence[tuple[float, float]]) -> str:
    sign = 1 if primary.higher_is_better else -1
    leads = [sign * (a - b) for a, b in pairs]
    first, second = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
    where = "below" if primary.higher_is_better else "above"
    text = f"A dot is an image; {where} the dashed line a is the better one. a leads on {first:,}, b on {second:,}"
    same = len(leads) - first - second
    return text + (f"; on {same:,} they are the same." if same else ".")
