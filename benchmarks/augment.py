"""Augmentation against kornia's AugmentationSequential: the same planes, comparable steps, in one run.

    python benchmarks/augment.py [--device cuda] [--rounds 30] [--markdown docs/augment-speed.md]

Image, background, mask and depth of a batch. Ours and kornia's take turns, a few calls at a time, for `--rounds`
rounds; the ratio is the median over the rounds of kornia's time divided by ours in the same round, so a machine that
slows down slows both. Kornia gets its quickest form: one RandomAffine for rotation, zoom and shift together. The work
is comparable, not equal: kornia leaves metric depth as it is and covers masks as well as images, its hue and saturation
go by way of HSV, and its JPEG has a gradient.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import kornia.augmentation as kornia
import torch

from basrelief.augment import parse_augment
from basrelief.batch import Batch

SHAPES = ((64, 64), (16, 224))
GEOMETRY = "flip + rotate(10) + scale(0.8, 1.25) + shift(0.1, 0.1)"
COLOUR = "brightness(0.2) + contrast(0.2)"
MIXTURES = {
    "geometry": GEOMETRY,
    "geometry and colour": f"{GEOMETRY} + {COLOUR}",
    "geometry, colour, cutout": f"{GEOMETRY} + {COLOUR} + cutout(0.3)",
    "flip": "flip",
    "colour": COLOUR,
    "hue, saturation": "hue(18) + saturation(0.3)",
    "blur": "blur(1.5, p=0.5)",
    "jpeg": "jpeg(40, 95, p=0.5)",
}


def rival(mixture: str) -> kornia.AugmentationSequential:
    """Kornia's steps for a mixture; one draw for image and background, masks and depth by the nearest pixel."""
    flip = kornia.RandomHorizontalFlip(p=0.5)
    affine = kornia.RandomAffine(10, translate=(0.1, 0.1), scale=(0.8, 1.25), padding_mode="reflection", p=1.0)
    jitter = kornia.ColorJitter(brightness=0.2, contrast=0.2, p=1.0)
    steps = {
        "geometry": [flip, affine],
        "geometry and colour": [flip, affine, jitter],
        "geometry, colour, cutout": [
            flip,
            affine,
            jitter,
            kornia.RandomErasing(scale=(0.09, 0.09), ratio=(1.0, 1.0), p=0.5),
        ],
        "flip": [flip],
        "colour": [jitter],
        "hue, saturation": [kornia.ColorJitter(saturation=0.3, hue=0.05, p=1.0)],
        "blur": [kornia.RandomGaussianBlur((13, 13), (0.01, 1.5), p=0.5)],
        "jpeg": [kornia.RandomJPEG((40.0, 95.0), p=0.5)],
    }[mixture]
    extra = {"mask": {"resample": "nearest", "align_corners": False}}
    return kornia.AugmentationSequential(*steps, data_keys=["input", "image", "mask", "mask"], extra_args=extra)


def planes(count: int, side: int, device: torch.device) -> Batch:
    """A batch as it occurs, with a disc as mask."""
    generator = torch.Generator().manual_seed(0)
    background = torch.rand(count, 3, side, side, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    mask = ((rows - 0.5) ** 2 + (columns - 0.4) ** 2 < 0.05).float().repeat(count, 1, 1, 1)
    image = background * (1 - mask) + 0.7 * mask
    depth = (0.2 + 0.6 * rows).repeat(count, 1, 1, 1)
    return Batch(*(plane.to(device) for plane in (image, background, mask)), depth=depth.to(device))


def compare(mixture: str, count: int, side: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Return the medians in milliseconds, and the ratio with its quartiles."""
    batch, generator = planes(count, side, device), torch.Generator().manual_seed(0)
    ours, theirs = parse_augment(MIXTURES[mixture]), rival(mixture)
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: ours(batch, generator),
        "kornia": lambda: theirs(batch.image, batch.background, batch.mask, batch.depth),
    }

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    counts = {}
    for name, call in calls.items():
        call()  # warms up
        wait()
        started = time.perf_counter()
        call()
        wait()
        counts[name] = max(1, min(50, round(0.02 / (time.perf_counter() - started))))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            wait()
            started = time.perf_counter()
            for _ in range(counts[name]):
                calls[name]()
            wait()
            taken[name].append((time.perf_counter() - started) / counts[name])
    ratios = sorted(b / a for a, b in zip(taken["ours"], taken["kornia"], strict=True))
    return {
        "ours": 1000 * statistics.median(taken["ours"]),
        "kornia": 1000 * statistics.median(taken["kornia"]),
        "ratio": statistics.median(ratios),
        "low": ratios[len(ratios) // 4],
        "high": ratios[-1 - len(ratios) // 4],
    }


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mixture", action="append", choices=list(MIXTURES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    lines = ["| steps | batch | ours, ms | kornia, ms | ratio (quartiles) |", "|---|---|---|---|---|"]
    print("\n".join(lines))
    for mixture in args.mixture or MIXTURES:
        for count, side in SHAPES:
            found = compare(mixture, count, side, args.rounds, device)
            lines.append(
                f"| {mixture} | {count} of {side} px | {found['ours']:.2f} | {found['kornia']:.2f} "
                f"| **{found['ratio']:.1f}** ({found['low']:.1f}–{found['high']:.1f}) |"
            )
            print(lines[-1], flush=True)
    if args.markdown:
        args.markdown.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
