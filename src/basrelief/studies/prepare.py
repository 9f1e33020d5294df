"""Everything before the first training: the plan, the packed data and its split, made once and found again later."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, TypeVar

import torch

from basrelief.augment import parse_augment
from basrelief.config import LrRangeSettings, RunSettings, Stage, StudySettings
from basrelief.data import open_source
from basrelief.data.source import DataOptions, Source
from basrelief.data.splits import Split, split_folds, split_store
from basrelief.data.store import Store
from basrelief.engine.fit_batch import largest_batch
from basrelief.engine.memory import memory_warning
from basrelief.engine.probe import probe_machine
from basrelief.engine.run_plan import RunPlan, build_model
from basrelief.engine.weights import start_from, weights_digest
from basrelief.errors import DataError, OutputError, UsageError
from basrelief.files import write_json
from basrelief.option_texts import LARGEST_BATCH, SEARCH
from basrelief.studies.budget import Budget
from basrelief.studies.factors import name_losses, with_names
from basrelief.studies.jobs import choose_jobs
from basrelief.studies.lr_budget import without_search
from basrelief.studies.plan import StudyPlan, own_rate, plan_run, plan_study
from basrelief.studies.stored import Prepared, asked_for, plan_document, plan_from, previous_plan, write_splits
from basrelief.studies.stores import PLAN, changed, pack_stages, packed_store
from basrelief.studies.watcher import StudyWatcher

Asked = TypeVar("Asked", StudySettings, RunSettings)


def canonical(settings: Asked) -> Asked:
    """Return the settings with losses and augmentation in canonical form, so that equal requests are equal settings."""
    train = settings.train.model_copy(update={"augment": str(parse_augment(settings.train.augment))})
    if isinstance(settings, RunSettings):
        loss = settings.loss and next(iter(name_losses([settings.loss]).values()))
        return settings.model_copy(update={"loss": loss, "train": train})
    return with_names(settings).model_copy(update={"train": train})


def list_data(settings: StudySettings | RunSettings) -> Source:
    """List the data; done before any folder is made, so that a mistyped name leaves nothing behind."""
    return open_source(settings.data.location, settings.data.options(settings.train.resolution, settings.train.seed))


def prepare(
    folder: Path,
    settings: StudySettings | RunSettings,
    source: Source,
    watcher: StudyWatcher,
    started: float | None = None,
) -> Prepared:
    """Plan, pack and split, or find all that as it was left; ``plan.json`` is written when everything is in order.

    ``started`` is when the command began, by ``time.monotonic()``, for a study with a limit of time; now, if not given.
    """
    asked = asked_for(settings)
    started = time.monotonic() if started is None else started
    budget = Budget(folder, settings, started) if isinstance(settings, StudySettings) else None
    document = previous_plan(folder, asked)
    if document is None:
        plan = plan_study(settings, source) if isinstance(settings, StudySettings) else plan_run(settings, source)
    else:
        plan = plan_from(document, settings.data, source)
    if document is None and budget is not None:
        plan = budget.before_packing(plan, source, settings.data.options(plan.train.resolution, settings.train.seed))
    options = settings.data.options(plan.train.resolution, settings.train.seed)
    if not source.entries[0].planes:  # generated, so made at the resolution that was picked
        source = open_source(settings.data.location, options)
    for sentence in (*source.notes, *plan.said):
        watcher.say(sentence)
    if source.faults:
        watcher.say(
            f"Files to know about: {len(source.faults)}, the first {source.faults[0]} (basrelief inspect lists all.)"
        )
    store = packed_store(folder, source, plan, options, watcher.packing)
    if document is not None and store.facts.fingerprint != document["store"]["fingerprint"]:
        raise changed(folder, source)
    splits = _divide(store, plan, options)
    for sentence in splits[0].notes:
        watcher.say(sentence)
    if store.facts.skipped:
        watcher.say(f"{len(store.facts.skipped)} broken samples are left out (--skip-broken).")
    prepared = Prepared(plan, store, splits, pack_stages(folder, source, plan, options, store, watcher.packing))
    if document is None:
        _check_known(prepared)
        prepared = _measured(prepared, settings, watcher)
        _check_trainable(prepared, watcher)
        notes: dict[str, Any] = {}
        if budget is not None:
            prepared = _budgeted(prepared, budget, watcher)
            notes = {"clock": budget.notes} if budget.notes else {}
        if not isinstance(settings, LrRangeSettings):
            prepared = _rate_settled(prepared, watcher)
        write_splits(folder, prepared)
        write_json(folder / PLAN, plan_document(folder, prepared, asked) | notes)
    elif [split.fingerprint() for split in splits] != [stored["fingerprint"] for stored in document["splits"]]:
        raise OutputError(
            f"The split of {settings.data.location} is another than when {folder} was begun (--split or --group-file "
            "names a file that has changed). Start anew with another --out, so that all losses see the same images."
        )
    elif document.get("weights") not in (None, weights_digest(plan.train.weights) or document["weights"]):
        raise OutputError(
            f"The weights {plan.train.weights} are others than when {folder} was begun, and all trainings of it must "
            "start alike. Put them back, or start anew with another --out."
        )
    for stage in prepared.plan.train.course():
        at = store if stage.resolution == store.facts.resolution else prepared.smaller[stage.resolution]
        if warning := memory_warning(_at_stage(prepared, stage), at):
            watcher.say(warning)
    return prepared


def _at_stage(prepared: Prepared, stage: Stage) -> RunPlan:
    """Return the plan of the first training with a stage's resolution and batch size."""
    first = prepared.run_plan(prepared.plan.trial(next(iter(prepared.plan.losses))))
    settings = first.settings.model_copy(update={"resolution": stage.resolution, "batch_size": stage.batch_size})
    return dataclasses.replace(first, settings=settings)


