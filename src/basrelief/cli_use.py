"""Commands that use a trained network: score it, predict with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from basrelief.cli_options import DATA_OPTIONS, Device, Json, give, say_aside, with_options

app = typer.Typer()


@app.command()
@with_options(DATA_OPTIONS)
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run or a study.")],
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Other data; the run's own test images if not given.")
    ] = None,
    device: Device = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """Score a trained network, at each image's own size.

    Other DATA is read as the network's own was; the options say where it differs.
    """
    from basrelief import app_scores as functions

    result = functions.evaluate(run, data, device=device or "auto", **options)
    give(result, as_json, _say_scores)
    if result["failed"]:
        raise typer.Exit(1)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run or a study.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Images and folders of images.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where masks and depth go.")],
    background: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The empty scene, or a folder of them named as the inputs.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")] = False,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Write mask and depth of images, at each image's own size."""
    from basrelief import app_use as functions
    from basrelief.terminal import counting

    with counting("Predicting") as progress:
        result = functions.predict(
            run,
            inputs,
            out,
            background=background,
            device=device or "auto",
            overwrite=overwrite,
            progress=progress,
        )
    give(result, as_json, _say_predicted)
    if result["failed"]:
        raise typer.Exit(1)


def _say_scores(result: dict[str, Any]) -> None:
    from basrelief.terminal import show_scores

    if result["note"]:
        say_aside(result["note"])
    title = f"{result['images']} images: {result['on']}"
    show_scores(result["metrics"], title, result["depth_unit"], result["counts"])
    if result["seen"]:
        say_aside(f"{result['seen']} images were seen in training and are left out.")
    for file, why in result["failed"].items():
        say_aside(f"{file}: {why}")


def _say_predicted(result: dict[str, Any]) -> None:
    kept = f", {result['kept']} kept from before (--overwrite replaces them)" if result["kept"] else ""
    if result["note"]:
        say_aside(result["note"])
    typer.echo(f"{result['written']} predicted into {result['out']}{kept}.")
    for why in result["failed"].values():
        say_aside(why)
