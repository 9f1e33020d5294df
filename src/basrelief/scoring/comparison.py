"""Comparing two networks on the same images: the paired difference, what it decides, and where they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from basrelief.data.source import Source
from basrelief.errors import DataError, UsageError
from basrelief.inference.predictor import Predictor
from basrelief.metrics import higher_is_better
from basrelief.report import Pictures
from basrelief.scoring.fit import Fit, primary_of
from basrelief.scoring.image_scores import LEVEL, ImageScores, interval_of
from basrelief.scoring.own_size import Selection, Tally, score_samples
from basrelief.scoring.pictures import Gallery, gather
from basrelief.statistics import Decision, Interval, decide, more_images
from basrelief.studies.decisions import ERROR_MARGIN, SCORE_MARGIN, difference_bounds, shown_interval

EACH_END = 12  # pictures of either network's greatest lead
SIDES = ("a", "b")


@dataclass(frozen=True)
class Comparison:
    """The document, a line an image, and pictures from where a leads most to where b does (None if not asked for)."""

    document: dict[str, Any]
    images: pl.DataFrame
    pictures: Pictures | None


def compare_networks(
    networks: Sequence[tuple[Predictor, Fit]],
    names: tuple[str, str],
    source: Source,
    *,
    selection: Selection,
    metric: str | None = None,
    margin: float | None = None,
    pictures: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Score two networks on the same samples and compare them image by image.

    The primary metric decides; the others are shown beside it, without a correction for their number.

    Parameters
    ----------
    networks
        a and b, each with what fits of it.
    names
        What they are called on pictures.
    source, selection
        The data, and which of its samples count.
    metric
        The primary one; None: that of a's run, where it fits both.
    margin
        Of practical equality, in the metric's unit; None: 0.005 for scores, 1 % of the smaller mean for errors.
    pictures
        Whether to keep pictures from both ends of the difference.
    progress
        Called with (done, all).

    Raises
    ------
    DataError
        When the two share no metric, or no image has a score of both.
    """
    primary = _common_primary(networks, metric)
    tally = Tally()
    scores, ids = [ImageScores(), ImageScores()], []
    sign = 1 if higher_is_better(primary) else -1
    predictors = [predictor for predictor, _ in networks]
    both = _common_fit(networks)
    galleries = [Gallery(predictors, both, EACH_END) for _ in SIDES] if pictures else []
    for found in score_samples(networks, source, selection, tally, progress=progress):
        ids.append(found.entry.id)
        for own, part in zip(scores, found.scores, strict=True):
            own.add(part.scores, selection.group_of(found.entry.id))
        values = [float(part.scores[primary][0]) if primary in part.scores else float("nan") for part in found.scores]
        ahead = sign * (values[0] - values[1])
        if np.isfinite(ahead):
            for gallery, direction in zip(galleries, (1, -1), strict=False):
                if direction * ahead > 0:
                    gallery.offer(direction * ahead, found, values)
    arrays, labels = [own.arrays() for own in scores], scores[0].labels()
    common = [name for name in arrays[0] if name in arrays[1] and not name.startswith("_")]
    if primary not in common:
        raise DataError(
            f"{source.location}: no image has a score of {primary} from both networks. Give another --metric."
        )
    pairs = {name: _paired(name, arrays[0][name], arrays[1][name], labels) for name in common}
    found_pair = pairs[primary][1]
    if found_pair is None:
        raise DataError(
            f"{source.location}: no image has a score of {primary} from both networks. Give another --metric."
        )
    means = {side: pairs[primary][0][side] or 0.0 for side in SIDES}
    if margin is None:
        margin = SCORE_MARGIN if higher_is_better(primary) else ERROR_MARGIN * min(map(abs, means.values()))
    decision = decide(found_pair, found_pair.p_value, margin=margin, higher_is_better=higher_is_better(primary))
    document = {
        "metric": primary,
        "means": means,
        **{name: pairs[primary][0][name] for name in ("difference", "low", "high")},
        "p": found_pair.p_value,
        "level": LEVEL,
        "decision": decision,
        "winner": decision if decision in SIDES else None,
        "margin": margin,
        "more_images": _needed(found_pair, margin, decision, labels is not None),
        "images": len(ids),
        "scored": int((np.isfinite(arrays[0][primary]) & np.isfinite(arrays[1][primary])).sum()),
        "groups": len(set(scores[0].groups)),
        "metrics": {name: pair[0] for name, pair in pairs.items() if pair[1] is not None},
        "refused": dict(networks[0][1].refused) | dict(networks[1][1].refused),
        "notes": list(dict.fromkeys([*networks[0][1].notes, *networks[1][1].notes])),
        "depth_unit": predictors[0].run["depth_unit"] or "",
        "seen": tally.seen,
        "failed": tally.failed,
    }
    table: dict[str, Any] = {"id": ids, "group": scores[0].groups}
    for name in common:
        table |= {f"a/{name}": arrays[0][name], f"b/{name}": arrays[1][name]}
    frame = pl.DataFrame(table).with_columns(pl.selectors.float().fill_nan(None))
    shown = None
    if galleries:
        first, last = (gallery.ordered() for gallery in galleries)
        shown = gather([*first, *reversed(last)], names, predictors[0])
    return Comparison(document, frame, shown)


