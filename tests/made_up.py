"""Results of studies that were never trained, so that the right answer is known."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import polars as pl

from basrelief.config import DataSettings, TrainSettings
from basrelief.engine.baseline import MEAN_BASELINE
from basrelief.engine.machine import choose_machine
from basrelief.studies.plan import StudyPlan
from basrelief.studies.results import StudyResults
from basrelief.studies.scores import ScoreTable


def results(
    means: dict[str, float],
    *,
    seeds: int = 5,
    images: int = 40,
    metric: str = "mask/iou",
    noise: float = 0.01,
    missing: tuple[str, int] | None = None,
    keep: Collection[tuple[str, int]] | None = None,
    curves: dict[str, list[float]] | None = None,
    second: tuple[str, dict[str, float]] | None = None,
    val: dict[str, float] | None = None,
    salt: int = 0,
    change: Callable[[str, int, np.ndarray], np.ndarray] = lambda name, seed, scores: scores,
    **more: Any,
) -> StudyResults:
    """Return made-up results of 40 test images.

    ``missing`` failed; only those of ``keep`` were trained at all; ``change`` may alter a training's test scores, and
    ``more`` goes to ``StudyResults``.
    """
    rng = np.random.default_rng(salt)
    plan = StudyPlan(
        losses={name: f"{name}(mask)" for name in means},
        seeds=tuple(range(seeds)),
        data=DataSettings(location="made up"),
        train=TrainSettings(network="masknet", resolution=(16, 16), epochs=5, lr=1e-3, metric=metric),
        heads=("mask",) if metric.startswith("mask") else ("depth",),
        background=False,
        machine=choose_machine("cpu", "fp32"),
        margin=None,
        folds=1,
        entries=(),
        said=(),
    )
    runs, failures, ended, tables = {}, {}, {}, {}
    difficulty = rng.normal(0, 0.1, images)
    for name, mean in means.items():
        for seed in range(seeds):
            if keep is not None and (name, seed) not in keep:
                continue
            ended[name, seed, 0] = "failed" if (name, seed) == missing else "finished"
            if (name, seed) == missing:
                failures[name, seed] = "diverged"
                continue
            scores = mean + difficulty + noise * rng.normal(size=images) + noise * rng.normal()
            columns = {metric: change(name, seed, scores)}
            if second:
                columns[second[0]] = second[1][name] + difficulty + noise * rng.normal(size=images)
            rows = np.arange(images)
            frames = [pl.DataFrame({"split": "test", "row": rows, **columns})]
            if val:
                frames.append(pl.DataFrame({"split": "val", "row": rows + images, metric: val[name] + difficulty}))
            tables[name, seed] = pl.concat(frames, how="diagonal")
            runs[name, seed] = {
                "classes": ["figure"],
                "depth_unit": "m",
                "curve": (curves or {}).get(name, [0.1, 0.5, 0.5, 0.5, 0.5]),
            }
    finished = {name: [seed for seed in plan.seeds if (name, seed) in runs] for name in means}
    ids = pl.Series([f"image-{row}" for row in range(2 * images)])
    table = ScoreTable(metric, finished, more.pop("groups", np.arange(2 * images)), ids)
    for (name, seed), frame in tables.items():
        table.add(name, seed, [frame])
    baselines = {MEAN_BASELINE: {metric: 0.0 if metric.startswith("mask") else 99.0}}
    made = {"ended": ended, **more}
    return StudyResults(plan, tuple(plan.trials()), runs, failures, table, baselines, **made)
