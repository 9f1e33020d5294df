"""From scores to a verdict: which loss is better, how sure that is, and what to know before trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basrelief.files import write_json
from basrelief.metrics import DEFINITIONS_VERSION, METRICS, higher_is_better
from basrelief.statistics import Bootstrap, Need, bootstrap_intervals, failure_bound, images_needed, seeds_needed
from basrelief.studies.behaviour import behaviour
from basrelief.studies.cautions import is_rising as is_rising
from basrelief.studies.cautions import warnings
from basrelief.studies.decisions import (
    Decided,
    agreement,
    best_of,
    bounds,
    decide_all,
    difference_bounds,
    margin_of,
    order_holds,
    order_of,
    shown_interval,
)
from basrelief.studies.results import StudyResults, write_scores
from basrelief.studies.scores import scored_images
from basrelief.studies.standing import what_it_hangs_on
from basrelief.studies.strata import strata
from basrelief.studies.summary import summary
from basrelief.studies.words import unit_of


def verdict(results: StudyResults) -> dict[str, Any]:
    """Return the document of ``verdict.json``; docs/verdict.md says what each key is.

    It holds no time and no path, so that an interrupted study gives the very same document.
    """
    primary = str(results.plan.train.metric)
    decided = decide_all(results, primary)
    boot = _bootstrap(results, primary)
    chosen = _chosen_on_val(results, primary)
    document: dict[str, Any] = {
        "primary": primary,
        "factor": results.plan.factor,
        "losses": _losses(results, decided, boot, primary),
        "pairs": _pairs(results, decided, boot, primary),
        "winner": decided.winner,
        "chosen_on_val": chosen,
        "confirmed": _is_confirmed(decided, chosen),
        "ranking": _ranking(results, decided, primary),
    }
    means = [interval.difference for interval in decided.means.values() if interval is not None]
    return {
        **document,
        "summary": summary(results, document),
        "margin": margin_of(results, primary, means),
        "better": "higher" if higher_is_better(primary) else "lower",
        "level": 0.95,
        "unit": unit_of(results),
        "baselines": results.baselines,
        "warnings": warnings(results, document),
        "race": None if results.race is None else dict(results.race),
        "strata": strata(results, decided),
        "behaviour": behaviour(results),
        "definitions": DEFINITIONS_VERSION,
    }


def write_results(folder: Path, results: StudyResults) -> dict[str, Any]:
    """Write ``scores.parquet`` and ``verdict.json``, and return the verdict's document."""
    write_scores(folder, results)
    document = verdict(results)
    write_json(folder / "verdict.json", document)
    return document


def _losses(results: StudyResults, decided: Decided, boot: Bootstrap, metric: str) -> list[dict[str, Any]]:
    rows = []
    levels = results.plan.levels()
    for place, (name, expression) in enumerate(results.plan.losses.items()):
        interval = decided.means[name]
        mean, ci = (None, None) if interval is None else (interval.difference, (interval.low, interval.high))
        ended, failed = results.ended_trainings(name), results.failed_trainings(name)
        rows.append(
            {
                "name": name,
                "expression": expression,
                "level": levels[name],
                "mean": mean,
                "ci": _shown(ci, mean, bounds(metric)),
                "bootstrap_ci": _shown(boot.losses[place], mean, bounds(metric)),
                "seeds": len(results.seeds_of(name)),
                "failed": len(results.failed(name)),
                "failure_bound": failure_bound(ended, failed),
            }
        )
    return rows


def _pairs(results: StudyResults, decided: Decided, boot: Bootstrap, metric: str) -> list[dict[str, Any]]:
    names = list(results.plan.losses)
    limits = difference_bounds(metric)
    rows = []
    for pair in decided.pairs:
        interval = pair.interval
        seeds = images = None
        if interval is not None and pair.decision == "undecided":
            seeds = seeds_needed(interval, margin=pair.margin, comparisons=decided.tested)
            images = images_needed(interval, margin=pair.margin, comparisons=decided.tested)
        drawn = boot.pairs[names.index(pair.a), names.index(pair.b)]
        mean, ci = (None, None) if interval is None else (interval.difference, (interval.low, interval.high))
        rows.append(
            {
                "a": pair.a,
                "b": pair.b,
                "difference": mean,
                "ci": _shown(ci, mean, limits),
                "bootstrap_ci": _shown(drawn, mean, limits),
                "decision": pair.decision,
                "by_race": pair.by_race,
                "seeds": 0 if interval is None else interval.seeds,
                "more_seeds": seeds and seeds.number,
                "more_seeds_range": _range(seeds),
                "more_images": images and images.number,
                "more_images_range": _range(images),
                "p_adjusted": pair.p_adjusted,
                "hangs_on": what_it_hangs_on(results, decided, pair),
            }
        )
    return rows


def _range(need: Need | None) -> list[int | None] | None:
    return None if need is None or need.low is None else [need.low, need.high]


def _shown(
    found: tuple[float | None, float | None] | None,
    mean: float | None,
    limits: tuple[float | None, float | None],
) -> list[float | None]:
    return [None, None] if found is None or mean is None else shown_interval(*found, mean, *limits)


def _bootstrap(results: StudyResults, metric: str) -> Bootstrap:
    """Return the crossed bootstrap's intervals, of all losses and pairs from the same draws."""
    plan = results.plan
    images = len(results.scores.rows())
    if not images:
        count = len(plan.losses)
        return Bootstrap((None,) * count, {(i, j): None for j in range(count) for i in range(j)})
    stack = np.full((len(plan.losses), len(plan.seeds), images), np.nan)
    for place, name in enumerate(plan.losses):
        values = results.scores.matrix(name, metric)
        if values.size:
            stack[place, [plan.seeds.index(seed) for seed in results.seeds_of(name)]] = values
    everything: NDArray[np.bool_] = np.ones(images, bool)
    return bootstrap_intervals(stack, groups=results.scores.units(everything))


def _chosen_on_val(results: StudyResults, metric: str) -> str | None:
    """Return the loss that one would choose by the validation images: the best mean over its seeds."""
    means: dict[str, float | None] = {}
    for name in results.plan.losses:
        values = results.scores.matrix(name, metric, "val")
        known = scored_images(values)
        means[name] = float(values[:, known].mean()) if known.any() else None
    return best_of(means, metric)


def _is_confirmed(decided: Decided, chosen: str | None) -> bool | None:
    """Tell whether the test confirms a choice: nothing is better than it. None where the test can say nothing."""
    if chosen is None or all(pair.p_adjusted is None for pair in decided.pairs):
        return None
    return not any(pair.better is not None and pair.better[1] == chosen for pair in decided.pairs)


def _ranking(results: StudyResults, decided: Decided, primary: str) -> dict[str, Any]:
    """Return the order of the losses by every metric that has a score for each image, the primary one first."""
    there = [name for name in METRICS if name in results.scores.metrics and name != primary]
    rows = [_ranked(decided, decided, primary, primary)]
    rows += [_ranked(decided, decide_all(results, metric), primary, metric) for metric in there]
    known = [row["holds"] for row in rows[1:] if row["holds"] is not None]
    return {"holds": all(known) if known else None, "metrics": rows}


def _ranked(whole: Decided, decided: Decided, primary: str, metric: str) -> dict[str, Any]:
    return {
        "metric": metric,
        "order": order_of(decided, metric),
        "winner": decided.winner,
        "tau": agreement(whole, decided, primary, metric),
        "holds": order_holds(whole, decided, metric),
    }
