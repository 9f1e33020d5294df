"""Results by stratum: where the figure is small, where the scene is far, and whether the order of the losses holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basrelief.studies.decisions import (
    Decided,
    agreement,
    bounds,
    decide_all,
    order_holds,
    shown_interval,
)
from basrelief.studies.results import StudyResults
from basrelief.studies.truth import Truth

FEWEST = 5  # test images with which a stratum has intervals and a winner


@dataclass(frozen=True)
class Stratum:
    """A part of the test images: a name, what it means in words, and which of them it holds."""

    kind: str
    name: str
    meaning: str
    images: NDArray[np.bool_]


def strata(results: StudyResults, whole: Decided) -> list[dict[str, Any]]:
    """Return how the losses do on each part of the test images, by the primary metric.

    Decisions are corrected for the pairs within a stratum and not for the number of strata, so they are hints.

    Parameters
    ----------
    results
        With ``truth`` in the order of the test images.
    whole
        What all test images together decide.

    Returns
    -------
    list of dict
        Of each stratum that has images: kind, name, meaning, images, groups, losses (name, mean, ci), best, winner,
        holds, tau, exploratory.
    """
    metric = str(results.plan.train.metric)
    return [_judge(results, whole, metric, stratum) for stratum in divide(results.truth) if stratum.images.any()]


def divide(truth: Truth) -> list[Stratum]:
    """Return the strata of images with these facts, those without an image included.

    Figures: empty, and thirds of the rest by the share of the image that they cover. Depth: halves by the median depth
    of the image. Where the images do not differ enough to be divided, they are not.
    """
    found: list[Stratum] = []
    if truth.figure is not None:
        figure = truth.figure
        filled = figure[figure > 0]  # NaN is neither
        found.append(Stratum("figure", "empty", "no figure in the image", figure == 0))
        if len(filled):
            low, high = (float(cut) for cut in np.quantile(filled, [1 / 3, 2 / 3]))
            parts = [(figure > 0) & (figure <= low), (figure > low) & (figure <= high), figure > high]
            if all(part.any() for part in parts):
                names = ("small", "middle", "large")
                words = [
                    f"figure on up to {_percent(low)} of the image",
                    f"figure on {_percent(low)} to {_percent(high)} of the image",
                    f"figure on more than {_percent(high)} of the image",
                ]
                found += [Stratum("figure", *part) for part in zip(names, words, parts, strict=True)]
    if truth.depth is not None and np.isfinite(truth.depth).any():
        depth, unit = truth.depth, f" {truth.unit}" if truth.unit else ""
        cut = float(np.nanmedian(depth))
        below, above = depth <= cut, depth > cut
        if below.any() and above.any():
            what = "disparity" if truth.inverse else "depth"
            words = [f"median true {what} up to {cut:.3g}{unit}", f"median true {what} above {cut:.3g}{unit}"]
            near, far = (1, 0) if truth.inverse else (0, 1)
            parts = [below, above]
            found += [
                Stratum("depth", "near", words[near], parts[near]),
                Stratum("depth", "far", words[far], parts[far]),
            ]
    return found


def _judge(results: StudyResults, whole: Decided, metric: str, stratum: Stratum) -> dict[str, Any]:
    decided = decide_all(results, metric, stratum.images)
    images = int(stratum.images.sum())
    enough = images >= FEWEST
    losses = []
    for name, interval in decided.means.items():
        mean = None if interval is None else interval.difference
        ci: list[float | None] = [None, None]
        if interval is not None and enough:
            ci = shown_interval(interval.low, interval.high, interval.difference, *bounds(metric))
        losses.append({"name": name, "mean": mean, "ci": ci})
    return {
        "kind": stratum.kind,
        "name": stratum.name,
        "meaning": stratum.meaning,
        "images": images,
        "groups": len(np.unique(results.scores.groups()[stratum.images])),
        "losses": losses,
        "best": decided.best,
        "winner": decided.winner if enough else None,
        "holds": order_holds(whole, decided, metric) if enough else None,
        "tau": agreement(whole, decided, metric, metric),
        "exploratory": True,
    }


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"
