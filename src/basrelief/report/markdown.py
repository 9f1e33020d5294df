"""The report as Markdown: the verdict and its tables, for an issue, a wiki or a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from basrelief.report.contents import StudyContents
from basrelief.report.forest import format_pairs
from basrelief.report.tables import (
    NOTHING,
    Score,
    describe_metric,
    describe_outcome,
    format_losses,
    format_more,
    order_losses,
    order_metrics,
    primary_facts,
    summary_beside,
)


def render_markdown(contents: StudyContents) -> str:
    """Return the study as GitHub-flavoured Markdown.

    Parameters
    ----------
    contents
        What the report shows.

    Returns
    -------
    str
        Verdict, warnings, what was held fixed, the losses, their paired differences, and how to repeat the study.
    """
    _, badge = describe_outcome(contents)
    summary = _text(summary_beside(badge, contents))
    parts = [f"# {_text(contents.title)}", f"**{badge}.** {summary}"]
    if contents.warnings:
        parts += ["## Read with care", _bullets(contents.warnings)]
    if contents.held_fixed:
        parts += ["## What was held fixed", _rows(("Setting", "Value"), contents.held_fixed)]
    parts += ["## Losses", _losses(contents)]
    failures = [f"{row.name}: {failure}" for row in contents.losses for failure in row.failures]
    if failures:
        parts += ["Failed trials:", _bullets(failures)]
    pairs = _pairs(contents)
    if pairs:
        parts += [f"## Paired differences in {_text(describe_metric(primary_facts(contents)))}", pairs]
    more = _more(contents)
    if more:
        parts += ["## More metrics", more]
    for heading, rows in (("Data", contents.data), ("Cost", contents.cost), ("Environment", contents.environment)):
        if rows:
            parts += [f"## {heading}", _rows((heading, ""), rows)]
    if contents.repeat:
        # A fence longer than any run of backticks inside cannot be closed by the command itself.
        fence = "```" if "```" not in contents.repeat else "`" * (len(contents.repeat) + 1)
        parts += ["## Repeat", f"{fence}sh\n{contents.repeat}\n{fence}"]
    if contents.notes:
        parts += ["## Notes", _bullets(contents.notes)]
    metrics = [
        (facts.name, f"{facts.meaning} ({describe_metric(facts).split(', ')[-1]})") for facts in contents.metrics
    ]
    if metrics:
        parts += ["## Metrics", _rows(("Metric", "Meaning"), metrics)]
    return "\n\n".join(parts) + "\n"


def _losses(contents: StudyContents) -> str:
    lines, baselines = format_losses(contents)
    header = ["Loss", *(describe_metric(facts) for facts in order_metrics(contents))]
    header += ["seeds", "failed", "best epochs", "training time"]
    body = []
    for line in lines:
        name = _code(line.name) if line.name == line.expression else f"{_text(line.name)}: {_code(line.expression)}"
        epochs = line.best_epochs + (" (still improving)" if line.rising else "")
        scores = [_score(score) for score in line.scores]
        body.append([name, *scores, str(line.seeds), str(line.failed), epochs, line.seconds])
    for name, baseline in baselines:
        body.append([f"baseline: {_text(name)}", *(_score(score) for score in baseline), *[NOTHING] * 4])
    return _table([_text(cell) for cell in header], body)


def _more(contents: StudyContents) -> str:
    rows = format_more(contents)
    if not rows:
        return ""
    header = ["Metric", *(_code(row.name) for _, row in order_losses(contents))]
    header += [f"baseline: {_text(name)}" for name in contents.baselines]
    return _table(header, [[_text(describe_metric(facts)), *map(_score, scores)] for facts, scores in rows])


def _pairs(contents: StudyContents) -> str:
    forest = format_pairs(contents)
    if forest is None:
        return ""
    body = []
    for pair in (*forest.pairs, *forest.others):
        words = f"{_code(getattr(pair, pair.kind))} better" if pair.kind in ("a", "b") else pair.words
        body.append([_code(pair.a), _code(pair.b), pair.score.mean, pair.score.interval or NOTHING, words])
    return _table(["a", "b", "a − b", "interval", "decision"], body)


def _score(score: Score) -> str:
    return f"{score.mean} ({score.interval})" if score.interval else score.mean


def _rows(header: Sequence[str], rows: Sequence[tuple[str, str]]) -> str:
    return _table(header, [[_text(str(name)), _text(str(value))] for name, value in rows])


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {_text(sentence)}" for sentence in sentences)


def _text(text: str) -> str:
    """Return ``text`` on one line with everything that Markdown or HTML would read as markup made plain."""
    text = " ".join(text.split())
    for mark in "\\`*_[]|#~":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    """Return ``text`` as code where that is safe inside a table cell, else as plain text."""
    return _text(text) if set(text) & set("`|\n\r") or not text.strip() else f"`{text}`"
