"""Step times of the choices that the probe compares: precision, memory format, threads, and compiled or not.

    python benchmarks/probe.py [--network masknet] [--resolution 64] [--batch-size 16] [--compile]

Every network makes whole training steps (forward, loss, backward, update) on one batch of generated scenes. All choices
take turns, so a machine that slows down slows all of them; the median of the ratios within the rounds is what counts.
The first row is the rule's choice, and each ratio says how many times as fast as it a choice is.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch

from basrelief.config import TrainSettings
from basrelief.data import open_source
from basrelief.data.pack import pack
from basrelief.data.source import DataOptions
from basrelief.data.store import Store
from basrelief.engine.bare_step import BareSteps, as_found
from basrelief.engine.machine import AMPERE, Machine, choose_machine, computes_bfloat16, device_name
from basrelief.engine.run_plan import RunPlan
from basrelief.models import MODELS

LOSS = {("mask",): "bce(mask) + dice(mask)", ("mask", "depth"): "2*rmse(depth) + bce(mask) + 2*dice(mask)"}


def choices(rule: Machine, compiled: bool) -> list[Machine]:
    """Return every choice on this device, the rule's first."""
    kind = rule.device.split(":")[0]
    precisions, threads = ["fp32"], [rule.threads]
    if computes_bfloat16(kind):
        precisions.append("bf16")
    if kind == "cuda" and torch.cuda.get_device_capability(rule.device) >= AMPERE:
        precisions.append("tf32")
    if kind == "cpu":
        threads = sorted({rule.threads, max(1, rule.threads // 2), 1}, reverse=True)
    found = [
        dataclasses.replace(rule, precision=precision, channels_last=last, threads=number, compile=whole)
        for whole, number, precision, last in itertools.product(
            (False, True) if compiled else (False,), threads, precisions, (True, False)
        )
    ]
    return [rule, *(machine for machine in found if machine != rule)]


def measure(network: str, store: Store, args: argparse.Namespace) -> None:
    """Print a line a choice."""
    targets = MODELS[network].targets
    heads = tuple(target for target in ("mask", "depth") if target in targets)
    settings = TrainSettings(
        lr=1e-3,
        network=network,
        resolution=(args.resolution, args.resolution),
        epochs=1,
        batch_size=args.batch_size,
        metric="mask/iou",
    )
    rule = choose_machine(args.device)
    plan = RunPlan(settings, LOSS[heads], 0, heads, True, rule)
    bare = BareSteps(plan, store, np.arange(store.facts.count))
    machines = choices(rule, args.compile)
    times: dict[Machine, list[float]] = {machine: [] for machine in machines}
    with as_found(rule.device):
        for number in range(args.rounds + 1):
            for machine in machines:
                seconds = bare.seconds(machine, args.batch_size)
                if number:  # the first step sets up, and compiles
                    times[machine].append(seconds)
    for machine in machines:
        ratios = sorted(a / b for a, b in zip(times[rule], times[machine], strict=True))
        print(
            f"| {network} | {machine} | {1e3 * statistics.median(times[machine]):.1f} | "
            f"{statistics.median(ratios):.2f} | {ratios[0]:.2f} to {ratios[-1]:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", action="append", choices=sorted(MODELS))
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true", help="compiled networks too (a minute each)")
    args = parser.parse_args()
    side = (args.resolution, args.resolution)
    print(f"{device_name(choose_machine(args.device))}, {args.resolution} px, batches of {args.batch_size}\n")
    print("| network | choice | a step, ms | times as fast as the rule's choice | lowest to highest round |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        source = open_source("scenes:32", DataOptions(resolution=side))
        store = pack(source, source.entries, Path(folder) / "store", side, key="benchmark")
        for network in args.network or sorted(MODELS):
            measure(network, store, args)


if __name__ == "__main__":
    main()
