"""Training one network with one loss and one seed: a single loop that can be read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basrelief.augment import parse_augment
from basrelief.data.loader import Loader
from basrelief.data.splits import Split
from basrelief.data.store import Store
from basrelief.engine.checkpoint import (
    load_checkpoint,
    restore_model,
    restore_optimizer,
    save_checkpoint,
    weights_hash,
)
from basrelief.engine.evaluate import evaluate, forward
from basrelief.engine.machine import versions
from basrelief.engine.optimize import build_optimizer, learning_rate
from basrelief.engine.run_files import previous_run, tensorboard, write_history, write_previews, write_scores
from basrelief.engine.run_plan import RunPlan, build_model, start_from
from basrelief.engine.watcher import Silent, Watcher
from basrelief.errors import DataError, TrainingError
from basrelief.files import write_json
from basrelief.losses.expression import parse_loss
from basrelief.losses.loss import Loss, LossValue
from basrelief.metrics import DEFINITIONS_VERSION, alignments_of, count_images, main_metrics, metric_spec, summarise
from basrelief.seeding import stream_seed

CHECK_EVERY = 20  # steps between looks at the loss on a GPU, where each look waits for the device
SHARES_PER_EPOCH = 4  # batches of an epoch whose gradients are taken apart by term, for the record


def train_run(
    folder: Path, plan: RunPlan, store: Store, split: Split, *, watcher: Watcher | None = None
) -> dict[str, Any]:
    """Train, choose the checkpoint by the shared metric, score it on val and test, and leave a run directory.

    Interrupted and called again with an equal plan, it goes on after the last finished epoch and ends in the same
    weights; a finished run is returned as it is.

    Returns
    -------
    dict
        The document of ``run.json``.

    Raises
    ------
    OutputError
        When ``folder`` holds another run.
    TrainingError
        When the loss is no longer finite, naming the step and the term.
    """
    document = plan.document(store)
    before = previous_run(folder, document)
    if before is not None and before.get("status") == "finished" and (folder / "best.safetensors").exists():
        return before
    watcher = watcher or Silent()
    settings, machine = plan.settings, plan.machine
    torch.set_num_threads(machine.threads)
    accelerator = machine.accelerator()
    device = accelerator.device
    loss = parse_loss(plan.loss).to(device)
    model = build_model(plan, store)
    initial = weights_hash(model)
    if settings.weights != "none":
        start_from(model, settings.weights)
    model = model.to(memory_format=torch.channels_last) if machine.channels_last else model
    optimizer = build_optimizer(model, loss, settings)
    model, optimizer = accelerator.prepare(model, optimizer)
    bare = accelerator.unwrap_model(model)

    targets = loss.targets
    everything = Loader(
        store, np.arange(store.facts.count), settings.batch_size, device, targets=targets, background=plan.background
    )
    loaders = {name: everything.serving(rows) for name, rows in split.rows.items()}
    assert settings.metric is not None
    assert settings.epochs is not None
    spec = metric_spec(settings.metric, store.facts.classes)
    steps_per_epoch = len(loaders["train"])
    steps = steps_per_epoch * settings.epochs
    augment = parse_augment(settings.augment)
    shares_every = -(-steps_per_epoch // SHARES_PER_EPOCH)
    history: list[dict[str, Any]] = []
    best: dict[str, Any] = {"epoch": 0, "value": None}
    if before is not None and (folder / "last.safetensors").exists():
        history, best = _resume(folder, bare, loss, optimizer, accelerator.scaler)
    header = document | {
        "status": "running",
        "network": settings.network,
        "resolution": list(store.facts.resolution),
        "classes": list(store.facts.classes),
        "activations": {head: settings.activation.get(head, "sigmoid") for head in plan.heads},
        "targets": list(targets),
        "depth_max": store.facts.depth_max,
        "depth_unit": store.facts.depth_unit,
        "depth_kind": store.facts.depth_kind,
        "samples": {name: len(rows) for name, rows in split.rows.items()},
        "parameters": sum(p.numel() for p in bare.parameters()),
        "initial_weights": initial,
        "definitions": DEFINITIONS_VERSION,
        "versions": versions(),
    }
    write_json(folder / "run.json", header)

    board = tensorboard(folder, len(history) * steps_per_epoch)
    watcher.begin(f"{plan.loss}, seed {plan.seed}", settings.metric, steps, len(history) * steps_per_epoch)
    for epoch in range(len(history), settings.epochs):
        model.train()
        torch.manual_seed(stream_seed(plan.seed, "dropout", epoch))
        started = time.perf_counter()
        sums = _RunningTerms()
        shares = _RunningShares()
        for number, (_, batch) in enumerate(loaders["train"].epoch(plan.seed, epoch)):
            step = epoch * steps_per_epoch + number
            rate = learning_rate(settings.schedule, settings.lr, step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            drawn = torch.Generator().manual_seed(stream_seed(plan.seed, "augment", epoch, number))
            batch = augment(batch, drawn, depth_kind=store.facts.depth_kind)
            with accelerator.autocast():
                outputs = forward(model, batch)
            value = loss(outputs, batch, activations=settings.activation)
            if number % shares_every == 0:
                shares.add(loss.gradient_shares(outputs, batch, value.weights, activations=settings.activation))
            optimizer.zero_grad(set_to_none=True)
            accelerator.backward(value.total)
            optimizer.step()
            sums.add(step + 1, value, batch.size)
            if device.type == "cpu" or (number + 1) % CHECK_EVERY == 0 or number + 1 == steps_per_epoch:
                watcher.step(step + 1, sums.check(loss))
        loss.end_epoch()
        seconds = time.perf_counter() - started

        chosen = main_metrics(targets, settings.metric)
        scores = evaluate(model, loaders["val"], settings.activation, metrics=chosen)[1]
        val = summarise(scores, store.facts.classes)
        record = {
            "epoch": epoch + 1,
            "step": (epoch + 1) * steps_per_epoch,
            "lr": rate,
            "seconds": seconds,
            "images_per_second": len(split.rows["train"]) / seconds,
            **sums.means(),
            **shares.means(),
            **{f"val/{name}": score for name, score in val.items()},
        }
        history.append(record)
        score = val.get(settings.metric)
        if _better(score, best["value"], spec.higher_is_better) or not len(split.rows["val"]):
            best = {"epoch": epoch + 1, "value": score}
            save_checkpoint(folder / "best.safetensors", bare, {"epoch": epoch + 1, "val": val})
        write_history(folder, history)
        scaler = accelerator.scaler.state_dict() if accelerator.scaler else None  # of fp16's gradients
        state = {"epoch": epoch + 1, "best": best, "history": history, "scaler": scaler}
        save_checkpoint(folder / "last.safetensors", bare, state, optimizer.optimizer, loss)
        for name, number_ in record.items():
            if name not in ("epoch", "step") and number_ is not None:
                board.add_scalar(name, number_, record["step"])
        watcher.epoch(record)
    board.close()

    if not (folder / "best.safetensors").exists():
        raise TrainingError(
            f"No epoch gave a score for {settings.metric} on the validation images, so none was chosen."
        )
    best_path = folder / "best.safetensors"
    restore_model(bare, load_checkpoint(best_path).model, best_path)
    align = alignments_of(settings.metric)
    results = {name: evaluate(model, loaders[name], settings.activation, align=align) for name in ("val", "test")}
    write_scores(folder, store, results)
    write_previews(folder, model, loaders["val"], settings.activation)
    timed = history[1:] or history  # the first epoch also warms caches up
    finished = header | {
        "status": "finished",
        "best_epoch": best["epoch"],
        "curve": [record.get(f"val/{settings.metric}") for record in history],
        "metrics": summarise(results["test"][1], store.facts.classes),
        "counts": count_images(results["test"][1], store.facts.classes),
        "val_metrics": summarise(results["val"][1], store.facts.classes),
        "images_per_second": len(split.rows["train"]) * len(timed) / sum(record["seconds"] for record in timed),
        "seconds": sum(record["seconds"] for record in history),
    }
    write_json(folder / "run.json", finished)
    return finished


class _RunningTerms:
    """Adds up the terms of an epoch and their weights on the device, and looks at them only when asked."""

    def __init__(self) -> None:
        self.terms: list[str] = []
        self.waiting: list[tuple[int, Tensor, int]] = []
        self.totals: np.ndarray | None = None
        self.images = 0

    def add(self, step: int, value: LossValue, images: int) -> None:
        self.terms = list(value.terms)
        weights = [value.weights[name] for name in self.terms]
        row = torch.stack([number.float() for number in (value.total.detach(), *value.terms.values(), *weights)])
        self.waiting.append((step, row, images))

    def check(self, loss: Loss) -> float:
        """Read what was added since the last look; return the newest loss, or raise at the first non-finite one."""
        rows = torch.stack([row for _, row, _ in self.waiting]).double().cpu().numpy()
        for (step, _, _), row in zip(self.waiting, rows, strict=True):
            if not np.isfinite(row).all():
                raise _not_finite(loss, step, dict(zip(self.terms, row[1:].tolist(), strict=False)))
        counts = np.array([images for _, _, images in self.waiting])
        sums = (rows * counts[:, None]).sum(axis=0)
        self.totals = sums if self.totals is None else self.totals + sums
        self.images += int(counts.sum())
        self.waiting.clear()
        return float(rows[-1, 0])

    def means(self) -> dict[str, float]:
        """Return the epoch's mean loss, and each term's mean unweighted value and weight."""
        assert self.totals is not None
        names = ["train/loss", *(f"train/{name}" for name in self.terms), *(f"weight/{name}" for name in self.terms)]
        return dict(zip(names, (self.totals / self.images).tolist(), strict=True))


class _RunningShares:
    """Adds up, over some batches of an epoch, each term's share of the gradient at the network's outputs."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Tensor]] = []

    def add(self, shares: dict[str, Tensor]) -> None:
        self.rows.append(shares)

    def means(self) -> dict[str, float]:
        return {f"share/{name}": float(torch.stack([row[name] for row in self.rows]).mean()) for name in self.rows[0]}


