"""Where a network comes from, as far as those may know who get it: its data, its training, the verdict on its loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from basrelief.data.splits import RULES
from basrelief.errors import DataError
from basrelief.files import read_json
from basrelief.metrics import metric_spec
from basrelief.studies.stores import PLAN, SPLITS_FILE

_RULES = ("as the data comes", *RULES)


def find_origin(run: Mapping[str, Any], folder: Path, home: Path) -> dict[str, Any]:
    """Return what travels with a network beside ``carried(run)``: "data", "training", "verdict", "intervals".

    No path of this machine is in it. What cannot be read is left out: a network can be used without it.

    Parameters
    ----------
    run
        ``run.json``.
    folder
        The run's directory, with its scores of every image.
    home
        The directory of its plan: the run's own, or the study's.
    """
    plan = _read(home / PLAN)
    groups = _groups(home / SPLITS_FILE)
    return {
        "data": _data(run, plan, groups),
        "training": _training(run),
        "verdict": _verdict(plan, folder, home),
        "intervals": _intervals(run, folder / "scores.parquet", groups),
    }


def _data(run: Mapping[str, Any], plan: Mapping[str, Any], groups: Mapping[str, int]) -> dict[str, Any]:
    split: Mapping[str, Any] = next(
        (one for one in plan.get("splits") or [] if one.get("fingerprint") == run.get("split")), {}
    )
    rule = split.get("rule")
    shares = isinstance(rule, str) and not rule.strip("0123456789./")  # else it may be a file
    return {
        "format": (run.get("data") or {}).get("format"),
        "split": rule if rule in _RULES or shares else "by a list" if rule else None,
        "groups": None if len(set(groups.values())) == len(groups) else len(set(groups.values())),
        "cautions": [str(caution) for caution in split.get("cautions") or []],
    }


def _training(run: Mapping[str, Any]) -> dict[str, Any]:
    settings = run["settings"]
    weights = str(settings.get("weights", "none"))
    start = "fresh weights" if weights == "none" else "weights of another training"
    if "weights=" in run["network"] and weights == "none":
        start = "pretrained weights by name"
    known = ("epochs", "batch_size", "optimizer", "lr", "schedule", "augment")
    return {
        **{name: settings.get(name) for name in known},
        "best_epoch": run.get("best_epoch"),
        "start": start,
        "precision": settings.get("precision"),
    }


def _verdict(plan: Mapping[str, Any], folder: Path, home: Path) -> dict[str, Any] | None:
    """Return what the study said, and how this run stands in it; None where the run is not of one that has spoken."""
    verdict = _read(home / "verdict.json")
    if not verdict.get("summary") or folder == home:
        return None
    winner, names = verdict.get("winner"), list((plan.get("plan") or {}).get("losses") or ())
    stand = "open"
    if winner in names:  # a trial's folder begins with the number of its loss; see StudyPlan.trials
        stand = "won" if folder.parent.name.startswith(f"{names.index(winner):02d}-") else "lost"
    return {
        "summary": str(verdict["summary"]),
        "stand": stand,
        "warnings": [str(warning) for warning in verdict.get("warnings") or []],
    }


def _intervals(run: Mapping[str, Any], file: Path, groups: Mapping[str, int]) -> dict[str, Any]:
    """Return metric -> mean over the test images with its 95 % interval over further ones."""
    from basrelief.statistics import images_interval  # with scipy's; only who saves a network needs it

    try:
        scores = pl.read_parquet(file).filter(pl.col("split") == "test")
    except (OSError, pl.exceptions.PolarsError):
        return {}
    found: dict[str, Any] = {}
    for name in run.get("metrics") or {}:
        if name not in scores.columns or metric_spec(name).pooled:
            continue
        values = scores[name].cast(pl.Float64).to_numpy()
        known = np.isfinite(values)
        labels = np.array([groups.get(one, -1 - row) for row, one in enumerate(scores["id"])])[known]
        if not known.any():
            continue
        grouped = len(set(labels.tolist())) < len(labels)
        interval = images_interval(values[known], groups=labels if grouped else None)
        found[name] = {
            "mean": interval.difference,
            "low": interval.low,
            "high": interval.high,
            "images": int(known.sum()),
            "groups": interval.units if grouped else None,
        }
    return found


def _groups(file: Path) -> dict[str, int]:
    try:
        table = pl.read_csv(file, columns=["id", "group"], schema_overrides={"id": pl.String, "group": pl.Int64})
    except (OSError, pl.exceptions.PolarsError):
        return {}
    return dict(table.drop_nulls().iter_rows())


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_json(file)
    except DataError:
        return {}
