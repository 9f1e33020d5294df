"""An encoder of segmentation_models_pytorch: our training against the plain Lightning script for the same network.

    python benchmarks/smp.py --data DIR [--seeds 2] [--resolution 128] [--epochs 6] [--device cpu]

DIR holds images and masks in any layout of files that Basrelief reads, a mask bright (above 127) where the figure is.
Needs segmentation-models-pytorch and Lightning (pip install segmentation-models-pytorch lightning).

Ours is ``basrelief.train(DIR, network="smp/unet:resnet18", weights="none", split="80/0/20")``. Theirs is the script
that package's own example shows: ``smp.create_model`` without pretrained weights, ImageNet's mean and deviation
taken off the images in ``forward``, a Dataset that opens and resizes image and mask with Pillow, a DataLoader with a
worker a core, ``get_stats`` at every step, and Lightning's Trainer in float32; its logger, progress bar and checkpoints
are off, which is quicker. Both train BCE and that package's Dice with AdamW at 1e-3, on the same training images (a
split for each seed), and both are scored on the same test images at the training resolution, against the same masks
and by the same code; ours is the checkpoint that a run keeps, theirs the network after the last epoch.

Each side has a process of its own and waits while the other trains an epoch, so a machine that slows down slows both.
Images a second are those of whole epochs, whatever happens in them (ours writes checkpoints, theirs starts its
workers); the first epoch, which warms up, is left out on both sides.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

LOSS = 'bce(mask) + dice(mask, like="smp")'
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as encoders there take them
NEEDED = {"segmentation_models_pytorch": "segmentation-models-pytorch", "lightning": "lightning"}


@dataclass(frozen=True)
class Job:
    """What both sides are told; ``train`` and ``test`` are the (image, mask) files, known once ours has split."""

    data: str
    out: Path
    network: str
    side: int
    batch_size: int
    epochs: int
    seed: int
    device: str
    workers: int
    train: tuple[tuple[Path, Path], ...] = ()
    test: tuple[tuple[Path, Path], ...] = ()


class Turns:
    """One side's end of the line to the referee: it waits for its turn, and says how long each epoch took."""

    def __init__(self, line: Connection) -> None:
        self.line = line
        self.started = 0.0

    def wait(self, word: str, found: Any = None) -> None:
        """Hand over a result, and wait to be told to go on."""
        self.line.send((word, found))
        self.line.recv()
        self.started = time.perf_counter()

    def epoch(self) -> None:
        """Say that an epoch is over."""
        self.wait("epoch", time.perf_counter() - self.started)


def ours(job: Job, line: Connection) -> None:
    """Train as a user of Basrelief does."""
    import basrelief as br
    from basrelief.app import Quiet

    turns = Turns(line)

    class TakesTurns(Quiet):
        def begin(self, title: str, metric: str, steps: int, done: int) -> None:  # noqa: ARG002
            turns.wait("ready")

        def epoch(self, record: Mapping[str, Any]) -> None:  # noqa: ARG002
            turns.epoch()

    run = br.train(
        job.data,
        out=job.out,
        watcher=TakesTurns(),
        network=job.network,
        weights="none",
        loss=LOSS,
        split="80/0/20",
        resolution=job.side,
        batch_size=job.batch_size,
        epochs=job.epochs,
        optimizer="adamw",
        lr=1e-3,
        schedule="constant",  # the same recipe on both sides: none of what a training alone has by default
        augment="none",
        ema=0.0,
        seed=job.seed,
        device=job.device,
    )
    turns.wait("done", {"iou": run["metrics"]["mask/iou"], "pooled": run["metrics"]["mask/iou_pooled"]} | facts_of(run))


