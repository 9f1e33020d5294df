"""Training as users get it, against the network's bare speed and against the write-ups' way of training it.

    python benchmarks/train.py [--against bare|write-ups] [--network resunet …] [--resolution 64] [--device cpu]

Ours is ``basrelief.train`` with its defaults, from a packed store. After each of its epochs the other side has its
turn, so a machine that slows down slows both; a ratio is the median over the epochs of ours divided by theirs, with
the lowest and the highest. The first epoch warms up and is left out.

bare: as many bare steps (forward, loss, backward, update) of a second copy of the network, computing as the run does,
on a batch that is there already. "training" is what a run reports as images_per_second; "whole" also counts what comes
after an epoch's last step: validation, checkpoints, history.

write-ups: the same network with the same initial weights on the same training images, from files, in float32; see
``writeups.py``. Both train write-up A's loss, as it defined it, with SGD (0.01, momentum 0.9). Its number of loading
processes is 0 or 2, whichever an epoch of each shows to be quicker. That we decode the files once is part of the
comparison; how long it took is shown.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
import writeups
from bare import BareStep, as_torch_comes, initial_model, loss_of, made_batch, targets_of

import basrelief as br
from basrelief.app import Quiet
from basrelief.engine.checkpoint import weights_hash
from basrelief.engine.machine import choose_machine, device_name
from basrelief.errors import BasreliefError
from basrelief.files import read_json
from basrelief.models import MODELS

WORKERS = (0, 2)  # of the write-ups' loaders
THREADS = torch.get_num_threads()  # before anything sets them


class TakesTurns(Quiet):
    """After each epoch of the real training, lets the other side train, and keeps both speeds."""

    def __init__(self, args: argparse.Namespace, run: Path) -> None:
        self.args, self.run = args, run
        self.ours: list[float] = []
        self.whole: list[float] = []
        self.other: list[float] = []
        self.record: Mapping[str, Any] = {}
        self.asked = self.turn = time.perf_counter()
        self.packed = 0.0  # seconds

    def begin(self, title: str, metric: str, steps: int, done: int) -> None:  # noqa: ARG002
        """Training starts: what came before was listing and packing."""
        self.turn = time.perf_counter()
        self.packed = self.turn - self.asked

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Record the epoch's speed, and give the other side its turn."""
        images = record["images_per_second"] * record["seconds"]
        self.ours.append(record["images_per_second"])
        self.whole.append(images / (time.perf_counter() - self.turn))
        steps = record["step"] - self.record.get("step", 0)
        self.record = record
        self.other.append(self.theirs(round(images), steps))
        self.turn = time.perf_counter()

    def theirs(self, images: int, steps: int) -> float:
        """Train about as long on the other side; return its images a second."""
        raise NotImplementedError


class AgainstBare(TakesTurns):
    """The other side is the bare step, computing as ``run.json`` says that the run does."""

    bare: BareStep | None = None

    def theirs(self, images: int, steps: int) -> float:
        """Take as many bare steps as the epoch had."""
        if self.bare is None:
            document = read_json(self.run / "run.json")
            batch = made_batch(round(images / steps), self.args.resolution, torch.device(document["machine"]["device"]))
            self.bare = BareStep(self.args.name, batch, document["machine"])
        return self.bare.rate(steps)


class AgainstWriteups(TakesTurns):
    """The other side is the write-ups' way; it starts when our run has said which images train."""

    model: torch.nn.Module | None = None
    workers = 0
    printed: Mapping[str, float] = {}

    def theirs(self, images: int, steps: int) -> float:  # noqa: ARG002
        """Train an epoch of the same images."""
        with as_torch_comes(THREADS):
            if self.model is None:
                return self._start(images)
            return self._epoch(self.workers)

    def _start(self, images: int) -> float:
        document = read_json(self.run / "run.json")
        self.device = torch.device(document["machine"]["device"])
        self.model = initial_model(self.args.name, background=True)
        if weights_hash(self.model) != document["initial_weights"]:
            raise SystemExit(f"{self.args.name}: the two sides do not start with the same weights.")
        self.model.to(self.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)
        splits = pl.read_csv(self.run / "splits.csv", schema_overrides={"id": pl.String})
        names = splits.filter(pl.col("split") == "train")["id"].to_list()
        assert len(names) == images, f"{len(names)} names for {images} images"
        depth_max = document["depth_max"] if "depth" in document["targets"] else None
        self.data = writeups.Quartets(self.args.quartets, names, self.args.resolution, depth_max)
        rates = {workers: self._epoch(workers) for workers in WORKERS}
        self.workers = max(rates, key=lambda workers: rates[workers])
        return rates[self.workers]

    def _epoch(self, workers: int) -> float:
        assert self.model is not None
        batches = writeups.loader(self.data, self.args.batch_size, workers, self.device)
        rate, self.printed = writeups.train_epoch(self.model, batches, self.optimizer, self.device)
        return rate


