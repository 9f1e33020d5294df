"""Commands that look at data or make it: inspect, pack, compose, generate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from basrelief.cli_options import DATA_OPTIONS, SPLIT_OPTIONS, Data, Json, give, say_aside, to_json, with_options

app = typer.Typer()
generate = typer.Typer(help="Make data: shapes or scenes, as files.", rich_markup_mode=None)
app.add_typer(generate, name="generate", no_args_is_help=True)


Count = Annotated[int, typer.Option(metavar="N", help="How many.")]
Seed = Annotated[int, typer.Option(metavar="N", help="The same seed makes the same data.")]


@app.command(name="inspect")
@with_options(DATA_OPTIONS, {name: SPLIT_OPTIONS[name] for name in ("split", "group_blocks", "group_file")})
def inspect_(
    data: Data,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with pictures and plots.")] = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """What is here, what is wrong with it, and what a study's splits would share."""
    from basrelief import app_data as functions
    from basrelief.terminal import counting, show_inspection

    with counting("Looking") as progress:
        inspection = functions.inspect(data, html=html, progress=progress, **options)
    if as_json:
        typer.echo(to_json(inspection.to_dict()))
    else:
        show_inspection(inspection)
        if html is not None:
            typer.echo(f"Written: {html}")
    if any(fault.fatal for fault in inspection.faults):
        raise typer.Exit(1)


@app.command()
@with_options(DATA_OPTIONS, {name: SPLIT_OPTIONS[name] for name in ("limit", "skip_broken")})
def pack(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder, or a store to bring up to date.")],
    resolution: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="N or HEIGHTxWIDTH in pixels.  [default: chosen]", show_default=False),
    ] = None,
    seed: Seed = 0,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Processes.  [default: one a core]", show_default=False)
    ] = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """Decode everything once, into a store that trainings read; again, only what changed."""
    from basrelief import app_data as functions
    from basrelief.terminal import counting

    with counting("Packing") as progress:
        packed = functions.pack(data, out, resolution=resolution, seed=seed, jobs=jobs, progress=progress, **options)
    give(packed, as_json, _say_packed)


@generate.command(name="purdue-shapes")
def generate_purdue_shapes(
    count: Count,
    out: Annotated[Path, typer.Option(metavar="FILE.gz", help="A new file; -train or -test in its name is its split.")],
    seed: Seed = 0,
    box_keys: Annotated[
        str,
        typer.Option(
            metavar="KIND", help="Boxes by value (50 to 250), or by plane (0 to 4), as DLStudio's own reader needs."
        ),
    ] = "value",
    as_json: Json = False,
) -> None:
    """Shapes, as a PurdueShapes5MultiObject file."""
    from basrelief import app_data as functions
    from basrelief.terminal import counting

    with counting("Drawing") as progress:
        made = functions.generate_purdue_shapes(count, out, seed=seed, box_keys=box_keys, progress=progress)
    give(made, as_json, _say_generated)


@generate.command(name="scenes")
def generate_scenes(
    count: Count,
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder.")],
    seed: Seed = 0,
    resolution: Annotated[
        str | None, typer.Option(metavar="TEXT", help="N or HEIGHTxWIDTH in pixels.  [default: 64]", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Rooms with a figure, as a folder of files."""
    from basrelief import app_data as functions
    from basrelief.terminal import counting

    with counting("Generating") as progress:
        made = functions.generate_scenes(count, out, seed=seed, resolution=resolution, progress=progress)
    give(made, as_json, _say_generated)


def _say_packed(packed: dict[str, Any]) -> None:
    height, width = packed["resolution"]
    planes = ", ".join(["image", *(["background"] if packed["background"] else []), *packed["targets"]])
    typer.echo(
        f"{packed['count']} samples ({planes}) at {height}x{width}, {packed['bytes'] / 1e6:,.1f} MB: {packed['out']}"
    )
    if packed["copied"]:
        typer.echo(f"{packed['copied']} of them were unchanged and are taken from before.")
    for fault in packed["skipped"]:
        say_aside(f"Left out: {fault}")


def _say_generated(made: dict[str, Any]) -> None:
    typer.echo(f"{made['count']} samples written: {made['out']}")
    typer.echo(f"Look at them: {made['next']}")