def facts_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run says of itself that the table shows."""
    return {"machine": run["machine"], "images_per_second": run["images_per_second"], "parameters": run["parameters"]}


class Pictures(Dataset):
    """Image and mask, opened with Pillow and resized each time."""

    def __init__(self, files: Sequence[tuple[Path, Path]], side: int) -> None:
        self.files, self.side = files, side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = self.files[number]
        with Image.open(image) as opened:
            pixels = np.array(opened.convert("RGB").resize((self.side, self.side), Image.Resampling.BILINEAR))
        with Image.open(mask) as opened:
            figure = np.array(opened.convert("L").resize((self.side, self.side), Image.Resampling.NEAREST)) > 127
        picture = torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float().div(255)
        return picture, torch.from_numpy(figure)[None].float()


def theirs(job: Job, line: Connection) -> None:
    """Train as segmentation_models_pytorch's example with Lightning does."""
    import lightning
    import segmentation_models_pytorch as smp

    turns = Turns(line)
    architecture, _, encoder = job.network.removeprefix("smp/").partition(":")

    class Plain(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = smp.create_model(architecture, encoder, encoder_weights=None, in_channels=3, classes=1)
            self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))
            self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
            self.dice = smp.losses.DiceLoss(smp.losses.BINARY_MODE, from_logits=True)
            self.bce = torch.nn.BCEWithLogitsLoss()
            self.outputs: list[dict[str, torch.Tensor]] = []

        def forward(self, image: torch.Tensor) -> Any:
            return self.model((image - self.mean) / self.std)

        def training_step(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
            image, mask = batch
            logits = self.forward(image)
            loss: torch.Tensor = self.bce(logits, mask) + self.dice(logits, mask)
            pred = (logits.sigmoid() > 0.5).float()
            tp, fp, fn, tn = smp.metrics.get_stats(pred.long(), mask.long(), mode="binary")
            self.outputs.append({"tp": tp, "fp": fp, "fn": fn, "tn": tn})
            self.log("train_loss", loss)
            return loss

        def on_train_epoch_end(self) -> None:
            sums = [torch.cat([output[name] for output in self.outputs]) for name in ("tp", "fp", "fn", "tn")]
            self.log("train_iou", smp.metrics.iou_score(*sums, reduction="micro-imagewise"))
            self.outputs.clear()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=0.0)

    class TakesTurns(lightning.Callback):
        def on_train_start(self, trainer: Any, module: Any) -> None:  # noqa: ARG002
            turns.wait("ready")

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:  # noqa: ARG002
            turns.epoch()

    lightning.seed_everything(job.seed, verbose=False)
    loader = DataLoader(Pictures(job.train, job.side), job.batch_size, shuffle=True, num_workers=job.workers)
    model = Plain()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    accelerator = "cpu" if job.device == "cpu" else "auto"
    trainer = lightning.Trainer(
        max_epochs=job.epochs,
        accelerator=accelerator,
        devices=1,
        log_every_n_steps=1,
        default_root_dir=job.out,
        callbacks=[TakesTurns()],
        enable_model_summary=False,
        **quiet,
    )
    trainer.fit(model, loader)
    model.eval()
    with torch.inference_mode():
        batches = DataLoader(Pictures(job.test, job.side), job.batch_size)
        preds = [model(image.to(model.device)).sigmoid().cpu() for image, _ in batches]
    count = sum(p.numel() for p in model.parameters())
    turns.wait("done", {"preds": torch.cat(preds).numpy(), "parameters": count})


def _side(work: Callable[[Job, Connection], None], job: Job, line: Connection) -> None:
    try:
        work(job, line)
    except BaseException as error:
        ours = type(error).__module__ == "basrelief.errors"  # says all there is to say
        line.send(("failed", str(error) if ours else traceback.format_exc()))


