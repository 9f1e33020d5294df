"""From what a user asked for to a plan with nothing left open: losses, network, resolution, epochs, machine."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from basrelief.batch import TARGETS
from basrelief.config import DataSettings, RunSettings, StudySettings, TrainSettings
from basrelief.data.resize import choose_resolution
from basrelief.data.source import Entry, Source
from basrelief.data.splits import spread_out
from basrelief.engine.machine import Machine, choose_machine
from basrelief.engine.optimize import check_trainable, freeze
from basrelief.errors import BasreliefError, DataError, UsageError
from basrelief.losses.expression import parse_loss
from basrelief.losses.loss import Loss, check_activation
from basrelief.metrics import check_metric, default_metric
from basrelief.models import MODELS, create_model, find_model, parse_model, with_weights
from basrelief.schedules import parse_schedule

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
TRIAL_IMAGES, TRIAL_EPOCHS = 3000, 40  # images in all epochs of a study's trial, about, and its most epochs
SGD_RATE = 0.01  # as the write-ups had it
RUN_IMAGES, RUN_EPOCHS = 112_000, 100  # the same of a network that is trained for its own sake


@dataclass(frozen=True)
class Trial:
    """One training of a study: a loss, a seed, a fold (0 without any), and the folder below ``trials/`` of its run."""

    name: str
    expression: str
    seed: int
    folder: str
    fold: int = 0


@dataclass(frozen=True)
class StudyPlan:
    """A study with nothing left open.

    Attributes
    ----------
    losses
        Name -> canonical expression, in the order asked for.
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

    def trials(self) -> list[Trial]:
        """Return all trials, a seed's losses side by side, so that a study cut short compares what it has."""

        def folder(number: int, name: str, seed: int, fold: int) -> str:
            return f"{number:02d}-{_slug(name)}/seed-{seed}" + (f"-fold-{fold + 1}" if self.folds > 1 else "")

        return [
            Trial(name, expression, seed, folder(number, name, seed, fold), fold)
            for seed in self.seeds
            for fold in range(self.folds)
            for number, (name, expression) in enumerate(self.losses.items())
        ]


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
    texts = settings.losses
    if not texts:
        texts = DEFAULT_LOSSES[tuple(t for t in TARGETS if t in source.targets)]
        said.append(f"Losses: {'; '.join(texts)} (the data has {' and '.join(source.targets)}).")
    losses = named_losses(texts)
    parsed = {name: parse_loss(expression) for name, expression in losses.items()}
    for loss in parsed.values():
        _check_targets(loss, source)
    heads = tuple(t for t in TARGETS if any(t in loss.targets for loss in parsed.values()))
    background = source.background and settings.data.background
    train = _complete(settings.train, source, entries, heads, background, alone, said)
    for name, loss in parsed.items():
        _check_fits(loss, source, train)
        away = [str(term) for weight, term in loss.terms if weight < 0]
        if away:
            said.append(f"Note: in {name} {', '.join(away)} counts negatively, so training moves away from the target.")
    if train.lr == "search" and processes > 1:
        raise UsageError("--lr search runs in one process. Find a rate with basrelief lr-range first, and give it.")
    machine = choose_machine(
        train.device,
        train.precision,
        threads=train.threads,
        compile=train.compile,
        processes=processes,
        deterministic=train.deterministic,
    )
    seeds = tuple(range(train.seed, train.seed + settings.seeds))
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
    )


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
    lr = train.lr
    if lr is None:
        lr = SGD_RATE if train.optimizer == "sgd" else model.rate
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


def _check_targets(loss: Loss, source: Source) -> None:
    """Raise where the data lacks a target of the loss."""
    for target in loss.targets:
        if target not in source.targets:
            raise UsageError(
                f"The loss {loss} needs {target}, which {source.location} does not have. It has: "
                f"{', '.join(source.targets)}."
            )


def _check_fits(loss: Loss, source: Source, train: TrainSettings) -> None:
    """Raise where the metric is not trained, an activation contradicts the loss, or the resolution is too small."""
    assert train.metric is not None
    assert train.resolution is not None
    for _, term in loss.terms:
        spec, chosen = loss.specs[term.loss], train.activation.get(term.target, "sigmoid")
        if spec.activation == "softmax" and len(source.classes) < 2:
            raise UsageError(f"{term} needs several classes, and {source.location} has one: use bce(mask).")
        if spec.takes == "logits" and chosen != spec.activation:
            raise UsageError(
                f"{term} computes the {spec.activation} itself, so its head must have that activation, not {chosen}: "
                + (
                    f"use --activation {term.target}={spec.activation}, with losses that go with it."
                    if spec.activation != "sigmoid"
                    else f"leave --activation {term.target}={chosen} out, or that loss."
                )
            )
    if train.metric.split("/")[0] not in loss.targets:
        raise UsageError(
            f"The loss {loss} does not train {train.metric.split('/')[0]}, which the metric {train.metric} judges. "
            "Leave that loss out, or choose another --metric."
        )
    for height, width in dict.fromkeys([train.resolution, *(stage.resolution for stage in train.stages)]):
        shapes = {"mask": (1, max(1, len(source.classes)), height, width), "depth": (1, 1, height, width)}
        zeros = {target: torch.zeros(shapes[target]) for target in loss.targets}
        try:
            loss(zeros, zeros, activations=train.activation)
        except BasreliefError as error:
            where = f" at {height}x{width}" if train.stages else ""
            raise UsageError(f"The loss {loss} cannot be computed on this data{where}. {error}") from None


def named_losses(texts: Sequence[str]) -> dict[str, str]:
    """Return name -> canonical expression for texts such as ``"name = expression"``; the expression names itself.

    Raises
    ------
    UsageError
        When a name comes twice, or an expression cannot be read.
    """
    losses: dict[str, str] = {}
    for text in texts:
        name, expression = _named(text)
        canonical = str(parse_loss(expression))
        name = name or canonical
        if name in losses:
            raise UsageError(
                f"The loss {name!r} is given twice. To compare it with itself, name it: --loss 'again = …'."
            )
        losses[name] = canonical
    return losses


def _named(text: str) -> tuple[str | None, str]:
    """Split ``"name = expression"``; an = inside parentheses belongs to an option."""
    match = re.match(r"\s*([\w .+-]*\w)\s*=(?!=)(.*)", text, re.DOTALL)
    return (match[1], match[2]) if match else (None, text)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")[:60] or "loss"
