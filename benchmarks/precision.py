"""What a lower precision costs in quality: the same trainings in two precisions, compared image by image.

    python benchmarks/precision.py DATA [--network resunet] [--epochs 12] [--seeds 5] [--depth-scale 0.001] …

Data is packed and divided once. Every seed is trained twice, from the same weights on the same batches, in fp32 and in
the other precision; then the final metrics of the test images are compared in pairs. Beside the difference stands the
seeds' noise: the standard deviation of fp32's own means from seed to seed. A difference within its interval of zero,
and smaller than that noise, is none that a user could see.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from basrelief.app import Quiet, settings_from
from basrelief.config import StudySettings
from basrelief.engine.machine import choose_machine
from basrelief.engine.train import train_run
from basrelief.statistics import paired_interval
from basrelief.studies.prepare import canonical, list_data, prepare
from basrelief.studies.stored import Prepared

NOT_GIVEN = ("data", "other", "metric_shown", "out")


def train_all(prepared: Prepared, precision: str, folder: Path) -> tuple[dict[str, np.ndarray], float]:
    """Train every seed; return each metric's scores of the test images (seeds, images), and the median images/s."""
    expression = next(iter(prepared.plan.losses.values()))
    tables, speeds = [], []
    for seed in prepared.plan.seeds:
        plan = prepared.run_plan(expression, seed)
        machine = choose_machine(prepared.plan.train.device, precision, threads=plan.machine.threads)
        place = folder / precision / str(seed)
        run = train_run(place, dataclasses.replace(plan, machine=machine), prepared.store, prepared.split)
        speeds.append(run["images_per_second"])
        tables.append(pl.read_parquet(place / "scores.parquet").filter(pl.col("split") == "test").sort("id"))
        print(f"{precision}, seed {seed}: {run['images_per_second']:.1f} images/s", flush=True)
    assert all(table["id"].equals(tables[0]["id"]) for table in tables)
    names = [name for name in tables[0].columns if "/" in name and tables[0][name].dtype.is_float()]
    return {name: np.stack([table[name].to_numpy() for table in tables]) for name in names}, float(np.median(speeds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--other", default="bf16", help="the precision compared with fp32")
    parser.add_argument("--out", type=Path, help="keep the runs here; an interrupted benchmark then goes on")
    parser.add_argument("--metric-shown", action="append", help="a metric to show; default: the main ones")
    parser.add_argument("--loss", help="a loss expression; default: chosen from the targets")
    for name in ("network", "resolution", "split", "format", "depth-unit", "depth-kind", "depth-invalid", "augment"):
        parser.add_argument(f"--{name}")
    for name in ("epochs", "batch-size", "limit", "group-blocks", "seed", "seeds"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("lr", "depth-scale", "depth-max"):
        parser.add_argument(f"--{name}", type=float)
    args = parser.parse_args()
    given = {name: value for name, value in vars(args).items() if value is not None and name not in NOT_GIVEN}
    loss = given.pop("loss", None)
    options = {"location": args.data, "losses": (loss,) if loss else (), "seeds": 3, "precision": "fp32", **given}
    settings = canonical(settings_from(options, StudySettings))
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out or Path(temporary)
        (folder / "prepared").mkdir(parents=True, exist_ok=True)
        watcher = Quiet()
        prepared = prepare(folder / "prepared", settings, list_data(settings), watcher)
        plan = prepared.plan
        print(f"{plan.train.network}, {next(iter(plan.losses))}, {plan.train.epochs} epochs, seeds {list(plan.seeds)}")
        full, full_speed = train_all(prepared, "fp32", folder)
        other, other_speed = train_all(prepared, args.other, folder)
    print(f"\n{args.other} trained {other_speed / full_speed:.2f} times as fast as fp32.\n")
    print(f"| metric | fp32 | {args.other} | difference | interval, 95 % | noise of fp32's seeds |")
    print("|---|---|---|---|---|---|")
    shown = args.metric_shown or [n for n in full if n in ("mask/iou", "mask/dice", "depth/rmse", "depth/delta1")]
    for name in shown:
        a, b = full[name], other[name]
        found = paired_interval(b, a)
        ends = [
            None if end is None or not np.isfinite(end) else round(float(end), 5) for end in (found.low, found.high)
        ]
        noise = float(np.std(np.nanmean(a, axis=1), ddof=1)) if len(a) > 1 else float("nan")
        print(
            f"| {name} | {np.nanmean(a):.4f} | {np.nanmean(b):.4f} | {found.difference:+.5f} | {json.dumps(ends)} | "
            f"{noise:.5f} |"
        )


if __name__ == "__main__":
    main()
