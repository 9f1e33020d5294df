"""The command line: options in, one of ``app``'s functions, and what it says in words or as JSON.

Only light modules are imported here; what needs torch is imported inside the commands, so that ``--help`` is instant.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from basrelief import __version__, cli_data, cli_doctor, cli_models, cli_share, cli_study, cli_train, cli_use
from basrelief.cli_help import lay_out
from basrelief.cli_options import (
    DATA_OPTIONS,
    SPLIT_OPTIONS,
    TRAIN_OPTIONS,
    WATCH_OPTIONS,
    DataOrRecipe,
    Device,
    Json,
    Out,
    RecipeName,
    Scale,
    give,
    say_recipe,
    to_json,
    with_options,
)
from basrelief.cli_study import say_verdict
from basrelief.cli_values import offer
from basrelief.errors import BasreliefError

app = typer.Typer(
    name="basrelief",
    help="Mask and depth from images, and a controlled experiment that decides which loss to train them with.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.command()
@with_options(DATA_OPTIONS, SPLIT_OPTIONS, TRAIN_OPTIONS, WATCH_OPTIONS)
def train(
    data: DataOrRecipe = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Such as 'bce(mask) + 2*dice(mask)'.  [default: chosen]", autocompletion=offer("loss")
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(metavar="N", help="Processes that share each batch, one for each GPU.  [default: 1]")
    ] = None,
    recipe: RecipeName = None,
    scale: Scale = None,
    out: Out = None,
    device: Device = None,
    as_json: Json = False,
    options: Any = None,
) -> None:
    """Train one network with one loss."""
    from basrelief import app as functions
    from basrelief.terminal_study import StudyProgress

    others = os.environ.get("RANK", "0") != "0"  # started by a launcher; the first process alone talks to the user
    if not others:
        say_recipe("train", recipe, scale)
    with contextlib.nullcontext() if others or (processes or 1) > 1 else StudyProgress() as watcher:
        given = {"loss": loss, "device": device, "processes": processes, **options}
        run = functions.train(data, recipe=recipe, scale=scale, out=out, watcher=watcher, **given)
    if not others:
        give(run, as_json, _say_run)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a study.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="KIND", help="html, markdown (md), pdf, png, badge or json.", autocompletion=offer("report")
        ),
    ] = "html",
    as_json: Json = False,
) -> None:
    """Write the report of a study again, or in another form.

    The verdict is computed anew, from what the trainings left.
    """
    from basrelief.app_report import report as write_report

    give(write_report(directory, to=to), as_json, say_verdict)


@app.command(name="list")
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="losses, metrics, models, formats, augmentations, schedules or recipes.",
            autocompletion=offer("kind"),
        ),
    ],
    as_json: Json = False,
) -> None:
    """List what there is: losses, metrics, models and more."""
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
    """Try it: a study on generated scenes, in minutes.

    It compares BCE, SSIM and Dice for masks, and leaves a verdict and a report.
    """
    from basrelief import app as functions
    from basrelief.terminal_study import StudyProgress

    with StudyProgress() as watcher:
        verdict = functions.demo(out, seeds=seeds, device=device, watcher=watcher)
    give(verdict, as_json, say_verdict)


app.add_typer(cli_study.app)
app.add_typer(cli_data.app)
app.add_typer(cli_models.app)
app.add_typer(cli_train.app)
app.add_typer(cli_share.app)
app.add_typer(cli_use.app)
app.add_typer(cli_doctor.app)
lay_out(app)


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


def _say_run(run: dict[str, Any]) -> None:
    from basrelief.terminal_scores import show_scores

    title = f"Test scores of {run['loss']}, epoch {run['best_epoch']} of {len(run['curve'])}"
    show_scores(run["metrics"], title, run["depth_unit"] or "", run["counts"])
    typer.echo(f"{run['images_per_second']:.0f} images/s, {run['seconds']:.0f} s of training. Run: {run['run']}")


STOPPED = "Stopped. The same command goes on from whatever was finished."
STOPPED_WHOLE = "Stopped. Nothing was written: the same command starts again."
OUR_FAULT = (
    "This is a fault in Basrelief, not in what it was given. Please report it, with the lines above, the command, and "
    "what basrelief doctor says."
)
WHOLE = ("evaluate", "compare", "export")  # commands that write nothing until all is done


class _Stopped(BaseException):
    """Ctrl-C or a request to end. Not a KeyboardInterrupt, which typer would answer itself, without our message."""

    asked = False


def main() -> None:
    """Run the command line; a user's mistake ends in one message and exit code 1 or 2, never in a traceback."""
    from basrelief.cut_short import answer_cuts

    _Stopped.asked = False
    answer_cuts()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    for stream in (sys.stdout, sys.stderr):  # file names may hold bytes that are no text; JSON stays JSON
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.filterwarnings("ignore", module="PIL")  # what it warns of, our own faults say by file
    try:
        app(prog_name="basrelief", standalone_mode=True)
    except BasreliefError as error:
        _end(str(error), error.exit_code)
    except SystemExit as end:
        if end.code == 2 and "--json" in sys.argv:  # typer has said what is wrong on standard error
            typer.echo(json.dumps({"error": "wrong usage; standard error says what is wrong"}))
        raise
    except _Stopped:
        _end(_say_stopped(), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if _Stopped.asked:  # a library that was at work wrapped it in an error of its own
            _end(_say_stopped(), 1)
        _end_with(error)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # all is done: to be stopped while Python ends needs no words
            signal.signal(number, signal.SIG_DFL)


# What the system may refuse, and what to do about it; anything else it says in its own words.
REMEDIES = {
    errno.EMFILE: "Raise the limit of open files (ulimit -n 4096), or lower --jobs and --workers.",
    errno.ENFILE: "The whole machine has too many files open: end other programs.",
    errno.ENOSPC: "Free some space and run the same command again.",
    errno.EDQUOT: "Free some space and run the same command again.",
    errno.EIO: "The disk or the network behind it has failed; look after it before going on.",
    errno.ESTALE: "The network folder has gone away; mount it again, and run the same command again.",
    errno.ELOOP: "A link leads back to itself: mend or remove it.",
    errno.ENOENT: "It was there, or was to be, and is not: was it removed meanwhile?",
    errno.ENOMEM: "Close other programs, or ask for less: a smaller --batch-size, --resolution or --jobs.",
    errno.EACCES: "Change its permissions, or choose another place.",
    errno.EPERM: "Change its permissions, or choose another place.",
    errno.EROFS: "Choose another place.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


def _end_with(error: Exception) -> None:
    """End with what nobody turned into a message of ours: the system's refusals, and faults of Basrelief."""
    from basrelief.launch import is_neighbour_lost

    if isinstance(error, OSError) and error.errno is not None:
        name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
        remedy = REMEDIES.get(error.errno, "")
        _end(f"{error.strerror}: {name or 'a file that was being read or written'}.{remedy and f' {remedy}'}", 1)
    if isinstance(error, MemoryError):
        _end(f"Memory does not suffice. {REMEDIES[errno.ENOMEM]}", 1)
    if isinstance(error, ImportError) and error.name and error.name.partition(".")[0] != "basrelief":
        _end(f"The package {error.name!r} cannot be loaded ({error}). basrelief doctor says what to install.", 1)
    if is_neighbour_lost(error):
        sys.exit(1)  # the process that ended first has said why
    traceback.print_exception(error)
    _end(f"{OUR_FAULT} ({type(error).__name__}: {error})", 1)


def _say_stopped() -> str:
    return STOPPED_WHOLE if sys.argv[1:2] and sys.argv[1] in WHOLE else STOPPED


def _stop(_signal: int, _frame: object) -> None:
    _Stopped.asked = True
    raise _Stopped


def _end(message: str, code: int) -> None:
    if os.environ.get("RANK", "0") != "0":  # of several processes the first speaks
        sys.exit(code)
    if "--json" in sys.argv:
        typer.echo(json.dumps({"error": message}, ensure_ascii=False))
    typer.echo(f"basrelief: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
