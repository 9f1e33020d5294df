"""The report as Markdown: the verdict and its tables, for an issue, a wiki or a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from basrelief.report.basis import format_basis, format_race
from basrelief.report.behaviour import behaviour_header, format_behaviour
from basrelief.report.contents import StudyContents
from basrelief.report.costs import format_costs
from basrelief.report.forest import format_pairs
from basrelief.report.rates import format_searches
from basrelief.report.strata import format_ranking, format_strata
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
from basrelief.report.words import factor_word, factor_words


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
    basis = format_basis(contents)
    if basis:
        parts.append("\n".join(f"- {name}: {_text(said)}" for name, said in basis))
    if contents.warnings:
        parts += ["## Read with care", _bullets(contents.warnings)]
    if contents.held_fixed:
        parts += ["## What was held fixed", _rows(("Setting", "Value"), contents.held_fixed)]
    words, word = factor_words(contents.verdict), factor_word(contents.verdict).capitalize()
    parts += [f"## {words.capitalize()}", _losses(contents, word)]
    failures = [f"{row.name}: {failure}" for row in contents.losses for failure in row.failures]
    if failures:
        parts += ["Failed trials:", _bullets(failures)]
    pairs = _pairs(contents)
    if pairs:
        parts += [f"## Paired differences in {_text(describe_metric(primary_facts(contents)))}", pairs]
    more = _more(contents)
    if more:
        parts += ["## More metrics", more]
    for heading, table in (
        ("Where it holds", _strata(contents)),
        ("By other metrics", _ranking(contents)),
        ("Training behaviour", _behaviour(contents, word)),
        ("Learning rates", _searches(contents, word)),
        ("Race", _race(contents)),
        ("Cost by " + word.lower(), _costs(contents, word)),
    ):
        if table:
            parts += [f"## {heading}", table]
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


def _losses(contents: StudyContents, word: str) -> str:
    lines, baselines = format_losses(contents)
    header = [word, *(describe_metric(facts) for facts in order_metrics(contents))]
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
        words += f" ({_text(pair.care)})" if pair.care else ""
        row = [_code(pair.a), _code(pair.b), pair.score.mean, pair.score.interval or NOTHING]
        body.append([*row, *([pair.bootstrap or NOTHING] if forest.has_bootstrap else []), words])
    bootstrap = ["bootstrap"] if forest.has_bootstrap else []
    return _table(["a", "b", "a − b", "interval", *bootstrap, "decision"], body)


def _strata(contents: StudyContents) -> str:
    body = [
        [f"{_text(line.name)}: {_text(line.meaning)}", line.images]
        + [f"**{_score(score)}**" if place == line.best else _score(score) for place, score in enumerate(line.scores)]
        + [line.winner if line.winner == "none" else _code(line.winner), line.holds]
        for line in format_strata(contents)
    ]
    names = [_code(row.name) for _, row in order_losses(contents)]
    return _table(["Images with", "images", *names, "winner", "order"], body) if body else ""


def _ranking(contents: StudyContents) -> str:
    body = [
        [
            _text(line.metric),
            _code(line.best),
            line.winner if line.winner == "none" else _code(line.winner),
            line.holds or "primary",
            line.tau,
        ]
        for line in format_ranking(contents)
    ]
    return _table(["Metric", "best mean", "winner", "order", "Kendall's τ"], body) if body else ""


def _behaviour(contents: StudyContents, word: str) -> str:
    header = [word, *(f"{heading} {hint}" for heading, hint in behaviour_header(contents))]
    body = [[_code(line.name), *map(_score, line.cells)] for line in format_behaviour(contents)]
    return _table(header, body) if body else ""


def _searches(contents: StudyContents, word: str) -> str:
    body = [
        [_code(card.name), ", ".join(card.folds) or card.rate, _text(card.reason), card.cost or NOTHING]
        for card in format_searches(contents)
    ]
    return _table([word, "rate", "why", "cost"], body) if body else ""


def _race(contents: StudyContents) -> str:
    race = format_race(contents)
    if race is None:
        return ""
    said = [_text(text) for text in race["said"]]
    stopped = [
        f"- {_code(row['name'])} stopped {_text(row['when'])} {_text(row['why'])}".rstrip() for row in race["rows"]
    ]
    return "\n".join([*said, *([""] if said and stopped else []), *(stopped or ["None was stopped early."])])


def _costs(contents: StudyContents, word: str) -> str:
    header, lines = format_costs(contents)
    body = [[line.name if line.index is None else _code(line.name), *line.cells] for line in lines]
    return _table([word, *map(str.lower, header)], body) if body else ""


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
