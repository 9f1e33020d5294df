"""Training on a GPU, in under eight minutes, as tables: whole epochs, every network's speed, what exactness costs.

    python benchmarks/gpu.py [--minutes 7.5] [--part epochs|speed|exact] [--device cuda] [--small]

epochs: an epoch of 280,000 quartets at 64 px, as write-up B's, with depthmasknet and resunet, as ``basrelief.train``
does it in bfloat16, from a packed store that the device holds whole; against bare steps (forward, loss, backward,
update of a batch that is there already), which take their turn after each epoch. The first epoch, with what is compiled
and tried in it, is shown apart. The 280,000 are packed before: 1,000 generated scenes, each in many variants (mirrored,
shifted, shaded), so every row of the store is another picture though few scenes were drawn.

speed: bare steps of every network at 64, 128 and 224 px, with the batch that is fastest in bfloat16, found by doubling.
The kernels are those that cuDNN finds quickest by trying. Compiled networks come last, as far as time allows.

exact: bare steps with the settings under which a GPU repeats its bits, against those under which it does not.

Every measurement has a share of the time and a process of its own; one that fails or is not done in time is a line
that says so. --small checks the script itself with tiny sizes, also with --device cpu; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import gpu_jobs
from bare import targets_of
from gpu_jobs import FLAGS, MODES, Job
from gpu_store import write_store

from basrelief.models import MODELS

EPOCHS_OF = ("depthmasknet", "resunet")
EXACT_OF = ("depthmasknet", "resunet", "dsresnet")
SHARES = {"epochs": 0.55, "speed": 0.33, "exact": 0.12}  # of the time that packing leaves
SECOND, STEPS = 0.7, 100  # for each speed; bare steps beside an epoch


class Clock:
    """The time there is, and how it is shared out."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left."""
        return max(0.0, self.end - time.monotonic())

    def share(self, waiting: int) -> float:
        """Return the seconds that one of so many equal jobs may take: half as much again as is fair."""
        return min(self.left(), 1.5 * self.left() / max(1, waiting))


