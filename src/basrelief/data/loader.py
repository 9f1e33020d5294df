"""Batches from a store: gathered by index from mapped memory, turned into float on the device."""

from __future__ import annotations

import contextlib
import copy
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import psutil
import torch
from torch import Tensor

from basrelief.batch import Batch
from basrelief.data.store import DEPTH_CODES, UNKNOWN_DEPTH, Store
from basrelief.seeding import stream

DEVICE_SHARE = 0.5  # of a device's free memory that a store may take
AHEAD = 2  # batches gathered in advance, for each thread that gathers


class Loader:
    """Batches of some samples of a store, on one device.

    No epoch decodes anything and there is no Python for each sample: a batch is one gather for each plane and shard.
    On a GPU the whole store is kept there where it takes at most half of the free memory. Where it does not fit, and
    where it exceeds half of the machine's free memory, a thread gathers the next batches meanwhile. Threads are enough:
    a gather is a copy that lets other threads run.

    Parameters
    ----------
    store
        Opened by ``open_store``.
    rows
        The samples it serves, counted by their line in the store's index.
    batch_size
        Largest number of samples in a batch. Batches of an epoch differ in size by at most one, so that no step rests
        on a few left-over samples.
    device
        Where batches are wanted.
    targets
        The targets to serve, of those the store has.
    background
        Whether to serve backgrounds.
    workers
        Threads that gather batches in advance; None: one where the planes are left on disk, else none.
    """

    def __init__(
        self,
        store: Store,
        rows: np.ndarray,
        batch_size: int,
        device: torch.device,
        *,
        targets: Sequence[str],
        background: bool,
        workers: int | None = None,
    ) -> None:
        self.store, self.facts = store, store.facts
        self.rows = np.ascontiguousarray(rows, dtype=np.int64)
        self.batch_size = batch_size
        self.device = device
        names = ["image", *(["background"] if background else ()), *targets]
        if "mask" in targets and store.facts.unknown_mask:
            names.append("mask_valid")
        shards = {name: store.shards(name) for name in names}
        # 16-bit codes are seen as signed ones, which torch can gather on every device.
        self.share = (0, 1)  # of every batch that this loader serves: the number of its process, and of all
        self._planes = {
            name: [torch.from_numpy(shard.view(np.int16) if name == "depth" else shard) for shard in found]
            for name, found in shards.items()
            if found
        }
        self._bits = ((torch.arange(256)[:, None] >> torch.arange(7, -1, -1)) & 1).to(torch.uint8).to(device)
        home = torch.device("cpu")  # where the planes are
        size = sum(shard.nbytes for found in self._planes.values() for shard in found)
        if device.type == "cuda":
            # What torch keeps from an earlier training counts as taken there, but is given again.
            kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            ahead = size > DEVICE_SHARE * (torch.cuda.mem_get_info(device)[0] + kept)
            if not ahead:
                self._planes = {name: [_joined(found, device)] for name, found in self._planes.items()}
                home = device
        else:
            ahead = size > DEVICE_SHARE * psutil.virtual_memory().available
        self.workers = int(ahead) if workers is None else workers
        scales = store.depth_scales / (store.facts.depth_max or 1.0) if "depth" in targets else np.zeros(0)
        # They lie with the planes: on a GPU, a copy at every step would wait for the steps before.
        self._places = torch.from_numpy(store.rows.copy()).to(home)
        self._background_places = torch.from_numpy(store.background_rows.copy()).to(home)
        self._depth_scales = torch.from_numpy(scales.astype(np.float32)).to(home)

    def serving(self, rows: np.ndarray) -> Loader:
        """Return a loader of other samples that shares this one's planes."""
        other = copy.copy(self)
        other.rows = np.ascontiguousarray(rows, dtype=np.int64)
        return other

    def part(self, process: int, processes: int) -> Loader:
        """Return the loader of one of several processes: together they serve every batch, each a part of it."""
        other = copy.copy(self)
        other.share = (process, processes)
        return other

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self.rows) // self.batch_size)

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, Batch]]:
        """Yield (rows, batch), from batch ``start`` on; which samples share a batch depends on seed and epoch alone.

        Within a batch the samples lie in the order of the store, so that neighbours are read together. ``rows`` are
        those of the whole batch, of which ``batch`` holds this process's part.
        """
        order = stream(seed, "order", epoch).permutation(self.rows)
        return self._batches([np.sort(rows) for rows in self._cut(order)[start:]])

    def in_order(self) -> Iterator[tuple[np.ndarray, Batch]]:
        """Yield (rows, batch) in the rows' own order."""
        return self._batches(self._cut(self.rows))

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        return [rows for rows in np.array_split(order, max(1, len(self))) if len(rows)]

    def _batches(self, cut: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Batch]]:
        process, processes = self.share
        own = [np.array_split(rows, processes)[process] for rows in cut] if processes > 1 else cut
        if not own:
            return
        numbers = torch.split(self._numbers(np.concatenate(own)), [len(rows) for rows in own])
        with contextlib.closing(_ahead(self._gather_all, numbers, self.workers)) as gathered:
            for whole, part, planes in zip(cut, numbers, gathered, strict=True):
                yield whole, self._batch(part, planes)

    def batch(self, rows: np.ndarray) -> Batch:
        """Return the batch of these samples, in the order given."""
        numbers = self._numbers(rows)
        return self._batch(numbers, self._gather_all(numbers))

    def _numbers(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64)).to(self._places.device)

    def _batch(self, numbers: Tensor, planes: dict[str, Tensor]) -> Batch:
        planes = {name: plane.to(self.device, non_blocking=True) for name, plane in planes.items()}
        batch = Batch(image=_float_image(planes["image"]))
        if "background" in planes:
            batch.background = _float_image(planes["background"])
        if "mask" in planes:
            batch.mask = self._unpacked(planes["mask"]).float()
        if "mask_valid" in planes:
            batch.mask_valid = self._unpacked(planes["mask_valid"]).unsqueeze(1).bool()
        if "depth" in planes:
            codes = planes["depth"].to(torch.int32).bitwise_and_(0xFFFF).unsqueeze(1)
            scales = self._depth_scales[numbers].to(self.device, non_blocking=True)
            if self.facts.unknown_depth:
                batch.depth_valid = codes != UNKNOWN_DEPTH
            batch.depth = codes.clamp_(max=DEPTH_CODES).float().mul_(scales[:, None, None, None]).clamp_(max=1)
        return batch

    def _gather_all(self, numbers: Tensor) -> dict[str, Tensor]:
        places, behind = self._places[numbers], self._background_places[numbers]
        return {
            name: self._gather(shards, behind, self.facts.background_shard_rows)
            if name == "background"
            else self._gather(shards, places, self.facts.shard_rows)
            for name, shards in self._planes.items()
        }

    def _gather(self, shards: list[Tensor], places: Tensor, shard_rows: int) -> Tensor:
        first = shards[0]
        pinned = self.device.type == "cuda" and first.device.type == "cpu"  # a copy to the GPU then holds nobody up
        if len(shards) == 1 and not pinned:
            return first.index_select(0, places)
        which = places // shard_rows
        gathered = torch.empty(
            (len(places), *first.shape[1:]), dtype=first.dtype, device=first.device, pin_memory=pinned
        )
        for number in sorted(set(which.tolist())):
            chosen = (which == number).nonzero()[:, 0]
            local = (places[chosen] - number * shard_rows).to(first.device)
            gathered.index_copy_(0, chosen.to(first.device), shards[number].index_select(0, local))
        return gathered

    def _unpacked(self, packed: Tensor) -> Tensor:
        """Return bytes of eight pixels each as pixels 0 and 1, cut to the width."""
        pixels = self._bits.index_select(0, packed.flatten().int()).view(*packed.shape[:-1], -1)
        return pixels[..., : self.facts.resolution[1]]


def _joined(shards: Sequence[Tensor], device: torch.device) -> Tensor:
    """Return the shards as one tensor on a device, so that a batch is a single gather."""
    whole = torch.empty((sum(map(len, shards)), *shards[0].shape[1:]), dtype=shards[0].dtype, device=device)
    start = 0
    for shard in shards:
        whole[start : start + len(shard)].copy_(shard)
        start += len(shard)
    return whole


def _float_image(picture: Tensor) -> Tensor:
    # (N, H, W, 3) in memory is what torch calls channels last, so no byte moves here.
    return picture.permute(0, 3, 1, 2).float().div_(255)


def _ahead(
    gather: Callable[[Tensor], dict[str, Tensor]], cut: Sequence[Tensor], workers: int
) -> Generator[dict[str, Tensor]]:
    """Yield what ``gather`` makes of each, in order; threads make it in advance, if any."""
    if not workers:
        yield from map(gather, cut)
        return
    with ThreadPoolExecutor(workers, "basrelief-loader") as pool:
        waiting: deque[Future[dict[str, Tensor]]] = deque()
        try:
            for rows in cut:
                waiting.append(pool.submit(gather, rows))
                if len(waiting) > AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
