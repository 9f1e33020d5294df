"""What the pages of an evaluation and of a comparison share: numbers as text, lists of reasons, the wall's settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basrelief.report.contents import LossRow, MetricFacts, Pictures
from basrelief.report.forest import say_interval
from basrelief.report.page import MARKER_PATHS, join_parts, join_scripts
from basrelief.report.pictures import Wall, build_wall
from basrelief.report.plots import COLOURS, DASHES
from basrelief.report.tables import NOTHING, Score, decimals_for, finite, format_number

STYLES = ("style.css", "parts/plots.css", "parts/wall.css", "scores.css")


def format_score(mean: Any, ends: Sequence[Any] | None, *, signed: bool = False) -> Score:
    """Return a mean and its interval, with four digits of the mean."""
    value = finite(mean)
    low, high = (finite(end) for end in ends or (None, None))
    decimals = min(decimals_for([value] if value else [low, high]), 5)
    shown = format_number(value, decimals, signed=signed)
    return Score(shown, say_interval(low, high, decimals, signed=signed))


def count_of(number: int, what: str) -> str:
    """Return "1 image", "1,200 images"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def say_images(document: Mapping[str, Any]) -> str:
    """Return how many images were scored, with their groups where these are fewer."""
    images, groups = document["images"], document["groups"]
    return count_of(images, "image") + (f" in {count_of(groups, 'group')}" if groups != images else "")


def gather_refused(refused: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Return each reason with the metrics that it keeps away."""
    found: dict[str, list[str]] = {}
    for name, why in refused.items():
        found.setdefault(why, []).append(name)
    return list(found.items())


def warn(document: Mapping[str, Any]) -> list[str]:
    """Return what a reader should know before the numbers."""
    warnings = list(document["notes"])
    if document["failed"]:
        warnings.append(f"{count_of(len(document['failed']), 'sample')} could not be scored; the list is at the end.")
    counts = document.get("counts") or {}
    if counts.get("mask_empty"):
        warnings.append(
            f"{count_of(counts['mask_empty'], 'image')} of {counts['images']:,} have an empty true mask: predicted "
            "empty, each scores 1. The pooled scores do without."
        )
    return warnings


def wall_settings(
    pictures: Pictures | None, names: Sequence[str], intro: str, given: str, primary: MetricFacts
) -> dict[str, Any]:
    """Return what the template of the wall needs, for networks by these names."""
    wall: Wall | None = build_wall(pictures, list(enumerate(names))) if pictures is not None else None
    return {
        "wall": wall,
        "wall_intro": intro,
        "wall_given": given,
        "wall_study": False,
        "wall_ahead": len(names) > 1,
        "wall_every": len(names) > 1,
        "word": "network",
        "words": "networks",
        "primary_target": primary.name.partition("/")[0],
        "contents": {"losses": [LossRow(name, "", {}, 1, 0) for name in names], "pictures": pictures},
    }


def page_frame(*, wall: bool) -> dict[str, Any]:
    """Return what every such page is drawn with."""
    from markupsafe import Markup

    return {
        "colours": COLOURS,
        "dashes": DASHES,
        "marker_paths": MARKER_PATHS,
        "nothing": NOTHING,
        "style": Markup(join_parts(*STYLES)),
        "script": Markup(join_scripts(*(("wall.js", "compare.js") if wall else ()), "start.js")),
    }


def facts_of(names: Sequence[MetricFacts], name: str) -> MetricFacts:
    """Return the facts of a metric."""
    return next(facts for facts in names if facts.name == name)


def title_of(run: str) -> str:
    """Return the name of the run's folder, with the one above where it is a trial's."""
    path = Path(run)
    return "/".join(path.parts[-2:]) if path.name.startswith("seed-") else path.name
