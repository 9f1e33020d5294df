"""What a study's report says of its settings, its data, its cost and its environment: rows of a name and a value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.data.splits import Split
from basrelief.engine.machine import Machine, device_name
from basrelief.studies.lr_search import describe_rates
from basrelief.studies.prepare import Prepared
from basrelief.studies.repeat import spell_stage
from basrelief.studies.results import StudyResults


def held_fixed(folder: Path, prepared: Prepared, results: StudyResults) -> list[tuple[str, str]]:
    train, machine = prepared.plan.train, prepared.plan.machine
    height, width = train.resolution or (0, 0)
    run = next(iter(results.runs.values()), {})
    samples = run.get("samples", {})
    steps = sum(-(-samples.get("train", 0) // stage.batch_size) * stage.epochs for stage in train.course())
    stages = ", ".join(spell_stage(stage.model_dump()) for stage in train.stages)
    batches = f"of up to {train.batch_size} images" if not train.stages else f"in stages {stages}"
    chosen = (
        f"the epoch with the best {train.metric} on val" if samples.get("val") else "the last epoch (no val images)"
    )
    rows = [
        ("Network", f"{train.network}, {run.get('parameters', 0):,} parameters, {' and '.join(prepared.plan.heads)}"),
        ("Input", "image and background" if prepared.plan.background else "image alone"),
        ("Resolution", f"{height} x {width} px (height x width), for training and for the scores here"),
        ("Budget", f"{_epochs(train.epochs or 0)}, {steps:,} steps {batches}"),
        ("Learning rate", f"{describe_rates(folder, prepared.plan)}; {_course(str(train.schedule))}"),
        (
            "Optimizer",
            f"{train.optimizer}{f', momentum {train.momentum:g}' if train.optimizer == 'sgd' else ''}, "
            f"weight decay {train.weight_decay:g}{f', gradients clipped at {train.clip:g}' if train.clip else ''}",
        ),
        ("Weights judged", f"their running average, decay {train.ema:g}" if train.ema else "as they are"),
        ("Augmentation", train.augment),
        ("Checkpoint", f"{chosen}, for every loss alike"),
        ("Seeds", f"{', '.join(map(str, prepared.plan.seeds))}; {_initial_weights(results)}"),
        ("Arithmetic", f"{machine.precision} on {machine.device}, losses in float32"),
    ]
    if train.weights != "none":
        rows.append(("Started from", train.weights))
    if train.freeze:
        rows.append(("Frozen", ", ".join(train.freeze)))
    if train.mask_values:
        rows.append(("Label values", ", ".join(f"{value:g}" for value in train.mask_values)))
    return rows


def _course(schedule: str) -> str:
    return f"{schedule}, with the rate at its top" if schedule.startswith("one-cycle") else schedule


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count != 1)}"


def _initial_weights(results: StudyResults) -> str:
    """Say whether the losses of each seed did start from the same weights, by their hashes."""
    hashes: dict[int, set[str]] = {}
    for (_, seed), run in results.runs.items():
        hashes.setdefault(seed, set()).add(run["initial_weights"])
    same = all(len(found) == 1 for found in hashes.values())
    return (
        "same initial weights (checked) and same batch order for all losses of a seed"
        if same
        else ("initial weights differ between losses")
    )


def data_facts(prepared: Prepared) -> list[tuple[str, str]]:
    facts, split = prepared.store.facts, prepared.split
    folds = f"; {len(prepared.splits)} folds, each judged by another part" if len(prepared.splits) > 1 else ""
    rows = [
        ("Source", f"{facts.location} ({facts.format})"),
        ("Samples", f"{facts.count}: {_counts(split)}"),
        ("Split", f"{split.rule}, {len(np.unique(split.groups))} groups{folds}"),
    ]
    if facts.classes and "mask" in prepared.plan.heads:
        rows.append(("Classes", ", ".join(facts.classes)))
        rows.append(("Empty masks", str(facts.empty_masks)))
    if "depth" in prepared.plan.heads:
        unit = facts.depth_unit or "stored units"
        rows.append(("Depth", f"{facts.depth_kind}, up to {facts.depth_max:.4g} {unit}"))
    if facts.skipped:
        rows.append(("Broken, left out", str(len(facts.skipped))))
    rows.append(("Fingerprint", facts.fingerprint[:16]))
    return rows


def _counts(split: Split) -> str:
    return ", ".join(f"{name} {len(rows)}" for name, rows in split.rows.items())


def environment_facts(document: Mapping[str, Any], machine: Machine) -> list[tuple[str, str]]:
    return [("Device", device_name(machine)), *document["versions"].items()]
