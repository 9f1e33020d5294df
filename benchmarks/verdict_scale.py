"""How long a verdict takes, and how much memory, on a study far larger than most.

    python benchmarks/verdict_scale.py [--losses 8] [--seeds 10] [--images 100000] [--each 1] [--folder DIR]

A study's directory is made up: a packed store of small scenes (half of the images val, half test, and a thousand to
train), and for every training a finished run with its history and its scores by every metric of mask and depth that
scores an image. Then, in a process of its own, its results are collected and the verdict is written, as ``basrelief
report`` does, twice: the first time the baseline is computed as well, which takes a pass over all data and is kept.
``--each`` is the number of images that belong together. Times are wall seconds; memory is the peak of that process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from basrelief.batch import Sample
from basrelief.config import DataSettings, TrainSettings
from basrelief.data.pack import pack
from basrelief.data.source import Entry, Source
from basrelief.data.splits import Split
from basrelief.data.store import Store, open_store
from basrelief.engine.machine import choose_machine
from basrelief.files import write_json
from basrelief.metrics import METRICS, metrics_for
from basrelief.studies.plan import StudyPlan, Trial
from basrelief.studies.results import collect
from basrelief.studies.stored import Prepared
from basrelief.studies.verdict import write_results

SIDE, TRAIN, EPOCHS = 16, 1000, 20
NAMES = [name for name in metrics_for(("mask", "depth")) if not METRICS[name].pooled]


def make_store(folder: Path, images: int, each: int) -> None:
    """Pack scenes of one disc each, before a plane."""
    entries = [Entry(f"scene-{number:06d}", {}, f"group-{number // each}") for number in range(TRAIN + images)]
    source = Source("made up", "made up", entries, ("mask", "depth"), _scene, ("figure",), resolution=(SIDE, SIDE))
    pack(source, entries, folder / "data", (SIDE, SIDE), key="made up")


def _scene(entry: Entry) -> Sample:
    rng = np.random.default_rng(int(entry.id[6:]))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = np.hypot(*(np.stack([rows, columns]).T - rng.uniform(4, 12, 2)).T) < rng.uniform(0, 6)
    depth = np.where(disc, 1.0, 2 + rng.random()).astype(np.float32)
    image = np.repeat(disc[..., None] * np.uint8(200), 3, axis=-1)
    return Sample(entry.id, image, None, disc[None].astype(np.uint8), None, depth)


def prepared(folder: Path, losses: int, seeds: int, each: int) -> Prepared:
    """Return the plan, with the store's rows divided."""
    store = open_store(folder / "data")
    rows = np.arange(store.facts.count)
    middle = TRAIN + (len(rows) - TRAIN) // 2
    parts = {"train": rows[:TRAIN], "val": rows[TRAIN:middle], "test": rows[middle:]}
    settings = TrainSettings(network="masknet", resolution=(SIDE, SIDE), epochs=EPOCHS, lr=1e-3, metric="mask/iou")
    plan = StudyPlan(
        losses={f"loss {number}": "bce(mask) + rmse(depth)" for number in range(losses)},
        seeds=tuple(range(seeds)),
        data=DataSettings(location="made up"),
        train=settings,
        heads=("mask", "depth"),
        background=False,
        machine=choose_machine("cpu", "fp32"),
        margin=None,
        folds=1,
        entries=(),
        said=(),
    )
    return Prepared(plan, store, (Split(parts, rows // each, "made up", ()),), {})


def make_trial(place: Path, trial: Trial, number: int, store: Store) -> None:
    """Write what a finished training leaves, with scores that differ by loss, seed and image."""
    rng = np.random.default_rng([number, trial.seed])
    rows = np.arange(TRAIN, store.facts.count)
    difficulty = np.random.default_rng(0).normal(0, 0.1, len(rows))
    columns = {
        name: (0.7 - 0.01 * number + difficulty + rng.normal(0, 0.05, len(rows))).clip(0, 1).astype(np.float32)
        for name in NAMES
    }
    split = np.where(np.arange(len(rows)) < len(rows) // 2, "val", "test")
    ids = store.index["id"].to_numpy()[rows]
    frame = pl.DataFrame({"split": split, "row": rows, "id": ids, "definitions": np.full(len(rows), 2), **columns})
    place.mkdir(parents=True)
    frame.with_columns(pl.selectors.float().cast(pl.Float64)).write_parquet(place / "scores.parquet")
    curve = 0.7 - 0.6 * np.exp(-np.arange(EPOCHS) / 3) + rng.normal(0, 0.01, EPOCHS)
    pl.DataFrame(
        {
            "epoch": np.arange(1, EPOCHS + 1),
            "step": np.arange(1, EPOCHS + 1) * 32,
            "seconds": np.full(EPOCHS, 1.0),
            "train/loss": 1 - curve,
            "share/bce(mask)": np.full(EPOCHS, 0.5),
            "share/rmse(depth)": np.full(EPOCHS, 0.5),
            "val/mask/iou": curve,
        }
    ).write_parquet(place / "history.parquet")
    (place / "best.safetensors").touch()
    write_json(
        place / "run.json",
        {
            "status": "finished",
            "curve": curve.tolist(),
            "best_epoch": int(curve.argmax()) + 1,
            "depth_unit": "m",
            "metrics": {},
            "val_metrics": {},
            "counts": {"images": len(rows) // 2, "mask_empty": 0},
        },
    )


def measure(folder: Path, losses: int, seeds: int, each: int) -> None:
    """Print, as JSON, what collecting and judging take, the first time and with the baseline kept."""
    study = prepared(folder, losses, seeds, each)
    found: dict[str, float] = {}
    for name in ("first", "again"):
        started = time.perf_counter()
        results = collect(folder, study)
        found[f"{name}: collect"] = time.perf_counter() - started
        write_results(folder, results)
        found[f"{name}: all"] = time.perf_counter() - started
        del results
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found["peak memory, MiB"] = peak / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps(found))


def main() -> None:
    """Make the study up, and measure in another process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("losses", 8), ("seeds", 10), ("images", 100_000), ("each", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--folder", type=Path, help="where to make it, and leave it (default: a temporary folder)")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.folder, asked.losses, asked.seeds, asked.each)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        if not (folder / "data").exists():
            make_store(folder, asked.images, asked.each)
            study = prepared(folder, asked.losses, asked.seeds, asked.each)
            for trial in study.plan.trials():
                number = list(study.plan.losses).index(trial.name)
                make_trial(folder / trial.folder, trial, number, study.store)
        sizes = [f"--{name}={getattr(asked, name)}" for name in ("losses", "seeds", "each")]
        words = [sys.executable, __file__, "--measure", f"--folder={folder}", *sizes]
        found = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(f"{asked.losses} losses x {asked.seeds} seeds x {asked.images:,} images, {len(NAMES)} metrics")
    for name, value in found.items():
        print(f"{name:20} {value:8.1f}{'' if 'MiB' in name else ' s'}")


if __name__ == "__main__":
    main()
