"""Several processes that train one network: who is who, and what they tell each other. Alone, all of it is trivial."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")
PATIENCE = datetime.timedelta(days=1)  # the first process may pack for hours while the others wait


def started_as_one_of() -> int:
    """Return how many processes a launcher (torchrun, accelerate launch, ours) started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the processes that the launcher started, for the length of the block."""
    if started_as_one_of() == 1 or dist.is_initialized():
        yield
        return
    own = int(os.environ.get("LOCAL_RANK", "0"))
    if own < gpus(device):
        torch.cuda.set_device(own)
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus(device) else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def gpus(device: str) -> int:
    """Return how many GPUs there are for what ``--device`` says; 0 where it means another device, or there are none.

    That there are too few is no error here: ``choose_machine`` says so, once the processes can tell each other.
    """
    asked = device == "auto" or device.startswith("cuda")
    return torch.cuda.device_count() if asked and torch.cuda.is_available() else 0


def number() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Tell whether this is the process that writes files and talks to the user."""
    return number() == 0


def from_first(value: T) -> T:
    """Return the first process's value in all."""
    if count() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[no-any-return]


def from_all(value: T) -> list[T]:
    """Return every process's value, in their order."""
    if count() == 1:
        return [value]
    box: list[Any] = [None] * count()
    dist.all_gather_object(box, value)
    return box


def summed(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes."""
    if count() > 1:
        dist.all_reduce(tensor)
    return tensor


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their mean over the processes; small ones, for each is a message.

    Equal values stay as they are to the bit: a sum of three in float32 would round.
    """
    if count() > 1:
        for tensor in tensors:
            whole = tensor.double()
            dist.all_reduce(whole)
            tensor.copy_(whole / count())


@torch.no_grad()
def take_buffers_of_first(model: nn.Module) -> None:
    """Give the first process's buffers, such as the statistics of normalisations, to all."""
    if count() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def wait_for_all() -> None:
    """Return when every process has come here."""
    if count() > 1:
        dist.barrier()
