"""What there is, from the tables themselves: for ``basrelief list``, and for the pages of the documentation."""

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
    return {
        "name": name,
        "better": better,
        "unit": unit,
        "formula": spec.formula,
        "summary": spec.meaning,
        "definition": _read_docstring(spec.function)[0],
        "pooled": spec.pooled,
        "source": spec.source,
    }


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
