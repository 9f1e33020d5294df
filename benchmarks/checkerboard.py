"""How much of the published checkerboards each upsampling of depthmasknet leaves, on the same scenes and seeds.

    python benchmarks/checkerboard.py [--count 240] [--epochs 10] [--seeds 2] [--loss "rmse(depth)"] [--device cpu]

Trains depthmasknet for depth three times a seed, with pixel shuffle, with ICNR and blur, and by resizing, on generated
scenes, and prints a table of test scores. `depth/checkerboard` is the share of the error's local energy that repeats
every 2 px (0 of noise), `depth/rmse` the error itself. The three take turns within a seed, so that a machine that slows
down slows all; images/s is relative to the shuffle of the same seed. It takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import basrelief as br
from basrelief.models.depthmasknet import UPSAMPLINGS
from basrelief.models.summary import summarise_network

METRICS = ("depth/checkerboard", "depth/rmse", "depth/delta1")


def train(options: argparse.Namespace, upsample: str, seed: int, folder: Path) -> dict[str, Any]:
    return br.train(
        f"scenes:{options.count}",
        out=folder / f"{upsample}-{seed}",
        network=f"depthmasknet(upsample={upsample!r})",
        loss=options.loss,
        resolution=(options.resolution, options.resolution),
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr,
        background=False,
        seed=seed,
        device=options.device,
        precision="fp32",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=240, help="generated scenes; 70 % of them train")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--loss", default="rmse(depth)")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            (upsample, seed): train(options, upsample, seed, Path(folder))
            for seed in range(options.seeds)
            for upsample in UPSAMPLINGS
        }
    print(
        f"{options.count} scenes, {options.resolution} px, {options.epochs} epochs, {options.loss}, "
        f"{options.seeds} seed(s): mean of test scores (lowest to highest)\n"
    )
    print(f"| upsample | {' | '.join(METRICS)} | images/s | of shuffle's | multiply-adds |")
    print(f"|---|{'---|' * (len(METRICS) + 3)}")
    for upsample in UPSAMPLINGS:
        cells = [spread([runs[upsample, seed]["metrics"][name] for seed in range(options.seeds)]) for name in METRICS]
        speeds = [runs[upsample, seed]["images_per_second"] for seed in range(options.seeds)]
        ratios = [speed / runs["shuffle", seed]["images_per_second"] for seed, speed in enumerate(speeds)]
        network = f"depthmasknet(upsample={upsample!r})"
        size = (options.resolution, options.resolution)
        cost = summarise_network(network, size, mask_classes=0, depth=True)["totals"]["multiply_adds"]
        cells += [f"{statistics.median(speeds):.0f}", f"{statistics.median(ratios):.2f}", f"{cost / 1e6:,.0f} M"]
        print(f"| {upsample} | {' | '.join(cells)} |")


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


if __name__ == "__main__":
    main()
