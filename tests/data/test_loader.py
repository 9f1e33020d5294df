from __future__ import annotations

import numpy as np
import torch

from basrelief.data.loader import Loader
from basrelief.data.store import Store

CPU = torch.device("cpu")


def loader(store: Store, rows: np.ndarray | None = None, batch_size: int = 7, **options: object) -> Loader:
    rows = np.arange(store.facts.count) if rows is None else rows
    return Loader(store, rows, batch_size, CPU, **{"targets": ("mask", "depth"), "background": True, **options})  # type: ignore[arg-type]


def test_batches_hold_the_stores_planes(scenes_store: Store) -> None:
    batch = loader(scenes_store).batch(np.array([3, 0, 20]))
    assert batch.image.shape == (3, 3, 32, 32)
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal((batch.image[0] * 255).round().byte().permute(1, 2, 0), torch.from_numpy(scenes_store.image[3]))
    assert batch.mask is not None
    assert set(batch.mask.unique().tolist()) <= {0.0, 1.0}
    assert batch.depth is not None
    assert 0 <= batch.depth.min() <= batch.depth.max() <= 1
    assert set(batch) == {"image", "background", "mask", "depth"}
    assert batch.size == 3


def test_an_epoch_visits_every_row_once_in_an_order_of_seed_and_epoch(scenes_store: Store) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [int(row) for rows, _ in loader(scenes_store).epoch(seed, epoch) for row in rows]

    assert sorted(order(0, 0)) == list(range(24))
    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) != order(1, 1)


def test_batches_differ_by_at_most_one_sample(scenes_store: Store) -> None:
    sizes = [len(rows) for rows, _ in loader(scenes_store, batch_size=7).in_order()]
    assert sum(sizes) == 24
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 7


def test_unknown_pixels_become_validity_not_values(scenes_store: Store) -> None:
    import dataclasses

    facts = dataclasses.replace(scenes_store.facts, unknown_mask=True, unknown_depth=True)
    store = dataclasses.replace(scenes_store, facts=facts)
    assert store.mask is not None
    assert store.depth is not None
    store.mask[0, :, :4] = 255
    store.depth[0, :3] = 65535
    batch = loader(store).batch(np.array([0]))
    assert batch.mask_valid is not None
    assert batch.depth_valid is not None
    assert not batch.mask_valid[0, 0, :4].any()
    assert batch.mask_valid[0, 0, 4:].all()
    assert not batch.depth_valid[0, 0, :3].any()
    assert batch.depth_valid[0, 0, 3:].all()


def test_only_wanted_planes_are_served(scenes_store: Store) -> None:
    batch = loader(scenes_store, targets=("mask",), background=False).batch(np.array([1]))
    assert set(batch) == {"image", "mask"}
