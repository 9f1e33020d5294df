"""``basrelief lr-range``: range tests of one loss or several on the same data, written as JSON, CSV and a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from basrelief.config import LrRangeSettings
from basrelief.engine.lr_range import check_range, lr_range
from basrelief.engine.machine import device_name
from basrelief.files import read_json, write_atomic, write_json, write_text
from basrelief.folders import only_writer
from basrelief.report import LrContents, render_lr_range
from basrelief.studies.prepare import list_data, prepare
from basrelief.studies.repeat import repeat_command
from basrelief.studies.stored import Prepared
from basrelief.studies.stores import PLAN
from basrelief.studies.watcher import StudyWatcher

KEPT = "lr_tests.json"  # those of the losses that are done, until all are
LR_RANGE, CURVE, PAGE = "lr_range.json", "curve.csv", "lr_range.html"


def run_lr_range(folder: Path, settings: LrRangeSettings, watcher: StudyWatcher) -> dict[str, Any]:
    """Make the tests, or find them as they were made; return the document of ``lr_range.json``.

    Raises
    ------
    OutputError
        When ``folder`` holds tests of other settings, or anything else.
    """
    check_range(settings.lr_min, settings.lr_max, settings.steps, settings.repeats)
    source = list_data(settings)
    with only_writer(folder):
        prepared = prepare(folder, settings, source, watcher)
        if all((folder / name).exists() for name in (LR_RANGE, CURVE, PAGE)):
            return read_json(folder / LR_RANGE)
        plan = prepared.plan
        kept = read_json(folder / KEPT) if (folder / KEPT).exists() else {}
        for name in plan.losses:
            if name in kept:
                continue
            watcher.begin(f"Range test of {name}", str(plan.train.metric), settings.steps * settings.repeats, 0)
            tests = lr_range(
                prepared.run_plan(plan.trial(name)),
                prepared.store,
                prepared.split,
                low=settings.lr_min,
                high=settings.lr_max,
                steps=settings.steps,
                repeats=settings.repeats,
                progress=watcher.step,
            )
            kept[name] = {"tests": tests.document(), "rows": list(tests.rows())}
            write_json(folder / KEPT, kept)
        document = {"losses": [{"name": name, **kept[name]["tests"]} for name in plan.losses]}
        curves = {name: kept[name]["rows"] for name in plan.losses}
        lines = [{"name": name, **row} for name, rows in curves.items() for row in rows]
        frame = pl.DataFrame(lines, infer_schema_length=None)
        write_atomic(folder / CURVE, lambda temporary: frame.write_csv(temporary))
        contents = LrContents(
            title=f"Learning rates for {prepared.store.facts.location.rstrip('/').rsplit('/', 1)[-1]}",
            losses=document["losses"],
            curves=curves,
            held_fixed=_held_fixed(prepared),
            notes=plan.said,
            repeat=repeat_command(read_json(folder / PLAN)),
        )
        write_text(folder / PAGE, render_lr_range(contents))
        write_json(folder / LR_RANGE, document)  # the last, so that it is there when all is
        (folder / KEPT).unlink(missing_ok=True)
        return document


def _held_fixed(prepared: Prepared) -> list[tuple[str, str]]:
    train, machine, facts = prepared.plan.train, prepared.plan.machine, prepared.store.facts
    height, width = facts.resolution
    momentum = f", momentum {train.momentum:g}" if train.optimizer == "sgd" else ""
    rows = [
        ("Data", f"{facts.location}, {len(prepared.split.rows['train'])} training samples"),
        ("Network", f"{train.network}, {' and '.join(prepared.plan.heads)}"),
        ("Input", "image and background" if prepared.plan.background else "image alone"),
        ("Resolution", f"{height} x {width} px (height x width)"),
        ("Batch", f"up to {train.batch_size} images"),
        ("Optimizer", f"{train.optimizer}{momentum}, weight decay {train.weight_decay:g}"),
        ("Augmentation", train.augment),
        ("Seed", f"{prepared.plan.seeds[0]}; later tests have seeds drawn from it"),
        ("Arithmetic", f"{machine.precision} on {device_name(machine)}"),
    ]
    return rows if train.weights == "none" else [*rows, ("Started from", train.weights)]
