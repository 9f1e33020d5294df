"""From what a user asked for to a plan with nothing left open: losses, network, resolution, epochs, machine."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basrelief.batch import TARGETS
from basrelief.config import DataSettings, RunSettings, StudySettings, TrainSettings
from basrelief.data.resize import choose_resolution
from basrelief.data.source import Entry, Source
from basrelief.data.splits import spread_out
from basrelief.engine.machine import Machine, choose_machine
from basrelief.engine.optimize import check_trainable, freeze
from basrelief.errors import DataError, UsageError
from basrelief.losses.expression import parse_loss
from basrelief.losses.loss import check_activation
from basrelief.metrics import check_metric, default_metric
from basrelief.models import MODELS, create_model, find_model, parse_model, with_weights
from basrelief.models.network import Network
from basrelief.option_texts import SEARCH
from basrelief.schedules import parse_schedule
from basrelief.statistics.looks import FIRST_LOOK
from basrelief.studies.checks import check_fits, check_targets
from basrelief.studies.factors import FACTORS, name_levels, name_losses

# With both targets: the three combinations that write-up A compared.
DEFAULT_LOSSES = {
    ("mask",): ("bce(mask)", "dice(mask)", "bce(mask) + dice(mask)"),
    ("depth",): ("rmse(depth)", "l1(depth)", "ssim(depth)"),
    ("mask", "depth"): (
        "2*rmse(depth) + bce(mask) + 2*dice(mask)",
        "2*ssim(depth) + dice(mask)",
        "2*rmse(depth) + bce(mask)",
    ),
}
# Of a training alone: what pushes every pixel and the overlap together is the safest single choice, and depth is
# learned with less weight than write-up A gave it (docs/log.md).
RUN_LOSS = {
    ("mask",): "bce(mask) + dice(mask)",
    ("depth",): "rmse(depth)",
    ("mask", "depth"): "rmse(depth) + bce(mask) + 2*dice(mask)",
}
SEEDS = 5  # of a study, where their number is left open
TRIALS = "trials"  # the folder of their runs, in the study's
TRIAL_IMAGES, TRIAL_EPOCHS = 3000, 40  # images in all epochs of a study's trial, about, and its most epochs
SGD_RATE = 0.01  # as the write-ups had it
RUN_IMAGES, RUN_EPOCHS = 112_000, 100  # the same of a network that is trained for its own sake


@dataclass(frozen=True)
class Trial:
    """One training of a study.

    Attributes
    ----------
    name
        Of the loss, or of the level where the study varies something else.
    expression
        Its loss.
    seed, fold
        The fold is 0 where there is a single split.
    folder
        Of its run, in the study's directory.
    changes
        Settings in which it differs from those of the study.
    judged
        Whether it is scored on the test images; those that only try a learning rate are not.
    images
        How many of the training images it sees; None: all.
    """

    name: str
    expression: str
    seed: int
    folder: str
    fold: int = 0
    changes: Mapping[str, Any] = field(default_factory=dict)
    judged: bool = True
    images: int | None = None

    def at(self, **changes: Any) -> Trial:
        """Return the trial with further settings of its own."""
        return dataclasses.replace(self, changes={**self.changes, **changes})


@dataclass(frozen=True)
class StudyPlan:
    """A study with nothing left open.

    Attributes
    ----------
    losses
        Name -> canonical expression, in the order asked for. Where the study varies something else, the names are those
        of its levels, and the loss is the same for all.
    train
        Settings with network, resolution, epochs and metric filled in; its ``seed`` is the first seed.
    heads
        Targets of the network: those that any of the losses trains.
    background
        Whether the network takes backgrounds.
    folds
        Number of folds; 1: a single split.
    entries
        What is packed.
    said
        What was picked without being asked for, a sentence each.
    factor
        What is varied: a name of ``FACTORS``.
    changes
        Name -> settings in which its trainings differ from ``train``.
    race
        Whether losses that can no longer win are stopped early.
    extended
        How many seeds there were each time that seeds or losses were added.
    jobs
        How many trainings at once pay on the machine where it was planned.
    """

    losses: dict[str, str]
    seeds: tuple[int, ...]
    data: DataSettings
    train: TrainSettings
    heads: tuple[str, ...]
    background: bool
    machine: Machine
    margin: float | None
    folds: int
    entries: Sequence[Entry]
    said: tuple[str, ...]
    factor: str = "loss"
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    race: bool = False
    extended: tuple[int, ...] = ()
    jobs: int = 1

    def trials(self) -> list[Trial]:
        """Return all trials, a seed's losses side by side, so that a study cut short compares what it has."""
        return [
            self.trial(name, seed, fold) for seed in self.seeds for fold in range(self.folds) for name in self.losses
        ]

    def trial(self, name: str, seed: int | None = None, fold: int = 0) -> Trial:
        """Return a trial of a loss or level; of the first seed, if none is given."""
        seed = self.seeds[0] if seed is None else seed
        number = list(self.losses).index(name)
        of_fold = f"-fold-{fold + 1}" if self.folds > 1 else ""
        folder = f"{TRIALS}/{number:02d}-{_slug(name)}/seed-{seed}{of_fold}"
        return Trial(name, self.losses[name], seed, folder, fold, self.changes.get(name, {}))

    def levels(self) -> dict[str, str]:
        """Return name -> what stands behind it, as text: the loss, or the value of the setting that is varied."""
        if self.factor == "loss":
            return dict(self.losses)
        setting = FACTORS[self.factor]
        return {name: str(self.changes[name][setting]) for name in self.losses}