class Side:
    """The referee's end: a process that trains when it is told to."""

    def __init__(self, name: str, work: Callable[[Job, Connection], None], job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.line, other = context.Pipe()
        self.process = context.Process(target=_side, args=(work, job, other))  # may not be a daemon: it has workers
        self.process.start()
        other.close()

    def next(self, expected: str) -> Any:
        """Wait for its next word, which must be the one expected."""
        try:
            word, found = self.line.recv()
        except EOFError:
            word, found = "failed", "its process has ended"
        if word != expected:
            self.stop()
            raise SystemExit(f"{self.name} did not get to {expected!r}: {found}")
        return found

    def go(self) -> None:
        """Tell it to go on."""
        self.line.send("go")

    def stop(self) -> None:
        """End its process."""
        self.line.close()
        self.process.terminate()
        self.process.join()


def duel(job: Job) -> dict[str, Any]:
    """Train both sides on one seed, epoch by epoch in turns; return their seconds an epoch and their scores."""
    first = Side("ours", ours, job)
    second: Side | None = None
    try:
        first.next("ready")
        job, store = _divided(job)
        second = Side("theirs", theirs, job)
        second.next("ready")
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for epoch in range(job.epochs):
            for side in (first, second) if epoch % 2 == 0 else (second, first):
                side.go()
                seconds[side.name].append(side.next("epoch"))
        first.go()
        found = first.next("done")
        second.go()
        other = second.next("done")
    finally:
        for side in (first, second):
            if side is not None:
                side.stop()
    scores = _score(other.pop("preds"), store)
    return {"seconds": seconds, "ours": found, "theirs": other | scores, "images": len(job.train)}


def _divided(job: Job) -> tuple[Job, tuple[Any, np.ndarray]]:
    """Return the job with the files that ours trains and tests on, and the store with the test rows."""
    from dataclasses import replace

    from basrelief.config import DataSettings
    from basrelief.data import open_source
    from basrelief.studies.stored import reopen

    prepared = reopen(job.out)
    source = open_source(job.data, DataSettings(location=job.data).options((job.side, job.side), job.seed))
    planes = {entry.id: (entry.planes["image"], entry.planes["mask"]) for entry in source.entries}
    names = prepared.store.index["id"].to_list()
    rows = prepared.split.rows
    files = {split: tuple(planes[names[row]] for row in rows[split]) for split in ("train", "test")}
    return replace(job, **files), (prepared.store, rows["test"])


def _score(preds: np.ndarray, held_out: tuple[Any, np.ndarray]) -> dict[str, float | None]:
    """Score predictions (N, 1, H, W) of the test images as a run scores its own: same masks, same code."""
    from basrelief.metrics import score_batch, summarise

    store, rows = held_out
    truth = np.stack([store.sample(int(row)).mask for row in rows])
    scores = score_batch({"mask": torch.from_numpy(preds)}, {"mask": torch.from_numpy(truth).float()})
    summary = summarise({name: values.double().numpy() for name, values in scores.items()})
    return {"iou": summary["mask/iou"], "pooled": summary["mask/iou_pooled"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--network", default="smp/unet:resnet18", help="smp/ARCHITECTURE:ENCODER")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of their DataLoader")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise SystemExit(f"This benchmark compares with what is not installed: pip install {' '.join(missing)}")
    if args.epochs < 2:
        raise SystemExit("--epochs: expected 2 or more, since the first is left out.")
    print(
        f"{args.network}, {args.resolution} px, batches of {args.batch_size}, {args.epochs} epochs, AdamW 1e-3, {LOSS}"
    )
    print(f"{torch.get_num_threads()} threads, their workers: {args.workers}, torch {torch.__version__}\n")
    print("| seed | ours, images/s | Lightning | ours is faster by | lowest to highest | IoU ours | IoU Lightning |")
    print("|---|---|---|---|---|---|---|")
    gained, pooled, faster = [], [], []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            job = Job(
                os.path.abspath(args.data),  # noqa: PTH100 - links stay links
                Path(folder) / "run",
                args.network,
                args.resolution,
                args.batch_size,
                args.epochs,
                seed,
                args.device,
                args.workers,
            )
            found = duel(job)
        a, b = found["seconds"]["ours"][1:], found["seconds"]["theirs"][1:]
        ratios = [theirs_took / ours_took for ours_took, theirs_took in zip(a, b, strict=True)]
        faster.append(statistics.median(ratios))
        gained.append(found["ours"]["iou"] - found["theirs"]["iou"])
        pooled.append(found["ours"]["pooled"] - found["theirs"]["pooled"])
        print(
            f"| {seed} | {found['images'] * len(a) / sum(a):.1f} | {found['images'] * len(b) / sum(b):.1f} "
            f"| **{faster[-1]:.2f}** | {min(ratios):.2f} to {max(ratios):.2f} "
            f"| {found['ours']['iou']:.3f} | {found['theirs']['iou']:.3f} |",
            flush=True,
        )
    computed = found["ours"]["machine"]
    print(f"\nOurs computes in {computed['precision']}; parameters {found['ours']['parameters']:,} and")
    print(f"{found['theirs']['parameters']:,}. IoU is the mean over the test images, ours minus theirs on average over")
    print(f"the seeds: {statistics.mean(gained):+.3f}; pooled over pixels {statistics.mean(pooled):+.3f}.")
    print(f"Ours is faster by {statistics.mean(faster):.2f} on average over the seeds.")


if __name__ == "__main__":
    main()
