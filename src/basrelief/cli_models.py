"""The command that looks at networks: summary."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from basrelief.cli_options import Json, give
from basrelief.cli_values import offer

app = typer.Typer()


@app.command()
def summary(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="A network (basrelief list models), such as 'munet(blocks=8)'.",
            autocompletion=offer("network"),
        ),
    ],
    resolution: Annotated[str, typer.Option(metavar="TEXT", help="N or HEIGHTxWIDTH in pixels.")] = "64",
    mask_classes: Annotated[int, typer.Option(metavar="N", help="Planes of mask; 0 for depth alone.")] = 1,
    depth: Annotated[
        bool | None,
        typer.Option("--depth/--no-depth", help="With depth.  [default: where the network has it]", show_default=False),
    ] = None,
    background: Annotated[
        bool,
        typer.Option(
            "--background/--no-background",
            help="With the empty background as second input.  [default: no]",
            show_default=False,
        ),
    ] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Images of a training step.")] = 16,
    every: Annotated[bool, typer.Option("--all", help="Show the modules inside of modules as well.")] = False,
    as_json: Json = False,
) -> None:
    """Show a network: its layers, shapes, parameters and memory.

    Also the multiply-adds of one image, and what training takes.
    """
    from basrelief.config import Stage, checked
    from basrelief.models import find_model, parse_model
    from basrelief.models.summary import summarise_network
    from basrelief.terminal import show_summary

    settings = checked(Stage, {"resolution": resolution, "batch_size": batch_size, "epochs": 1})
    document = summarise_network(
        network,
        settings.resolution,
        mask_classes=mask_classes,
        depth="depth" in find_model(parse_model(network)[0]).targets if depth is None else depth,
        background=background,
        batch_size=settings.batch_size,
    )

    def say(found: dict[str, Any]) -> None:
        show_summary(found, every=every)

    give(document, as_json, say)
