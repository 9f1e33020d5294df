"""Commands that look at data or make it: inspect, pack, compose, generate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from basrelief.cli_options import DATA_OPTIONS, SPLIT_OPTIONS, Data, Json, give, say_aside, to_json, with_options
from basrelief.cli_values import offer

app = typer.Typer()
generate = typer.Typer(help="Make data: shapes or scenes, as files.", rich_markup_mode=None)
app.add_typer(generate, name="generate", no_args_is_help=True)


Count = Annotated[int, typer.Option(metavar="N", help="How many pictures.")]
Seed = Annotated[int, typer.Option(metavar="N", help="The same seed makes the same data.")]


@app.command(name="inspect")
@with_options(DATA_OPTIONS, {name: SPLIT_OPTIONS[name] for name in ("split", "group_blocks", "group_file")})
def inspect_(
    data: Data,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with pictures and plots.")] = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """Look at data: what is here, and what is wrong with it.

    Also how a study would divide it, and what its splits would share.
    """
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
    """Decode everything once, into a store that trainings read.

    The same command again decodes only what changed.
    """
    from basrelief import app_data as functions
    from basrelief.terminal import counting

    with counting("Packing") as progress:
        packed = functions.pack(data, out, resolution=resolution, seed=seed, jobs=jobs, progress=progress, **options)
    give(packed, as_json, _say_packed)


COMPOSE_OPTIONS: dict[str, tuple[Any, str]] = {
    "depths": (Path, "Depth maps of the backgrounds, a folder paired by name."),
    **{name: DATA_OPTIONS[name] for name in ("depth_scale", "depth_unit", "depth_kind", "depth_invalid")},
    "teacher": (str, "A depth-estimation network of transformers, by name or path, gives the depth."),
    "positions": (int, "Places of each figure on each background.  [default: 1]"),
    "mirror": (bool, "Paste each figure mirrored as well.  [default: no]"),
    "min_size": (float, "Longest side of a figure, at least, as share of the picture's shorter side.  [default: 0.2]"),
    "max_size": (float, "The same, at most.  [default: 0.53]"),
    "shadow": (bool, "Figures cast a soft shadow.  [default: no]"),
    "harmonise": (bool, "Figures take on colours around them.  [default: no]"),
    "misalign": (float, "Move the scene behind the figure by up to so many pixels.  [default: 0]"),
    "layout": (str, "Of the files: a, b or c.  [default: a]"),
    "jpeg": (int, "Images as JPEG of this quality, with loss.  [default: PNG]"),
    "split": (str, "Shares that divide backgrounds and foregrounds, or random (leaky).  [default: 70/15/15]"),
    "group_blocks": (int, "Keep so many blocks of neighbouring backgrounds whole."),
    "limit": (int, "Composites at most, spread over all."),
    "seed": (int, "The same seed makes the same data.  [default: 0]"),
    "jobs": (int, "Processes.  [default: one a core]"),
    "skip_broken": (bool, "Leave out files that cannot be used, and count them.  [default: no]"),
    "resolution": (str, "N or HEIGHTxWIDTH in pixels.  [default: 224]"),
}


@app.command()
@with_options(COMPOSE_OPTIONS)
def compose(
    backgrounds: Annotated[Path, typer.Argument(metavar="BACKGROUNDS", help="Folder of empty scenes.")],
    foregrounds: Annotated[
        Path, typer.Argument(metavar="FOREGROUNDS", help="Folder of cut-outs: PNG with transparency around the figure.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder, or one that the same command has begun.")],
    pack: Annotated[bool, typer.Option("--pack", help="Write a store instead of files.")] = False,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """Paste cut-outs onto backgrounds, with their masks and depth.

    The result is a training set: image, empty background, mask, and depth where --depths or --teacher gives it.
    """
    from basrelief import app_data as functions
    from basrelief.terminal import counting

    with counting("Composing") as progress:
        made = functions.compose(backgrounds, foregrounds, out, packed=pack, progress=progress, **options)
    give(made, as_json, _say_composed)


@generate.command(name="purdue-shapes")
def generate_purdue_shapes(
    count: Count,
    out: Annotated[Path, typer.Option(metavar="FILE.gz", help="A new file; -train or -test in its name is its split.")],
    seed: Seed = 0,
    box_keys: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Boxes by value (50 to 250), or by plane (0 to 4), as DLStudio's own reader needs.",
            autocompletion=offer("box_keys"),
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


def _say_composed(made: dict[str, Any]) -> None:
    shares = ", ".join(f"{split} {count}" for split, count in made["splits"].items())
    typer.echo(
        f"{made['count']} composites{f' ({shares})' if shares else ''} of {made['backgrounds']} backgrounds and "
        f"{made['foregrounds']} foregrounds: {made['out']}"
    )
    for note in made["notes"]:
        typer.echo(f"· {note}")
    for file, why in made["skipped"].items():
        say_aside(f"{file}: {why}")
    typer.echo(f"Look at them: {made['next']}")


def _say_generated(made: dict[str, Any]) -> None:
    typer.echo(f"{made['count']} samples written: {made['out']}")
    typer.echo(f"Look at them: {made['next']}")
