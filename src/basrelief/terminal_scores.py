"""Scores in the terminal: of a training, of an evaluation, of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_out = Console(soft_wrap=True, highlight=False)
_err = Console(stderr=True, soft_wrap=True, highlight=False)


def show_scores(
    metrics: Mapping[str, float | None], title: str, unit: str, counts: Mapping[str, int] | None = None
) -> None:
    """Print scores, a line a metric: the mean over images, and all images pooled; errors of depth with their unit.

    ``counts`` says how many masks were empty, which scores them 1 where nothing is predicted.
    """
    from basrelief.metrics import is_in_unit, is_pooled_name, pooled_name, unpooled_name

    _out.print(title, markup=False)
    table = _table("metric", "mean", "pooled")
    for name, value in metrics.items():
        if is_pooled_name(name) and unpooled_name(name) in metrics:
            continue
        pooled = pooled_name(name)
        own = f" {unit}" if unit and is_in_unit(name) else ""
        both = (_number(value) + own, _number(metrics[pooled]) + own if pooled in metrics else "")
        table.add_row(name, *both)
    _out.print(table)
    _say_empty(counts or {})


def show_evaluation(result: Mapping[str, Any]) -> None:
    """Print every metric with its interval, the parts of the images, and what is to be known of it."""
    from basrelief.metrics import is_in_unit, is_pooled_name, pooled_name, unpooled_name
    from basrelief.report.scores import say_images

    _notes([result["note"], *result["notes"]])
    metrics, intervals, unit = result["metrics"], result["intervals"], result["depth_unit"]
    level = f"{100 * result['level']:g} % interval"
    table = _table("metric", "mean", level, "pooled", level)
    for name, value in metrics.items():
        if is_pooled_name(name) and unpooled_name(name) in metrics:
            continue
        pooled = pooled_name(name)
        own = f" {unit}" if unit and is_in_unit(name) else ""
        cells = [_number(value) + own, _interval(intervals[name])]
        cells += [_number(metrics[pooled]) + own, _interval(intervals[pooled])] if pooled in metrics else []
        table.add_row(escape(name), *cells)
    _out.print(f"{say_images(result)}: {result['on']}", markup=False)
    _out.print(table)
    if result["strata"]:
        parts = _table(result["primary"], "images", "mean", level)
        for part in result["strata"]:
            parts.add_row(
                escape(f"{part['name']}: {part['meaning']}"),
                str(part["images"]),
                _number(part["mean"]),
                _interval(part["interval"]),
            )
        _out.print(parts)
    _out.print(
        "Intervals are over further images; of another seed's training they say nothing.", style="dim", markup=False
    )
    _say_empty(result["counts"])
    found = result["threshold"]
    if found and found["stored"] and found["stored"]["best"] != found["used"]:
        best = ", ".join(f"{value:g}" for value in found["stored"]["best"])
        _out.print(f"Best threshold on validation: {best} (--threshold best uses it).", markup=False)
    _say_refused(result["refused"])
    _say_rest(result)


def show_comparison(result: Mapping[str, Any]) -> None:
    """Print what was decided, the paired differences, and what is to be known of them."""
    from basrelief.report.scores import say_images

    sides = [f"{side}: {result[side]['note']}" for side in ("a", "b") if result[side]["note"]]
    _notes([*sides, *result["notes"]])
    _out.print(f"{say_images(result)}: {result['on']}", markup=False)
    table = _table("metric", "a", "b", "a - b", f"{100 * result['level']:g} % interval")
    names = [result["metric"], *(name for name in result["metrics"] if name != result["metric"])]
    for name in names:
        pair = result["metrics"][name]
        row = [_number(pair["a"]), _number(pair["b"]), _number(pair["difference"])]
        table.add_row(escape(name), *row, _interval([pair["low"], pair["high"]]))
    _out.print(table)
    _out.print(f"a is {result['a']['run']}\nb is {result['b']['run']}", markup=False)
    _say_refused(result["refused"])
    _out.print(f"\n{result['summary']}\n", style="bold", markup=False)
    _say_rest(result)


def _notes(notes: Sequence[str]) -> None:
    for note in notes:
        if note:
            _err.print(note, markup=False)


def _say_empty(counts: Mapping[str, int]) -> None:
    classes = {name.partition("/")[2]: number for name, number in counts.items() if name.startswith("mask_empty/")}
    empty = classes or {"": counts.get("mask_empty", 0)}
    if any(empty.values()):
        listed = ", ".join(f"{name} {number}".strip() for name, number in empty.items() if number)
        _out.print(
            f"Empty true masks among {counts['images']} images: {listed}. Predicted empty, each scores 1; the pooled "
            "scores do without.",
            markup=False,
        )


def _say_refused(refused: Mapping[str, str]) -> None:
    reasons: dict[str, list[str]] = {}
    for name, why in refused.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        _out.print(f"Not given: {', '.join(names)}. {why}", markup=False)


def _say_rest(result: Mapping[str, Any]) -> None:
    if result["seen"]:
        _err.print(f"Left out, seen in training: {result['seen']}.", markup=False)
    for why in result["failed"].values():
        _err.print(why, markup=False)
    if result["out"]:
        _out.print(f"Written: {result['out']}", markup=False)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.2g}"


def _interval(bounds: Sequence[float | None] | None) -> str:
    low, high = bounds or (None, None)
    return "-" if low is None or high is None else f"{_number(low)} to {_number(high)}"
