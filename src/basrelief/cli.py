"""The command line: options in, one of ``app``'s functions, and what it says in words or as JSON.

Only light modules are imported here; what needs torch is imported inside the commands, so that ``--help`` is instant.
"""

from __future__ import annotations

import errno
import inspect
import io
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from basrelief import __version__
from basrelief.errors import BasreliefError

app = typer.Typer(
    name="basrelief",
    help="Mask and depth from images, and a controlled experiment that decides which loss to train them with.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

generate = typer.Typer(help="Make data: shapes or scenes, as files.", rich_markup_mode=None)
app.add_typer(generate, name="generate", no_args_is_help=True)

Data = Annotated[
    str,
    typer.Argument(metavar="DATA", help="A folder or file in any known format (basrelief list formats), or scenes:N."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Where results go.  [default: runs/NAME]")]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.  [default: auto]")]

# Option name (as in the settings) -> type and help. Shared by every command that reads data.
DATA_OPTIONS: dict[str, tuple[Any, str]] = {
    "format": (str, "Format of the data; found by looking if not given."),
    "depth_scale": (float, "Stored depth times this is depth in --depth-unit, such as 0.001 for millimetres."),
    "depth_unit": (str, "Unit of depth, such as m."),
    "depth_kind": (str, "metric, relative or disparity."),
    "depth_invalid": (str, "Stored values that mean unknown, such as 0,65535."),
    "depth_max": (float, "Depth beyond this counts as unknown; the largest found if not given."),
    "mask_map": (str, "What stored mask values mean, such as 0=background,255=figure; 'unknown' leaves pixels out."),
    "invert_masks": (bool, "Whether masks are stored dark on bright; found by looking if not given."),
    "categories": (str, "Of outlined instances (COCO): person,dog gives a plane each, person+dog one.  [default: all]"),
    "single_instance": (bool, "Only images with exactly one instance of these categories."),
    "min_box": (int, "Only images where it, or one of several, has a box of at least N x N pixels."),
    "background": (bool, "Whether to use backgrounds where there are any.  [default: yes]"),
}
SPLIT_OPTIONS: dict[str, tuple[Any, str]] = {
    "split": (
        str,
        "group, background, foreground, random, shares such as 80/0/20, or a CSV file with id and split.  "
        "[default: group, 70/15/15]",
    ),
    "group_blocks": (int, "Keep each of this many blocks of neighbouring samples in one split."),
    "group_file": (Path, "CSV file with id and group; a group stays in one split."),
    "limit": (int, "Use this many samples, spread over all."),
    "skip_broken": (bool, "Go on without broken files, and count them."),
}
TRAIN_OPTIONS: dict[str, tuple[Any, str]] = {
    "network": (str, "A network, with options in call form, such as 'masknet(dropout=0.1)'.  [default: chosen]"),
    "resolution": (str, "N or HEIGHTxWIDTH in pixels, such as 48x64.  [default: chosen]"),
    "epochs": (int, "Passes over the training images.  [default: chosen]"),
    "batch_size": (int, "Images a step.  [default: 16]"),
    "optimizer": (str, "adamw or sgd.  [default: adamw]"),
    "lr": (float, "Learning rate.  [default: 0.001]"),
    "momentum": (float, "SGD's momentum.  [default: 0.9]"),
    "weight_decay": (float, "Weight decay.  [default: 0]"),
    "schedule": (str, "Of the learning rate: constant, step or one-cycle.  [default: constant]"),
    "metric": (str, "What chooses checkpoints and decides.  [default: mask/iou, without masks depth/rmse]"),
    "augment": (str, "Of training batches, such as 'flip + rotate(degrees=10)' (basrelief list augmentations)."),
    "activation": (str, "Activation of a head, such as mask=identity.  [default: sigmoid]"),
    "weights": (str, "none, or a run or checkpoint to start from.  [default: none]"),
    "precision": (str, "auto, fp32, bf16 or fp16.  [default: auto]"),
    "seed": (int, "The seed; a study's first, the others follow.  [default: 0]"),
}


def with_options(*tables: Mapping[str, tuple[Any, str]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these tables; it receives those that were given as a dict."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "options"]
        names = {name: line for table in tables for name, line in table.items()}

        def run(**given: Any) -> None:
            options = {name: given.pop(name) for name in names}
            command(**given, options={k: v for k, v in options.items() if v is not None})

        shared = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(name, kind, text)
            )
            for name, (kind, text) in names.items()
        ]
        parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *shared]
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _annotation(name: str, kind: Any, text: str) -> Any:
    option = "--" + name.replace("_", "-")
    if kind is bool:
        declaration = f"{option}/--no-{name.replace('_', '-')}"
        return Annotated[bool | None, typer.Option(declaration, help=text, show_default=False)]
    metavar = {int: "N", float: "X"}.get(kind, "TEXT" if kind is str else "FILE")
    return Annotated[kind | None, typer.Option(option, metavar=metavar, help=text, show_default=False)]


