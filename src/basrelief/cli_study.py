"""``basrelief study``: which loss, or which level of another factor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from basrelief.cli_options import (
    DATA_OPTIONS,
    EXECUTION_OPTIONS,
    SPLIT_OPTIONS,
    TRAIN_OPTIONS,
    WATCH_OPTIONS,
    DataOrRecipe,
    Device,
    Json,
    RecipeName,
    Scale,
    give,
    say_recipe,
    with_options,
)
from basrelief.cli_values import offer

app = typer.Typer()

# Options of a training that may be the factor, and then have several values.
FACTOR_OPTIONS: dict[str, tuple[Any, str]] = {
    "network": (list[str], TRAIN_OPTIONS["network"][1] + " Repeat it with --vary network."),
    "augment": (list[str], TRAIN_OPTIONS["augment"][1] + " Repeat it with --vary augmentation."),
    "lr": (
        list[str],
        "Learning rate, or search: for each loss the same short search finds one. Repeat it with --vary lr.  "
        "[default: search]",
    ),
    "schedule": (str, TRAIN_OPTIONS["schedule"][1].replace("cosine]", "constant]")),
}


@app.command()
@with_options(DATA_OPTIONS, SPLIT_OPTIONS, TRAIN_OPTIONS | FACTOR_OPTIONS, WATCH_OPTIONS, EXECUTION_OPTIONS)
def study(
    data: DataOrRecipe = None,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="A loss to compare, such as 'bce(mask) + 2*dice(mask)'; repeat for each.  [default: chosen]",
            autocompletion=offer("loss"),
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Trainings a loss.  [default: 5]")] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Cross-validate: N (3 or more) trainings a loss and seed, each judged by another part."
        ),
    ] = None,
    margin: Annotated[
        float | None, typer.Option(metavar="X", help="Differences up to this are practically equal.")
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACTOR",
            help="What is compared: loss, network, augmentation or lr.  [default: loss]",
            autocompletion=offer("vary"),
        ),
    ] = None,
    race: Annotated[
        bool | None, typer.Option("--race/--no-race", help="Stop losses early that can no longer win.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What all trainings have alike: steps or time.  [default: steps]",
            autocompletion=offer("budget"),
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help="Plan seeds, epochs and resolution so that all takes M minutes.")
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Only say how far the study in the directory DATA is.")
    ] = False,
    add_seeds: Annotated[
        int | None,
        typer.Option(metavar="N", help="To the study in the directory DATA: N more trainings a loss.", min=1),
    ] = None,
    add_loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="Likewise a further loss; repeat for each.", autocompletion=offer("add_loss")
        ),
    ] = None,
    recipe: RecipeName = None,
    scale: Scale = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Where results go: a folder, or a URL such as s3://BUCKET/NAME, with a copy here.  "
            "[default: runs/NAME]",
        ),
    ] = None,
    device: Device = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """Which loss? Train each on the same seeds, and compare in pairs.

    It ends in a verdict with intervals and a report; stopped and started again, it goes on. With the directory of a
    study as DATA, go on with that study.
    """
    from basrelief import app as functions
    from basrelief.errors import UsageError
    from basrelief.studies.status import study_status
    from basrelief.terminal import show_status
    from basrelief.terminal_study import StudyProgress

    if status:
        if add_seeds or add_loss:
            raise UsageError("--status only looks: leave --add-seeds and --add-loss out, or --status.")
        if data is None:
            raise UsageError("--status needs the directory of a study as DATA.")
        give(study_status(Path(data)), as_json, show_status)
        return
    given = {
        "losses": tuple(loss) if loss else None,
        "seeds": seeds,
        "folds": folds,
        "margin": margin,
        "vary": vary,
        "race": race,
        "budget": budget,
        "minutes": minutes,
        "add_seeds": add_seeds,
        "add_losses": add_loss,
        "device": device,
        **options,
    }
    say_recipe("study", recipe, scale)
    with StudyProgress() as watcher:
        verdict = functions.study(data, recipe=recipe, scale=scale, out=out, watcher=watcher, **given)
    give(verdict, as_json, say_verdict)
    if all(row["mean"] is None for row in verdict["losses"]):
        raise typer.Exit(1)


def say_verdict(verdict: dict[str, Any]) -> None:
    """Print a verdict in words and tables."""
    from basrelief.terminal import show_verdict

    show_verdict(verdict)
