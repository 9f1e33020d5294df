"""How fast a network predicts in torch, compiled, as an exported ONNX file, and as that file in whole numbers.

    python benchmarks/export.py [--networks relief masknet …] [--resolution 64] [--batch 16] [--threads 1] [--rounds 7]

Each is what `basrelief predict` calls: bytes at the training resolution in, activated heads out, on a CPU. Weights are
untrained, which costs the same time. The ways take turns within a round, so that a machine that slows down slows all;
the first table has the median images/s, and in brackets the median over rounds of the ratio to torch's of the same
round. The second table has the processor's time for an image, of all threads. More than one thread asks for an idle
machine: torch's wait for each other at every layer, spinning, and where another program has one of the cores that takes
most of the time, as the second table then shows. With one thread other programs hardly change the ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basrelief.exporting.int8 import quantise
from basrelief.exporting.onnx_file import write_onnx
from basrelief.exporting.program import trace
from basrelief.exporting.whole_graph import WholeNetwork
from basrelief.inference.network import Network, build_model, torch_network
from basrelief.inference.onnx_network import load_onnx
from basrelief.models import MODELS

NETWORKS = ["masknet", "relief", "resunet", "dsresnet", "smp/unet:resnet18"]
WAYS = ("eager", "compiled", "onnx", "int8")


def describe(network: str, side: int) -> dict[str, Any]:
    """Return the part of run.json that an export needs; mask and depth where the network gives both."""
    targets = [t for t in ("mask", "depth") if network not in MODELS or t in MODELS[network].targets]
    return {
        "network": network,
        "resolution": [side, side],
        "classes": ["figure"],
        "activations": {},
        "targets": targets,
        "heads": targets,
        "background": False,
        "depth_max": 10.0,
        "depth_unit": "m",
        "depth_kind": "metric",
        "settings": {"metric": "mask/iou", "mask_values": []},
    }


def ways_of(network: str, side: int, folder: Path) -> tuple[dict[str, Network], dict[str, int]]:
    """Return the ways to compute a network, and the sizes of the two files in bytes."""
    torch.manual_seed(0)
    run = describe(network, side)
    model = build_model(run).eval()
    plain, small = folder / "a.onnx", folder / "b.onnx"
    rng = np.random.default_rng(0)
    write_onnx(trace(WholeNetwork(model, run), background=False), run, plain)
    pictures = ({"image": rng.integers(0, 256, (1, side, side, 3), dtype=np.uint8)} for _ in range(4))
    quantise(plain, small, run, pictures)
    cpu = torch.device("cpu")
    ways = {
        "eager": torch_network(model, {}, cpu),
        "compiled": torch_network(torch.compile(build_model(run).eval()), {}, cpu),  # type: ignore[arg-type]
        "onnx": load_onnx(plain, "cpu")[1],
        "int8": load_onnx(small, "cpu")[1],
    }
    return ways, {"onnx": plain.stat().st_size, "int8": small.stat().st_size}


def rate(network: Callable[[Tensor, None], Any], images: Tensor, seconds: float) -> tuple[float, float]:
    """Return images/s and the processor's milliseconds an image over about so many seconds, at least one call."""
    count, began, used = 0, time.perf_counter(), time.process_time()
    while count == 0 or time.perf_counter() - began < seconds:
        network(images, None)
        count += len(images)
    return count / (time.perf_counter() - began), 1000 * (time.process_time() - used) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each way in a round")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    side = options.resolution
    images = torch.randint(0, 256, (options.batch, side, side, 3), dtype=torch.uint8)
    load = f", load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    print(
        f"{side} x {side} px, batches of {options.batch}, {options.threads} thread(s) of {os.cpu_count()} cores{load}; "
        f"torch {torch.__version__}, onnxruntime {metadata.version('onnxruntime')}\n"
    )
    print("Images/s:\n\n| network | eager | compiled | ONNX | int8 | ONNX file | int8 file |")
    print("|---|---|---|---|---|---|---|")
    costs = []
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            ways, sizes = ways_of(name, side, Path(folder))
            for way in ways.values():  # compiled, and the memory touched
                rate(way, images, options.seconds / 2)
            rounds = [{way: rate(ways[way], images, options.seconds) for way in WAYS} for _ in range(options.rounds)]
        cells, cost = [], []
        for way in WAYS:
            speed = statistics.median(found[way][0] for found in rounds)
            ratio = statistics.median(found[way][0] / found["eager"][0] for found in rounds)
            cells.append(f"{speed:.0f}" + ("" if way == "eager" else f" ({ratio:.2f})"))
            cost.append(f"{statistics.median(found[way][1] for found in rounds):.2f}")
        cells += [f"{sizes[way] / 1e6:.1f} MB" for way in ("onnx", "int8")]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        costs.append(f"| {name} | {' | '.join(cost)} |")
    print("\nMilliseconds of the processor an image, all threads:\n\n| network | eager | compiled | ONNX | int8 |")
    print("\n".join(["|---|---|---|---|---|", *costs]))


if __name__ == "__main__":
    main()
