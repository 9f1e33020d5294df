"""How much of a network's bare speed training keeps: whole epochs with data from disk, against resident batches.

    python benchmarks/train.py [--network masknet] [--resolution 64] [--device cpu]

For every network it trains as `basrelief train` does, from a packed store on disk, and after each epoch times the same
number of bare steps (forward, loss, backward, update) of a second copy of the network on one batch that is there
already. The two take turns, so a machine that slows down slows both; the ratio of the medians is what counts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from basrelief.batch import Batch
from basrelief.config import TrainSettings
from basrelief.data import open_source
from basrelief.data.loader import Loader
from basrelief.data.pack import pack
from basrelief.data.source import DataOptions
from basrelief.data.splits import Split, split_store
from basrelief.data.store import Store
from basrelief.engine.evaluate import forward
from basrelief.engine.machine import choose_machine, device_name
from basrelief.engine.run_plan import RunPlan, build_model
from basrelief.engine.train import train_run
from basrelief.engine.watcher import Silent
from basrelief.losses.expression import parse_loss

LOSSES = {"masknet": "bce(mask) + dice(mask)", "resunet": "2*rmse(depth) + bce(mask) + 2*dice(mask)"}


class BareSteps(Silent):
    """After each epoch of the real training, times as many bare steps on a batch that never leaves the device."""

    def __init__(self, plan: RunPlan, store: Store, split: Split) -> None:
        self.accelerator = plan.machine.accelerator()
        model = build_model(plan, store)
        model = model.to(memory_format=torch.channels_last) if plan.machine.channels_last else model
        optimizer = torch.optim.AdamW(model.parameters(), plan.settings.lr, weight_decay=0.0, fused=True)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.loss = parse_loss(plan.loss)
        size = plan.settings.batch_size
        loader = Loader(
            store, split.rows["train"], size, self.accelerator.device, targets=plan.heads, background=plan.background
        )
        self.batch: Batch = loader.batch(split.rows["train"][:size])
        self.steps = len(loader)
        self.bare: list[float] = []
        self.whole: list[float] = []

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Record the epoch's speed, and measure the bare one."""
        self.whole.append(record["images_per_second"])
        self.model.train()
        self._step()
        self._wait()
        started = time.perf_counter()
        for _ in range(self.steps):
            self._step()
        self._wait()
        self.bare.append(self.steps * self.batch.size / (time.perf_counter() - started))

    def _step(self) -> None:
        with self.accelerator.autocast():
            outputs = forward(self.model, self.batch)
        value = self.loss(outputs, self.batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(value.total)
        self.optimizer.step()

    def _wait(self) -> None:
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize()


def measure(network: str, args: argparse.Namespace, folder: Path) -> dict[str, float]:
    side = (args.resolution, args.resolution)
    source = open_source(f"scenes:{args.count}", DataOptions(resolution=side))
    store = pack(source, source.entries, folder / "store", side, key="benchmark")
    split = split_store(store.index, DataOptions(), "90/5/5")
    heads = ("mask",) if network == "masknet" else ("mask", "depth")
    settings = TrainSettings(
        network=network, resolution=side, epochs=args.epochs + 1, batch_size=args.batch_size, metric="mask/iou"
    )
    plan = RunPlan(settings, LOSSES[network], 0, heads, True, choose_machine(args.device, args.precision))
    bare = BareSteps(plan, store, split)
    train_run(folder / "run", plan, store, split, watcher=bare)
    whole, alone = bare.whole[1:], bare.bare[1:]  # the first epoch warms up
    ratios = np.array(whole) / np.array(alone)
    return {
        "whole": statistics.median(whole),
        "bare": statistics.median(alone),
        "ratio": float(np.median(ratios)),
        "low": float(ratios.min()),
        "high": float(ratios.max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", action="append", choices=sorted(LOSSES))
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--count", type=int, default=400, help="generated scenes")
    parser.add_argument("--epochs", type=int, default=7, help="epochs measured")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    args = parser.parse_args()
    machine = choose_machine(args.device, args.precision)
    print(f"{device_name(machine)}, {machine.precision}, {args.resolution} px, batches of {args.batch_size}, quartets")
    print(f"{'network':<10} {'training':>12} {'bare step':>12} {'ratio':>7} {'(lowest to highest of the epochs)':>36}")
    for network in args.network or sorted(LOSSES):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(network, args, Path(folder))
        print(
            f"{network:<10} {found['whole']:>8.1f} im/s {found['bare']:>8.1f} im/s {found['ratio']:>7.3f} "
            f"{found['low']:>20.3f} to {found['high']:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
