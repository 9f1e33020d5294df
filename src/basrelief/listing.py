"""What there is, from the tables themselves: for ``basrelief list``, and as pages of the documentation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from basrelief.augment import AUGMENTATIONS
from basrelief.data import FORMATS
from basrelief.errors import UsageError
from basrelief.losses import LOSSES
from basrelief.losses.balance import WRAPPERS
from basrelief.losses.options import describe
from basrelief.losses.options import options_of as options_of_loss
from basrelief.losses.spec import LossSpec
from basrelief.metrics import METRICS
from basrelief.models import ENCODERS, MODELS, ModelSpec, options_of
from basrelief.models.encoders import OPTIONS, PATTERN
from basrelief.recipes import RECIPES
from basrelief.recipes.recipe import FOLDER, read_recipe
from basrelief.schedules import SCHEDULES, schedule_options

KINDS = ("losses", "metrics", "models", "formats", "augmentations", "schedules", "recipes")
SHORT = (
    "call",
    "name",
    "command",
    "targets",
    "better",
    "unit",
    "parameters",
    "stride",
    "formula",
    "summary",
)  # what a terminal shows of a line


def table(kind: str) -> list[dict[str, Any]]:
    """Return the lines of one of ``KINDS``; losses have their wrappers with them."""
    if kind == "losses":
        return [*map(_loss, LOSSES), *map(_wrapper, WRAPPERS)]
    if kind == "metrics":
        return [_metric(name) for name in METRICS]
    if kind == "models":
        return [*(_model(name, spec) for name, spec in MODELS.items()), _encoders()]
    if kind == "formats":
        return [{"name": name, "summary": spec.summary} for name, spec in FORMATS.items()]
    if kind == "augmentations":
        return [_augmentation(name) for name in AUGMENTATIONS]
    if kind == "schedules":
        return [_schedule(name) for name in SCHEDULES]
    if kind == "recipes":
        return [_recipe(name) for name in RECIPES]
    raise UsageError(f"Cannot list {kind!r}: use {', '.join(KINDS[:-1])} or {KINDS[-1]}.")


def losses_page() -> str:
    """Return ``docs/losses.md``."""
    lines = [
        "# Losses",
        "",
        "Made from the tables in the code by `python docs/pages.py`; `basrelief list losses --json` gives the same.",
        "",
        "A loss is a sum of terms, each a loss of this page on a target, times a number:",
        "`2*rmse(depth) + bce(mask) + 2*dice(mask)`. In the formulas p is the prediction after the head's activation,",
        "x the logit before it, t the truth. Every loss looks at each image's known pixels first and then takes the",
        'mean over the images, unless it says otherwise or `over="batch"` pools the batch; computes in at least',
        "float32; and leaves unknown pixels out, in value and gradient. Gradients are of first order.",
        "",
        'Packages define losses of one name differently. `like="monai"` takes that package\'s definition; the options',
        "it stands for are listed, and an option written beside it wins. They hold for binary targets that are known",
        "everywhere; tests compare them with the installed packages, and with formulas written out for those that are",
        "not installed (mmseg, ultralytics, depth_anything, mde_toolbox) and for the write-ups A, C and D.",
        "",
        "| loss | for | formula | |",
        "|---|---|---|---|",
    ]
    for name, spec in LOSSES.items():
        anchor = f"[{name}](#{name})"
        lines.append(f"| {anchor} | {', '.join(spec.targets)} | `{_cell(spec.formula)}` | {_cell(spec.summary)} |")
    for name, wrapper in WRAPPERS.items():
        lines.append(f"| [{name}](#{name}) | a sum | `{_cell(wrapper.formula)}` | {_cell(wrapper.summary)} |")
    for line in table("losses"):
        lines += ["", f"## {line['name']}", "", line["definition"], "", f"`{line['formula']}`", ""]
        lines.append(f"Source: {line['source']}.")
        if line["options"]:
            lines += ["", "| option | default | takes | meaning |", "|---|---|---|---|"]
            for option, facts in line["options"].items():
                cells = (f"`{option}`", f"`{facts['default']!r}`", facts["takes"], facts["meaning"])
                lines.append(f"| {' | '.join(map(_cell, cells))} |")
        if line.get("like"):
            lines += ["", "| `like=` | the same as |", "|---|---|"]
            for package, options in line["like"].items():
                shown = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
                given = ", ".join(f"{name}={value!r}" for name, value in shown.items()) or "our definition"
                lines.append(f'| `"{package}"` | `{given}` |' if options else f'| `"{package}"` | {given} |')
    return "\n".join([*lines, ""])


def metrics_page() -> str:
    """Return ``docs/metrics.md``."""
    lines = [
        "# Metrics",
        "",
        "Made from the table in the code by `python docs/pages.py`; `basrelief list metrics --json` gives the same.",
        "",
        "A metric is computed on every image, and the report shows the mean over images; `_pooled` ones have a single",
        "value for all images together, so that runs cannot be compared by them image by image and `--metric`",
        "refuses them. With several classes, `mask/iou/CLASS` and `mask/dice/CLASS` are there as well. Any error or",
        "delta of depth can be asked for after alignment: `--metric depth/rmse@median` scales each prediction to the",
        "true median, `--metric depth/rmse@scale_shift` fits scale and shift by least squares; nothing is aligned",
        "otherwise.",
        "",
        "An empty mask scores 1 where nothing is predicted and 0 where anything is. How many there are is in `counts`",
        "of `run.json` and of `evaluate --json`; where most masks are empty, as with many classes, predicting nothing",
        "does well, and the pooled scores tell more.",
        "",
        "| metric | better | unit | meaning |",
        "|---|---|---|---|",
    ]
    for line in table("metrics"):
        cells = (f"`{line['name']}`", line["better"], line["unit"], line["summary"])
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join([*lines, ""])


def augment_page() -> str:
    """Return ``docs/augment.md``."""
    lines = [
        "# Augmentation",
        "",
        "Made from the table in the code by `python docs/pages.py`; `basrelief list augmentations --json` gives the",
        "same. Steps stand with + between them, each at most once, with options by name or in the order given here:",
        "",
        "    flip + rotate(10) + scale(0.8, 1.25) + brightness(0.2) + cutout(size=0.3)",
        "",
        "Every step has `p`, the probability that a sample gets it. `none` is no augmentation. Only training batches",
        "are augmented, on the device, at the training resolution.",
        "",
        "**What moves together.** All geometry of a sample is put into one map, and image, background, mask, depth",
        "and what is known of them are sampled at the same positions, once: images bilinear, everything else by the",
        "nearest pixel. So masks stay 0 and 1, depth of two surfaces never mixes, and an unknown pixel's value",
        "reaches no known one. Flips and turns alone only put pixels elsewhere, bit for bit. Geometry comes first,",
        "then colour, then cutout; within each, steps follow as written, elastic after other geometry.",
        "",
        "**The border** is reflected, for all planes alike, so nothing is unknown or black there.",
        "",
        "**Shrinking.** Where a sample's zoom is below 2/3, its pictures are smoothed first by a Gaussian of",
        "(1/zoom-1)/2 pixels; above that, bilinear sampling alone is clean enough. Targets are never smoothed.",
        "",
        "**Depth.** To a fixed camera, things that appear s times larger are s times nearer. So a zoom by s (scale,",
        "crop, pad) divides depth of kind `metric` by s, multiplies `disparity` by s, and leaves `relative` as it is.",
        "What would exceed the run's maximum becomes unknown: with zooms below 1, distant walls do. `scale(low=1)`",
        "and `crop` only bring things nearer. Rotation, shift and elastic leave depth as it is.",
        "",
        "**Colour** changes image and background by the same numbers and the same noise, so the two stay identical",
        "outside the figure; for that reason no step looks at the picture's own mean. `apart=True` on a colour step",
        "draws for the background separately. Steps that are linear in colour become one matrix, applied in one pass;",
        "values are clamped to [0, 1] once, at the end. Blur and JPEG spread the figure by their own reach.",
        "",
        "**Draws.** The numbers of a sample depend on the run's seed, the epoch and the step of training, not on the",
        "loss, the targets or the other steps: every trial of a seed sees the same. They are drawn on the CPU, so",
        "every device sees the same too, noise grain apart.",
        "",
        "| step | | p | |",
        "|---|---|---|---|",
    ]
    for line in table("augmentations"):
        cells = (f"[{line['name']}](#{line['name']})", f"`{line['formula']}`", f"{line['p']:g}", line["summary"])
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    for line in table("augmentations"):
        lines += ["", f"## {line['name']}", "", line["definition"]]
        lines += ["", f"Source: {line['source']}."] if line["source"] else []
        own = {name: facts for name, facts in line["options"].items() if name not in ("p", "apart")}
        if own:
            lines += ["", "| option | default | takes | meaning |", "|---|---|---|---|"]
            for option, facts in own.items():
                cells = (f"`{option}`", f"`{facts['default']!r}`", facts["takes"], facts["meaning"])
                lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join([*lines, ""])


def _recipe(name: str) -> dict[str, Any]:
    recipe = read_recipe(FOLDER / f"{name}.yaml")
    return {
        "name": name,
        "command": f"basrelief {recipe.command} --recipe {name}",
        "summary": recipe.title,
        "write_up": recipe.write_up,
        "dataset": recipe.dataset,
        "made": recipe.data.made,
        "scales": {scale: line.takes for scale, line in recipe.scales.items()},
    }


def _schedule(name: str) -> dict[str, Any]:
    options = schedule_options(name)
    shown = ", ".join(f"{option}={default}" for option, default in options.items())
    call = f"{name}({shown})" if options else name
    return {"name": name, "call": call, "options": options, "summary": SCHEDULES[name].summary}


def _augmentation(name: str) -> dict[str, Any]:
    spec = AUGMENTATIONS[name]
    definition, meanings = _read_docstring(spec.function)
    meanings |= {"p": "the probability with which a sample gets it"}
    chosen = {option: line.default for option, line in spec.options.items() if option not in ("p", "apart")}
    meanings |= {"apart": "draw for image and background separately, so that they differ"}
    return {
        "name": name,
        "call": f"{name}({', '.join(f'{option}={default}' for option, default in chosen.items())})",
        "kind": spec.kind,
        "p": spec.p,
        "formula": spec.formula,
        "summary": spec.summary,
        "definition": definition,
        "options": {
            option: {"default": line.default, "takes": str(line), "meaning": meanings.get(option, "")}
            for option, line in spec.options.items()
        },
        "source": spec.source,
    }


def _loss(name: str) -> dict[str, Any]:
    spec: LossSpec = LOSSES[name]
    definition, meanings = _read_docstring(spec.function)
    return {
        "name": name,
        "kind": "loss",
        "targets": list(spec.targets),
        "formula": spec.formula,
        "summary": spec.summary,
        "definition": definition,
        "takes": spec.takes,
        "pixelwise": spec.pixelwise,
        "options": _options(spec.function, meanings),
        "like": {package: dict(options) for package, options in spec.like.items()},
        "source": spec.source,
    }


def _wrapper(name: str) -> dict[str, Any]:
    spec = WRAPPERS[name]
    definition, meanings = _read_docstring(spec.weighting)
    return {
        "name": name,
        "kind": "wrapper",
        "targets": ["a sum"],
        "formula": spec.formula,
        "summary": spec.summary,
        "definition": definition,
        "options": _options(spec.weighting, meanings, skip=1),
        "source": spec.source,
    }


def _metric(name: str) -> dict[str, Any]:
    spec = METRICS[name]
    better = "higher" if spec.higher_is_better else "lower"
    unit = "of depth" if spec.in_unit else ""
    return {"name": name, "better": better, "unit": unit, "summary": spec.meaning, "source": spec.source}


def _model(name: str, spec: ModelSpec) -> dict[str, Any]:
    definition, meanings = _read_docstring(spec.network)
    options = options_of(name)
    return {
        "name": name,
        "call": f"{name}({', '.join(f'{o}={default!r}' for o, default in options.items())})" if options else name,
        "targets": list(spec.targets),
        "parameters": spec.parameters,
        "stride": getattr(spec.network, "stride", None),
        "summary": spec.summary,
        "definition": definition,
        "options": {
            option: {"default": default, "takes": _TAKES[type(default)], "meaning": meanings.get(option, "")}
            for option, default in options.items()
        },
    }


_TAKES = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


def _encoders() -> dict[str, Any]:
    """Return the line of the names that stand in no table; it is the same whether the extra is installed or not."""
    return {
        "name": PATTERN,
        "call": PATTERN,
        "targets": list(ENCODERS.targets),
        "parameters": None,  # as the encoder's
        "stride": None,
        "summary": ENCODERS.summary,
        "definition": _read_docstring(ENCODERS.network)[0],
        "options": {
            name: dict(zip(("default", "takes", "meaning"), line, strict=True)) for name, line in OPTIONS.items()
        },
    }


def _options(function: Callable[..., Any], meanings: Mapping[str, str], *, skip: int = 2) -> dict[str, dict[str, Any]]:
    return {
        name: {"default": option.default, "takes": describe(option.kind), "meaning": meanings.get(name, "")}
        for name, option in options_of_loss(function, skip=skip).items()
    }


def _read_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return what stands before the first section of a numpy docstring, and the parameters' descriptions by name."""
    text = inspect.getdoc(function) or ""
    head, _, rest = text.partition("\nParameters\n")
    meanings: dict[str, str] = {}
    body = re.split(r"\n\w[\w ]*\n-{3,}\n", rest.partition("\n")[2], maxsplit=1)[0]
    for entry in re.split(r"\n(?=\S)", body):
        names, _, description = entry.partition("\n")
        together = [name.strip() for name in names.split(",")]
        # "logits, target, over: (N, K, H, W), as bce" speaks of the planes, not of the option among them.
        own = together if "target" not in together else [name for name in together if name in ("pred", "target")]
        meanings |= dict.fromkeys(own, " ".join(description.split()))
    for other in re.findall(r"[Aa]s ``(\w+)``", text):
        if other not in LOSSES or LOSSES[other].function is function:
            continue
        for name, meaning in _read_docstring(LOSSES[other].function)[1].items():  # what is left to another's docstring
            if not meanings.get(name) or meanings[name].startswith("As `"):
                meanings[name] = meaning
    definition = "\n\n".join(_unwrapped(part) for part in head.strip().split("\n\n"))
    definition = definition.removeprefix("Return ")
    if definition.split(" ")[0].isalpha():
        definition = definition[:1].upper() + definition[1:]
    return definition.replace("``", "`"), {name: meaning.replace("``", "`") for name, meaning in meanings.items()}


def _unwrapped(part: str) -> str:
    """Return a paragraph on one line, a list with a line an item."""
    return "\n".join(" ".join(item.split()) for item in re.split(r"\n(?=- )", part))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