def _common_primary(networks: Sequence[tuple[Predictor, Fit]], metric: str | None) -> str:
    if metric is not None:
        return metric
    for predictor, fit in networks:
        name = primary_of(predictor.run, fit, None)
        if all(name not in other.refused and name.partition("/")[0] in other.targets for _, other in networks):
            return name
    raise UsageError("The two networks have no primary metric in common on this data. Give one with --metric.")


def _common_fit(networks: Sequence[tuple[Predictor, Fit]]) -> Fit:
    """Return what pictures may show: the targets of both, in the unit of the first."""
    (_, one), (_, two) = networks
    targets = tuple(target for target in one.targets if target in two.targets)
    return Fit(targets, one.align, dict(one.refused) | dict(two.refused), one.factor)


def _paired(
    name: str, a: NDArray[np.float64], b: NDArray[np.float64], labels: NDArray[Any] | None
) -> tuple[dict[str, float | None], Interval | None]:
    known = np.isfinite(a) & np.isfinite(b)
    if not known.any():
        return {"a": None, "b": None, "difference": None, "low": None, "high": None}, None
    found = interval_of(np.where(known, a - b, np.nan), labels)
    assert found is not None
    low, high = shown_interval(found.low, found.high, found.difference, *difference_bounds(name))
    facts = {"a": float(a[known].mean()), "b": float(b[known].mean()), "difference": found.difference}
    return {**facts, "low": low, "high": high}, found


def _needed(interval: Interval, margin: float, decision: Decision, grouped: bool) -> dict[str, Any] | None:
    need = more_images(interval, margin=margin) if decision == "undecided" else None
    if need is None:
        return None
    found = {"number": need.number, "low": need.low, "high": need.high, "limit": need.limit}
    return {**found, "what": "groups" if grouped else "images"}


def say_comparison(document: Mapping[str, Any], a: str, b: str) -> str:
    """Return what was decided, in a sentence or two."""
    metric, decision = document["metric"], document["decision"]
    number = f"{document['scored']:,} image{'' if document['scored'] == 1 else 's'}"
    if decision == "equal":
        text = f"{a} and {b} are practically equal by {metric} on {number}: within {document['margin']:.3g}."
    elif decision in SIDES:
        better, worse = (a, b) if decision == "a" else (b, a)
        size = abs(document["difference"])
        text = f"{better} is better than {worse} by {metric} on {number}: by {size:.3g} on average."
    else:
        text = f"Undecided between {a} and {b} by {metric} on {number}."
        if document["low"] is None:
            grouped = document["groups"] != document["images"]
            text += f" Their {document['groups']} groups are" if grouped else " That is"
            text += " too few for an interval."
        need = document["more_images"]
        if need is not None:
            times = f"{need['limit']:,}"
            text += (
                f" About {need['number']:,} more {need['what']} would decide it, if the difference found is right."
                if need["number"] is not None
                else f" Nor would {times} more {need['what']} decide it, if the difference found is right."
            )
    return f"{text} This compares two networks, not the losses that trained them: another seed may turn it round."
