"""Commands that hand a trained network on: export it, serve it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from basrelief.cli_options import Device, Json, say_aside, to_json

app = typer.Typer()


@app.command()
def serve(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run or a study, or an exported file.")],
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
    page: Annotated[bool, typer.Option("--page/--no-page", help="A page for people beside the API.")] = True,
    threshold: Annotated[
        str, typer.Option(metavar="X", help="Probability above which a pixel is mask; best: as found on validation.")
    ] = "0.5",
    tile: Annotated[
        str, typer.Option(metavar="N", help="Side of overlapping tiles for large images; none: resize them; auto.")
    ] = "auto",
    mirror: Annotated[bool, typer.Option("--mirror", help="Average with the mirrored image's prediction.")] = False,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="Average all seeds of a study's winner.")] = False,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Serve a trained network: a web page to drop images on, and an HTTP API."""
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
        threshold=_threshold(threshold),
        tile=tile,  # type: ignore[arg-type] # the predictor reads the text
        mirror=mirror,
        ensemble=ensemble,
        started=started,
    )
    say_aside("Stopped serving.")


def _threshold(text: str) -> Any:
    from basrelief.errors import UsageError

    try:
        return text if text == "best" else float(text)
    except ValueError:
        raise UsageError(f"--threshold {text}: expected a probability between 0 and 1, or best.") from None
