"""What a person sees in the terminal: progress on standard error, results as tables on standard output."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from basrelief.data.inspect import Inspection

_out = Console(soft_wrap=True, highlight=False)
_err = Console(stderr=True, soft_wrap=True, highlight=False)


class _SpeedColumn(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g} {self._unit}" if task.speed else "")


@contextlib.contextmanager
def counting(title: str, speed: str = "") -> Iterator[Callable[[int, int], None]]:
    """Yield a function ``(done, total)`` that draws a bar; ``speed`` names what is done a second, "" shows none."""
    with Progress(
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        *([_SpeedColumn(speed)] if speed else []),
        TimeRemainingColumn(),
        console=_err,
        transient=True,
        disable=not _err.is_terminal,
    ) as progress:
        task = progress.add_task(title)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def show_verdict(verdict: Mapping[str, Any]) -> None:
    """Print the verdict's sentence, the losses and the pairs."""
    table = _table(verdict["primary"], "mean", "95 % interval", "seeds", "failed")
    sign = -1 if verdict["better"] == "higher" else 1
    for row in sorted(verdict["losses"], key=lambda row: (row["mean"] is None, sign * (row["mean"] or 0))):
        table.add_row(row["name"], _number(row["mean"]), _interval(row["ci"]), str(row["seeds"]), str(row["failed"]))
    for name, scores in verdict["baselines"].items():
        table.add_row(f"({name})", _number(scores.get(verdict["primary"])), "", "", "", style="dim")
    _out.print(table)
    if verdict["pairs"]:
        pairs = _table("a", "b", "a - b", "95 % interval", "decision")
        for pair in verdict["pairs"]:
            more = pair["more_seeds"]
            decision = {"a": f"{pair['a']} better", "b": f"{pair['b']} better", "equal": "practically equal"}.get(
                pair["decision"], "undecided" + (f", about {more} more seed{'s' if more > 1 else ''}" if more else "")
            )
            pairs.add_row(pair["a"], pair["b"], _number(pair["difference"]), _interval(pair["ci"]), decision)
        _out.print(pairs)
    for warning in verdict["warnings"]:
        _out.print(f"! {warning}", markup=False)
    _out.print(f"\n{verdict['summary']}\n", style="bold", markup=False)
    if "written" in verdict:
        _out.print(f"Written: {verdict['written']}", markup=False)


def show_status(status: Mapping[str, Any]) -> None:
    """Print how far a study is: a line a trial, and how to go on."""
    table = _table("trial", "seed", "state", "epochs", str(status["metric"]), "")
    folded = any(row["fold"] for row in status["trials"])
    for row in status["trials"]:
        name = escape(row["name"]) + (f", fold {row['fold'] + 1}" if folded else "")
        of = f"{row['epochs']}/{row['of']}" if row["epochs"] else ""
        table.add_row(name, str(row["seed"]), row["state"], of, _number(row["score"]), escape(row["says"]))
    _out.print(table)
    counts = ", ".join(f"{number} {state}" for state, number in status["counts"].items() if number)
    _out.print(f"{counts}; {status['seconds']:.0f} s of training so far.", markup=False)
    if status["next"]:
        _out.print(f"Go on with: {status['next']}", markup=False)


def show_rates(losses: Sequence[Mapping[str, Any]]) -> None:
    """Print what range tests suggest, a line a test, and why, a line a loss."""
    table = _table("loss", "suggested", "lowest at", "diverged at", "range", "steps")
    for loss in losses:
        for place, test in enumerate(loss["tests"]):
            span = f"{test['low']:g} to {test['high']:g}"
            rates = (_rate(test[name]) for name in ("suggestion", "lowest_at", "diverged_at"))
            table.add_row("" if place else escape(loss["name"]), *rates, span, str(test["steps"]))
    _out.print(table)
    for loss in losses:
        _out.print(f"{loss['name']}: {_rate(loss['suggestion'])}. {loss['reason']}", markup=False)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def show_table(lines: Sequence[Mapping[str, Any]]) -> None:
    """Print the columns of a table that have room in a terminal; ``--json`` gives all."""
    from basrelief.listing import SHORT

    columns = [name for name in SHORT if name in lines[0] and not (name == "name" and "call" in lines[0])]
    table = _table(*columns)
    for line in lines:
        values = (line[name] for name in columns)
        table.add_row(*("" if v is None else ", ".join(map(str, v)) if isinstance(v, list) else str(v) for v in values))
    _out.print(table)


