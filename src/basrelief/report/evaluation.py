"""An evaluation of one network as one HTML page that works offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from basrelief.report.contents import MetricFacts, Pictures
from basrelief.report.page import template_of
from basrelief.report.panels import Axis, linear_axis
from basrelief.report.scores import (
    count_of,
    facts_of,
    format_score,
    gather_refused,
    page_frame,
    say_images,
    title_of,
    wall_settings,
    warn,
)
from basrelief.report.square import Square, draw_square
from basrelief.report.strata import name_stratum
from basrelief.report.tables import NOTHING, Score, format_number, shorten

SHARES = Axis(0.0, 1.0, ticks=[(n / 4, f"{n / 4:g}") for n in range(5)])


@dataclass(frozen=True)
class MetricLine:
    """One row of the table of metrics; ``pooled`` is None where there is no such metric."""

    name: str
    unit: str
    higher: bool
    meaning: str
    mean: Score
    pooled: Score | None


@dataclass(frozen=True)
class ClassPlot:
    """A plot of one class, a sentence below it, and the rows of its table."""

    name: str
    plot: Square
    says: str
    bins: Sequence[tuple[str, str, str, str]] = ()


def render_evaluation(
    document: Mapping[str, Any], metrics: Sequence[MetricFacts], pictures: Pictures | None, *, repeat: str = ""
) -> str:
    """Return the page as one self-contained HTML document, which needs no network and treats every text as text.

    Parameters
    ----------
    document
        What ``basrelief evaluate --json`` gives.
    metrics
        How its metrics are to be read, in their order.
    pictures
        Of the images that the primary metric is worst on, the worst first; None: no wall.
    repeat
        The command line that makes the page again; "" leaves it out.
    """
    from basrelief.metrics import is_pooled_name  # which needs torch, as pages alone do not

    primary = facts_of(metrics, document["primary"])
    lines = [_line(facts, document) for facts in metrics if not is_pooled_name(facts.name)]
    kinds = {facts.name: facts.main or facts.name == primary.name for facts in metrics}
    title = title_of(str(document["run"]))
    number = 0 if pictures is None else len(pictures.ids)
    used = document["mask_threshold"] or []
    intro = f"The {count_of(number, 'image')} with the worst {primary.name}; beneath each prediction that image’s own."
    if any(one != 0.5 for one in used):
        intro += " Probabilities are stretched so that the threshold is mid-grey."
    if "depth/rmse" in document["refused"] and "depth" in primary.name + "".join(kinds):
        intro += " Predicted depth is shown after the scale and the shift that fit the truth best."
    return template_of("evaluation.html.j2").render(
        page_frame(wall=pictures is not None),
        **wall_settings(pictures, list(pictures.predictions) if pictures else [], intro, "worst first", primary),
        title=title,
        primary=primary,
        lead=format_score(document["metrics"][primary.name], document["intervals"][primary.name]),
        images=say_images(document),
        level=f"{100 * document['level']:g} %",
        caution=(
            "The intervals say how this network would do on other images like these. They say nothing of the same "
            "training with another seed; for that, train several and compare them in a study."
        ),
        warnings=warn(document),
        facts=_facts(document),
        main=[line for line in lines if kinds[line.name]],
        more=[line for line in lines if not kinds[line.name]],
        refused=gather_refused(document["refused"]),
        strata=[_stratum(stratum) for stratum in document["strata"]],
        calibration=_calibration(document["calibration"]),
        thresholds=_thresholds(document["threshold"]),
        failed=document["failed"],
        repeat=repeat,
    )


def _line(facts: MetricFacts, document: Mapping[str, Any]) -> MetricLine:
    base, at, alignment = facts.name.partition("@") if facts.name.startswith("depth/") else (facts.name, "", "")
    pooled = f"{base}_pooled{at}{alignment}"
    found, intervals = document["metrics"], document["intervals"]
    return MetricLine(
        facts.name,
        facts.unit,
        facts.higher_is_better,
        facts.meaning,
        format_score(found[facts.name], intervals[facts.name]),
        format_score(found[pooled], intervals[pooled]) if pooled in found else None,
    )


def _facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("Network", str(document["run"])), ("Chosen", document["note"]), ("Data", document["on"])]
    rows.append(("Images", say_images(document)))
    if document["seen"]:
        rows.append(("Left out, seen in training", count_of(document["seen"], "image")))
    if document["mask_threshold"]:
        rows.append(("Mask where probability exceeds", _numbers(document["mask_threshold"])))
    rows.append(("Metrics’ definitions", f"version {document['definitions']}"))
    return [(name, text) for name, text in rows if text]


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in dict.fromkeys(values))


def _stratum(stratum: Mapping[str, Any]) -> dict[str, Any]:
    images, groups = stratum["images"], stratum["groups"]
    return {
        "name": name_stratum(stratum),
        "meaning": stratum["meaning"],
        "images": f"{images:,}" + (f" ({count_of(groups, 'group')})" if groups != images else ""),
        "score": format_score(stratum["mean"], stratum["interval"]),
    }


def _calibration(calibration: Mapping[str, Any] | None) -> list[ClassPlot]:
    plots = []
    for one in (calibration or {}).get("classes", ()):
        known = [line for line in one["bins"] if line["observed"] is not None]
        if not known:
            continue
        pairs = [(line["predicted"], line["observed"]) for line in known]
        middle = sum(line["share"] for line in one["bins"] if line["low"] > 0 and line["high"] < 1)
        says = f"Expected calibration error {format_number(one['ece'], 4)}, over {one['pixels']:,} pixels."
        says += f" {format_number(100 * middle, 1)} % of them lie between the lowest and the highest bin."
        plot = draw_square(
            f"Share of true pixels by predicted probability, {one['name']}",
            "predicted probability",
            "share of pixels that are mask",
            SHARES,
            SHARES,
            lines=[pairs],
            guides=[[(0.0, 0.0), (1.0, 1.0)]],
            dots=pairs,
        )
        bins = [
            (
                f"{line['low']:.2f} to {line['high']:.2f}",
                f"{100 * line['share']:.3g} %" if line["share"] else NOTHING,
                format_number(line["predicted"], 3),
                format_number(line["observed"], 3),
            )
            for line in one["bins"]
        ]
        plots.append(ClassPlot(shorten(one["name"]), plot, says, bins))
    return plots


def _thresholds(found: Mapping[str, Any] | None) -> list[ClassPlot]:
    plots = []
    stored = (found or {}).get("stored")
    for place, (name, values) in enumerate((found or {}).get("iou", {}).items()):
        if values is None or found is None:
            continue
        used = found["used"][place]
        best = stored["best"][place] if stored else None
        marks = [(used, f"used {used:g}")] if best != used else [(used, f"used, best {used:g}")]
        if best is not None and best != used:
            marks.append((best, f"best {best:g}"))
        if stored is None:
            says = "The run stores no threshold: it was trained before they were."
        elif stored["score"][place] is None:
            says = "No validation image had a known pixel of this class."
        else:
            score, at_half = (format_number(stored[key][place], 4) for key in ("score", "at_half"))
            says = (
                f"Best on the validation images, at the training resolution: {best:g}, with a mean IoU there of "
                f"{score} against {at_half} at 0.5."
            )
        plot = draw_square(
            f"Mean IoU by threshold, {name}",
            "threshold",
            "mean IoU",
            SHARES,
            linear_axis([*values, min(values) * 0.98, min(1.0, max(values) * 1.02)]),
            lines=[list(zip(found["thresholds"], values, strict=True))],
            marks=marks,
        )
        plots.append(ClassPlot(shorten(name), plot, says))
    return plots