def plan_study(settings: StudySettings, source: Source, *, alone: bool = False, processes: int = 1) -> StudyPlan:
    """Fill in what was left open, check that everything fits together, and say what was picked.

    ``alone`` says that it is a single training, which gets more epochs; ``processes`` is how many train each network.

    Raises
    ------
    UsageError
        For a loss, metric or network that is unknown or does not fit the data.
    DataError
        When there are too few samples.
    """
    entries = spread_out(source.entries, settings.data.limit)
    if len(entries) < 3:
        raise DataError(
            f"{source.location}: {len(entries)} usable sample(s). Training, choosing and judging need one each, so at "
            "least 3; a verdict worth having needs some dozens."
        )
    said: list[str] = []
    losses, changes = _levels(settings, source, said)
    if settings.race and len(losses) < 2:
        raise UsageError("--race stops losses that can no longer win, so there must be two at least.")
    if settings.race and settings.seeds is not None and settings.seeds <= FIRST_LOOK:
        raise UsageError(
            f"--race looks at the losses after {FIRST_LOOK} seeds for the first time, so of {settings.seeds} it saves "
            f"none. Give --seeds {FIRST_LOOK + 1} or more, or leave --race out."
        )
    parsed = {name: parse_loss(expression) for name, expression in losses.items()}
    for loss in parsed.values():
        check_targets(loss, source.targets, source.location)
    heads = tuple(t for t in TARGETS if any(t in loss.targets for loss in parsed.values()))
    background = source.background and settings.data.background
    asked = settings.train.model_copy(update=next(iter(changes.values())))
    train = _complete(asked, source, entries, heads, background, alone, said)
    chosen = {name: getattr(train, name) for name in ("metric", "resolution", "epochs", "schedule")}
    for name, change in changes.items():
        if not change:
            continue
        own = settings.train.model_copy(update=chosen | change)
        own = _complete(own, source, entries, heads, background, alone, [])
        changes[name] = {key: getattr(own, key) for key in change} | (
            {"weights": own.weights} if settings.vary == "network" else {}
        )
    for name, loss in parsed.items():
        check_fits(loss, source.location, source.classes, train)
        away = [str(term) for weight, term in loss.terms if weight < 0]
        if away:
            said.append(f"Note: in {name} {', '.join(away)} counts negatively, so training moves away from the target.")
    if train.lr == SEARCH and processes > 1:
        raise UsageError("--lr search runs in one process. Find a rate with basrelief lr-range first, and give it.")
    machine = choose_machine(
        train.device,
        train.precision,
        threads=train.threads,
        compile=train.compile,
        processes=processes,
        deterministic=train.deterministic,
    )
    seeds = tuple(range(train.seed, train.seed + (settings.seeds or SEEDS)))
    if settings.vary == "lr":
        said = [sentence for sentence in said if not sentence.startswith("Learning rate")]
    return StudyPlan(
        losses=losses,
        seeds=seeds,
        data=settings.data,
        train=train,
        heads=heads,
        background=background,
        machine=machine,
        margin=settings.margin,
        folds=settings.folds or 1,
        entries=entries,
        said=tuple(said),
        factor=settings.vary,
        changes=changes,
        race=settings.race,
    )


