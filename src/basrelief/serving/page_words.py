"""What the page says: its title, the facts of the network, and the lines above and below the pictures."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from basrelief.serving.page_pictures import depth_name

MANY = 4  # of so many classes the title names each; of more, how many there are


def page_title(run: Mapping[str, Any]) -> str:
    """Return what the network does: "Mask of the figure and depth in m"."""
    parts = []
    if "mask" in run["targets"]:
        classes = list(run["classes"])
        if len(classes) == 1:
            parts.append(f"mask of the {classes[0]}" if classes[0] == "figure" else f"mask of {classes[0]}")
        elif len(classes) <= MANY:
            parts.append(f"masks of {', '.join(classes[:-1])} and {classes[-1]}")
        else:
            parts.append(f"masks of {len(classes)} classes")
    if "depth" in run["targets"]:
        kind, unit = run["depth_kind"] or "", run["depth_unit"] or ""
        what = kind if kind == "disparity" else "relative depth" if kind == "relative" else "depth"
        parts.append(f"{what} in {unit}" if unit else what)
    title = " and ".join(parts)
    return title[:1].upper() + title[1:]


def page_facts(run: Mapping[str, Any], name: str) -> str:
    """Return one line: the run, its network and resolution, how many images it was trained on, its score on test."""
    height, width = run["resolution"]
    facts = [name, run["network"], f"sees {width} × {height} px", f"trained on {run['samples']['train']} images"]
    metric = run["settings"].get("metric")
    score = (run.get("metrics") or {}).get(metric)
    if score is not None:
        unit = run["depth_unit"] or "" if metric.startswith("depth/") and score and "delta" not in metric else ""
        facts.append(f"{metric} {score:.3g}{' ' + unit if unit else ''} on {run['samples']['test']} test images")
    return " · ".join(fact for fact in facts if fact)


def header(run: Mapping[str, Any], name: str) -> str:
    """Return title and facts as HTML."""
    return f"<h1>{html.escape(page_title(run))}</h1><p>{html.escape(page_facts(run, name))}</p>"


def notice(message: str, *, error: bool = False) -> str:
    """Return a message as HTML; an error is read out by screen readers at once."""
    if not message:
        return ""
    role = "alert" if error else "status"
    return f'<div class="notice {"error" if error else "hint"}" role="{role}">{html.escape(message)}</div>'


def legend(labels: np.ndarray, classes: Sequence[str], colours: np.ndarray) -> str:
    """Return the classes with their colours and the share of the picture that each takes, as HTML.

    Parameters
    ----------
    labels
        int (h, w): class numbers from 1, 0 for none.
    classes, colours
        Name and colour of each, uint8 (K, 3).
    """
    rows = []
    for number, name in enumerate(classes, 1):
        colour = f"#{bytes(colours[number - 1]).hex()}"
        share = float(np.mean(labels == number))
        rows.append(
            f'<span><i style="background:{colour}"></i>{html.escape(name)} <b data-share="{share:.6f}">'
            f"{100 * share:.1f} %</b></span>"
        )
    return f'<div class="legend">{"".join(rows)}</div>'


def depth_line(depth: np.ndarray, unit: str, kind: str) -> str:
    """Return nearest, median and farthest in words, as HTML."""
    low, middle, high = (float(value) for value in np.quantile(depth, (0, 0.5, 1)))
    unit = f" {html.escape(unit)}" if unit else ""
    name = html.escape(depth_name("", kind))
    return f'<div class="legend"><span>{name} {low:.3g} to {high:.3g}{unit}, median {middle:.3g}{unit}</span></div>'


def depth_label(unit: str, kind: str) -> str:
    """Return the label above the depth: "Depth, m"."""
    name = depth_name(unit, kind)
    return name[:1].upper() + name[1:]