def measure(
    name: str, args: argparse.Namespace, data: str, side: type[TakesTurns], loss: str, **options: Any
) -> TakesTurns:
    """Train one network with the other side taking turns."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        args.name = name
        turns = side(args, run)
        br.train(
            data,
            out=run,
            watcher=turns,
            network=name,
            loss=loss,
            resolution=args.resolution,
            epochs=args.epochs + 1,
            batch_size=args.batch_size,
            device=args.device,
            precision=args.precision,
            split="90/5/5",
            schedule="constant",
            augment="none",
            **options,
        )
    return turns


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return median, lowest and highest of the epochs' ratios, without the first."""
    found = [a / b for a, b in zip(ours[1:], theirs[1:], strict=True)]
    return statistics.median(found), min(found), max(found)


def against_bare(names: Sequence[str], args: argparse.Namespace) -> None:
    print("\n| network | training, images/s | bare step, images/s | ratio | lowest to highest | ratio of the whole |")
    print("|---|---|---|---|---|---|")
    for name in names:
        turns = measure(name, args, f"scenes:{args.count}", AgainstBare, loss_of(name))
        middle, low, high = ratio(turns.ours, turns.other)
        print(
            f"| {name} | {statistics.median(turns.ours[1:]):.1f} | {statistics.median(turns.other[1:]):.1f} "
            f"| **{middle:.3f}** | {low:.3f} to {high:.3f} | {ratio(turns.whole, turns.other)[0]:.3f} |",
            flush=True,
        )


def against_writeups(names: Sequence[str], args: argparse.Namespace) -> None:
    print("\n| network | ours, images/s | the write-ups' way | ours is faster by | lowest to highest | their workers |")
    print("|---|---|---|---|---|---|")
    notes = []
    with tempfile.TemporaryDirectory() as folder:
        args.quartets = Path(folder) / "quartets"
        writeups.write_quartets(args.quartets, args.count)
        for name in names:
            loss = writeups.BOTH if "depth" in targets_of(name) else writeups.MASK
            sgd = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9}
            turns = measure(name, args, str(args.quartets), AgainstWriteups, loss, **sgd)
            assert isinstance(turns, AgainstWriteups)
            middle, low, high = ratio(turns.ours, turns.other)
            print(
                f"| {name} | {statistics.median(turns.ours[1:]):.1f} | {statistics.median(turns.other[1:]):.1f} "
                f"| **{middle:.2f}** | {low:.2f} to {high:.2f} | {turns.workers} |",
                flush=True,
            )
            notes.append(
                f"{name}: listing and packing {args.count} quartets once took {turns.packed:.1f} s; with validation "
                f"and files counted, ours is faster by {ratio(turns.whole, turns.other)[0]:.2f}; mean loss of the last "
                f"epoch {turns.record['train/loss']:.3f}, theirs {turns.printed['loss']:.3f} after one epoch more"
            )
    print("", *notes, sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", choices=("bare", "write-ups"), help="one of the two; both if not given")
    parser.add_argument("--network", action="append", help="of `basrelief list models`, options allowed; repeatable")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--count", type=int, default=400, help="generated scenes")
    parser.add_argument("--epochs", type=int, default=7, help="epochs measured")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", help="of ours")
    args = parser.parse_args()
    names = args.network or sorted(MODELS)
    try:
        for name in names:
            targets_of(name)
        machine = choose_machine(args.device, args.precision)
        print(f"{device_name(machine)}, torch {torch.__version__}, ours in {machine.precision}")
        print(f"{args.resolution} px, batches of {args.batch_size}, {args.count} quartets, {args.epochs} epochs")
        if args.against != "write-ups":
            against_bare(names, args)
        if args.against != "bare":
            against_writeups(names, args)
    except BasreliefError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
