"""Evaluating one network: every metric with its interval, where it is good and bad, and how far to trust it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from basrelief.data.source import Source
from basrelief.inference.predictor import Predictor
from basrelief.metrics import higher_is_better
from basrelief.metrics.mask import BINS
from basrelief.report import Pictures
from basrelief.scoring.fit import Fit, primary_of
from basrelief.scoring.image_scores import LEVEL, ImageScores, interval_of, shown
from basrelief.scoring.own_size import ScoredSample, Selection, Tally, score_samples
from basrelief.scoring.pictures import Gallery
from basrelief.scoring.sample_scores import SHOWN_THRESHOLDS, true_depth, true_figure
from basrelief.studies.strata import FEWEST, Stratum, divide
from basrelief.studies.truth import Truth

WORST = 24  # images that are named, and shown where a page is written


@dataclass(frozen=True)
class Evaluation:
    """The document, a line an image, and pictures of the worst images (None where not asked for)."""

    document: dict[str, Any]
    images: pl.DataFrame
    pictures: Pictures | None


def evaluate_source(
    predictor: Predictor,
    source: Source,
    fit: Fit,
    *,
    metric: str | None = None,
    selection: Selection | None = None,
    pictures: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a network on the samples of a source that count, at each image's own size.

    Parameters
    ----------
    predictor, source
        The network, and the data it is scored on.
    fit
        Which metrics fit, of ``fit_metrics``.
    metric
        What strata and the worst images go by; None: the run's own, where it fits.
    selection
        Which samples count; None: all.
    pictures
        Whether to keep pictures of the worst images.
    progress
        Called with (done, all).

    Raises
    ------
    DataError
        When no sample can be scored.
    """
    primary, classes, tally = primary_of(predictor.run, fit, metric), tuple(predictor.run["classes"]), Tally()
    scores, facts = ImageScores(), _Facts()
    gallery = Gallery([predictor], fit, WORST) if pictures else None
    sign = -1 if higher_is_better(primary) else 1
    bins = np.zeros((len(classes), BINS, 3))
    curve, counted = np.zeros((len(classes), len(SHOWN_THRESHOLDS))), np.zeros((len(classes), 1))
    selection = selection or Selection()
    for found in score_samples([(predictor, fit)], source, selection, tally, progress=progress):
        own = found.scores[0]
        scores.add(own.scores, selection.group_of(found.entry.id))
        facts.add(found, fit)
        if own.bins is not None and own.curve is not None:
            bins += own.bins
            known = np.isfinite(own.curve[:, :1])
            curve += np.where(known, own.curve, 0)
            counted += known
        value = float(own.scores[primary][0]) if primary in own.scores else float("nan")
        if gallery is not None and np.isfinite(value):
            gallery.offer(sign * value, found, [value])
    arrays, labels = scores.arrays(), scores.labels()
    truth = facts.truth(predictor, source)
    parts = [stratum for stratum in divide(truth) if stratum.images.any()]
    values = arrays.get(primary, np.full(len(scores), np.nan))
    masks = "mask" in fit.targets
    summary = scores.facts(classes)
    document = {
        "images": len(scores),
        "groups": len(set(scores.groups)),
        "seen": tally.seen,
        "primary": primary,
        **summary,
        "level": LEVEL,
        "refused": dict(fit.refused) | _too_small(predictor, fit, summary["metrics"]),
        "mask_threshold": list(predictor.thresholds) if masks else None,
        "depth_unit": predictor.run["depth_unit"] or "",
        "strata": [_of_stratum(stratum, primary, values, scores.groups, labels) for stratum in parts],
        "worst": _worst(facts.ids, values, sign),
        "calibration": _calibration(classes, bins) if masks else None,
        "threshold": _thresholds(predictor, classes, curve, counted) if masks else None,
        "notes": list(fit.notes),
        "failed": tally.failed,
    }
    made = gallery.pictures([str(predictor.run["network"])]) if gallery is not None else None
    return Evaluation(document, facts.table(scores.groups, parts, arrays), made)


