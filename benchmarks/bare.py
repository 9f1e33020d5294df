"""The bare step, which benchmarks hold everything else against: forward, loss, backward, update, and nothing more.

The batch is made once and never leaves the device. No data, no metrics, no files, no reading of the loss.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from basrelief.batch import Batch
from basrelief.losses.expression import parse_loss
from basrelief.models import MODELS, create_model, parse_model
from basrelief.seeding import stream_seed

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
BOTH, MASK = "2*rmse(depth) + bce(mask) + 2*dice(mask)", "bce(mask) + dice(mask)"  # write-ups A and B


def targets_of(network: str) -> tuple[str, ...]:
    """Return the targets a network can give, by the table; networks from elsewhere give both."""
    base = network.partition("(")[0].strip()
    return MODELS[parse_model(network)[0]].targets if base in MODELS else ("mask", "depth")


def loss_of(network: str) -> str:
    """Return write-up A's loss for mask and depth, or for mask alone where a network gives no depth."""
    return BOTH if "depth" in targets_of(network) else MASK


def initial_model(network: str, *, background: bool, seed: int = 0) -> torch.nn.Module:
    """Return a network with the initial weights that a run of this seed has."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "weights"))
        return create_model(network, mask_classes=1, depth="depth" in targets_of(network), background=background)


def made_batch(count: int, side: int, device: torch.device, *, background: bool = True) -> Batch:
    """Return quartets as they occur (a disc before noise, a floor as depth), in the loader's memory format."""
    generator = torch.Generator().manual_seed(0)
    empty = torch.rand(count, 3, side, side, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    mask = ((rows - 0.5) ** 2 + (columns - 0.4) ** 2 < 0.05).float().repeat(count, 1, 1, 1)
    depth = (0.2 + 0.6 * rows).repeat(count, 1, 1, 1) * (1 - 0.5 * mask)
    image = (empty * (1 - mask) + 0.7 * mask).to(device, memory_format=torch.channels_last)
    behind = empty.to(device, memory_format=torch.channels_last) if background else None
    return Batch(image, behind, mask.to(device), depth=depth.to(device))


class BareStep:
    """A network, its loss and its optimizer, ready to be stepped.

    Parameters
    ----------
    machine
        How to compute, as ``run.json`` has it: "device", "precision", "channels_last" and "compile".
    optimizer
        "adamw" or "sgd", fused.
    """

    def __init__(
        self, network: str, batch: Batch, machine: Mapping[str, Any], loss: str = "", optimizer: str = "adamw"
    ) -> None:
        self.device = torch.device(machine["device"])
        self.batch = batch
        self.loss = parse_loss(loss or loss_of(network)).to(self.device)
        model = initial_model(network, background=batch.background is not None).to(self.device)
        model = model.to(memory_format=torch.channels_last) if machine.get("channels_last", True) else model
        weights = [*model.parameters(), *self.loss.parameters()]
        if optimizer == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(weights, 1e-2, momentum=0.9, fused=True)
        else:
            self.optimizer = torch.optim.AdamW(weights, 1e-3, weight_decay=0.0, fused=True)
        self.model = torch.compile(model) if machine.get("compile") else model
        self.type = TYPES.get(machine["precision"])
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=machine["precision"] == "fp16")

    def __call__(self) -> None:
        """Take a step."""
        with torch.autocast(self.device.type, self.type, enabled=self.type is not None):
            planes = (self.batch.image, *(() if self.batch.background is None else (self.batch.background,)))
            outputs = self.model(*planes)
        value = self.loss(outputs, self.batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(value.total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def rate(self, steps: int) -> float:
        """Return images a second over so many steps, after one that is not counted."""
        self.model.train()
        self()
        wait(self.device)
        started = time.perf_counter()
        for _ in range(steps):
            self()
        wait(self.device)
        return steps * self.batch.size / (time.perf_counter() - started)


def wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def as_torch_comes(threads: int) -> Iterator[None]:
    """Undo, for a while, what a training has set for the whole process: what follows runs as torch is by default."""
    precision, kept = torch.get_float32_matmul_precision(), torch.get_num_threads()
    exact, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, False
    try:
        yield
    finally:
        torch.set_num_threads(kept)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(exact, warn_only=warns)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
