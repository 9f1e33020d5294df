"""Predicting files against the bare network: what reading, resizing and writing cost.

    python benchmarks/predict.py FOLDER [--network masknet:64 …] [--count 500] [--repeats 5] [--quick] [--json]

FOLDER holds pictures. Ours is ``predict_files`` from files to ``NAME_mask.png``; bare is the same network's forward
pass alone, eager in fp32, on as many random images that lie ready as floats (channels last), in batches of the same
size with all threads. Both take turns; a ratio is the median over the
rounds of our images a second over theirs in the same round, so a machine that slows down slows both. The weights are
untrained: speed does not depend on them. ``work`` is the same ratio of processor seconds, all cores together; on a
machine that others use as well it is the one to trust. ``decode`` is what reading and shrinking the pictures
takes, in processor seconds of a loop of its own over those of the bare network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from basrelief.data.decode import IMAGE_SUFFIXES, read_image
from basrelief.inference.network import torch_network
from basrelief.inference.pipeline import BATCH
from basrelief.inference.predict_files import predict_files
from basrelief.inference.predictor import Predictor
from basrelief.models import create_model
from basrelief.parallel import cores

NETWORKS = ("masknet:64", "relief:96", "relief:192", "resunet:128")


def untrained(name: str, side: int) -> tuple[Predictor, nn.Module]:
    """Return a predictor of one class with fresh weights, and its network."""
    run: dict[str, Any] = {
        "network": name, "resolution": [side, side], "classes": ["figure"], "activations": {}, "targets": ["mask"],
        "heads": ["mask"], "background": False, "depth_max": None, "depth_unit": None, "depth_kind": None,
        "image_size": None, "settings": {},
    }  # fmt: skip
    torch.manual_seed(0)
    model = create_model(name).eval()
    return Predictor(run, torch_network(model, {}, torch.device("cpu"))), model


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and processor seconds."""
    before, worked = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - before, time.process_time() - worked


def measure(name: str, side: int, files: list[Path], repeats: int) -> dict[str, Any]:
    predictor, model = untrained(name, side)
    ready = torch.rand(BATCH, side, side, 3).permute(0, 3, 1, 2)  # channels last, as the predictor has them
    batches = [BATCH] * (len(files) // BATCH) + [len(files) % BATCH] * (len(files) % BATCH > 0)

    @torch.inference_mode()
    def bare() -> None:
        for count in batches:
            model(ready[:count])

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            done = predict_files(predictor, files, Path(folder) / "out")
        assert done["written"] == len(files), done["failed"]

    def decode() -> None:
        for file in files:
            predictor.shrink(read_image(file))

    bare()
    ours()  # both once, to warm up
    rounds = [(seconds(bare), seconds(ours)) for _ in range(repeats)]
    ratios = [theirs[0] / own[0] for theirs, own in rounds]
    return {
        "network": f"{name}:{side}",
        "bare": len(files) / statistics.median(theirs[0] for theirs, _ in rounds),
        "predict": len(files) / statistics.median(own[0] for _, own in rounds),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "work": statistics.median(theirs[1] / own[1] for theirs, own in rounds),
        "decode": seconds(decode)[1] / min(theirs[1] for theirs, _ in rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", action="append", help="NAME:SIDE, repeatable")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="60 pictures, 2 rounds, the smallest network")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    count, repeats = (60, 2) if args.quick else (args.count, args.repeats)
    files = sorted(file for file in args.folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)[:count]
    names = args.network or (NETWORKS[:1] if args.quick else NETWORKS)
    rows = [measure(name, int(side), files, repeats) for name, _, side in (text.partition(":") for text in names)]
    document = {"pictures": len(files), "cores": cores(), "threads": torch.get_num_threads(), "networks": rows}
    if args.json:
        print(json.dumps(document, indent=2))
        return
    print(f"{len(files)} pictures, {cores()} cores, {torch.get_num_threads()} threads, batches of {BATCH}")
    print("network       bare/s  predict/s  ratio (lowest to highest)  work  decode")
    for row in rows:
        span = f"{row['ratio']:.2f} ({row['lowest']:.2f} to {row['highest']:.2f})"
        speeds = f"{row['network']:12} {row['bare']:7.1f} {row['predict']:10.1f}"
        print(f"{speeds}  {span:26} {row['work']:4.2f}  {row['decode']:.0%}")


if __name__ == "__main__":
    main()
