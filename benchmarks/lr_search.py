"""How good the learning rates of ``--lr search`` are: against full trainings at every half decade of rates.

    python benchmarks/lr_search.py [DATA …] [--resolution 48] [--epochs 6] [--batch-size 8] [--seeds 1] [--out DIR]

For each loss: a study of the losses whose rates are searched, and one that varies the rate, with the same seeds,
network (masknet) and length. A line of the table says what the range test suggested and what the search took, how far
each is off the best of the rates tried, and what the taken one gives up in mask IoU on test images (the best is the
luckiest of several, so a little is always given up). Below it: how often within a factor of 3, the mean given up, and
the same for one rate for all losses, the network's own. Run again with the same --out, nothing is trained twice.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import basrelief as br
from basrelief.files import read_json

LOSSES = ("bce(mask)", "dice(mask)", "bce(mask) + dice(mask)", "ssim(mask)", "focal(mask)")
RATES = ("3.2e-4", "1e-3", "3.2e-3", "1e-2", "3.2e-2", "1e-1")
OWN = "1e-3"  # masknet's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=["scenes:300"])
    parser.add_argument("--resolution", default="48")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    alike: dict[str, Any] = {
        "network": "masknet", "resolution": args.resolution, "epochs": args.epochs, "batch_size": args.batch_size,
        "seeds": args.seeds, "threads": 1, "jobs": 1, "tracker": ("none",),
    }  # fmt: skip
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        lines = [line for data in args.data for line in compare(data, args.out or Path(temporary), alike)]
    print("| data | loss | range test | off by | search | off by | IoU at it | at 1e-3 | best | given up |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for line in lines:
        suggested = "–" if line["suggested"] is None else f"{line['suggested']:g} | {line['test_off']:.1f}"
        print(
            f"| {line['data']} | `{line['loss']}` | {suggested} | {line['found']:g} | {line['off']:.1f} | "
            f"{line['score']:.3f} | {line['own']:.3f} | {line['top']:.3f} at {line['best']:g} | {line['lost']:+.3f} |"
        )
    near, tested = sum(line["off"] <= 3.2 for line in lines), sum(line["test_off"] <= 3.2 for line in lines)
    print(f"\nWithin a factor of 3.2 of the best: {near} of {len(lines)}; the range test alone: {tested}.")
    for name in ("lost", "own_lost"):
        values = sorted(line[name] for line in lines)
        print(f"{name}: mean {sum(values) / len(values):.3f}, at worst {values[-1]:.3f}")
    print(f"{time.perf_counter() - started:.0f} s")


def compare(data: str, out: Path, alike: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a line for each loss."""
    place = out / data.replace(":", "-").rstrip("/").rsplit("/", 1)[-1]
    found = br.study(data, out=place / "search", losses=LOSSES, lr="search", **alike)
    searches = {entry["name"]: entry for entry in read_json(place / "search" / "lr_search.json")["losses"]}
    scores = {row["name"]: row["mean"] for row in found["losses"]}
    lines = []
    for number, loss in enumerate(LOSSES):
        study = br.study(data, out=place / f"rates-{number}", losses=(loss,), vary="lr", lr=RATES, **alike)
        means = {float(row["name"]): row["mean"] for row in study["losses"] if row["mean"] is not None}
        best = max(means, key=lambda rate: means[rate])
        entry, score = searches[loss], scores[loss]
        top, own = max(means[best], score), means[float(OWN)]
        best = entry["lr"] if score >= means[best] else best
        line = {"data": place.name, "loss": loss, "suggested": entry["suggested"], "found": entry["lr"]}
        line |= {"best": best, "top": top, "score": score, "own": own, "lost": top - score, "own_lost": top - own}
        line |= {"off": _apart(entry["lr"], best), "test_off": _apart(entry["suggested"], best)}
        lines.append(line)
        print(line, {rate: round(mean, 3) for rate, mean in means.items()}, entry["grid"], flush=True)
    return lines


def _apart(a: float | None, b: float) -> float:
    return math.inf if a is None else math.exp(abs(math.log(a / b)))


if __name__ == "__main__":
    main()
