from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from basrelief.batch import Sample
from basrelief.data import open_source
from basrelief.data.loader import Loader
from basrelief.data.pack import pack
from basrelief.data.source import DataOptions, Entry, Source
from basrelief.data.store import Store

CPU = torch.device("cpu")


def loader(store: Store, rows: np.ndarray | None = None, batch_size: int = 7, **options: object) -> Loader:
    rows = np.arange(store.facts.count) if rows is None else rows
    return Loader(store, rows, batch_size, CPU, **{"targets": ("mask", "depth"), "background": True, **options})  # type: ignore[arg-type]


def test_batches_hold_the_stores_planes(scenes_store: Store) -> None:
    batch = loader(scenes_store).batch(np.array([3, 0, 20]))
    assert batch.image.shape == (3, 3, 32, 32)
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(
        (batch.image[0] * 255).round().byte().permute(1, 2, 0), torch.from_numpy(scenes_store.sample(3).image)
    )
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


def test_unknown_pixels_become_validity_not_values(tmp_path: Path) -> None:
    image = np.zeros((8, 12, 3), np.uint8)
    valid = np.ones((8, 12), bool)
    valid[:4] = False
    depth = np.full((8, 12), 3, np.float32)
    depth[:3] = np.nan
    samples = {"a": Sample("a", image, mask=np.ones((1, 8, 12), np.uint8), mask_valid=valid, depth=depth)}
    samples["b"] = Sample("b", image + 1, mask=np.ones((1, 8, 12), np.uint8), depth=np.full((8, 12), 6, np.float32))
    entries = tuple(Entry(name) for name in samples)
    source = Source("memory", "memory", entries, ("mask", "depth"), lambda e: samples[e.id], ("figure",))
    store = pack(source, entries, tmp_path / "store", (8, 12), key="k")
    batch = loader(store, background=False).batch(np.array([0, 1]))
    assert batch.mask_valid is not None
    assert batch.depth_valid is not None
    assert batch.depth is not None
    assert not batch.mask_valid[0, 0, :4].any()
    assert batch.mask_valid[0, 0, 4:].all()
    assert not batch.depth_valid[0, 0, :3].any()
    assert batch.depth_valid[0, 0, 3:].all()
    assert batch.depth_valid[1].all()
    assert batch.mask_valid[1].all()
    assert batch.depth[0, 0, 5, 5] == 0.5
    assert batch.depth[1, 0, 5, 5] == 1


def test_shards_and_prefetching_change_nothing(
    scenes_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("basrelief.data.pack.SHARD_BYTES", 5 * 32 * 32 * 3)
    source = open_source("scenes:24", DataOptions(resolution=(32, 32)))
    sharded = loader(pack(source, source.entries, tmp_path / "store", (32, 32), key="test"))
    sharded.workers = 2
    for (rows, one), (same, other) in zip(loader(scenes_store).epoch(3, 1), sharded.epoch(3, 1), strict=True):
        assert np.array_equal(rows, same)
        assert all(torch.equal(one[plane], other[plane]) for plane in one)
    backwards = np.arange(24)[::-1]
    assert torch.equal(loader(scenes_store).batch(backwards).image, sharded.batch(backwards).image)


def test_errors_of_the_prefetching_thread_are_raised(scenes_store: Store) -> None:
    broken = loader(scenes_store)
    broken.workers = 1
    broken.rows = np.array([0, 999])
    with pytest.raises(IndexError):
        list(broken.in_order())


def test_a_loop_left_early_leaves_no_thread_behind(scenes_store: Store) -> None:
    ahead = loader(scenes_store, batch_size=2)
    ahead.workers = 1
    batches = ahead.epoch(0, 0)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("basrelief-loader")]


def test_processes_share_every_batch_and_lose_no_sample(scenes_store: Store) -> None:
    whole = list(loader(scenes_store, batch_size=7).epoch(3, 1))
    parts = [list(loader(scenes_store, batch_size=7).part(process, 3).epoch(3, 1)) for process in range(3)]
    for (rows, batch), *own in zip(whole, *parts, strict=True):
        assert all(np.array_equal(rows, theirs) for theirs, _ in own)
        assert torch.equal(batch.image, torch.cat([part.image for _, part in own]))


def test_an_epoch_begun_in_its_middle_is_the_rest_of_the_whole(scenes_store: Store) -> None:
    whole = [rows for rows, _ in loader(scenes_store, batch_size=5).epoch(3, 1)]
    rest = [rows for rows, _ in loader(scenes_store, batch_size=5).epoch(3, 1, start=2)]
    assert len(rest) == len(whole) - 2
    assert all(np.array_equal(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_only_wanted_planes_are_served(scenes_store: Store) -> None:
    batch = loader(scenes_store, targets=("mask",), background=False).batch(np.array([1]))
    assert set(batch) == {"image", "mask"}
