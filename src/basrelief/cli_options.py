"""What commands of the command line share: their options as tables, and how they hand over what they found."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from basrelief.cli_values import offer

Data = Annotated[
    str,
    typer.Argument(metavar="DATA", help="A folder or file in any known format (basrelief list formats), or scenes:N."),
]
DataOrRecipe = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="A folder or file in any known format (basrelief list formats), or scenes:N. Optional with --recipe.",
        show_default=False,
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="A write-up's experiment (basrelief list recipes), or a YAML file.",
        autocompletion=offer("recipe"),
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Of a recipe: smoke (seconds), small (minutes) or full.  [default: small]",
        autocompletion=offer("scale"),
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Out = Annotated[str | None, typer.Option(metavar="DIR", help="Where results go.  [default: runs/NAME]")]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.  [default: auto]", autocompletion=offer("device")
    ),
]
# A string, since Path would shorten the // of hf://
Trained = Annotated[
    str, typer.Argument(metavar="RUN", help="A run, a study, an exported or saved network, or hf://OWNER/NAME.")
]
Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="X",
        help="A pixel is mask above this probability; best: as found on validation.  [default: 0.5]",
        autocompletion=offer("threshold"),
    ),
]
Tile = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Side of overlapping tiles for large images; none: resize.  [default: auto]",
        autocompletion=offer("tile"),
    ),
]
Mirror = Annotated[
    bool | None, typer.Option("--mirror/--no-mirror", help="Average with the mirrored image's result.  [default: no]")
]
Ensemble = Annotated[bool, typer.Option("--ensemble", help="Of a study, average the networks of all seeds.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")]

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
    "categories": (
        str,
        "Of outlined instances (COCO, YOLO, LabelMe): person,dog gives a plane each, person+dog one.  [default: all]",
    ),
    "single_instance": (bool, "Only images with exactly one instance of these categories."),
    "min_box": (int, "Only images where an instance of these categories has a box of at least N x N pixels."),
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
    "resolution": (
        str,
        "N or HEIGHTxWIDTH in pixels, or stages with a batch size and epochs each: 64:512x3,112:128x3.  "
        "[default: chosen]",
    ),
    "epochs": (int, "Passes over the training images.  [default: chosen]"),
    "batch_size": (str, "Images a step; max: as many as fit.  [default: 16]"),
    "accumulate": (int, "Compute each batch in N parts, which takes less memory.  [default: 1]"),
    "optimizer": (str, "adamw, adam or sgd.  [default: adamw]"),
    "lr": (str, "Learning rate, or search: short trainings find one first.  [default: the network's]"),
    "momentum": (float, "SGD's momentum.  [default: 0.9]"),
    "weight_decay": (float, "Weight decay; biases and normalisations are spared.  [default: 0]"),
    "decay_all": (bool, "Whether weight decay takes biases and normalisations as well.  [default: no]"),
    "schedule": (
        str,
        "Of the learning rate: constant, step, plateau, one-cycle or cosine, with options as in 'cosine(warmup=0.1)'.  "
        "[default: cosine]",
    ),
    "clip": (float, "Largest norm of the gradient.  [default: as it is]"),
    "ema": (float, "Decay of the running average of the weights that is judged and kept; 0: none.  [default: 0.99]"),
    "patience": (int, "Stop after N epochs without a better score.  [default: never]"),
    "freeze": (str, "Parts of the network that stay as they are, such as encoder,norms."),
    "metric": (str, "What chooses checkpoints and decides.  [default: mask/iou, without masks depth/rmse]"),
    "augment": (
        str,
        "Of training batches, such as 'flip + rotate(degrees=10)' (basrelief list augmentations).  [default: none]",
    ),
    "activation": (str, "Activation of a head, such as mask=identity.  [default: sigmoid]"),
    "mask_values": (str, "Label values that the mask head regresses, one a class: 50,100 (with mask=identity)."),
    "weights": (
        str,
        "none, a run or file to start from, or (smp/ networks) a name such as imagenet.  [default: none]",
    ),
    "precision": (str, "auto, fp32, tf32, bf16 or fp16.  [default: auto, measured]"),
    "compile": (bool, "Whether to compile the network (torch.compile).  [default: on GPUs where measured to pay]"),
    "deterministic": (bool, "Whether a GPU computes the same bits at every start; a CPU always does.  [default: no]"),
    "threads": (int, "Threads on a CPU.  [default: measured]"),
    "seed": (int, "The seed; a study's first, the others follow.  [default: 0]"),
}
WATCH_OPTIONS: dict[str, tuple[Any, str]] = {
    "checkpoint_every": (float, "Seconds between checkpoints, which is what a power cut may cost.  [default: 60]"),
    "log_every": (int, "Steps that a point of the curves averages.  [default: 50]"),
    "tracker": (
        str,
        "Who draws the curves: tensorboard, other names that accelerate knows, none.  [default: tensorboard]",
    ),
    "workers": (int, "Threads that gather batches in advance.  [default: chosen]"),
}
EXECUTION_OPTIONS: dict[str, tuple[Any, str]] = {
    "jobs": (str, "Trials at once: a number, or auto, measured.  [default: auto]"),
    "executor": (str, "local, or ray: on a Ray cluster.  [default: local]"),
    "address": (str, "Of the Ray cluster, such as auto.  [default: one that runs here, or this machine alone]"),
}
FOLDERS = ("depths",)  # options that are paths of folders; other paths are files


def with_options(*tables: Mapping[str, tuple[Any, str]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these tables; it receives those that were given as a dict."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "options"]
        names = {name: line for table in tables for name, line in table.items()}

        def run(**given: Any) -> None:
            options = {name: given.pop(name) for name in names}
            command(**given, options={k: v for k, v in options.items() if v is not None and v != []})

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
    if kind == list[str]:
        shown = typer.Option(option, metavar="TEXT", help=text, show_default=False, autocompletion=offer(name))
        return Annotated[list[str] | None, shown]
    metavar = "DIR" if name in FOLDERS else {int: "N", float: "X"}.get(kind, "TEXT" if kind is str else "FILE")
    shown = typer.Option(option, metavar=metavar, help=text, show_default=False, autocompletion=offer(name))
    return Annotated[kind | None, shown]


def read_threshold(text: str | None) -> Any:
    """Return what ``--threshold`` says: None, a number, or "best"."""
    from basrelief.errors import UsageError

    if text is None or text == "best":
        return text
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--threshold {text}: expected a probability between 0 and 1, or best.") from None


def to_json(document: Any) -> str:
    """Return a document as JSON for standard output."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def give(document: dict[str, Any], as_json: bool, say: Callable[[dict[str, Any]], None]) -> None:
    """Hand over what a command found: as JSON, or in the words of ``say``."""
    if as_json:
        typer.echo(to_json(document))
    else:
        say(document)


def say_aside(text: str) -> None:
    """Say something that is no result, on standard error."""
    typer.echo(text, err=True)


def say_recipe(command: str, recipe: str | None, scale: str | None) -> None:
    """Say on standard error what a recipe asks, and how large it is run; nothing without one."""
    if recipe is not None:
        from basrelief.recipes import find_recipe

        found, size = find_recipe(recipe, command), scale or "small"
        only = " It only shows that everything runs; nothing is learned." if size == "smoke" else ""
        say_aside(f"{found.title} (recipe {found.name}, scale {size}).{only}")
