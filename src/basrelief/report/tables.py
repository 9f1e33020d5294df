"""The report's tables as text: what the HTML page and the Markdown both show, formatted once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from basrelief.report.contents import LossRow, MetricFacts, StudyContents

NOTHING = "–"


@dataclass(frozen=True)
class Score:
    """A formatted mean and its interval; ``interval`` is "" where there is none."""

    mean: str
    interval: str = ""


@dataclass(frozen=True)
class LossLine:
    """One row of the table of losses. ``index`` is the loss's place in the study: its colour, dash and marker."""

    index: int
    name: str
    expression: str
    scores: Sequence[Score]
    seeds: int
    failed: int
    best_epochs: str
    rising: bool
    seconds: str
    winner: bool


def finite(value: Any) -> float | None:
    """Return ``value`` as a float, or None where it is None or not finite."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def decimals_for(values: Iterable[float | None]) -> int:
    """Return how many decimals show four digits of the largest of ``values``, so that a column lines up."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    if largest == 0:
        return 3
    return min(max(3 - math.floor(math.log10(largest)), 0), 9)


def format_number(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """Return the number with a true minus sign, or a dash where there is none."""
    if value is None:
        return NOTHING
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if not text.strip("+-0."):
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")


def format_seconds(seconds: float | None) -> str:
    """Return a duration in the units a reader would say it in."""
    if seconds is None or seconds <= 0:
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def shorten(text: str, length: int = 32) -> str:
    """Return ``text`` on one line with its middle left out where it is longer than ``length``."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    tail = length // 3
    return f"{text[: length - tail - 1]}…{text[-tail:]}"


def primary_facts(contents: StudyContents) -> MetricFacts:
    """Return the facts of the verdict's primary metric."""
    name = str(contents.verdict.get("primary", ""))
    for facts in contents.metrics:
        if facts.name == name:
            return facts
    return MetricFacts(name=name, higher_is_better=True, unit="", meaning="")


def order_metrics(contents: StudyContents) -> list[MetricFacts]:
    """Return the metrics of the first table: the primary one, then the other main ones."""
    primary = primary_facts(contents)
    return [primary, *(facts for facts in contents.metrics if facts.main and facts.name != primary.name)]


def more_metrics(contents: StudyContents) -> list[MetricFacts]:
    """Return the metrics that are not in the first table."""
    primary = primary_facts(contents)
    return [facts for facts in contents.metrics if not facts.main and facts.name != primary.name]


def order_losses(contents: StudyContents) -> list[tuple[int, LossRow]]:
    """Return the losses, best mean first, with their place in the study; those without a mean come last."""
    primary = primary_facts(contents)

    def key(item: tuple[int, LossRow]) -> tuple[bool, float]:
        mean = finite(item[1].scores.get(primary.name, (None,))[0])
        if mean is None:
            return True, 0.0
        return False, -mean if primary.higher_is_better else mean

    return sorted(enumerate(contents.losses), key=key)


def describe_metric(facts: MetricFacts) -> str:
    """Return "mask/iou, higher is better" with the unit where there is one."""
    unit = f" in {facts.unit}" if facts.unit else ""
    return f"{facts.name}{unit}, {'higher' if facts.higher_is_better else 'lower'} is better"


def format_losses(contents: StudyContents) -> tuple[list[LossLine], list[tuple[str, list[Score]]]]:
    """Return the rows of the losses, best first, and those of the baselines, one score a metric of `order_metrics`."""
    metrics = order_metrics(contents)
    decimals = {facts.name: _decimals(contents, facts.name) for facts in metrics}
    lines = [
        LossLine(
            index=index,
            name=row.name,
            expression=row.expression,
            scores=[_format_score(row.scores.get(facts.name), decimals[facts.name]) for facts in metrics],
            seeds=row.seeds,
            failed=row.failed,
            best_epochs=", ".join(str(epoch) for epoch in row.best_epochs) or NOTHING,
            rising=row.rising,
            seconds=format_seconds(finite(row.seconds)),
            winner=row.name == contents.verdict.get("winner"),
        )
        for index, row in order_losses(contents)
    ]
    baselines = [
        (name, [Score(format_number(finite(scores.get(facts.name)), decimals[facts.name])) for facts in metrics])
        for name, scores in contents.baselines.items()
    ]
    return lines, baselines


def format_more(contents: StudyContents) -> list[tuple[MetricFacts, list[Score]]]:
    """Return the rows of the further metrics: one score a loss of `order_losses`, then one a baseline.

    Metrics that no loss has a score for are left out.
    """
    rows = []
    for facts in more_metrics(contents):
        decimals = _decimals(contents, facts.name)
        scores = [_format_score(row.scores.get(facts.name), decimals) for _, row in order_losses(contents)]
        if any(score.mean != NOTHING for score in scores):
            baselines = (finite(known.get(facts.name)) for known in contents.baselines.values())
            rows.append((facts, scores + [Score(format_number(value, decimals)) for value in baselines]))
    return rows


def summary_beside(badge: str, contents: StudyContents) -> str:
    """Return the verdict's sentence, without the word that the badge beside it says already."""
    summary = str(contents.verdict.get("summary", ""))
    words = summary.removeprefix(f"{badge}: ")
    return summary if words == summary else words[:1].upper() + words[1:]


def describe_outcome(contents: StudyContents) -> tuple[str, str]:
    """Return the badge's kind (winner, equal, undecided, single) and its words."""
    pairs = contents.verdict.get("pairs") or ()
    winner = contents.verdict.get("winner")
    if winner is not None:
        return "winner", "Winner"
    if not pairs:
        return "single", "Nothing to compare"
    if all(pair.get("decision") == "equal" for pair in pairs):
        return "equal", "Practically equal"
    return "undecided", "Undecided"


def _decimals(contents: StudyContents, metric: str) -> int:
    means = [finite(row.scores.get(metric, (None,))[0]) for row in contents.losses]
    return decimals_for(means + [finite(scores.get(metric)) for scores in contents.baselines.values()])


def _format_score(score: Sequence[float | None] | None, decimals: int) -> Score:
    mean, low, high = (finite(value) for value in score or (None, None, None))
    if low is None or high is None:
        return Score(format_number(mean, decimals))
    return Score(format_number(mean, decimals), f"{format_number(low, decimals)} to {format_number(high, decimals)}")
