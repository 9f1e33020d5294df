"""The Markdown report: complete, and not broken by what users type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from basrelief.report import StudyContents, render_markdown

Study = Callable[..., StudyContents]


def test_it_holds_verdict_tables_settings_and_warnings(study: Study) -> None:
    text = render_markdown(study())
    for part in ("**Winner.**", "## Read with care", "## What was held fixed", "one for all losses", "0.8700"):
        assert part in text
    assert (
        "| `bce(mask)` | `focal(mask, gamma=2)` | +0.0130 | −0.0070 to +0.0330 | undecided; about 4 more seeds |"
        in text
    )
    assert "`bce(mask) + 2*dice(mask)` better" in text
    assert "baseline: mean mask" in text


def test_every_row_of_a_table_has_as_many_cells_as_its_header(study: Study) -> None:
    made = study(2, seeds=1)
    hostile = replace(made.losses[0], name="a|b`<script>\nx", expression="a|b`<script>\nx")
    text = render_markdown(replace(made, losses=[hostile, made.losses[1]], notes=["<b>|*"]))
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) >= 4
    for block in blocks:
        assert len({line.replace("\\|", "").count("|") for line in block}) == 1
    assert "<script>" not in text
    assert "<b>" not in text


def test_a_command_with_backticks_cannot_close_its_own_fence(study: Study) -> None:
    text = render_markdown(study(1, repeat="a\n```\n# not a heading"))
    fence = next(line for line in text.splitlines() if line.endswith("sh")).removesuffix("sh")
    assert text.splitlines().count(fence) == 1


def test_the_badge_is_not_said_twice_and_a_loss_keeps_its_name(study: Study) -> None:
    made = study()
    undecided = {**made.verdict, "winner": None, "summary": "Undecided: no loss is ahead."}
    undecided["pairs"] = [{**pair, "decision": "undecided"} for pair in undecided["pairs"]]
    assert "**Undecided.** No loss is ahead." in render_markdown(replace(made, verdict=undecided))
    won = {**made.verdict, "summary": "bce(mask) is the better loss here."}
    assert "**Winner.** bce" in render_markdown(replace(made, verdict=won))
