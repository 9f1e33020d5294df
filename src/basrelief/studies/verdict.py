"""From scores to a verdict: which loss is better, how sure that is, and what to know before trusting it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from basrelief.config import SEARCH
from basrelief.engine.baseline import MEAN_BASELINE
from basrelief.files import write_atomic, write_json
from basrelief.losses.expression import parse_loss
from basrelief.metrics import DEFINITIONS_VERSION, METRICS, higher_is_better, is_in_unit
from basrelief.statistics import Interval, decide, failure_bound, holm, more_seeds
from basrelief.studies.results import StudyResults, compare, loss_interval, score_matrix

SCORE_MARGIN = 0.005  # practically equal, for scores in [0, 1]
ERROR_MARGIN = 0.01  # likewise for errors, as a share of the better mean
FEW_SEEDS = 3
FEW_GROUPS = 5
MANY_EMPTY, MOSTLY_EMPTY = 0.1, 0.5  # shares of masks
NAMED = 4  # metrics that a sentence names, before it counts the rest


def verdict(results: StudyResults) -> dict[str, Any]:
    """Return the document of ``verdict.json``.

    ``primary`` (the metric), ``losses`` (name, expression, mean, ci, seeds, failed), ``pairs`` (a, b, difference, ci,
    decision, more_seeds, p_adjusted), ``winner`` (a name or None), ``summary``, and what they rest on. It holds no time
    and no path, so that an interrupted study gives the very same document.
    """
    plan = results.plan
    primary = str(plan.train.metric)
    document = _decide(results, primary)
    losses = []
    for name, expression in plan.losses.items():
        interval = loss_interval(results, name, primary)
        losses.append(
            {
                "name": name,
                "expression": expression,
                "mean": None if interval is None else interval.difference,
                "ci": [None, None] if interval is None else [interval.low, interval.high],
                "seeds": len(results.seeds_of(name)),
                "failed": len(results.failed(name)),
            }
        )
    return {
        "primary": primary,
        "losses": losses,
        **document,
        "summary": _summary(results, losses, document),
        "margin": _margin(results, list(plan.losses), primary),
        "better": "higher" if higher_is_better(primary) else "lower",
        "level": 0.95,
        "baselines": results.baselines,
        "warnings": warnings(results),
        "definitions": DEFINITIONS_VERSION,
    }


def _decide(results: StudyResults, metric: str) -> dict[str, Any]:
    """Return the pairs with their decisions, and the winner, for one metric."""
    plan = results.plan
    names = list(plan.losses)
    intervals = {(a, b): compare(results, a, b, metric) for a, b in itertools.combinations(names, 2)}
    tested = [pair for pair, interval in intervals.items() if interval and interval.p_value is not None]
    adjusted = dict(zip(tested, holm([_p(intervals[pair]) for pair in tested]), strict=True))
    pairs = []
    better: dict[str, set[str]] = {name: set() for name in names}
    equal: dict[str, set[str]] = {name: set() for name in names}
    for (a, b), interval in intervals.items():
        decision, more = "undecided", None
        if interval is not None:
            margin = _margin(results, (a, b), metric)
            decision = decide(interval, adjusted.get((a, b)), margin=margin, higher_is_better=higher_is_better(metric))
            if decision == "undecided":
                more = more_seeds(interval, margin=margin, comparisons=max(1, len(tested)))
        if decision == "equal":
            equal[a].add(b)
            equal[b].add(a)
        elif decision != "undecided":
            better[a if decision == "a" else b].add(b if decision == "a" else a)
        pairs.append(
            {
                "a": a,
                "b": b,
                "difference": None if interval is None else interval.difference,
                "ci": [None, None] if interval is None else [interval.low, interval.high],
                "decision": decision,
                "more_seeds": more,
                "p_adjusted": adjusted.get((a, b)),
            }
        )
    winners = [n for n in names if better[n] and len(better[n] | equal[n]) == len(names) - 1]
    # Two losses that are practically equal may both beat the rest; the better mean of them is named.
    return {"pairs": pairs, "winner": best_mean(results, metric, winners)}


def best_mean(results: StudyResults, metric: str, names: Sequence[str] | None = None) -> str | None:
    """Return the loss with the best mean on test among ``names`` (all, where None), or None."""
    means = {}
    for name in results.plan.losses if names is None else names:
        interval = loss_interval(results, name, metric)
        if interval is not None:
            means[name] = interval.difference
    if not means:
        return None
    choose = max if higher_is_better(metric) else min
    return choose(means, key=lambda name: means[name])


def _summary(results: StudyResults, losses: Sequence[Mapping[str, Any]], decided: Mapping[str, Any]) -> str:
    plan, primary = results.plan, str(results.plan.train.metric)
    folds = f"{plan.folds} folds, " if plan.folds > 1 else ""
    searched = plan.train.lr == SEARCH
    rate = "a learning rate searched for each loss" if searched else f"one learning rate ({plan.train.lr:g})"
    basis = f"{_count(len(plan.seeds), 'seed')}, {folds}{_count(plan.train.epochs or 0, 'epoch')}, {rate}"
    best, winner = best_mean(results, primary), decided["winner"]
    ranked = sorted((row for row in losses if row["mean"] is not None), key=lambda row: row["mean"])
    if higher_is_better(primary):
        ranked.reverse()
    shown = {row["name"]: _value(results, row["mean"], primary) for row in ranked}
    if best is None:
        missing = f"has a score for {primary}" if results.runs else "finished a training"
        return f"No loss {missing}, so there is no verdict ({basis})."
    if len(plan.losses) == 1:
        return f"{best} reaches a {primary} of {shown[best]} on the test images ({basis}); there is nothing to compare."
    if winner is not None:
        beaten = [_against(pair, winner) for pair in decided["pairs"] if winner in (pair["a"], pair["b"])]
        text = f"{winner} is the better loss here: {primary} {shown[winner]}, {'; '.join(beaten)} ({basis})."
    elif all(pair["decision"] == "equal" for pair in decided["pairs"]):
        text = f"The losses are practically equal here: {primary} {_listed(shown)} ({basis})."
    elif len(plan.seeds) == 1:
        text = (
            f"Undecided: one seed cannot tell a loss from luck. {primary}: {_listed(shown)} ({basis}). "
            "Three seeds give a first verdict, five a sound one."
        )
    else:
        text = f"Undecided: no loss is better than, or equal to, all others. {primary}: {_listed(shown)} ({basis})."
        open_pairs = [p for p in decided["pairs"] if best in (p["a"], p["b"]) and p["decision"] == "undecided"]
        more = [pair["more_seeds"] for pair in open_pairs]
        if more and None not in more:
            text += f" About {max(more)} more seed{'s' if max(more) > 1 else ''} would show whether {best} is ahead."
        elif more:
            text += " Seeds alone will hardly decide it: more test images would, or a larger difference."
    return text + _other_metrics(results, winner)


def _against(pair: Mapping[str, Any], winner: str) -> str:
    other = pair["b"] if pair["a"] == winner else pair["a"]
    if pair["decision"] == "equal":
        return f"practically equal to {other}"
    low, high = sorted(abs(bound) for bound in pair["ci"])
    return f"ahead of {other} by {abs(pair['difference']):.3g} (95 % interval {low:.3g} to {high:.3g})"


def _other_metrics(results: StudyResults, winner: str | None) -> str:
    """Return a sentence where another metric names another winner."""
    other: dict[str, list[str]] = {}
    for metric in METRICS:
        if metric == results.plan.train.metric or metric not in results.scores.columns:
            continue
        found = _decide(results, metric)["winner"]
        if found is not None and found != winner:
            other.setdefault(found, []).append(metric)
    parts = [f"by {_some(names)} it would be {name}" for name, names in other.items()]
    return f" Judged otherwise the answer changes: {'; '.join(parts)}." if parts else ""


def warnings(results: StudyResults) -> list[str]:
    """Return what a reader must know before trusting the verdict, a sentence each."""
    plan, primary = results.plan, str(results.plan.train.metric)
    found = []
    there, wanted = len({*results.runs, *results.failures}), len(plan.losses) * len(plan.seeds)
    if there < wanted:
        found.append(
            f"Only {there} of {wanted} trainings {'are there' if plan.folds == 1 else 'have all their folds'}, so the "
            "means are over different seeds. Run the same study again to have the rest."
        )
    found += results.cautions
    found += _about_identical_scores(results)
    if len(plan.losses) > 1:
        rising = [name for name in plan.losses if is_rising(results, name)]
        if rising:
            found.append(
                f"{_names(rising)} {'was' if len(rising) == 1 else 'were'} still improving when training ended: at "
                f"this learning rate and {_count(plan.train.epochs or 0, 'epoch')} the study compares speed, not what "
                "each loss reaches. More epochs or another learning rate may change the order."
            )
        if plan.train.lr != SEARCH:
            found.append(
                f"All losses were trained at one learning rate ({plan.train.lr:g}); a loss that wants another rate is "
                "at a disadvantage."
            )
    found += _about_empty_masks(results)
    for name in plan.losses:
        failed, seeds = len(results.failed(name)), len(plan.seeds)
        if failed:
            found.append(
                f"{failed} of {seeds} trainings with {name} failed; they are counted but not averaged, so its mean "
                f"flatters it, and up to {failure_bound(seeds, failed):.0%} may fail in the long run. The first said: "
                f"{results.failed(name)[0]}"
            )
        baseline = results.baselines[MEAN_BASELINE].get(primary)
        interval = loss_interval(results, name, primary)
        if interval is None or baseline is None:
            continue
        if (interval.difference <= baseline) == higher_is_better(primary):
            found.append(
                f"{name} is no better than predicting the {MEAN_BASELINE} ({_value(results, baseline, primary)}): it "
                "has not learned yet."
            )
    test = results.scores.filter(pl.col("split") == "test") if len(results.scores) else results.scores
    groups, images = (test["group"].n_unique(), test["id"].n_unique()) if len(test) else (0, 0)
    if 0 < groups <= FEW_GROUPS and groups < images:
        found.append(
            f"The {images} test images come from {groups} group{'s' if groups > 1 else ''}, which count like {groups} "
            f"image{'s' if groups > 1 else ''}, so the intervals are wide. More, smaller groups (--group-blocks) or a "
            "larger test share (--split) narrow them."
        )
    if len(plan.seeds) <= FEW_SEEDS:
        bound = failure_bound(len(plan.seeds), 0)
        found.append(
            f"{len(plan.seeds)} seed{'s are' if len(plan.seeds) > 1 else ' is'} provisional: with no failure seen, up "
            f"to {bound:.0%} of trainings may still fail. Five seeds or more make it sound."
        )
    return found


def _about_identical_scores(results: StudyResults) -> list[str]:
    """Return a warning for losses whose networks scored alike on every image: most often they all predict nothing."""
    primary = str(results.plan.train.metric)
    alike = []
    for a, b in itertools.combinations(results.plan.losses, 2):
        one, two = score_matrix(results, a, primary)[0], score_matrix(results, b, primary)[0]
        if one.size and one.shape == two.shape and np.array_equal(one, two, equal_nan=True):
            alike += [a, b]
    if not alike or all(results.plan.losses[name] == results.plan.losses[alike[0]] for name in alike):
        return []
    return [
        f"{_names(list(dict.fromkeys(alike)))} scored alike on every test image, as networks do that predict the same "
        "thing everywhere. They have not learned yet: train longer, or at another rate."
    ]


def _about_empty_masks(results: StudyResults) -> list[str]:
    """Return a warning where many masks are empty and a loss has no term that would learn from them."""
    if "mask" not in results.plan.heads or results.empty_masks < MANY_EMPTY:
        return []
    primary = str(results.plan.train.metric)
    found = []
    if results.empty_masks >= MOSTLY_EMPTY and primary.startswith("mask/"):
        found = [
            f"{results.empty_masks:.0%} of the masks are empty, and each that is predicted empty scores 1 in IoU and "
            "Dice: a network that predicts nothing does well. Read the pooled scores beside them."
        ]
    losses = {name: parse_loss(text) for name, text in results.plan.losses.items()}
    blind = [name for name, loss in losses.items() if "mask" in loss.targets and "mask" not in loss.pixelwise]
    if not blind:
        return found
    learn = "learns" if len(blind) == 1 else "learn"
    return [
        *found,
        f"{results.empty_masks:.0%} of the masks are empty, and {_names(blind)} hardly {learn} from those: "
        "an overlap has next to no gradient there. Add a pixelwise term such as bce(mask).",
    ]


def is_rising(results: StudyResults, loss: str) -> bool:
    """Tell whether the mean validation curve still gained a tenth of its whole gain in the last quarter of epochs."""
    primary = str(results.plan.train.metric)
    before = sum(stage.epochs for stage in results.plan.train.stages[:-1])  # at other resolutions, with other scores
    curves = [results.runs[loss, seed]["curve"][before:] for seed in results.seeds_of(loss)]
    curves = [[value for value in curve if value is not None] for curve in curves]
    length = min((len(curve) for curve in curves), default=0)
    if length < 2:
        return bool(length)
    sign = 1 if higher_is_better(primary) else -1
    mean = sign * np.mean([curve[:length] for curve in curves], axis=0)
    late = mean[: min(length - 1, int(np.ceil(0.75 * length)))].max()
    gain = mean.max() - mean[0]
    return bool(gain > 0 and mean.max() - late > 0.1 * gain)


def _margin(results: StudyResults, losses: Sequence[str], metric: str) -> float:
    """Return up to which difference these losses are practically equal, in the metric's unit."""
    if results.plan.margin is not None and metric == results.plan.train.metric:
        return results.plan.margin
    if higher_is_better(metric):
        return SCORE_MARGIN
    intervals = [loss_interval(results, name, metric) for name in losses]
    return ERROR_MARGIN * min((abs(i.difference) for i in intervals if i is not None), default=0.0)


def _value(results: StudyResults, value: float, metric: str) -> str:
    first = next(iter(results.runs.values()), {})
    unit = first.get("depth_unit") if is_in_unit(metric) else ""
    return f"{value:.3g} {unit}".strip() if unit else f"{value:.3f}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _p(interval: Interval | None) -> float:
    assert interval is not None
    assert interval.p_value is not None
    return interval.p_value


def _listed(shown: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _some(names: Sequence[str]) -> str:
    """Return the first names, and how many there are besides."""
    shown = list(names[:NAMED]) if len(names) > NAMED + 1 else list(names)
    return _names(shown if len(shown) == len(names) else [*shown, f"{len(names) - len(shown)} more metrics"])


def write_results(folder: Path, results: StudyResults) -> dict[str, Any]:
    """Write ``scores.parquet`` and ``verdict.json``, and return the verdict's document."""
    write_atomic(folder / "scores.parquet", lambda temporary: results.scores.write_parquet(temporary))
    document = verdict(results)
    write_json(folder / "verdict.json", document)
    return document
