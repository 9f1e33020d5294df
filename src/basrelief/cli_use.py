"""Commands that use a trained network: score it, predict with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from basrelief.cli_options import (
    DATA_OPTIONS,
    SPLIT_OPTIONS,
    Device,
    Ensemble,
    Json,
    Mirror,
    Overwrite,
    Threshold,
    Tile,
    Trained,
    give,
    read_threshold,
    say_aside,
    with_options,
)
from basrelief.cli_values import offer

app = typer.Typer()

GROUP_OPTIONS = {name: SPLIT_OPTIONS[name] for name in ("group_blocks", "group_file")}
Metric = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What the details go by.  [default: the run's own metric]",
        autocompletion=offer("metric"),
    ),
]
ScoresOut = Annotated[Path | None, typer.Option(metavar="DIR", help="Write the report here, with a line an image.")]


@app.command()
@with_options(DATA_OPTIONS, GROUP_OPTIONS)
def evaluate(
    run: Trained,
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help="Other data; the run's own test images if not given.")
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
    """Score a trained network: every metric with its interval.

    At each image's own size; intervals are over images. Other DATA is read as the network's own was; the options say
    where it differs. --out writes a report as well.
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
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="A run, a study or an exported file.")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="Another one.")],
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
    """Compare two trained networks on the same images.

    Neither should have seen them in training: DATA that one of them was trained on is read as it was then, and its test
    images count. --out writes a report as well. Which loss is better is another question: basrelief study answers it.
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
    run: Trained,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT", help="Images, folders of them, patterns in quotes, videos; - is standard input."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where results go: NAME_mask.png, NAME_depth.png.")],
    soft: Annotated[
        int | None,
        typer.Option(
            metavar="BITS",
            help="8 or 16: write the probability instead of the hard mask.",
            autocompletion=offer("soft"),
        ),
    ] = None,
    npy: Annotated[bool, typer.Option("--npy", help="Write arrays of floats as well.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Write pictures to look at as well.")] = False,
    cutout: Annotated[bool, typer.Option("--cutout", help="Write the figure with transparency as well.")] = False,
    replace: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT", help="Write the figure before a colour, the picture in a FILE, blur or blur:SIGMA as well."
        ),
    ] = None,
    ply: Annotated[bool, typer.Option("--ply", help="Write depth as a cloud of points as well.")] = False,
    fov: Annotated[float | None, typer.Option(metavar="DEG", help="The camera's horizontal field of view.")] = None,
    intrinsics: Annotated[
        str | None, typer.Option(metavar="FX,FY,CX,CY", help="Of the camera, in pixels, instead of --fov.")
    ] = None,
    boxes: Annotated[
        bool, typer.Option("--boxes", help="Write connected components of masks as COCO JSON as well.")
    ] = False,
    min_area: Annotated[
        int | None, typer.Option(metavar="PX", help="Leave out smaller components.  [default: 1]")
    ] = None,
    every: Annotated[int, typer.Option(metavar="N", help="Of videos, take one frame of N.")] = 1,
    background: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The empty scene, or a folder of them named as the inputs.")
    ] = None,
    threshold: Threshold = None,
    tile: Tile = None,
    mirror: Mirror = None,
    ensemble: Ensemble = False,
    overwrite: Overwrite = False,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Write mask and depth of images, each at its own size.

    And what is made of them: cut-outs, new backgrounds, clouds of points, boxes.
    """
    from basrelief import app_use as functions
    from basrelief.terminal import counting

    with counting("Predicting", "images/s") as progress:
        result = functions.predict(
            run,
            inputs,
            out,
            soft=soft,
            npy=npy,
            preview=preview,
            cutout=cutout,
            replace=replace,
            ply=ply,
            fov=fov,
            intrinsics=intrinsics,
            boxes=boxes,
            min_area=min_area,
            every=every,
            background=background,
            threshold=read_threshold(threshold),
            tile=tile,
            mirror=mirror,
            ensemble=ensemble,
            device=device or "auto",
            overwrite=overwrite,
            progress=progress,
        )
    give(result, as_json, _say_predicted)
    if result["failed"]:
        raise typer.Exit(1)


def _say_predicted(result: dict[str, Any]) -> None:
    kept = f", {result['kept']} kept from before (--overwrite replaces them)" if result["kept"] else ""
    if result["note"]:
        say_aside(result["note"])
    speed = f", {result['images_per_second']:.3g} images/s" if result["written"] else ""
    typer.echo(f"{result['written']} predicted into {result['out']}{speed}{kept}.")
    for why in result["failed"].values():
        say_aside(why)
