"""Commands that use a trained network: score it, predict with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from basrelief.cli_options import DATA_OPTIONS, SPLIT_OPTIONS, Device, Json, give, say_aside, with_options

app = typer.Typer()

GROUP_OPTIONS = {name: SPLIT_OPTIONS[name] for name in ("group_blocks", "group_file")}
Metric = Annotated[
    str | None, typer.Option(metavar="NAME", help="What the details go by.  [default: the run's own metric]")
]
Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="X", help="A pixel is mask above this probability; best: as found on validation.  [default: 0.5]"
    ),
]
Tile = Annotated[
    str | None,
    typer.Option(metavar="N", help="Side of overlapping tiles for large images; none: resize.  [default: auto]"),
]
Mirror = Annotated[
    bool | None, typer.Option("--mirror/--no-mirror", help="Average with the mirrored image's result.  [default: no]")
]
Ensemble = Annotated[bool, typer.Option("--ensemble", help="Of a study, average the networks of all seeds.")]
ScoresOut = Annotated[Path | None, typer.Option(metavar="DIR", help="Write the report here, with a line an image.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")]


@app.command()
@with_options(DATA_OPTIONS, GROUP_OPTIONS)
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run or a study, or an exported file.")],
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Other data; the run's own test images if not given.")
    ] = None,
    metric: Metric = None,
    threshold: Threshold = None,
    tile: Tile = None,
    mirror: Mirror = None,
    ensemble: Ensemble = False,
    out: ScoresOut = None,
    overwrite: Overwrite = False,
    device: Device = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """Score a trained network, at each image's own size: every metric with its interval over images.

    Other DATA is read as the network's own was; the options say where it differs. --out writes a report as well.
    """
    from basrelief import app_scores as functions
    from basrelief.terminal import counting
    from basrelief.terminal_scores import show_evaluation

    with counting("Scoring") as progress:
        result = functions.evaluate(
            run,
            data,
            device=device or "auto",
            threshold=read_threshold(threshold),
            tile=tile,
            mirror=mirror,
            ensemble=ensemble,
            metric=metric,
            out=out,
            overwrite=overwrite,
            progress=progress,
            **options,
        )
    give(result, as_json, show_evaluation)
    if result["failed"]:
        raise typer.Exit(1)


@app.command()
@with_options(DATA_OPTIONS, GROUP_OPTIONS)
def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run, a study or an exported file.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another one.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="What they are compared on.")],
    metric: Metric = None,
    margin: Annotated[
        float | None,
        typer.Option(metavar="X", help="Practically equal up to this.  [default: 0.005; of an error, 1 %]"),
    ] = None,
    threshold: Threshold = None,
    tile: Tile = None,
    mirror: Mirror = None,
    ensemble: Ensemble = False,
    out: ScoresOut = None,
    overwrite: Overwrite = False,
    device: Device = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """Compare two trained networks on the same images, which neither has seen in training.

    DATA that one of them was trained on is read as it was then, and its test images count. --out writes a report as
    well. Which loss is better is another question: basrelief study answers it.
    """
    from basrelief import app_scores as functions
    from basrelief.terminal import counting
    from basrelief.terminal_scores import show_comparison

    with counting("Comparing") as progress:
        result = functions.compare(
            run_a,
            run_b,
            data,
            device=device or "auto",
            threshold=read_threshold(threshold),
            tile=tile,
            mirror=mirror,
            ensemble=ensemble,
            metric=metric,
            margin=margin,
            out=out,
            overwrite=overwrite,
            progress=progress,
            **options,
        )
    give(result, as_json, show_comparison)
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


def read_threshold(text: str | None) -> Any:
    """Return what ``--threshold`` says: None, a number, or "best"."""
    from basrelief.errors import UsageError

    if text is None or text == "best":
        return text
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--threshold {text}: expected a probability between 0 and 1, or best.") from None


def _say_predicted(result: dict[str, Any]) -> None:
    kept = f", {result['kept']} kept from before (--overwrite replaces them)" if result["kept"] else ""
    if result["note"]:
        say_aside(result["note"])
    typer.echo(f"{result['written']} predicted into {result['out']}{kept}.")
    for why in result["failed"].values():
        say_aside(why)
