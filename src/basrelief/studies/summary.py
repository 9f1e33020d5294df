"""The sentence of a verdict: which loss, by how much, on what it rests, and what would decide it where nothing does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from basrelief.metrics import higher_is_better
from basrelief.option_texts import SEARCH
from basrelief.studies.results import StudyResults
from basrelief.studies.words import count, epochs, listed, noun, nouns, some, unit_of, value


def summary(results: StudyResults, document: Mapping[str, Any]) -> str:
    """Return the verdict in a few short sentences; ``document`` is that of ``verdict.json`` so far."""
    plan, primary = results.plan, str(results.plan.train.metric)
    pairs, winner = document["pairs"], document["winner"]
    basis = _basis(results)
    ranked = sorted((row for row in document["losses"] if row["mean"] is not None), key=lambda row: row["mean"])
    if higher_is_better(primary):
        ranked.reverse()
    shown = {row["name"]: value(results, row["mean"], primary) for row in ranked}
    if not shown:
        missing = f"has a score for {primary}" if results.runs else "finished a training"
        return f"No {noun(results)} {missing}, so there is no verdict ({basis})."
    best, scores = next(iter(shown)), ", ".join(f"{name} {score}" for name, score in shown.items())
    if len(plan.losses) == 1:
        return f"{best} reaches a {primary} of {shown[best]} on the test images ({basis}); there is nothing to compare."
    if winner is not None:
        text = f"{winner} is the better {noun(results)} here: {primary} {shown[winner]}, "
        text += f"{_beaten(pairs, winner, primary)} ({basis})."
    elif all(pair["decision"] == "equal" for pair in pairs):
        text = f"The {nouns(results)} are practically equal here: {primary} {scores} ({basis})."
    elif len(plan.seeds) == 1:
        text = (
            f"Undecided: one seed cannot tell a {noun(results)} from luck. {primary}: {scores} ({basis}). "
            "Three seeds give a first verdict, five a sound one."
        )
    elif unscored := [name for name in plan.losses if name not in shown]:
        has = "has" if len(unscored) == 1 else "have"
        text = f"Undecided: no {noun(results)} can be called better than all others, since {listed(unscored)} {has} no "
        text += f"score. {primary}: {scores} ({basis})."
        pairs = [pair for pair in pairs if not {pair["a"], pair["b"]} & {*unscored}]
        text += (
            f" Of the rest, {best} is the better: {_beaten(pairs, best, primary)}."
            if _leads(pairs, best)
            else _what_would_decide(results, pairs, best)
        )
    else:
        text = f"Undecided: no {noun(results)} is better than, or equal to, all others. {primary}: {scores} ({basis})."
        text += _what_would_decide(results, pairs, best)
    return text + _not_confirmed(document) + _other_metrics(document)


def _basis(results: StudyResults) -> str:
    plan = results.plan
    parts = [count(len(plan.seeds), "seed")]
    if results.race is not None and results.race.get("over") and results.race["seeds"] < len(plan.seeds):
        parts = [f"a race over after {results.race['seeds']} of {count(len(plan.seeds), 'seed')}"]
    if plan.folds > 1:
        parts.append(f"{plan.folds} folds")
    parts.append(epochs(results))
    if results.plan.factor != "lr":
        searched = plan.train.lr == SEARCH
        parts.append(
            f"a learning rate searched for each {noun(results)}"
            if searched
            else f"one learning rate ({plan.train.lr:g})"
            if isinstance(plan.train.lr, float)
            else "one learning rate"
        )
    return ", ".join(parts)


def _leads(pairs: Sequence[Mapping[str, Any]], best: str) -> bool:
    """Tell whether a loss is better than, or equal to, every other of these pairs and better than one at least."""
    own = [(pair["decision"], "a" if pair["a"] == best else "b") for pair in pairs if best in (pair["a"], pair["b"])]
    better = [decision == side for decision, side in own]
    return any(better) and all(ahead or decision == "equal" for ahead, (decision, _) in zip(better, own, strict=True))


def _beaten(pairs: Sequence[Mapping[str, Any]], winner: str, metric: str) -> str:
    return "; ".join(_against(pair, winner, metric) for pair in pairs if winner in (pair["a"], pair["b"]))


def _against(pair: Mapping[str, Any], winner: str, metric: str) -> str:
    other = pair["b"] if pair["a"] == winner else pair["a"]
    if pair["decision"] == "equal":
        return f"practically equal to {other}"
    # Of a loss that the race dropped early, the interval may hold 0, or there may be none.
    if pair["difference"] is None or None in pair["ci"]:
        return f"ahead of {other} by the race's rule"
    sign = 1 if (pair["a"] == winner) == higher_is_better(metric) else -1
    low, high = sorted(sign * bound for bound in pair["ci"])
    ruled = ", decided by the race" if pair["by_race"] else ""
    return f"ahead of {other} by {sign * pair['difference']:.3g} (95 % interval {low:.3g} to {high:.3g}{ruled})"


def _what_would_decide(results: StudyResults, pairs: Sequence[Mapping[str, Any]], best: str) -> str:
    """Say how many more seeds, or else test images, would tell the best mean from what it is not told apart from."""
    waiting = [pair for pair in pairs if best in (pair["a"], pair["b"]) and pair["decision"] == "undecided"]
    if not waiting:
        return ""
    seeds = _largest(waiting, "more_seeds")
    if seeds is not None:
        number, span = seeds
        if results.race is not None:  # to which none can be added
            return f" A new study with about {count(number, 'more seed')}{span} would show whether {best} is ahead."
        return f" About {count(number, 'more seed')}{span} would show whether {best} is ahead."
    images = _largest(waiting, "more_images")
    if images is not None:
        number, span = images
        return (
            f" Seeds alone will hardly decide it; about {count(number, f'more test {unit_of(results)}')}{span} would."
        )
    return f" Neither more seeds nor more test {unit_of(results)}s alone will decide it, within reason."


def _largest(pairs: Sequence[Mapping[str, Any]], key: str) -> tuple[int, str] | None:
    """Return the largest need among pairs, with its range in words; None where one of them has none."""
    if any(pair[key] is None for pair in pairs):
        return None
    pair = max(pairs, key=lambda found: found[key])
    span = pair[f"{key}_range"]
    if span is None or span[0] == span[1]:
        return pair[key], ""
    low, high = span
    return pair[key], f" (at least {low:,})" if high is None else f" ({low:,} to {high:,})"


def _not_confirmed(document: Mapping[str, Any]) -> str:
    if document["confirmed"] is not False:
        return ""
    return f" On the validation images {document['chosen_on_val']} was best; the test does not confirm it."


def _other_metrics(document: Mapping[str, Any]) -> str:
    """Return a sentence where another metric names another winner."""
    other: dict[str, list[str]] = {}
    for row in document["ranking"]["metrics"][1:]:
        if row["winner"] is not None and row["winner"] != document["winner"]:
            other.setdefault(row["winner"], []).append(row["metric"])
    parts = [f"by {some(names, 'metrics')} it would be {name}" for name, names in other.items()]
    return f" Judged otherwise the answer changes: {'; '.join(parts)}." if parts else ""
