from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basrelief.batch import Sample
from basrelief.data import open_source
from basrelief.data.resize import resize_sample
from basrelief.data.source import DataOptions, Entry, Source
from basrelief.data.store import (
    DEPTH_CODES,
    UNKNOWN_DEPTH,
    Store,
    open_store,
    pack,
    source_key,
)
from basrelief.errors import DataError
from support import write_folder


def source_of(samples: list[Sample], **facts: object) -> Source:
    """A source of samples held in memory."""
    by_id = {sample.id: sample for sample in samples}
    targets = tuple(t for t in ("mask", "depth") if any(getattr(s, t) is not None for s in samples))
    known = {"classes": ("figure",) if "mask" in targets else (), "depth_unit": "m", "depth_kind": "metric", **facts}
    entries = tuple(Entry(sample.id) for sample in samples)
    return Source("memory", "memory", entries, targets, lambda entry: by_id[entry.id], **known)  # type: ignore[arg-type]


def pack_all(source: Source, folder: Path, resolution: tuple[int, int], **options: object) -> Store:
    return pack(source, source.entries, folder, resolution, key="k", **options)  # type: ignore[arg-type]


def test_planes_come_back_as_they_were(tmp_path: Path) -> None:
    source = open_source("scenes:9", DataOptions(resolution=(20, 28)))
    store = pack_all(source, tmp_path / "store", (20, 28))
    for row, entry in enumerate(source.entries):
        sample = source.load(entry)
        assert np.array_equal(store.image[row], sample.image)
        assert store.mask is not None
        assert np.array_equal(store.mask[row], sample.mask)
        assert store.background is not None
        assert np.array_equal(store.background[store.background_rows[row]], sample.background)
        assert store.depth is not None
        depth = store.depth[row].astype(float) * store.facts.depth_max / DEPTH_CODES
        assert np.abs(depth - sample.depth).max() <= store.facts.depth_max / DEPTH_CODES / 2 + 1e-6


def test_each_distinct_background_is_stored_once(scenes_store: Store) -> None:
    assert scenes_store.background is not None
    groups = scenes_store.index["group"].n_unique()
    assert len(scenes_store.background) == groups < scenes_store.facts.count
    rows = zip(scenes_store.index["group"], scenes_store.index["background"], strict=True)
    assert len(set(rows)) == groups


def test_anyone_can_open_the_arrays_with_numpy(scenes_store: Store) -> None:
    image = np.load(scenes_store.path / "image.npy", mmap_mode="r")
    assert image.shape == (24, 32, 32, 3)
    assert image.dtype == np.uint8


def test_unknown_pixels_missing_targets_and_zero_depth_keep_their_meaning(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    mask, valid = np.ones((1, 4, 4), np.uint8), np.ones((4, 4), bool)
    valid[0] = False
    depth = np.full((4, 4), 2.0, np.float32)
    depth[0, 0], depth[1, 1] = np.nan, 0.0
    samples = [
        Sample("both", image, mask=mask, mask_valid=valid, depth=depth),
        Sample("neither", image + 1),
        Sample("far", image + 2, mask=mask * 0, depth=depth * 10),
    ]
    store = pack_all(source_of(samples), tmp_path / "store", (4, 4), depth_max=5.0)
    assert store.mask is not None
    assert store.depth is not None
    assert (store.mask[0, 0, 0] == 255).all()
    assert (store.mask[0, 0, 1:] == 1).all()
    assert (store.mask[1] == 255).all()
    assert store.depth[0, 0, 0] == UNKNOWN_DEPTH
    assert store.depth[0, 1, 1] == 0
    assert store.depth[0, 2, 2] == round(2 / 5 * DEPTH_CODES)
    assert (store.depth[1] == UNKNOWN_DEPTH).all()
    assert store.depth[2, 2, 2] == UNKNOWN_DEPTH, "beyond --depth-max is unknown"
    assert (store.facts.unknown_mask, store.facts.unknown_depth, store.facts.empty_masks) == (True, True, 1)


def test_masks_shrink_by_area_and_depth_by_the_nearest_pixel() -> None:
    mask = np.zeros((1, 4, 4), np.uint8)
    mask[0, 0, :2] = 1  # half of the upper left block, none of the others
    depth = np.arange(16, dtype=np.float32).reshape(4, 4)
    small = resize_sample(Sample("x", np.zeros((4, 4, 3), np.uint8), mask=mask, depth=depth), (2, 2))
    assert small.mask is not None
    assert small.mask.tolist() == [[[1, 0], [0, 0]]]
    assert small.depth is not None
    assert set(small.depth.ravel().tolist()) <= set(range(16)), "no two depths are mixed"


def test_depth_smaller_than_its_image_is_brought_up_without_mixing() -> None:
    depth = np.array([[1, 2], [3, np.nan]], np.float32)
    large = resize_sample(Sample("x", np.zeros((8, 8, 3), np.uint8), depth=depth), (8, 8))
    assert large.depth is not None
    assert np.isnan(large.depth[4:, 4:]).all()
    assert (large.depth[:4, :4] == 1).all()


def test_broken_samples_are_all_listed_or_left_out_on_request(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", 8)
    (folder / "images" / "02.png").write_bytes(b"")
    whole = (folder / "images" / "05.png").read_bytes()
    (folder / "images" / "05.png").write_bytes(whole[: len(whole) // 2])
    source = open_source(str(folder))
    with pytest.raises(DataError, match=r"(?s)2 of 8.*02\.png.*05\.png.*--skip-broken"):
        pack_all(source, tmp_path / "store", (16, 16))
    assert not (tmp_path / "store").exists(), "nothing half-written is left"
    assert not list(tmp_path.glob(".partial-*"))
    store = pack_all(source, tmp_path / "store", (16, 16), skip_broken=True)
    assert store.facts.count == len(store.image) == len(store.index) == 6
    assert len(store.facts.skipped) == 2
    assert store.mask is not None
    assert len(store.mask) == 6


def test_negative_or_absent_depth_is_refused(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    negative = source_of([Sample(str(i), image + i, depth=np.full((4, 4), -1, np.float32)) for i in range(3)])
    with pytest.raises(DataError, match="below 0"):
        pack_all(negative, tmp_path / "a", (4, 4))
    nothing = source_of([Sample(str(i), image + i, depth=np.full((4, 4), np.nan, np.float32)) for i in range(3)])
    with pytest.raises(DataError, match="zero or unknown everywhere"):
        pack_all(nothing, tmp_path / "b", (4, 4))


def test_a_truncated_or_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    source = open_source("scenes:4", DataOptions(resolution=(16, 16)))
    store = pack_all(source, tmp_path / "store", (16, 16))
    path = store.path / "mask.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"mask\.npy"):
        open_store(store.path)
    (store.path / "store.json").write_text("{")
    with pytest.raises(DataError, match=r"store\.json"):
        open_store(store.path)


def test_the_key_follows_files_and_options(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", 4)
    options = DataOptions()

    def key(options: DataOptions) -> str:
        source = open_source(str(folder), options)
        return source_key(source, source.entries, (16, 16), options)

    before = key(options)
    assert key(options) == before
    assert key(dataclasses.replace(options, depth_scale=2.0)) != before
    Image.new("RGB", (32, 24), "red").save(folder / "images" / "01.png")
    assert key(options) != before
