"""Training the write-ups' way, as their notebooks do: what ``train.py`` holds Basrelief's training against.

A Dataset opens four files a sample with Pillow (background, composite, mask, depth; JPEG and PNG at 224 px), resizes
each to the network's size and makes a tensor of it; torch's DataLoader shuffles and batches them, in the training's
own process or in two workers. The network computes in float32 and in torch's default memory layout. The loop is the
usual one: batch to the device, ``zero_grad``, forward, loss, backward, ``step``, then loss, IoU and RMSE of the batch
for the progress bar, each with ``.item()``. The optimizer is torch's own with its defaults. Where notebooks differ,
the quicker habit is taken: no normalisation of the images, masks and depth resized by the nearest pixel, no scheduler,
nothing printed, kept or drawn.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from basrelief.data.scenes_write import DEPTH_SCALE, write_scenes

STORED = 224  # pixels, as write-ups A and B stored their quartets
BOTH = '2*rmse(depth, like="A") + bce(mask) + 2*dice(mask, like="A")'  # what loss_of computes, for our side
MASK = 'bce(mask) + dice(mask, like="A")'


def write_quartets(folder: Path, count: int) -> None:
    """Write generated scenes as the write-ups' data lay: JPEG at 224 px, masks and depth as PNG."""
    write_scenes(folder, count, resolution=(STORED, STORED))
    with ThreadPoolExecutor() as pool:
        list(pool.map(_as_jpeg, [*(folder / "images").iterdir(), *(folder / "backgrounds").iterdir()]))


def _as_jpeg(path: Path) -> None:
    with Image.open(path) as picture:
        picture.save(path.with_suffix(".jpg"), quality=75)
    path.unlink()


class Quartets(Dataset):
    """Four files a sample (three where ``depth_max`` is None: no depth), decoded and resized each time."""

    def __init__(self, folder: Path, names: Sequence[str], side: int, depth_max: float | None) -> None:
        self.folder, self.names, self.side, self.depth_max = folder, list(names), side, depth_max

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> tuple[Tensor, ...]:
        name = self.names[number]
        room = name.partition("_")[0]
        image = self.picture(self.folder / "images" / f"{name}.jpg")
        background = self.picture(self.folder / "backgrounds" / f"{room}.jpg")
        mask = self.plane(self.folder / "masks" / f"{name}.png") / 255
        if self.depth_max is None:
            return image, background, mask
        depth = self.plane(self.folder / "depths" / f"{name}.png") * (DEPTH_SCALE / self.depth_max)
        return image, background, mask, depth

    def picture(self, path: Path) -> Tensor:
        """Return a picture as float (3, side, side) in [0, 1]."""
        with Image.open(path) as opened:
            array = np.array(opened.convert("RGB").resize((self.side, self.side), Image.Resampling.BILINEAR))
        return torch.from_numpy(array).permute(2, 0, 1).contiguous().float().div(255)  # as torchvision's ToTensor

    def plane(self, path: Path) -> Tensor:
        """Return a plane of stored values as float (1, side, side)."""
        with Image.open(path) as opened:
            array = np.array(opened.resize((self.side, self.side), Image.Resampling.NEAREST)).astype(np.float32)
        return torch.from_numpy(array)[None]


def loader(data: Quartets, batch_size: int, workers: int, device: torch.device) -> DataLoader:
    """Return torch's loader; workers are forked, as Linux did by default when the write-ups ran."""
    fork = workers > 0 and "fork" in multiprocessing.get_all_start_methods()
    return DataLoader(
        data,
        batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        multiprocessing_context="fork" if fork else None,
    )


def loss_of(outputs: dict[str, Tensor], mask: Tensor, depth: Tensor | None) -> Tensor:
    """Return 2·RMSE + BCE + 2·Dice as write-up A has them; BCE + Dice without depth."""
    logits = outputs["mask"]
    bce = F.binary_cross_entropy_with_logits(logits, mask)
    pred = torch.sigmoid(logits).flatten()
    truth = mask.flatten()
    dice = 1 - (2 * (pred * truth).sum() + 1) / (pred.sum() + truth.sum() + 1)
    if depth is None:
        return bce + dice
    rmse = torch.sqrt(F.mse_loss(torch.sigmoid(outputs["depth"]), depth) + 1e-6)
    return 2 * rmse + bce + 2 * dice


def train_epoch(
    model: nn.Module, batches: DataLoader, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[float, dict[str, float]]:
    """Train an epoch; return images a second and the means that a notebook prints."""
    model.train()
    sums: dict[str, float] = {}
    done = 0
    started = time.perf_counter()
    for planes in batches:
        image, background, mask, *rest = (plane.to(device) for plane in planes)
        depth = rest[0] if rest else None
        optimizer.zero_grad()
        outputs = model(image, background)
        loss = loss_of(outputs, mask, depth)
        loss.backward()
        optimizer.step()
        found = {"loss": loss.item(), **_metrics(outputs, mask, depth)}
        sums = {name: sums.get(name, 0.0) + value * len(image) for name, value in found.items()}
        done += len(image)
    return done / (time.perf_counter() - started), {name: value / done for name, value in sums.items()}


@torch.no_grad()
def _metrics(outputs: dict[str, Tensor], mask: Tensor, depth: Tensor | None) -> dict[str, float]:
    pred, truth = torch.sigmoid(outputs["mask"]) > 0.5, mask > 0.5
    both = (pred & truth).sum((1, 2, 3)).float()
    either = (pred | truth).sum((1, 2, 3)).float()
    found = {"iou": ((both + 1e-6) / (either + 1e-6)).mean().item()}
    if depth is not None:
        found["rmse"] = torch.sqrt(F.mse_loss(torch.sigmoid(outputs["depth"]), depth)).item()
    return found