def _not_finite(loss: Loss, step: int, terms: Mapping[str, float]) -> TrainingError:
    bad = [name for name, value in terms.items() if not math.isfinite(value)]
    shown = ", ".join(f"{name} = {value:.4g}" for name, value in terms.items())
    return TrainingError(
        f"The loss {loss} is no longer finite at step {step}: {shown}. "
        f"It broke in {' and '.join(bad) or 'the sum'}. Try a learning rate ten times smaller (--lr), a smaller weight "
        "for that term, or --precision fp32; basrelief inspect shows whether the data holds odd values."
    )


def _resume(
    folder: Path, model: nn.Module, loss: Loss, optimizer: Any, scaler: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Bring everything to where the last finished epoch left it, and return the history and the best epoch so far."""
    path = folder / "last.safetensors"
    try:
        checkpoint = load_checkpoint(path)
    except DataError:
        return [], {"epoch": 0, "value": None}  # nothing usable: the run starts again and ends in the same weights
    restore_model(model, checkpoint.model, path)
    restore_model(loss, checkpoint.loss, path)
    restore_optimizer(optimizer.optimizer, checkpoint.optimizer)
    if scaler is not None and checkpoint.facts["scaler"] is not None:
        scaler.load_state_dict(checkpoint.facts["scaler"])
    return checkpoint.facts["history"], checkpoint.facts["best"]


def _better(score: float | None, best: float | None, higher: bool) -> bool:
    if score is None or best is None:
        return score is not None
    return score > best if higher else score < best
