"""What a study's report says of its settings, its data, its cost and its environment: rows of a name and a value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.data.splits import Split
from basrelief.engine.machine import Machine, device_name
from basrelief.studies.factors import PLURALS, WORDS
from basrelief.studies.lr_search import describe_rates
from basrelief.studies.repeat import spell_stage
from basrelief.studies.results import StudyResults
from basrelief.studies.stored import Prepared


def held_fixed(folder: Path, prepared: Prepared, results: StudyResults) -> list[tuple[str, str]]:
    """Return the settings that every training shared, and what was varied."""
    train, machine = prepared.plan.train, prepared.plan.machine
    height, width = train.resolution or (0, 0)
    run = next(iter(results.runs.values()), {})
    rows_of = prepared.split.rows
    steps = sum(-(-len(rows_of["train"]) // stage.batch_size) * stage.epochs for stage in train.course())
    stages = ", ".join(spell_stage(stage.model_dump()) for stage in train.stages)
    batches = f"of up to {train.batch_size} images" if not train.stages else f"in stages {stages}"
    chosen = (
        f"the epoch with the best {train.metric} on val" if len(rows_of["val"]) else "the last epoch (no val images)"
    )
    plan, heads = prepared.plan, " and ".join(prepared.plan.heads)
    own = {plan.changes.get(name, {}).get("epochs") for name in plan.losses}
    if own != {None}:  # as many as the time allowed each
        listed = ", ".join(f"{name} {_epochs(plan.changes.get(name, {}).get('epochs') or 0)}" for name in plan.losses)
        batches = f"{batches} for the longest; the same time for each: {listed}"
    parameters = f"{run['parameters']:,} parameters, " if "parameters" in run else ""
    rates = "the levels" if plan.factor == "lr" else describe_rates(folder, plan)
    rows = [
        ("Network", f"{train.network}, {parameters}{heads}"),
        ("Input", "image and background" if prepared.plan.background else "image alone"),
        ("Resolution", f"{height} x {width} px (height x width), for training and for the scores here"),
        ("Budget", f"{_epochs(train.epochs or 0)}, {steps:,} steps {batches}"),
        ("Learning rate", f"{rates}; {_course(str(train.schedule))}"),
        (
            "Optimizer",
            f"{train.optimizer}{f', momentum {train.momentum:g}' if train.optimizer == 'sgd' else ''}, "
            f"weight decay {train.weight_decay:g}{f', gradients clipped at {train.clip:g}' if train.clip else ''}",
        ),
        ("Weights judged", f"their running average, decay {train.ema:g}" if train.ema else "as they are"),
        ("Augmentation", train.augment),
        ("Checkpoint", f"{chosen}, for every {WORDS[plan.factor]} alike"),
        ("Seeds", f"{', '.join(map(str, prepared.plan.seeds))}; {_initial_weights(results)}"),
        ("Arithmetic", f"{machine.precision} on {machine.device}, losses in float32"),
    ]
    if plan.factor != "loss":
        varied = {"network": "Network", "augmentation": "Augmentation", "lr": "Learning rate"}[plan.factor]
        shown = {"network": f"varied; {heads}", "lr": f"varied; {_course(str(train.schedule))}"}
        rows = [(name, shown.get(plan.factor, "varied") if name == varied else value) for name, value in rows]
        rows.insert(0, ("Loss", next(iter(plan.losses.values()))))
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
    levels = PLURALS[results.plan.factor]
    if not hashes:
        return f"the same for all {levels}"
    if all(len(found) == 1 for found in hashes.values()):
        return f"same initial weights (checked) and same batch order for all {levels} of a seed"
    if results.plan.factor == "network":
        return f"same batch order for all {levels} of a seed"
    return f"initial weights differ between {levels}"


def data_facts(prepared: Prepared, results: StudyResults) -> list[tuple[str, str]]:
    """Return what the data is, how it is split, whether the split leaks, and what is empty or broken in it."""
    facts, split = prepared.store.facts, prepared.split
    folds = f"; {len(prepared.splits)} folds, each judged by another part" if len(prepared.splits) > 1 else ""
    rows = [
        ("Source", f"{facts.location} ({facts.format})"),
        ("Samples", f"{facts.count}: {_counts(split)}"),
        ("Split", f"{split.rule}, {len(np.unique(split.groups))} groups ({_groups(split)}){folds}"),
        (
            "Leaks",
            "; ".join(dict.fromkeys(caution for one in prepared.splits for caution in one.cautions)) or "none found",
        ),
    ]
    if facts.classes and "mask" in prepared.plan.heads:
        rows.append(("Classes", ", ".join(facts.classes)))
        share = f"; {100 * results.empty_masks:.0f} % of the test images'" if facts.empty_masks else ""
        rows.append(("Empty masks", f"{facts.empty_masks:,}{share}"))
    if "depth" in prepared.plan.heads:
        unit = facts.depth_unit or "stored units"
        rows.append(("Depth", f"{facts.depth_kind}, up to {facts.depth_max:.4g} {unit}"))
    if facts.skipped:
        rows.append(("Broken, left out", str(len(facts.skipped))))
    rows.append(("Fingerprint", facts.fingerprint[:16]))
    return rows


def _groups(split: Split) -> str:
    return ", ".join(f"{name} {len(np.unique(split.groups[rows]))}" for name, rows in split.rows.items())


def _counts(split: Split) -> str:
    return ", ".join(f"{name} {len(rows)}" for name, rows in split.rows.items())


def environment_facts(document: Mapping[str, Any], machine: Machine) -> list[tuple[str, str]]:
    """Return the device and the versions of the packages, as they were when the study began."""
    return [("Device", device_name(machine)), *document["versions"].items()]
