"""A/A studies on real trainings, for `benchmarks/verdict.py --aa`: one loss under two names must not beat itself.

Two losses are trained on many seeds of generated scenes at 32 px. Each takes part in ten studies: six of its seeds, of
which three are called A and three B. "Better" may come out in 3 of the 20 at most (with a true error rate of 5 %, more
come in 1.6 % of such runs). On the same seeds, where all scores are identical, it must be "equal".
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import basrelief as br
from basrelief.statistics import decide, paired_interval

LOSSES = ("bce(mask) + dice(mask)", "bce(mask)")
STUDIES, SEEDS = 20, 3
ALLOWED = 3  # of 20
METRIC, MARGIN = "mask/iou", 0.005
SETTINGS: dict[str, Any] = {
    "network": "masknet", "resolution": (32, 32), "epochs": 16, "batch_size": 16, "lr": 1e-2, "jobs": 1,
    "metric": METRIC, "device": "cpu", "precision": "fp32", "threads": 1,
}  # fmt: skip


def test_scores(study: Path, seeds: int) -> np.ndarray:
    """Return the test scores (seeds, images) of a study's single loss."""
    frame = pl.read_parquet(study / "scores.parquet").filter(pl.col("split") == "test").sort("seed", "row")
    return frame[METRIC].to_numpy().reshape(seeds, -1)


def main(*, json_wanted: bool = False) -> int:
    """Train, decide, print, and return 1 where "better" came too often or identical scores were not equal."""
    start, per_loss = time.perf_counter(), STUDIES // len(LOSSES)
    decisions, means = [], {}
    with tempfile.TemporaryDirectory() as place:
        for number, loss in enumerate(LOSSES):
            folder, seeds = Path(place) / str(number), per_loss * 2 * SEEDS
            print(f"{seeds} trainings with {loss}", file=sys.stderr)
            br.study("scenes:80", out=folder, losses=(loss,), seeds=seeds, **SETTINGS)
            scores = test_scores(folder, seeds)
            means[loss] = [float(scores.mean()), float(scores.mean(axis=1).std(ddof=1))]
            for half in scores.reshape(per_loss, 2, SEEDS, -1):
                interval = paired_interval(half[0], half[1])
                decisions.append(decide(interval, interval.p_value, margin=MARGIN, higher_is_better=True))
        names = (f"one = {LOSSES[0]}", f"two = {LOSSES[0]}")
        same = br.study("scenes:80", out=Path(place) / "same", losses=names, seeds=2, **SETTINGS)
    better = sum(decision in ("a", "b") for decision in decisions)
    same_seeds = same["pairs"][0]["decision"]
    result = {
        "studies": len(decisions), "better": better, "allowed": ALLOWED, "decisions": decisions,
        "same_seeds": same_seeds, "mean_and_sd_over_seeds": means, "seconds": time.perf_counter() - start,
    }  # fmt: skip
    if json_wanted:
        print(json.dumps(result, indent=2))
    else:
        for loss, (mean, sd) in means.items():
            print(f"{loss}: {METRIC} {mean:.3f}, standard deviation over seeds {sd:.3f}")
        print(f'"better" in {better} of {len(decisions)} A/A studies with {SEEDS} seeds each, asked {ALLOWED} at most')
        print(f"on the same seeds: {same_seeds}, asked equal")
        print(f"{result['seconds']:.0f} s")
    return 1 if better > ALLOWED or same_seeds != "equal" else 0


if __name__ == "__main__":
    sys.exit(main(json_wanted="--json" in sys.argv))
