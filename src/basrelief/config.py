"""Checked settings: what a user may ask for, each with a default or None for "choose for me".

Nothing is built here; networks, losses and data never see these classes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from basrelief.data.source import DataOptions
from basrelief.errors import UsageError, suggest
from basrelief.option_texts import (
    Activations,
    BatchSize,
    Freeze,
    GroupFile,
    Jobs,
    LabelValues,
    LearningRate,
    Location,
    MaskMap,
    Names,
    Numbers,
    Place,
    Positive,
    Resolution,
    SplitRule,
    Trackers,
)

S = TypeVar("S", bound=BaseModel)


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSettings(_Settings):
    """Which data, how it is read, and how it is divided.

    The options of reading are those of ``basrelief.data.source.DataOptions``.
    """

    location: Location
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
    split: SplitRule = "group"
    group_blocks: Positive | None = None
    group_file: GroupFile | None = None
    limit: Positive | None = None
    skip_broken: bool = False

    def options(self, resolution: tuple[int, int] | None, seed: int) -> DataOptions:
        """Return the part that reading needs."""
        names = set(DataOptions.__dataclass_fields__) & set(type(self).model_fields)
        return DataOptions(**{name: getattr(self, name) for name in names}, resolution=resolution, seed=seed)


class _Size(_Settings):
    resolution: Resolution


class Stage(_Settings):
    """A part of a training at one resolution: (height, width), images a step, passes over the training samples."""

    resolution: Resolution
    batch_size: Positive
    epochs: Positive


class TrainSettings(_Settings):
    """How a network is trained.

    Attributes
    ----------
    network
        A name of ``MODELS`` with options; None: chosen from the data.
    resolution
        (height, width) in pixels; None: chosen from the data. Given as ``"64:512x3,112:128x3"`` it sets ``stages``, and
        is that of the last one.
    stages
        One after another, each with its resolution, batch size and epochs; empty: a single one of the settings below.
    epochs
        Passes over the training samples; None: chosen from their number.
    batch_size
        Samples a step, whatever ``accumulate`` and the number of processes; "max": as many as fit, measured once and
        then stored.
    accumulate
        Each step's batch is computed in so many parts, one after another, which takes less memory.
    optimizer, momentum, weight_decay, decay_all
        AdamW, Adam or SGD; ``momentum`` is SGD's. Weight decay is off unless asked for, and leaves biases and
        normalisations alone unless ``decay_all``.
    lr
        The learning rate. "search": a range test and a few short trainings, as many for every loss, find one for each
        before its trainings (docs/lr-range.md). None: "search" in a study, in a training alone the network's own.
    schedule
        Of the learning rate: a name of ``SCHEDULES`` with options in call form; None: constant in a study, where a
        curve that still rises must be seen, and cosine in a training alone.
    clip
        Largest norm of the gradient; None: as it is.
    ema
        Decay of a running average of the weights, which is what is judged and kept; 0: none, the weights themselves.
    patience
        Stop after so many epochs without a better score; None: never.
    freeze
        Parts of the network that stay as they are: "encoder", "norms", or names of its own parts.
    metric
        Chooses the checkpoint and decides the study; None: ``mask/iou`` where there are masks, else ``depth/rmse``.
    activation
        Head -> activation, sigmoid where not given.
    mask_values
        Label values that the mask head regresses, one a class, as write-up D's 50, 100, ...; the losses of masks then
        see these in place of 1. Needs the activation ``identity``.
    augment
        What is done to training batches, as ``parse_augment`` reads it; "none" by default.
    weights
        "none"; a run, checkpoint or file of tensors to start from; or the name of pretrained weights of an ``smp/``
        network.
    deterministic
        On a GPU, the same bits at every start and after resuming, at some cost; on a CPU that is always so.
    device, precision, threads, compile
        "auto" or None chooses; what was chosen is stored and used again on resuming.
    seed
        The first seed of a study, or the seed of a run.
    """

    network: str | None = None
    resolution: Resolution | None = None
    stages: tuple[Stage, ...] = ()
    epochs: Positive | None = None
    batch_size: BatchSize = 16
    accumulate: Positive = 1
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: LearningRate | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    decay_all: bool = False
    schedule: str | None = None
    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    patience: Positive | None = None
    freeze: Freeze = ()
    metric: str | None = None
    activation: Activations = {}
    mask_values: LabelValues = ()
    augment: str = "none"
    weights: Place = "none"
    device: str = "auto"
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    deterministic: bool = False
    threads: Positive | None = None
    compile: bool | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="before")
    @classmethod
    def _sort_stages(cls, values: dict[str, Any]) -> dict[str, Any]:
        asked = values.get("resolution")
        if asked is None and values.get("stages"):  # from Python
            raise UsageError("Stages are given as the resolution: resolution='64:512x3,112:128x3'.")
        if not isinstance(asked, str) or ":" not in asked:
            return values
        stages = _read_stages(asked)
        given = {name for name in ("epochs", "batch_size") if values.get(name) is not None}
        if given:
            option = "--" + given.pop().replace("_", "-")
            raise UsageError(f"--resolution {asked} says it for each stage already; leave {option} out.")
        last = stages[-1]
        epochs = sum(stage["epochs"] for stage in stages)
        return {**values, "stages": stages, **last, "epochs": epochs}

    def course(self) -> tuple[Stage, ...]:
        """Return the stages; resolution and epochs must have been chosen."""
        if self.stages:
            return self.stages
        assert self.resolution is not None
        assert self.epochs is not None
        return (Stage(resolution=self.resolution, batch_size=self.batch_size, epochs=self.epochs),)


class WatchSettings(_Settings):
    """What may change from one start of a run to the next: none of it changes a bit of the result.

    Attributes
    ----------
    checkpoint_every
        Seconds of work between checkpoints, which is what a power cut may cost; 0: after every step.
    log_every
        Steps that a point of the curves averages.
    tracker
        Who draws the curves: "tensorboard", other names that accelerate knows, or "none".
    workers
        Threads that gather batches in advance; None: one where the data does not fit into memory.
    """

    checkpoint_every: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    log_every: Positive = 50
    tracker: Trackers = ("tensorboard",)
    workers: Annotated[int, Field(ge=0, le=64)] | None = None


class ExecutionSettings(_Settings):
    """Where the trials of a study run. None of it changes a bit of the result, but that the threads follow the jobs.

    Attributes
    ----------
    jobs
        Trials at once; "auto": measured when the study is planned.
    executor
        "local": processes of this machine; "ray": a Ray cluster.
    address
        Of the Ray cluster, as ``ray.init`` takes it; None: a cluster that runs here, or else one of this machine alone.
    """

    jobs: Jobs = "auto"
    executor: Literal["local", "ray"] = "local"
    address: str | None = None

    @model_validator(mode="after")
    def _check_address(self) -> ExecutionSettings:
        if self.address is not None and self.executor != "ray":
            raise UsageError(f"--address {self.address} is that of a Ray cluster: give --executor ray with it.")
        return self


class ExtensionSettings(_Settings):
    """By what a study that is there grows: so many seeds, and these losses; None: by none."""

    add_seeds: Positive | None = None
    add_losses: tuple[str, ...] | None = None


class RunSettings(_Settings):
    """One training: data, how to train, the loss (None: chosen from the targets), and the processes that share it."""

    data: DataSettings
    train: TrainSettings = TrainSettings()
    watch: WatchSettings = WatchSettings()
    loss: str | None = None
    processes: Positive = 1


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
    vary
        The factor that is compared: the losses, or ``levels`` of another one with a single loss.
    levels
        Values of that factor, each optionally named as a loss is; empty where it is the loss.
    race
        Whether losses that can no longer win are stopped early.
    budget
        What all trainings have alike: their steps, or their time.
    minutes
        How long the whole study may take; seeds, epochs and resolution that were not given are chosen to fit.
    """

    data: DataSettings
    train: TrainSettings = TrainSettings()
    watch: WatchSettings = WatchSettings()
    execution: ExecutionSettings = ExecutionSettings()
    losses: tuple[str, ...] = ()
    seeds: Positive | None = None
    vary: Literal["loss", "network", "augmentation", "lr"] = "loss"
    levels: tuple[str, ...] = ()
    race: bool = False
    budget: Literal["steps", "time"] = "steps"
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    folds: Annotated[int, Field(ge=3)] | None = None


class LrRangeSettings(StudySettings):
    """A learning-rate range test of each loss: a study's settings, of which a test needs the first seed alone.

    Attributes
    ----------
    lr_min, lr_max
        The rates of the first and the last step.
    steps
        Steps of a test, at least 20.
    repeats
        Tests of each loss, each with a seed of its own.
    """

    lr_min: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-6
    lr_max: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    steps: Annotated[int, Field(ge=20)] = 100
    repeats: Positive = 1


def _read_stages(value: Any) -> Any:
    """Read "64:512x3,112:128x3": resolution, batch size and epochs of each stage."""
    if not isinstance(value, str):
        return value
    stages = []
    for part in value.split(","):
        resolution, _, rest = part.strip().partition(":")
        batch_size, _, epochs = rest.partition("x")
        if not all(number.strip().isdigit() for number in (batch_size, epochs)):
            raise UsageError(
                f"--resolution {value!r}: expected stages RESOLUTION:BATCHxEPOCHS with commas between, such as "
                "64:512x3,112:128x3."
            )
        size = checked(_Size, {"resolution": resolution.strip()}).resolution
        stages.append({"resolution": size, "batch_size": int(batch_size), "epochs": int(epochs)})
    return stages


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