@app.command()
@with_options(DATA_OPTIONS, SPLIT_OPTIONS, TRAIN_OPTIONS)
def study(
    data: Data,
    loss: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A loss to compare, such as 'bce(mask) + 2*dice(mask)'; repeat for each."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="Trainings a loss.  [default: 5]")] = None,
    folds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Cross-validate: N trainings a loss and seed, each judged by another part."),
    ] = None,
    margin: Annotated[
        float | None, typer.Option(metavar="X", help="Differences up to this are practically equal.")
    ] = None,
    out: Out = None,
    device: Device = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """Which loss? Train each on the same seeds, compare in pairs, and report."""
    from basrelief import app as functions
    from basrelief.terminal import StudyProgress

    given = {
        "losses": tuple(loss) if loss else None,
        "seeds": seeds,
        "folds": folds,
        "margin": margin,
        "device": device,
        **options,
    }
    with StudyProgress() as watcher:
        verdict = functions.study(data, out=out, watcher=watcher, **given)
    _give(verdict, as_json, _say_verdict)
    if all(row["mean"] is None for row in verdict["losses"]):
        raise typer.Exit(1)


@app.command()
@with_options(DATA_OPTIONS, SPLIT_OPTIONS, TRAIN_OPTIONS)
def train(
    data: Data,
    loss: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Such as 'bce(mask) + 2*dice(mask)'.  [default: chosen]")
    ] = None,
    out: Out = None,
    device: Device = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """Train one network with one loss."""
    from basrelief import app as functions
    from basrelief.terminal import StudyProgress

    with StudyProgress() as watcher:
        run = functions.train(data, out=out, watcher=watcher, loss=loss, device=device, **options)
    _give(run, as_json, _say_run)


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
    from basrelief import app as functions

    result = functions.evaluate(run, data, device=device or "auto", **options)
    _give(result, as_json, _say_scores)
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
    from basrelief import app as functions
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
    _give(result, as_json, _say_predicted)
    if result["failed"]:
        raise typer.Exit(1)


@app.command(name="inspect")
@with_options(DATA_OPTIONS, {name: SPLIT_OPTIONS[name] for name in ("split", "group_blocks", "group_file")})
def inspect_(
    data: Data,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with pictures and plots.")] = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """What is here, what is wrong with it, and what a study's splits would share."""
    from basrelief import app as functions
    from basrelief.terminal import counting, show_inspection

    with counting("Looking") as progress:
        inspection = functions.inspect(data, html=html, progress=progress, **options)
    if as_json:
        typer.echo(functions.as_json(inspection.to_dict()))
    else:
        show_inspection(inspection)
        if html is not None:
            typer.echo(f"Written: {html}")
    if any(fault.fatal for fault in inspection.faults):
        raise typer.Exit(1)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a study.")],
    to: Annotated[str, typer.Option(metavar="KIND", help="html, markdown, png or json.")] = "html",
    as_json: Json = False,
) -> None:
    """Write the verdict and the report of a study again, from what its trainings left."""
    from basrelief import app as functions

    _give(functions.report(directory, to=to), as_json, _say_verdict)


