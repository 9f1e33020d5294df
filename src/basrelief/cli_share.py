"""Commands that hand a trained network on: export it, serve it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from basrelief.cli_options import (
    Device,
    Ensemble,
    Json,
    Mirror,
    Threshold,
    Tile,
    Trained,
    give,
    read_threshold,
    say_aside,
    to_json,
)
from basrelief.cli_values import offer

app = typer.Typer()


@app.command()
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, a study, a saved network, or hf://OWNER/NAME.")],
    to: Annotated[
        str, typer.Option(metavar="KIND", help="onnx, torch or safetensors.", autocompletion=offer("export"))
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file to write.  [default: the run's name, here]")
    ] = None,
    opset: Annotated[int | None, typer.Option(metavar="N", help="ONNX's opset, 18 to 24.  [default: 18]")] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Write a second ONNX file in 8-bit whole numbers, and say what it costs.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Images to check with.  [default: the run's validation images]"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")] = False,
    as_json: Json = False,
) -> None:
    """Write a trained network as one file for other programs.

    The file is checked against the run before the command ends.
    """
    from basrelief import app_share as functions
    from basrelief.terminal import counting

    with counting("Exporting") as progress:
        result = functions.export(
            run, to, out=out, opset=opset, int8=int8, data=data, overwrite=overwrite, progress=progress
        )
    give(result, as_json, _say_exported)


def _say_exported(result: dict[str, Any]) -> None:
    if result["note"]:
        say_aside(result["note"])
    opset = f", opset {result['opset']}" if result["opset"] else ""
    typer.echo(f"{result['file']}: {result['bytes'] / 1e6:.2f} MB{opset}.")
    parity = result["parity"]
    words = [
        f"{parity[head]:.1e} in {what}"
        for head, what in (("mask", "probability"), ("depth", "depth (of its maximum)"))
        if parity[head] is not None
    ]
    typer.echo(f"Largest difference to the run on {parity['images']} images ({parity['on']}): {', '.join(words)}.")
    small = result["int8"]
    if small:
        typer.echo(
            f"{small['file']}: {small['bytes'] / 1e6:.2f} MB. {small['metric']} on {small['images']} images: "
            f"{small['int8']:.4f} in whole numbers, {small['fp32']:.4f} in float: {_say_cost(small)}."
        )


def _say_cost(small: dict[str, Any]) -> str:
    from basrelief.metrics import higher_is_better

    if not small["fp32"] and not small["int8"] and higher_is_better(small["metric"]):
        return "neither finds anything, so this says nothing of the cost; give --data other images"
    if abs(small["cost"]) < 0.00005:
        return "the same"
    return f"whole numbers are {'worse' if small['cost'] > 0 else 'better'} by {abs(small['cost']):.4f}"


@app.command()
def serve(
    run: Trained,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0: for the whole network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 takes a free one.")] = 7860,
    token: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What whoever asks has to show; auto makes one.  [default: none]")
    ] = None,
    max_file: Annotated[float, typer.Option(metavar="MB", help="Largest upload.")] = 32,
    max_pixels: Annotated[float, typer.Option(metavar="MP", help="Largest picture, in million pixels.")] = 40,
    queue: Annotated[int, typer.Option(metavar="N", help="Requests at once, at work or waiting.")] = 256,
    timeout: Annotated[float, typer.Option(metavar="S", help="Seconds that one request may take.")] = 60,
    page: Annotated[
        bool,
        typer.Option("--page/--no-page", help="A page for people beside the API.  [default: yes]", show_default=False),
    ] = True,
    threshold: Threshold = None,
    tile: Tile = None,
    mirror: Mirror = None,
    ensemble: Ensemble = False,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Serve a trained network: a web page and an HTTP API.

    On the page one drops an image and sees mask and depth. It listens on this machine alone unless --host says more.
    """
    import logging

    from basrelief import app_share as functions
    from basrelief.serving.limits import Limits

    logging.basicConfig(format="basrelief: %(message)s", level=logging.WARNING)
    logging.getLogger("basrelief").setLevel(logging.INFO)

    def started(facts: dict[str, Any]) -> None:
        for aside in (facts["note"], facts["warning"]):
            if aside:
                say_aside(aside)
        if as_json:
            typer.echo(to_json(facts))
        else:
            typer.echo(f"{facts['url']}  (API: {facts['api']}; Ctrl-C stops it)")

    functions.serve(
        run,
        host=host,
        port=port,
        token=token,
        limits=Limits(int(max_file * (1 << 20)), int(max_pixels * 1e6), queue, timeout),
        page=page,
        device=device or "auto",
        threshold=read_threshold(threshold),
        tile=tile,
        mirror=mirror,
        ensemble=ensemble,
        started=started,
    )
    say_aside("Stopped serving.")