def _levels(
    settings: StudySettings, source: Source, said: list[str]
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Return name -> loss and name -> settings of its own, of the losses or the levels of another factor."""
    targets = tuple(t for t in TARGETS if t in source.targets)
    texts = settings.losses
    if settings.vary == "loss":
        if not texts:
            texts = DEFAULT_LOSSES[targets]
            said.append(f"Losses: {'; '.join(texts)} (the data has {' and '.join(targets)}).")
        losses = name_losses(texts)
        return losses, {name: {} for name in losses}
    if not texts:
        texts = (RUN_LOSS[targets],)
        said.append(f"Loss: {texts[0]} (the data has {' and '.join(targets)}).")
    changes = name_levels(settings)
    ((_, loss),) = name_losses(texts).items()
    return dict.fromkeys(changes, loss), changes


def plan_run(settings: RunSettings, source: Source) -> StudyPlan:
    """Plan a single training: a study of one loss and one seed."""
    loss = settings.loss or RUN_LOSS[tuple(t for t in TARGETS if t in source.targets)]
    study = StudySettings(data=settings.data, train=settings.train, losses=(loss,), seeds=1)
    plan = plan_study(study, source, alone=True, processes=settings.processes)
    said = plan.said if settings.loss else (f"Loss: {loss} (the data has {' and '.join(source.targets)}).", *plan.said)
    return dataclasses.replace(plan, said=said)


def _complete(
    train: TrainSettings,
    source: Source,
    entries: Sequence[Entry],
    heads: tuple[str, ...],
    background: bool,
    alone: bool,
    said: list[str],
) -> TrainSettings:
    metric = train.metric or default_metric(heads)
    check_metric(metric, heads, source.classes)
    network = train.network
    if network is None:
        network = "relief"
        said.append("Network: relief.")
    weights = train.weights
    if weights != "none" and not Path(weights).exists():
        network, weights = with_weights(network, weights), "none"
    base, _ = parse_model(network)
    lacking = [head for head in heads if head not in find_model(base).targets]
    if lacking:
        fitting = [name for name, spec in MODELS.items() if set(heads) <= set(spec.targets)]
        raise UsageError(
            f"The network {base!r} has no {lacking[0]}, which the losses train. Networks that have it: "
            f"{', '.join(fitting)}."
        )
    model = create_model(
        network,
        mask_classes=len(source.classes) if "mask" in heads else 0,
        depth="depth" in heads,
        background=background,
    )  # an option out of range is an error now, not after packing
    lr: float | str | None = train.lr
    if lr is None and not alone:
        lr = SEARCH
    elif lr is None:
        lr = own_rate(train.optimizer, model)
        said.append(f"Learning rate: {lr:g}.")
    if model.note:
        said.append(f"Note: {model.note}")
    freeze(model, train.freeze)
    check_trainable(model)
    schedule = train.schedule or ("cosine" if alone else "constant")
    parse_schedule(schedule)
    resolution = train.resolution
    if resolution is None:
        resolution = choose_resolution(source, entries)
        said.append(f"Resolution: {resolution[0]}x{resolution[1]} (height x width).")
    check_metric(metric, heads, source.classes, resolution)
    epochs = train.epochs
    if epochs is None:
        training = max(1, round(0.7 * len(entries)))
        images, most = (RUN_IMAGES, RUN_EPOCHS) if alone else (TRIAL_IMAGES, TRIAL_EPOCHS)
        epochs = min(most, max(3, round(images / training)))
        said.append(f"Epochs: {epochs}, so that a training sees some {epochs * training} images.")
    if train.mask_values:
        if train.activation.get("mask") != "identity":
            raise UsageError("--mask-values are regressed as they are: give --activation mask=identity with them.")
        model.regress_labels(train.mask_values)
    for head, activation in train.activation.items():
        check_activation(head, activation)
        if activation == "softmax" and (head == "depth" or len(source.classes) < 2):
            raise UsageError(f"--activation {head}=softmax needs several classes; of one channel it is 1 everywhere.")
    return train.model_copy(
        update={
            "metric": metric,
            "network": network,
            "weights": weights,
            "resolution": resolution,
            "epochs": epochs,
            "schedule": schedule,
            "lr": lr,
        }
    )


def own_rate(optimizer: str, model: Network) -> float:
    """Return the learning rate of a network for which none is given or found."""
    return SGD_RATE if optimizer == "sgd" else model.rate


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")[:60] or "loss"