class _Facts:
    """What is true of each image."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.figure: list[float] = []
        self.depth: list[float] = []

    def add(self, found: ScoredSample, fit: Fit) -> None:
        self.ids.append(found.entry.id)
        self.figure.append(true_figure(found.sample) if "mask" in fit.targets else float("nan"))
        self.depth.append(true_depth(found.sample, fit) if "depth" in fit.targets else float("nan"))

    def truth(self, predictor: Predictor, source: Source) -> Truth:
        figure, depth = np.asarray(self.figure), np.asarray(self.depth)
        found = Truth(unit=predictor.run["depth_unit"] or "", inverse=source.depth_kind == "disparity")
        if np.isfinite(figure).any():
            found = replace(found, figure=figure)
        return replace(found, depth=depth) if np.isfinite(depth).any() else found

    def table(
        self, groups: Sequence[str], parts: Sequence[Stratum], arrays: dict[str, NDArray[np.float64]]
    ) -> pl.DataFrame:
        """Return a line an image: id, group, what is true of it, the strata it is in, and every metric."""
        columns: dict[str, Any] = {"id": self.ids, "group": list(groups), "figure": self.figure, "depth": self.depth}
        for kind in dict.fromkeys(part.kind for part in parts):
            names: list[str | None] = [None] * len(self.ids)
            for part in parts:
                if part.kind == kind:
                    for place in np.flatnonzero(part.images):
                        names[place] = part.name
            columns[f"stratum/{kind}"] = names
        columns |= {name: values for name, values in arrays.items() if not name.startswith("_")}
        return pl.DataFrame(columns).with_columns(pl.selectors.float().fill_nan(None))


def _of_stratum(
    stratum: Stratum, primary: str, values: NDArray[np.float64], groups: Sequence[str], labels: NDArray[Any] | None
) -> dict[str, Any]:
    inside = stratum.images & np.isfinite(values)
    found = interval_of(values[inside], None if labels is None else labels[inside])
    enough = found is not None and int(inside.sum()) >= FEWEST
    return {
        "kind": stratum.kind,
        "name": stratum.name,
        "meaning": stratum.meaning,
        "images": int(stratum.images.sum()),
        "groups": len(set(np.asarray(groups)[stratum.images].tolist())),
        "mean": None if found is None else found.difference,
        "interval": shown(found, primary) if found is not None and enough else None,
    }


def _worst(ids: Sequence[str], values: NDArray[np.float64], sign: int) -> list[dict[str, Any]]:
    """Return the images that the primary metric is worst on, the worst first."""
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(-sign * values[known], kind="stable")][:WORST]
    return [{"id": ids[place], "value": float(values[place])} for place in order]


def _too_small(predictor: Predictor, fit: Fit, metrics: dict[str, Any]) -> dict[str, str]:
    """Return the metrics that no image was large enough for."""
    from basrelief.metrics import metric_spec, metrics_for

    classes = tuple(predictor.run["classes"])
    missing = [name for name in metrics_for(fit.targets, classes, align=fit.align) if name not in metrics]
    return {
        name: f"No image has the {metric_spec(name, classes).smallest} px a side that {name} needs."
        for name in missing
        if name not in fit.refused
    }


def _calibration(classes: Sequence[str], bins: NDArray[np.float64]) -> dict[str, Any]:
    """Return how often what is predicted with a probability is true, over the pixels of all images."""
    found, errors = [], []
    for name, plane in zip(classes, bins, strict=True):
        pixels = plane[:, 0].sum()
        ece = float(np.abs(plane[:, 1] - plane[:, 2]).sum() / pixels) if pixels else None
        errors += [] if ece is None else [ece]
        lines = [
            {
                "low": place / BINS,
                "high": (place + 1) / BINS,
                "share": float(count / pixels) if pixels else 0.0,
                "predicted": float(predicted / count) if count else None,
                "observed": float(observed / count) if count else None,
            }
            for place, (count, predicted, observed) in enumerate(plane)
        ]
        found.append({"name": name, "ece": ece, "pixels": int(pixels), "bins": lines})
    return {"ece": float(np.mean(errors)) if errors else None, "classes": found}


def _thresholds(
    predictor: Predictor, classes: Sequence[str], curve: NDArray[np.float64], counted: NDArray[np.float64]
) -> dict[str, Any]:
    means = np.where(counted > 0, curve / np.maximum(counted, 1), np.nan)
    return {
        "used": list(predictor.thresholds),
        "stored": predictor.run.get("thresholds"),
        "thresholds": list(SHOWN_THRESHOLDS),
        "iou": {
            name: [float(value) for value in own] if np.isfinite(own).all() else None
            for name, own in zip(classes, means, strict=True)
        },
        "says": (
            "Mean IoU on this data by threshold, to look at. A threshold chosen here would be too good for this data: "
            "the stored one was found on the run's validation images."
        ),
    }
