"""Training one network with one loss and one seed: a single loop that can be read from top to bottom."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from basrelief.augment import parse_augment
from basrelief.config import Stage, WatchSettings
from basrelief.data.loader import Loader
from basrelief.data.splits import Split
from basrelief.data.store import Store
from basrelief.engine import processes
from basrelief.engine.checkpoint import BEST, weights_hash
from basrelief.engine.evaluate import evaluate, forward, in_label_values
from basrelief.engine.finish import finish_run, open_loaders, run_facts
from basrelief.engine.machine import prepare_model
from basrelief.engine.memory import begin_measuring, explain_out_of_memory, is_out_of_memory
from basrelief.engine.optimize import RunningAverage, build_optimizer, clip_gradients, freeze, gradient_norm
from basrelief.engine.records import RunningShares, RunningTerms
from basrelief.engine.run_files import previous_run, write_history
from basrelief.engine.run_plan import RunPlan, build_model
from basrelief.engine.samples import sample_images
from basrelief.engine.state import TrainingState
from basrelief.engine.trackers import open_trackers
from basrelief.engine.watcher import Silent, Watcher
from basrelief.engine.weights import start_from
from basrelief.files import write_json
from basrelief.losses.expression import parse_loss
from basrelief.metrics import main_metrics, metric_spec, summarise
from basrelief.schedules import Progress, parse_schedule
from basrelief.seeding import stream_seed

CHECK_EVERY = 20  # steps between looks at the numbers on a GPU, where each look waits for the device
SHARES_PER_EPOCH = 4  # batches of an epoch whose gradients are taken apart by term, for the record
SHARES_APART = 10  # steps between them, at least


def train_run(
    folder: Path,
    plan: RunPlan,
    store: Store,
    split: Split,
    *,
    smaller: Mapping[tuple[int, int], Store] | None = None,
    watch: WatchSettings | None = None,
    draw: bool = True,
    watcher: Watcher | None = None,
) -> dict[str, Any]:
    """Train, choose the checkpoint by the shared metric, score it on val and test, and leave a run directory.

    Stopped at any moment and called again with an equal plan, it goes on from its last checkpoint, which may lie in the
    middle of an epoch, and ends in the same weights; a finished run is returned as it is.

    Parameters
    ----------
    folder, plan, store, split
        Where, what, and with which samples of the store, which is at the resolution of the last stage.
    smaller
        The same samples at the resolutions of the other stages.
    watch
        How often to save and to log.
    draw
        Whether trackers get the network's graph, and pictures every epoch.
    watcher
        Who is told.

    Returns
    -------
    dict
        The document of ``run.json``.

    Raises
    ------
    OutputError
        When ``folder`` holds another run.
    TrainingError
        When the loss or its gradient is no longer finite, naming the step, the term and the samples; when memory runs
        out, saying what would fit.
    """
    begun: list[Stage] = []
    try:
        return _train_run(
            folder, plan, store, split, smaller or {}, watch or WatchSettings(), draw, watcher or Silent(), begun
        )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        at = begun[-1] if begun else plan.settings.course()[-1]
        where = store if at.resolution == store.facts.resolution else (smaller or {})[at.resolution]
        settings = plan.settings.model_copy(update={"resolution": at.resolution, "batch_size": at.batch_size})
        raise explain_out_of_memory(error, dataclasses.replace(plan, settings=settings), where) from None


def _train_run(
    folder: Path,
    plan: RunPlan,
    store: Store,
    split: Split,
    smaller: Mapping[tuple[int, int], Store],
    watch: WatchSettings,
    draw: bool,
    watcher: Watcher,
    begun: list[Stage],
) -> dict[str, Any]:
    """Do what ``train_run`` says, and note in ``begun`` each stage that begins."""
    document = plan.document(store)
    before = previous_run(folder, document)
    if before is not None and before.get("status") == "finished" and (folder / BEST).exists():
        return before
    settings, machine = plan.settings, plan.machine
    torch.set_num_threads(machine.threads)
    loss = parse_loss(plan.loss)
    targets = loss.targets
    model = build_model(plan, store)
    initial = weights_hash(model)
    if settings.weights != "none":
        start_from(model, settings.weights)
    if machine.processes > 1 and machine.device.startswith("cuda"):  # torch has no such layer for CPUs
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    freeze(model, settings.freeze)
    accelerator = machine.accelerator(unused=model.has_unused_parameters or set(targets) != set(plan.heads))
    device = accelerator.device
    loss = loss.to(device)
    prepare_model(model.to(device), machine)
    average = RunningAverage(model, settings.ema) if settings.ema else None
    network, optimizer = accelerator.prepare(model, build_optimizer(model, loss, settings))
    bare = accelerator.unwrap_model(network)

    assert settings.metric is not None
    assert isinstance(settings.lr, float)
    spec = metric_spec(settings.metric, store.facts.classes)
    course = settings.course()
    stages = [number for number, stage in enumerate(course) for _ in range(stage.epochs)]  # of each epoch
    lengths = [-(-len(split.rows["train"]) // stage.batch_size) for stage in course]  # steps an epoch
    steps = sum(lengths[number] for number in stages)
    augment, schedule = parse_augment(settings.augment), parse_schedule(settings.schedule or "constant")
    ids = store.index["id"].to_list()
    scaler = accelerator.scaler
    terms = RunningTerms(loss, scaler is not None)
    state = TrainingState(bare, average.network if average else None, loss, optimizer.optimizer, scaler, terms)
    restored = state.restore(folder) if before is not None else None
    header = document | run_facts(plan, store, split, bare, targets) | {"initial_weights": initial}
    first = processes.is_first()
    if first:
        write_json(folder / "run.json", header)
    names = watch.tracker if first else ("none",)
    trackers = open_trackers(folder, names, document, done=state.step, every=watch.log_every, say=watcher.say)
    trackers.restore(restored)
    watcher.begin(f"{plan.loss}, seed {plan.seed}", settings.metric, steps, state.step)
    begin_measuring(device)

    # A process's own random streams are told apart by its number; the first one's are those of a run alone.
    own_stream = () if first else (processes.number(),)
    loaders: dict[str, Loader] = {}
    at, open_stage = store, -1
    saved = time.perf_counter()
    with contextlib.closing(trackers):
        while state.epoch < len(stages) and not _has_waited(state, settings.patience, course):
            epoch, stage = state.epoch, course[stages[state.epoch]]
            if stages[epoch] != open_stage:
                open_stage = stages[epoch]
                begun.append(stage)
                at = store if stage.resolution == store.facts.resolution else smaller[stage.resolution]
                loaders = open_loaders(plan, at, split, stage, targets, device, watch.workers)
                if draw and first and state.step == 0:
                    trackers.graph(bare, loaders["train"].batch(split.rows["train"][:1]))
            length = lengths[open_stage]
            shares_every = max(-(-length // SHARES_PER_EPOCH), SHARES_APART)
            network.train()
            freeze(bare, settings.freeze)
            if state.batch == 0:
                state.terms.begin()
                state.shares = RunningShares()
            scores = _scores(state, stages, f"val/{settings.metric}", 1 if spec.higher_is_better else -1)
            started = time.perf_counter() - state.seconds
            share = loaders["train"].part(processes.number(), processes.count())
            for rows, whole in share.epoch(plan.seed, epoch, state.batch):
                progress = Progress(state.step, steps, epoch, len(stages), scores)
                rate = settings.lr * schedule(progress)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                drawn = torch.Generator().manual_seed(
                    stream_seed(plan.seed, "augment", epoch, state.batch, *own_stream)
                )
                _seed_torch(stream_seed(plan.seed, "dropout", epoch, state.batch, *own_stream), device)
                whole = augment(whole, drawn, depth_kind=store.facts.depth_kind)
                optimizer.zero_grad(set_to_none=True)
                values = []
                parts = whole.parts(settings.accumulate)
                for number, part in enumerate(parts, 1):
                    last = number == len(parts)
                    with contextlib.nullcontext() if last else accelerator.no_sync(network):
                        with accelerator.autocast():
                            outputs = forward(network, part)
                        outputs, part = in_label_values(outputs, part, bare.mask_values)
                        value = loss(outputs, part, activations=settings.activation)
                        if last and state.batch % shares_every == 0:
                            weights = value.weights
                            shares = loss.gradient_shares(outputs, part, weights, activations=settings.activation)
                            state.shares.add(shares)
                        # Processes average their gradients, whose parts of the batch may differ by an image.
                        accelerator.backward(value.total * (part.size * processes.count() / len(rows)))
                    values.append((value, part.size))
                processes.average(p.grad for p in loss.parameters() if p.grad is not None)
                processes.average(b for b in loss.buffers() if b.is_floating_point())
                accelerator.unscale_gradients(optimizer)
                norm = gradient_norm(bare)
                due = time.perf_counter() - saved >= watch.checkpoint_every
                state.terms.add(state.step + 1, rows, state.terms.row(values, norm, wish=due))
                look = device.type == "cpu" or (state.batch + 1) % CHECK_EVERY == 0 or state.batch + 1 == length
                found, wish = state.terms.check(ids) if look else ([], False)
                if settings.clip is not None:
                    clip_gradients(bare, norm, settings.clip)
                (optimizer if scaler else optimizer.optimizer).step()  # accelerate's own looks around at every step
                if average is not None:
                    average.update(state.step)
                state.step += 1
                state.batch += 1
                state.seconds = time.perf_counter() - started
                for step, means in found:
                    trackers.step(step, {**means, "lr": rate})
                if found:
                    watcher.step(state.step, found[-1][1]["train/loss"])
                if wish and state.batch < length:
                    if first:
                        state.save(folder, trackers.state())
                    saved = time.perf_counter()
            loss.end_epoch()

            processes.take_buffers_of_first(bare)
            if average is not None:  # of statistics that were each process's own
                processes.take_buffers_of_first(average.network)
            chosen = main_metrics(targets, settings.metric)
            with accelerator.autocast():
                found_scores = evaluate(state.judged, loaders["val"], settings.activation, metrics=chosen)[1]
            val = summarise(found_scores, store.facts.classes)
            state.epoch, state.batch = epoch + 1, 0
            record = {
                "epoch": state.epoch,
                "step": state.step,
                "lr": rate,
                "seconds": state.seconds,
                "images_per_second": len(split.rows["train"]) / state.seconds,
                **state.terms.means(),
                **state.shares.means(),
                **{f"val/{name}": score for name, score in val.items()},
            }
            if len(course) > 1:
                record |= {"height": stage.resolution[0], "width": stage.resolution[1]}
            if state.scaler is not None:
                record["skipped"] = state.terms.skipped
            state.history.append(record)
            state.seconds = 0.0
            score = val.get(settings.metric)
            in_last = open_stage == len(course) - 1  # scores at other resolutions are not comparable
            if in_last and (_better(score, state.best["value"], spec.higher_is_better) or not len(split.rows["val"])):
                state.best = {"epoch": state.epoch, "value": score}
                if first:
                    state.save_best(folder, val)
            if first:
                write_history(folder, state.history)
                images = sample_images(state.judged, loaders["val"], settings.activation, at.facts) if draw else None
                trackers.epoch(state.step, record, images)
                state.save(folder, trackers.state())
                saved = time.perf_counter()
            watcher.epoch(record)

    everything = open_loaders(plan, store, split, course[-1], targets, device, watch.workers)
    with accelerator.autocast():
        return finish_run(folder, plan, header, bare, everything, state.history, state.best["epoch"], len(stages))


def _seed_torch(seed: int, device: torch.device) -> None:
    """Seed what dropout draws from; ``torch.manual_seed`` would take longer than a small network's step may."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":  # that of the run's own GPU, which need not be the current one
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def _scores(state: TrainingState, stages: Sequence[int], column: str, sign: int) -> list[list[float | None]]:
    """Return the validation scores of the epochs behind, a list for each stage, turned so that higher is better."""
    found: list[list[float | None]] = [[] for _ in range(max(stages) + 1)]
    for record in state.history:
        score = record.get(column)
        found[stages[record["epoch"] - 1]].append(None if score is None else sign * score)
    return found


def _has_waited(state: TrainingState, patience: int | None, course: Sequence[Stage]) -> bool:
    """Tell whether the last stage has gone on long enough without a better score."""
    before = sum(stage.epochs for stage in course[:-1])
    return patience is not None and state.epoch - max(state.best["epoch"], before) >= patience


def _better(score: float | None, best: float | None, higher: bool) -> bool:
    if score is None or best is None:
        return score is not None
    return score > best if higher else score < best
