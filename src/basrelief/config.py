"""Checked settings: what a user may ask for, each with a default or None for "choose for me".

Nothing is built here; networks, losses and data never see these classes.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from basrelief.data.mask_values import parse_mask_map
from basrelief.data.source import DataOptions
from basrelief.errors import UsageError, suggest

S = TypeVar("S", bound=BaseModel)
Positive = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=8, le=8192)]


def _read_resolution(value: Any) -> Any:
    """Read "64" and "48x64"; one number is both sides."""
    parts = str(value).lower().split("x") if isinstance(value, str | int) else value
    if isinstance(value, str) and (len(parts) > 2 or not all(part.strip().isdigit() for part in parts)):
        raise UsageError(f"--resolution {value!r}: expected N or HEIGHTxWIDTH, such as 64 or 48x64.")
    return (int(parts[0]), int(parts[-1])) if isinstance(value, str | int) else value


def _read_numbers(value: Any) -> Any:
    """Read "0,65535". Order does not matter, and what is not finite is unknown in any case."""
    try:
        numbers = [float(part) for part in (value.split(",") if isinstance(value, str) else value)]
    except (TypeError, ValueError):
        raise UsageError(f"--depth-invalid {value!r}: expected numbers with commas between, such as 0,65535.") from None
    return tuple(sorted(number for number in set(numbers) if math.isfinite(number)))


def _read_names(value: Any) -> Any:
    """Read "person,dog"."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        return value
    if not names or not all(str(name).strip() for name in names):
        raise UsageError(f"--categories {value!r}: expected names or ids with commas between, such as person,dog.")
    return tuple(dict.fromkeys(str(name).strip() for name in names))


def _read_activations(value: Any) -> Any:
    """Read "mask=identity,depth=softplus"."""
    if not isinstance(value, str):
        return value
    pairs = [part.split("=") for part in value.split(",")]
    if not all(len(pair) == 2 for pair in pairs):
        raise UsageError(f"--activation {value!r}: expected HEAD=NAME, such as mask=identity.")
    return {head.strip(): name.strip() for head, name in pairs}


def _read_location(value: Any) -> Any:
    """Make a path absolute: a run must mean the same data from any folder. ``scenes:500`` stays as it is."""
    text = str(value)
    return text if ":" in text.partition("/")[0] else os.path.abspath(text)  # noqa: PTH100 - links stay links


def _read_split(value: Any) -> Any:
    """Make the path of a file absolute, as that of the data is; rules and shares stay as they are."""
    return os.path.abspath(value) if isinstance(value, str | Path) and os.path.isfile(value) else value  # noqa: PTH100, PTH113


Resolution = Annotated[tuple[Side, Side], BeforeValidator(_read_resolution)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_read_numbers)]
MaskMap = Annotated[dict[int, str], BeforeValidator(lambda v: parse_mask_map(v) if isinstance(v, str) else v)]
Names = Annotated[tuple[str, ...], BeforeValidator(_read_names), Field(min_length=1)]
Activations = Annotated[dict[str, str], BeforeValidator(_read_activations)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSettings(_Settings):
    """Which data, how it is read, and how it is divided.

    The options of reading are those of ``basrelief.data.source.DataOptions``.
    """

    location: Annotated[str, BeforeValidator(_read_location)]
    format: str | None = None
    background: bool = True
    depth_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    depth_unit: str | None = None
    depth_kind: Literal["metric", "relative", "disparity"] | None = None
    depth_invalid: Numbers = ()
    depth_max: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    mask_map: MaskMap | None = None
    invert_masks: bool | None = None
    categories: Names | None = None
    single_instance: bool = False
    min_box: Positive | None = None
    split: Annotated[str, BeforeValidator(_read_split)] = "group"
    group_blocks: Positive | None = None
    group_file: Annotated[Path, BeforeValidator(_read_location)] | None = None
    limit: Positive | None = None
    skip_broken: bool = False

    def options(self, resolution: tuple[int, int] | None, seed: int) -> DataOptions:
        """Return the part that reading needs."""
        names = set(DataOptions.__dataclass_fields__) & set(type(self).model_fields)
        return DataOptions(**{name: getattr(self, name) for name in names}, resolution=resolution, seed=seed)


class TrainSettings(_Settings):
    """How a network is trained.

    Attributes
    ----------
    network
        A name of ``MODELS`` with options; None: chosen from the data.
    resolution
        (height, width) in pixels; None: chosen from the data.
    epochs
        Passes over the training samples; None: chosen from their number.
    batch_size
        Samples a step.
    optimizer, lr, momentum, weight_decay
        AdamW or SGD; ``momentum`` is SGD's. Weight decay is off unless asked for.
    schedule
        Of the learning rate: constant, "step" (a tenth after each third of the epochs) or "one-cycle" (up and down
        again, ``lr`` at its top).
    metric
        Chooses the checkpoint and decides the study; None: ``mask/iou`` where there are masks, else ``depth/rmse``.
    activation
        Head -> activation, sigmoid where not given.
    augment
        What is done to training batches, as ``parse_augment`` reads it; "none" by default.
    weights
        "none", or a run or checkpoint to start from.
    device, precision
        "auto" chooses; what was chosen is stored and used again on resuming.
    seed
        The first seed of a study, or the seed of a run.
    """

    network: str | None = None
    resolution: Resolution | None = None
    epochs: Positive | None = None
    batch_size: Positive = 16
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    schedule: Literal["constant", "step", "one-cycle"] = "constant"
    metric: str | None = None
    activation: Activations = {}
    augment: str = "none"
    weights: str = "none"
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class RunSettings(_Settings):
    """One training: data, how to train, and the loss; None: chosen from the targets."""

    data: DataSettings
    train: TrainSettings = TrainSettings()
    loss: str | None = None


class StudySettings(_Settings):
    """A comparison of losses, each trained on the same seeds.

    Attributes
    ----------
    losses
        Expressions, each optionally named: ``"name = expression"``. Empty: chosen from the targets.
    seeds
        Number of seeds, from ``train.seed`` on.
    margin
        Differences of the primary metric up to this size are practically equal; None: 0.005 for scores in [0, 1],
        1 % of the better mean for errors.
    folds
        Cross-validation: each seed of a loss is trained so many times, and another part of the data judges each time;
        None: one split.
    """

    data: DataSettings
    train: TrainSettings = TrainSettings()
    losses: tuple[str, ...] = ()
    seeds: Positive = 5
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    folds: Annotated[int, Field(ge=3)] | None = None


def checked(settings: type[S], values: dict) -> S:
    """Return ``settings(**values)``; a wrong value is a UsageError that names the option as the user typed it."""
    try:
        return settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][-1]) if first["loc"] else ""
        for place in first["loc"]:  # the innermost name, not the index within a tuple
            name = place if isinstance(place, str) else name
        if first["type"] == "extra_forbidden":
            raise UsageError(f"Unknown setting {name!r}.{suggest(name, settings.model_fields)}") from None
        option = "--" + name.replace("_", "-")
        raise UsageError(f"{option} {first['input']!r}: expected {_expected(first)}.") from None


_BOUNDS = {
    "greater_than_equal": "{ge:g} or more",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "{le:g} or less",
    "less_than": "less than {lt:g}",
}


def _expected(error: Any) -> str:
    """Say what was expected in our own words where pydantic's are long."""
    if bound := _BOUNDS.get(error["type"]):
        return bound.format(**error["ctx"])
    said = str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    return said if error["type"] == "literal_error" else said.partition(", ")[0]
