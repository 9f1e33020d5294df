"""What the page says: its title, the facts of the network, and the lines above and below the pictures."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from basrelief.serving.limits import Limits
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
    samples = run.get("samples") or {}  # what an exported file carries may lack some
    facts = [name, run["network"], f"sees {width} × {height} px"]
    if samples.get("train"):
        facts.append(f"trained on {samples['train']} images")
    metric = run["settings"].get("metric")
    score = (run.get("metrics") or {}).get(metric)
    if score is not None:
        unit = f" {run['depth_unit']}" if metric in ("depth/rmse", "depth/mae") and run["depth_unit"] else ""
        facts.append(f"{metric} {score:.3g}{unit} on {samples.get('test', 'the')} test images")
    return " · ".join(fact for fact in dict.fromkeys(facts) if fact)


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


def depth_line(depth: np.ndarray, run: Mapping[str, Any]) -> str:
    """Return the nearest, the median and the farthest depth in words, as HTML."""
    low, middle, high = (float(value) for value in np.quantile(depth, (0, 0.5, 1)))
    unit = f" {html.escape(run['depth_unit'])}" if run["depth_unit"] else ""
    name = html.escape(depth_name("", run["depth_kind"] or ""))
    return f'<div class="legend"><span>{name} {low:.3g} to {high:.3g}{unit}, median {middle:.3g}{unit}</span></div>'


def depth_label(run: Mapping[str, Any]) -> str:
    """Return the label above the depth: "Depth, m"."""
    name = depth_name(run["depth_unit"] or "", run["depth_kind"] or "")
    return name[:1].upper() + name[1:]


def invitation(limits: Limits, pair: bool, *, has_image: bool = False, has_other: bool = False) -> str:
    """Return the line that says what to do next, and what is taken, as HTML.

    Parameters
    ----------
    limits
        Of the server.
    pair
        Whether the network takes a background beside the image.
    has_image, has_other
        What is there already: the image, and anything.
    """
    if has_image:
        return notice("Now the background: the same place without the figure, from the same camera.")
    if has_other:
        return notice("Now the image: the same place with the figure, from the same camera.")
    what = "an image, and the same place without the figure" if pair else "an image, or paste one"
    takes = f"up to {limits.max_bytes / (1 << 20):g} MB and {limits.max_pixels / 1e6:g} megapixels"
    return notice(f"Drop {what}. PNG, JPEG, WebP or BMP, {takes}.")