def show_summary(summary: Mapping[str, Any], *, every: bool = False) -> None:
    """Print what a network is made of, and what it costs; ``every`` shows the modules inside of modules."""
    from basrelief.models.summary import main_layers

    table = _table("name", "type", "output", "parameters", "multiply-adds")
    for column in table.columns[-2:]:
        column.justify = "right"
    for layer in summary["layers"] if every else main_layers(summary["layers"]):
        shape = "x".join(map(str, layer["output"])) if layer["output"] else "never runs"
        table.add_row(layer["name"], layer["type"], shape, f"{layer['parameters']:,}", f"{layer['multiply_adds']:,}")
    _out.print(table)
    totals, (height, width) = summary["totals"], summary["resolution"]
    worked = "" if summary["padded"] == summary["resolution"] else f", padded to {_plain(tuple(summary['padded']))}"
    heads = " and ".join(f"{head} ({planes})" for head, planes in summary["heads"].items())
    _out.print(
        f"\n{summary['network']}: {heads} from an image{' and its background' if summary['background'] else ''} of "
        f"{height}x{width} px{worked} (it works at multiples of {summary['stride']}).\n"
        f"{totals['parameters']:,} parameters in {totals['parameter_tensors']} tensors, "
        f"{totals['parameter_bytes'] / 2**20:,.1f} MiB in float32.\n"
        f"{totals['multiply_adds'] / 1e6:,.1f} million multiply-adds for an image, forward.\n"
        f"{totals['activation_bytes'] / 2**20:,.1f} MiB kept for the backward pass of a batch of "
        f"{summary['batch_size']}, in float32.",
        markup=False,
    )


def show_inspection(inspection: Inspection) -> None:
    """Print what was found, then every fault with what to do."""
    table = _table("", "")
    table.show_header = False
    for name, value in _inspection_rows(inspection):
        if value:
            table.add_row(name, escape(value))
    _out.print(table)
    for note in (*inspection.notes, *inspection.split.get("notes", ())):
        _out.print(f"· {note}", markup=False)
    for fault in inspection.faults:
        _out.print(f"{'x' if fault.fatal else '!'} {fault}", markup=False)
    fatal = sum(fault.fatal for fault in inspection.faults)
    _out.print(f"{fatal} fault(s) that must be mended, {len(inspection.faults) - fatal} worth knowing.", markup=False)


def _inspection_rows(found: Inspection) -> Iterator[tuple[str, str]]:
    """Yield what was found, a line each; histograms and single clusters are on the page and in the JSON."""
    yield "data", f"{found.format}, {found.location}"
    yield "samples", f"{found.samples}, {found.usable} of them usable"
    yield "planes", _plain(dict(found.planes))
    yield "ready-made splits", _plain(dict(found.splits))
    if found.sizes:
        low, middle, high = (_plain(found.sizes[name]) for name in ("min", "median", "max"))
        yield "height x width", low if low == high else f"{low} to {high}, median {middle}"
    for plane, row in found.colour.items():
        mean, std = (", ".join(f"{value:.5f}" for value in row[name]) for name in ("mean", "std"))
        yield f"{plane} mean", f"{mean} (R, G, B)"
        yield f"{plane} deviation", f"{std}, over {row['images']} images"
    for name, share in found.foreground.items():
        yield (
            f"covered by {name}",
            f"{share['mean']:.1%} of a mask on average, {share['min']:.1%} to {share['max']:.1%}",
        )
    if "mask" in found.planes:
        yield "empty masks", str(found.empty_masks)
    if found.mask_unknown_share:
        yield "mask unknown", f"{found.mask_unknown_share:.1%} of pixels"
    if found.depth_range is not None:
        yield "depth", f"{_plain(found.depth_range)} {found.depth_unit or '(unit not known)'}, {found.depth_kind}"
        yield "depth unknown", f"{found.depth_unknown_share or 0:.1%} of pixels"
    if "rule" in found.split:
        parts = ", ".join(f"{name} {found.split[name]}" for name in ("train", "val", "test"))
        left = f", left out {found.split['left_out']}" if found.split["left_out"] else ""
        yield "a study's split", f"{parts}{left} ({found.split['rule']})"
    else:
        yield "a study's split", f"none: {found.split['reason']}"
    if found.duplicates:
        yield "equal images", f"{sum(map(len, found.duplicates))}, of {len(found.duplicates)} pictures"
    if found.near_duplicates["clusters"]:
        near = found.near_duplicates
        across = f", {near['across']} of them across splits" if near["across"] else ""
        yield "look alike", f"{near['images']} images in {near['clusters']} clusters{across}"
    for split in ("test", "val"):
        leak = found.leaks.get(split)
        if leak and leak["same"] + leak["similar"]:
            said = f"{leak['same']} the same, {leak['similar']} alike, of {leak['images']}"
            yield f"{split} as in train", said


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.2g}"


def _interval(bounds: Sequence[float | None]) -> str:
    low, high = bounds
    return "-" if low is None or high is None else f"{low:.4g} to {high:.4g}"


def _is_range(value: Sequence[Any]) -> bool:
    return len(value) == 2 and all(isinstance(part, float) for part in value)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        if len(value) == 2 and all(isinstance(part, int) for part in value):
            return f"{value[0]}x{value[1]}"  # (height, width)
        return " to ".join(map(_plain, value)) if _is_range(value) else "; ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