def epochs(args: argparse.Namespace, clock: Clock) -> None:
    """Whole epochs against bare steps."""
    print(f"\n## An epoch of {args.count:,} quartets at {args.side} px, from a store that the device holds\n")
    print("| network | batch | computes in | first epoch, s | an epoch, s | images/s | bare step | ratio | peak, GiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    notes: list[str] = []
    jobs = [(name, batch) for batch in args.batches for name in EPOCHS_OF if name in MODELS or args.small]
    jobs = [(name if name in MODELS else "masknet", batch) for name, batch in jobs]
    for number, (name, batch) in enumerate(jobs):
        job = Job(
            name,
            args.device,
            sides=(args.side,),
            batches=(batch,),
            store=args.folder / "store",
            split=args.folder / "split.csv",
            bare_steps=args.bare_steps,
        )
        told = list(gpu_jobs.run(gpu_jobs.train_epochs, job, clock.share(len(jobs) - number)))
        notes += [f"{name}, batches of {batch}: {line['error']}" for line in told if "error" in line]
        trained = [line for line in told if "epoch" in line]
        bare = [line["bare"] for line in told if "bare" in line]
        if not trained:
            print(f"| {name} | {batch} | | | | | | | |", flush=True)
            continue
        machine, first, last = trained[0]["machine"], trained[0], trained[-1]
        found = [f"{last['seconds']:.1f}", f"{last['images_per_second']:,.0f}"] if len(trained) > 1 else ["", ""]
        found += [f"{bare[-1]:,.0f}"] if bare else [""]
        found += [f"**{last['images_per_second'] / bare[-1]:.3f}**"] if len(bare) > 1 else [""]
        how = machine["precision"] + (", compiled" if machine.get("compile") else "")
        peak = f"{first['peak'] / 2**30:.1f}"
        print(
            f"| {name} | {batch} | {how} | {first['seconds']:.1f} | {' | '.join(found)} | {peak} |",
            flush=True,
        )
        notes.append(f"{name}, batches of {batch}: {first['ready']:.1f} s from the call to the first step")
    missing = [name for name in EPOCHS_OF if name not in MODELS]
    notes += [f"{', '.join(missing)}: not in the table of networks"] if missing else []
    _print_notes(notes)


def speed(args: argparse.Namespace, clock: Clock) -> None:
    """Bare steps of every network: first as they are, then compiled."""
    rounds = (("bf16", "tf32", "fp32"), ("bf16 compiled",))
    names = args.network or sorted(MODELS)
    cells: dict[tuple[str, str, int], str] = {}
    batches: dict[tuple[str, int], int] = {}
    notes: list[str] = []
    jobs = [(name, modes) for modes in rounds for name in names]
    for number, (name, modes) in enumerate(jobs):
        sizes = tuple(batches.get((name, side), start) for side, start in args.sides.items())
        job = Job(name, args.device, args.seconds, tuple(args.sides), sizes, modes, tune=not args.small)
        for line in gpu_jobs.run(gpu_jobs.measure_steps, job, clock.share(len(jobs) - number)):
            if "error" in line:
                notes.append(f"{name}, {' and '.join(modes)}: {line['error']}")
                continue
            place = (name, line["mode"], line["side"])
            if "failed" in line:
                cells[place] = "failed"
                notes.append(f"{name}, {line['mode']}, {line['side']} px: {line['failed']}")
                continue
            cells[place] = f"{line['rate']:,.0f} ({line['batch']})"
            batches.setdefault((name, line["side"]), line["batch"])
    print("\n## Bare steps, images/s (batch)\n")
    print("| network | resolution | " + " | ".join(MODES) + " |")
    print("|---" * (2 + len(MODES)) + "|")
    for name in names:
        for side in args.sides:
            row = [cells.get((name, mode, side), "") for mode in MODES]
            print(f"| {name} | {side} px | {' | '.join(row)} |", flush=True)
    _print_notes(notes)


def exact(args: argparse.Namespace, clock: Clock) -> None:
    """Bare steps with and without what makes a GPU repeat its bits."""
    names = [name for name in EXACT_OF if name in MODELS]
    names = names[:1] if args.small else names
    found: dict[tuple[str, str], float] = {}
    notes: list[str] = []
    for number, name in enumerate(names):
        job = Job(name, args.device, args.seconds, (args.side,), (args.batches[0],))
        for line in gpu_jobs.run(gpu_jobs.compare_flags, job, clock.share(len(names) - number)):
            if "rate" in line:
                found[name, line["flags"]] = line["rate"]
            else:
                notes.append(f"{name}, {line.get('flags', 'all')}: {line.get('failed') or line.get('error')}")
    print(
        f"\n## What exact repetition costs: bare steps, {args.side} px, batches of {args.batches[0]}, bf16, images/s\n"
    )
    print("| kernels | " + " | ".join(names) + " |")
    print("|---" * (1 + len(names)) + "|")
    base = next(iter(FLAGS))
    for flags in FLAGS:
        row = []
        for name in names:
            rate, best = found.get((name, flags)), found.get((name, base))
            row.append("" if rate is None else f"{rate:,.0f}" + (f" ({rate / best:.2f})" if best else ""))
        print(f"| {flags} | {' | '.join(row)} |", flush=True)
    _print_notes(notes)


def _print_notes(notes: list[str]) -> None:
    if notes:
        print("", *(f"- {note}" for note in notes), sep="\n", flush=True)


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip().splitlines()[0]


def _sized(args: argparse.Namespace) -> None:
    """Fill in the sizes: the real ones, or tiny ones."""
    if args.small:
        args.count, args.scenes, args.side, args.batches, args.held_out = 128, 16, 16, (32,), 16
        args.sides, args.seconds, args.bare_steps = {16: 2, 32: 2}, 0.05, 2
    else:
        args.count, args.scenes, args.side, args.batches, args.held_out = 280_000, 1000, 64, (512, 2048), 512
        args.sides, args.seconds, args.bare_steps = {64: 512, 128: 128, 224: 64}, SECOND, STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--part", action="append", choices=list(SHARES), help="repeatable; all if not given")
    parser.add_argument("--network", action="append", help="of the part speed; repeatable; all if not given")
    parser.add_argument("--folder", type=Path, help="where the store is made and kept; a temporary folder if not given")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    for name in args.network or ():
        targets_of(name)
    _sized(args)
    clock = Clock(60 * args.minutes)
    seen: dict[str, Any] = [*gpu_jobs.run(gpu_jobs.look, Job(device=args.device), clock.left())].pop()
    if "error" in seen:
        raise SystemExit(seen["error"])
    driver = f", driver {_driver()}" if args.device.startswith("cuda") else ""
    print(f"{seen['name']}{driver}, {seen['versions']}; {os.cpu_count()} cores")
    parts = args.part or list(SHARES)
    with tempfile.TemporaryDirectory() as temporary:
        args.folder = args.folder or Path(temporary)
        args.folder.mkdir(parents=True, exist_ok=True)
        if "epochs" in parts and not (args.folder / "split.csv").exists():
            started = time.monotonic()
            write_store(args.folder, args.count, args.held_out, args.scenes, args.side)
            print(
                f"Drawing {args.scenes} scenes and packing {args.count:,} of them: {time.monotonic() - started:.0f} s"
            )
        work = {"epochs": epochs, "speed": speed, "exact": exact}
        for number, part in enumerate(parts):
            share = SHARES[part] / sum(SHARES[other] for other in parts[number:])
            work[part](args, Clock(clock.left() * share))
    print(f"\nTook {60 * args.minutes - clock.left():.0f} s of {60 * args.minutes:.0f}.")


if __name__ == "__main__":
    main()
