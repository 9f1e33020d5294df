"""How much of the published checkerboards each upsampling of depthmasknet leaves, on the same scenes and seeds.

    python benchmarks/checkerboard.py [--count 240] [--epochs 10] [--seeds 2] [--lr 2e-4] [--device cpu]

Trains depthmasknet for depth three times a seed, with pixel shuffle, with ICNR and blur, and by resizing, on generated
scenes, and prints a table of test scores: `depth/checkerboard` is the share of the error's local energy that repeats
every 2 px (0 of noise), `depth/rmse` the error itself. Four shuffles in a row make patterns of 16 px, of which that
score sees little, so predictions of other scenes are measured by their *seams*: the mean step between neighbours across
the borders of the 16-px blocks, over the mean step elsewhere (the true depth's is printed below the table). The three
take turns within a seed, so that a machine that slows down slows all; images/s is also given relative to the shuffle of
the same seed. The default takes some ten minutes on two free cores.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import basrelief as br
from basrelief.data import open_source
from basrelief.data.source import DataOptions
from basrelief.models.depthmasknet import UPSAMPLINGS
from basrelief.models.summary import summarise_network

BLOCK = 16  # px that one value at depthmasknet's deepest level becomes
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
        schedule="constant",
        augment="none",
        ema=0.0,
        background=False,
        seed=seed,
        device=options.device,
        precision="fp32",
    )


def unseen_scenes(size: tuple[int, int]) -> list[br.Sample]:
    """Return scenes that nothing was trained or chosen on."""
    source = open_source("scenes:60", DataOptions(resolution=size, seed=10_000))
    return [source.load(entry) for entry in source.entries]


def predict(run: str, scenes: list[br.Sample]) -> np.ndarray:
    """Return the depth (N, H, W) that a run predicts."""
    predictor = br.load_predictor(run)
    return np.stack([predictor(scene.image).depth for scene in scenes])


def seams(depth: np.ndarray) -> float:
    """Return the mean step across borders of blocks, over the mean step between other neighbours."""
    across = inside = 0.0
    for axis in (1, 2):
        steps = np.abs(np.diff(depth, axis=axis)).mean(axis=(0, 3 - axis))
        border = np.arange(1, len(steps) + 1) % BLOCK == 0
        across, inside = across + steps[border].mean(), inside + steps[~border].mean()
    return float(across / inside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=240, help="generated scenes; 70 % of them train")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--loss", default="rmse(depth)")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    size = (options.resolution, options.resolution)
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            (upsample, seed): train(options, upsample, seed, Path(folder))
            for seed in range(options.seeds)
            for upsample in UPSAMPLINGS
        }
        scenes = unseen_scenes(size)
        depths = {key: predict(run["run"], scenes) for key, run in runs.items()}
    print(
        f"{options.count} scenes, {options.resolution} px, {options.epochs} epochs, {options.loss}, "
        f"{options.seeds} seed(s): mean of test scores (and lowest to highest); errors in m\n"
    )
    print(f"| upsample | {' | '.join(METRICS)} | seams | images/s | of shuffle's | multiply-adds |")
    print(f"|---|{'---|' * (len(METRICS) + 4)}")
    for upsample in UPSAMPLINGS:
        cells = [spread([runs[upsample, seed]["metrics"][name] for seed in range(options.seeds)]) for name in METRICS]
        cells.append(spread([seams(depths[upsample, seed]) for seed in range(options.seeds)]))
        speeds = [runs[upsample, seed]["images_per_second"] for seed in range(options.seeds)]
        ratios = [speed / runs["shuffle", seed]["images_per_second"] for seed, speed in enumerate(speeds)]
        network = f"depthmasknet(upsample={upsample!r})"
        cost = summarise_network(network, size, mask_classes=0, depth=True)["totals"]["multiply_adds"]
        cells += [f"{statistics.median(speeds):.0f}", f"{statistics.median(ratios):.2f}", f"{cost / 1e6:,.0f} M"]
        print(f"| {upsample} | {' | '.join(cells)} |")
    print(f"\nseams of the true depth: {seams(np.stack([scene.depth for scene in scenes])):.2f}")


def spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.4f} to {max(values):.4f})"


if __name__ == "__main__":
    main()