@app.command(name="list")
def list_(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="losses, metrics, models, formats or augmentations.")],
    as_json: Json = False,
) -> None:
    """List what there is: losses, metrics, models, formats, augmentations."""
    from basrelief.app import as_json as to_json
    from basrelief.listing import table
    from basrelief.terminal import show_table

    lines = table(kind)
    if as_json:
        typer.echo(to_json(lines))
    else:
        show_table(lines)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where results go.")] = Path("runs/demo"),
    seeds: Annotated[int, typer.Option(metavar="N", help="Trainings a loss.")] = 3,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """A study on generated scenes, in minutes: BCE, SSIM or Dice for masks."""
    from basrelief import app as functions
    from basrelief.terminal import StudyProgress

    with StudyProgress() as watcher:
        verdict = functions.demo(out, seeds=seeds, device=device, watcher=watcher)
    _give(verdict, as_json, _say_verdict)


Count = Annotated[int, typer.Option(metavar="N", help="How many.")]
Seed = Annotated[int, typer.Option(metavar="N", help="The same seed makes the same data.")]


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
    from basrelief import app as functions
    from basrelief.terminal import counting

    with counting("Drawing") as progress:
        made = functions.generate_purdue_shapes(count, out, seed=seed, box_keys=box_keys, progress=progress)
    _give(made, as_json, _say_generated)


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
    from basrelief import app as functions
    from basrelief.terminal import counting

    with counting("Generating") as progress:
        made = functions.generate_scenes(count, out, seed=seed, resolution=resolution, progress=progress)
    _give(made, as_json, _say_generated)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _callback(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


def _give(document: dict[str, Any], as_json: bool, say: Callable[[dict[str, Any]], None]) -> None:
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        say(document)


def _say_verdict(verdict: dict[str, Any]) -> None:
    from basrelief.terminal import show_verdict

    show_verdict(verdict)


def _say_run(run: dict[str, Any]) -> None:
    from basrelief.terminal import show_scores

    title = f"Test scores of {run['loss']}, epoch {run['best_epoch']} of {len(run['curve'])}"
    show_scores(run["metrics"], title, run["depth_unit"] or "", run["counts"])
    typer.echo(f"{run['images_per_second']:.0f} images/s, {run['seconds']:.0f} s of training. Run: {run['run']}")


def _say_scores(result: dict[str, Any]) -> None:
    from basrelief.terminal import show_scores

    if result["note"]:
        _note(result["note"])
    title = f"{result['images']} images: {result['on']}"
    show_scores(result["metrics"], title, result["depth_unit"], result["counts"])
    if result["seen"]:
        _note(f"{result['seen']} images were seen in training and are left out.")
    for file, why in result["failed"].items():
        _note(f"{file}: {why}")


def _say_predicted(result: dict[str, Any]) -> None:
    kept = f", {result['kept']} kept from before (--overwrite replaces them)" if result["kept"] else ""
    if result["note"]:
        _note(result["note"])
    typer.echo(f"{result['written']} predicted into {result['out']}{kept}.")
    for why in result["failed"].values():
        _note(why)


def _say_generated(made: dict[str, Any]) -> None:
    typer.echo(f"{made['count']} samples written: {made['out']}")
    typer.echo(f"Look at them: {made['next']}")


def _note(text: str) -> None:
    typer.echo(text, err=True)


class _Stopped(BaseException):
    """Ctrl-C or a request to end. Not a KeyboardInterrupt, which typer would answer itself, without our message."""


def main() -> None:
    """Run the command line; a user's mistake ends in one message and exit code 1 or 2, never in a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    for stream in (sys.stdout, sys.stderr):  # file names may hold bytes that are no text; JSON stays JSON
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.filterwarnings("ignore", module="PIL")  # what it warns of, our own faults say by file
    try:
        app(standalone_mode=True)
    except BasreliefError as error:
        _end(str(error), error.exit_code)
    except SystemExit as end:
        if end.code == 2 and "--json" in sys.argv:  # typer has said what is wrong on standard error
            typer.echo(json.dumps({"error": "wrong usage; standard error says what is wrong"}))
        raise
    except _Stopped:
        _end("Stopped. What was finished is kept; the same command goes on from there.", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        _end(f"{error.strerror}: {error.filename or 'a file that was being written'}.", 1)


def _stop(_signal: int, _frame: object) -> None:
    raise _Stopped


def _end(message: str, code: int) -> None:
    if "--json" in sys.argv:
        typer.echo(json.dumps({"error": message}, ensure_ascii=False))
    typer.echo(f"basrelief: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