def _measured(prepared: Prepared, settings: StudySettings | RunSettings, watcher: StudyWatcher) -> Prepared:
    """Fill in what only the machine can tell: the largest batch where that is asked for, and how to compute.

    It is done once, with the first loss (the batch: with each), and shared by all trials.
    """
    trials = [prepared.plan.trial(name) for name in prepared.plan.losses]
    rows = min((split.rows["train"] for split in prepared.splits), key=len)
    if prepared.plan.train.lr == SEARCH:
        trials = [trial.at(lr=1e-3) for trial in trials]  # whose size takes no time
    said = []
    if prepared.plan.train.batch_size == LARGEST_BATCH:
        size = min(largest_batch(prepared.run_plan(trial), prepared.store, rows) for trial in trials)
        said.append(f"Batch size: {size}, {'all training images' if size == len(rows) else 'the largest that fits'}.")
        train = prepared.plan.train.model_copy(update={"batch_size": size})
        prepared = dataclasses.replace(prepared, plan=dataclasses.replace(prepared.plan, train=train))
    first, jobs = prepared.run_plan(trials[0]), 1
    machine, how = probe_machine(first, prepared.store, rows)
    if isinstance(settings, StudySettings) and not isinstance(settings, LrRangeSettings):
        count = len(prepared.plan.trials())
        jobs, machine, sentence = choose_jobs(first, prepared.store, rows, machine, settings.execution, trials=count)
        said.append(sentence)
    losses_too = "" if machine.precision == "fp32" else "; losses are float32"
    said.append(f"Computed on: {machine} ({how}){losses_too}.")
    for sentence in said:
        watcher.say(sentence)
    plan = dataclasses.replace(prepared.plan, machine=machine, jobs=jobs, said=(*prepared.plan.said, *said))
    return dataclasses.replace(prepared, plan=plan)


def _budgeted(prepared: Prepared, budget: Budget, watcher: StudyWatcher) -> Prepared:
    """Fill in the epochs, seeds and losses that the time allows, where it is limited or shared equally."""
    fold = max(range(len(prepared.splits)), key=lambda number: len(prepared.splits[number].rows["train"]))
    trials = {name: prepared.plan.trial(name, fold=fold) for name in prepared.plan.losses}
    measured = {name: (prepared.run_plan(trial), prepared.splits[fold]) for name, trial in trials.items()}
    return dataclasses.replace(
        prepared, plan=budget.after_packing(prepared.plan, measured, prepared.store, watcher.say)
    )


def _rate_settled(prepared: Prepared, watcher: StudyWatcher) -> Prepared:
    """Where rates are to be searched and the trials are too short for it, give all of them one, and say so."""
    plan = prepared.plan
    runs = [prepared.run_plan(plan.trial(name)) for name in plan.losses]
    rate = min(own_rate(run.settings.optimizer, build_model(run, prepared.store)) for run in runs)
    settled = without_search(plan, min(len(split.rows["train"]) for split in prepared.splits), rate)
    for sentence in settled.said[len(plan.said) :]:
        watcher.say(sentence)
    return dataclasses.replace(prepared, plan=settled)


def _check_known(prepared: Prepared) -> None:
    """Raise where a target is unknown throughout, so that there is nothing to learn or no score."""
    plan, store = prepared.plan, prepared.store
    metric = str(plan.train.metric)
    judged = metric.split("/")[0]
    for name, rows in (part for split in prepared.splits for part in split.rows.items()):
        for target in plan.heads if name == "train" else (judged,):
            if len(rows) and not store.index[target].to_numpy()[rows].any():
                raise DataError(
                    f"None of the {len(rows)} {name} samples has a known {target}, which "
                    f"{'the losses train' if name == 'train' else metric + ' needs'}. Add such samples, or divide the "
                    "data otherwise with --split."
                )


def _check_trainable(prepared: Prepared, watcher: StudyWatcher) -> None:
    """Raise where the network or its first weights cannot be trained like this: better now than after an hour."""
    plan, store = prepared.plan, prepared.store
    different = {str(trial.changes): trial for trial in map(plan.trial, reversed(plan.losses))}
    for trial in different.values():  # at last the first
        run = prepared.run_plan(trial)
        model = build_model(run, store)
        if run.settings.weights != "none" and (said := start_from(model, run.settings.weights)):
            watcher.say(said)
    counts = {len(split.rows["train"]) for split in prepared.splits}
    sizes = [stage.batch_size for stage in plan.train.course()]
    smallest = min(count // -(-count // size) for count in counts for size in sizes)  # batch of an epoch
    parts = plan.machine.processes * plan.train.accumulate
    if smallest < parts:
        raise UsageError(
            f"A batch of {smallest} images cannot be divided into {parts} parts, one for each process and each "
            "--accumulate. Use a larger --batch-size, or fewer parts."
        )
    if smallest < 2 * parts:  # some network sees a single image at once
        image = torch.zeros(1, 3, *store.facts.resolution)
        model(image, image) if plan.background else model(image)  # a network that can't train so says so itself


def _divide(store: Store, plan: StudyPlan, options: DataOptions) -> tuple[Split, ...]:
    rule, seed = plan.data.split, plan.train.seed
    if plan.folds > 1:
        return tuple(split_folds(store.index, options, plan.folds, rule, seed))
    return (split_store(store.index, options, rule, seed),)
