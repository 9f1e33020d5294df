"""Commands that help to train: lr-range."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from basrelief.cli_options import (
    DATA_OPTIONS,
    SPLIT_OPTIONS,
    TRAIN_OPTIONS,
    Data,
    Device,
    Json,
    Out,
    give,
    with_options,
)
from basrelief.cli_values import offer

app = typer.Typer()

# A range test has rates of its own, and no epochs for a schedule to follow.
TEST_OPTIONS = {name: line for name, line in TRAIN_OPTIONS.items() if name not in ("lr", "schedule", "epochs")}


@app.command(name="lr-range")
@with_options(DATA_OPTIONS, SPLIT_OPTIONS, TEST_OPTIONS)
def lr_range(
    data: Data,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="A loss to test, such as 'bce(mask) + 2*dice(mask)'; repeat for each.",
            autocompletion=offer("loss"),
        ),
    ] = None,
    lr_min: Annotated[float | None, typer.Option(metavar="X", help="Rate of the first step.  [default: 1e-6]")] = None,
    lr_max: Annotated[float | None, typer.Option(metavar="X", help="Rate of the last step.  [default: 1]")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Steps of a test.  [default: 100]")] = None,
    repeats: Annotated[
        int | None, typer.Option(metavar="N", help="Tests of each loss, each with another seed.  [default: 1]")
    ] = None,
    out: Out = None,
    device: Device = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """Which learning rate? Train shortly, at growing rates.

    The suggestion lies where the loss falls, before it breaks. A plot is written.
    """
    from basrelief import app as functions
    from basrelief.terminal_study import StudyProgress

    given = {
        "losses": tuple(loss) if loss else None,
        "lr_min": lr_min,
        "lr_max": lr_max,
        "steps": steps,
        "repeats": repeats,
        "device": device,
        **options,
    }
    with StudyProgress() as watcher:
        found = functions.lr_range(data, out=out, watcher=watcher, **given)
    give(found, as_json, _say_rates)
    if all(row["suggestion"] is None for row in found["losses"]):
        raise typer.Exit(1)


def _say_rates(found: dict[str, Any]) -> None:
    from basrelief.terminal import show_rates

    show_rates(found["losses"])
    typer.echo(f"Written: {found['written']}")
