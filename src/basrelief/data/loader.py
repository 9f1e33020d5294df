"""Batches from a store: gathered by index from mapped memory, turned into float on the device."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from basrelief.batch import Batch
from basrelief.data.resize import UNKNOWN_MASK
from basrelief.data.store import DEPTH_CODES, UNKNOWN_DEPTH, Store
from basrelief.seeding import stream

DEVICE_SHARE = 0.5  # of a device's free memory that a store may take


class Loader:
    """Batches of some rows of a store, on one device.

    No epoch decodes anything and there is no Python for each sample: a batch is one gather for each plane. On a GPU
    the whole store is kept there where it takes at most half of the free memory.

    Parameters
    ----------
    store
        Opened by ``open_store``.
    rows
        The rows it serves.
    batch_size
        Largest number of samples in a batch. Batches of an epoch differ in size by at most one, so that no step rests
        on a few left-over samples.
    device
        Where batches are wanted.
    targets
        The targets to serve, of those the store has.
    background
        Whether to serve backgrounds.
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
    ) -> None:
        self.facts = store.facts
        self.rows = np.asarray(rows, dtype=np.int64)
        self.batch_size = batch_size
        self.device = device
        arrays = {
            "image": store.image,
            "background": store.background if background else None,
            "mask": store.mask if "mask" in targets else None,
            "depth": store.depth if "depth" in targets else None,
        }
        self._planes = {name: torch.from_numpy(array) for name, array in arrays.items() if array is not None}
        self._background_rows = torch.from_numpy(store.background_rows.copy())
        size = sum(plane.numel() * plane.element_size() for plane in self._planes.values())
        if device.type == "cuda" and size <= DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
            self._planes = {name: plane.to(device) for name, plane in self._planes.items()}

    def serving(self, rows: np.ndarray) -> Loader:
        """Return a loader of other rows that shares this one's planes."""
        other = copy.copy(self)
        other.rows = np.asarray(rows, dtype=np.int64)
        return other

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self.rows) // self.batch_size)

    def epoch(self, seed: int, epoch: int) -> Iterator[tuple[np.ndarray, Batch]]:
        """Yield (rows, batch) in an order that depends on the seed and the epoch alone."""
        order = stream(seed, "order", epoch).permutation(self.rows)
        return self._batches(order)

    def in_order(self) -> Iterator[tuple[np.ndarray, Batch]]:
        """Yield (rows, batch) in the rows' own order."""
        return self._batches(self.rows)

    def _batches(self, order: np.ndarray) -> Iterator[tuple[np.ndarray, Batch]]:
        for rows in np.array_split(order, max(1, len(self))):
            if len(rows):
                yield rows, self.batch(rows)

    def batch(self, rows: np.ndarray) -> Batch:
        """Return the batch of these rows."""
        index = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        batch = Batch(image=self._pictures("image", index))
        if "background" in self._planes:
            batch.background = self._pictures("background", self._background_rows[index])
        if "mask" in self._planes:
            codes = self._gather("mask", index)
            batch.mask = (codes == 1).float()
            if self.facts.unknown_mask:
                batch.mask_valid = codes[:, :1] != UNKNOWN_MASK
        if "depth" in self._planes:
            codes = self._gather("depth", index).to(torch.int32).unsqueeze(1)
            batch.depth = codes.float() / DEPTH_CODES
            if self.facts.unknown_depth:
                batch.depth_valid = codes != UNKNOWN_DEPTH
        return batch

    def _gather(self, plane: str, index: torch.Tensor) -> torch.Tensor:
        source = self._planes[plane]
        return source[index.to(source.device)].to(self.device, non_blocking=True)

    def _pictures(self, plane: str, index: torch.Tensor) -> torch.Tensor:
        # (N, H, W, 3) in memory is what torch calls channels last, so no byte moves here.
        return self._gather(plane, index).permute(0, 3, 1, 2).float().div_(255)
