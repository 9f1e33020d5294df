"""What a run begins and ends with: its facts, its loaders, and the scores of the checkpoint that was chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from basrelief.config import Stage
from basrelief.data.loader import Loader
from basrelief.data.splits import Split
from basrelief.data.store import Store
from basrelief.engine import processes
from basrelief.engine.checkpoint import BEST, load_checkpoint, remove_checkpoints, restore_model
from basrelief.engine.evaluate import evaluate
from basrelief.engine.machine import versions
from basrelief.engine.memory import step_memory
from basrelief.engine.run_files import write_previews, write_scores
from basrelief.engine.run_plan import RunPlan
from basrelief.engine.thresholds import find_thresholds
from basrelief.errors import TrainingError
from basrelief.files import write_json
from basrelief.metrics import DEFINITIONS_VERSION, alignments_of, count_images, summarise


def run_facts(plan: RunPlan, store: Store, split: Split, model: nn.Module, targets: Sequence[str]) -> dict[str, Any]:
    """Return what ``run.json`` says of a run from its beginning on, beside the plan."""
    own = store.median_size(split.rows["train"])
    return {
        "status": "running",
        "network": plan.settings.network,
        "resolution": list(store.facts.resolution),
        "image_size": own and list(own),
        "classes": list(store.facts.classes),
        "activations": {head: plan.settings.activation.get(head, "sigmoid") for head in plan.heads},
        "targets": list(targets),
        "depth_max": store.facts.depth_max,
        "depth_unit": store.facts.depth_unit,
        "depth_kind": store.facts.depth_kind,
        "samples": {name: len(rows) for name, rows in split.rows.items()},
        "parameters": sum(p.numel() for p in model.parameters()),
        "definitions": DEFINITIONS_VERSION,
        "versions": versions(),
    }


def open_loaders(
    plan: RunPlan,
    store: Store,
    split: Split,
    stage: Stage,
    targets: Sequence[str],
    device: torch.device,
    workers: int | None,
) -> dict[str, Loader]:
    """Return a loader for each part of the split, at a stage's batch size; they share the store's planes."""
    everything = Loader(
        store,
        np.arange(store.facts.count),
        stage.batch_size,
        device,
        targets=targets,
        background=plan.background,
        workers=workers,
    )
    return {name: everything.serving(rows) for name, rows in split.rows.items()}


def finish_run(
    folder: Path,
    plan: RunPlan,
    header: Mapping[str, Any],
    model: nn.Module,
    loaders: Mapping[str, Loader],
    history: Sequence[Mapping[str, Any]],
    best_epoch: int,
    epochs: int,
) -> dict[str, Any]:
    """Score the checkpoint that was chosen on val and test, write the results, and return the whole ``run.json``.

    Parameters
    ----------
    folder, plan, header
        The run, and what ``run.json`` says of it so far.
    model
        Its network, which takes the chosen weights.
    loaders
        Of each part of the split, at the run's resolution.
    history, best_epoch, epochs
        The epochs' records, the epoch that was chosen, and how many were planned.

    Raises
    ------
    TrainingError
        When no epoch was chosen.
    """
    metric = plan.settings.metric
    assert metric is not None
    processes.wait_for_all()
    if not (folder / BEST).exists():
        raise TrainingError(
            f"No epoch gave a score for {metric} on the validation images, so none was chosen. Give another --metric."
        )
    restore_model(model, load_checkpoint(folder / BEST).model, folder / BEST)
    activations, align, store = plan.settings.activation, alignments_of(metric), loaders["test"].store
    results = {name: evaluate(model, loaders[name], activations, align=align) for name in ("val", "test")}
    timed = history[1:] or history  # the first epoch also warms caches up
    trained = header["samples"]["train"]
    classes = store.facts.classes
    last = plan.settings.course()[-1]
    at_last = plan.settings.model_copy(update={"resolution": last.resolution, "batch_size": last.batch_size})
    finished = {
        **header,
        "status": "finished",
        "best_epoch": best_epoch,
        "stopped_early": len(history) < epochs,
        "curve": [record.get(f"val/{metric}") for record in history],
        "metrics": summarise(results["test"][1], classes),
        "counts": count_images(results["test"][1], classes),
        "val_metrics": summarise(results["val"][1], classes),
        "thresholds": find_thresholds(model, loaders["val"], activations),
        "images_per_second": trained * len(timed) / sum(record["seconds"] for record in timed),
        "seconds": sum(record["seconds"] for record in history),
        "step_memory": step_memory(dataclasses.replace(plan, settings=at_last), store),
    }
    if processes.is_first():
        write_scores(folder, store, results)
        write_previews(folder, model, loaders["val"], activations)
        write_json(folder / "run.json", finished)
        remove_checkpoints(folder, all_but_last=True)
    processes.wait_for_all()
    return finished
