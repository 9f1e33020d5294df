from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basrelief.batch import Sample
from basrelief.data import open_source
from basrelief.data.pack import pack, source_key
from basrelief.data.resize import resize_sample
from basrelief.data.source import DataOptions, Entry, Source
from basrelief.data.store import DEPTH_CODES, Store, open_store
from basrelief.errors import DataError
from support import make_quartets, write_folder, write_quartets_b


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
    for number, entry in enumerate(source.entries):
        sample, stored = source.load(entry), store.sample(number)
        for plane in ("image", "mask", "background"):
            assert np.array_equal(getattr(stored, plane), getattr(sample, plane)), plane
        assert stored.mask_valid is None
        assert sample.depth is not None
        assert stored.depth is not None
        assert np.abs(stored.depth - sample.depth).max() <= sample.depth.max() / DEPTH_CODES / 2 + 1e-6


def test_each_distinct_background_is_stored_once(scenes_store: Store) -> None:
    groups = scenes_store.index["group"].n_unique()
    assert sum(map(len, scenes_store.shards("background"))) == groups < scenes_store.facts.count
    rows = zip(scenes_store.index["group"], scenes_store.index["background"], strict=True)
    assert len(set(rows)) == groups


def test_anyone_can_open_the_arrays_with_numpy(scenes_store: Store) -> None:
    image = np.load(scenes_store.path / "image-000.npy", mmap_mode="r")
    assert (image.shape, image.dtype) == ((24, 32, 32, 3), np.uint8)
    mask = np.load(scenes_store.path / "mask-000.npy")
    assert (mask.shape, mask.dtype) == ((24, 1, 32, 4), np.uint8)
    assert np.array_equal(np.unpackbits(mask[5], axis=-1), scenes_store.sample(5).mask)  # type: ignore[arg-type]


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
    both, neither, far = (store.sample(number) for number in range(3))
    assert both.mask_valid is not None
    assert both.mask is not None
    assert not both.mask_valid[0].any()
    assert both.mask_valid[1:].all()
    assert (both.mask[0, 1:] == 1).all()
    assert neither.mask is None
    assert neither.depth is None
    assert both.depth is not None
    assert np.isnan(both.depth[0, 0])
    assert both.depth[1, 1] == 0
    assert both.depth[2, 2] == pytest.approx(2)
    assert far.depth is not None
    assert np.isnan(far.depth[2, 2]), "beyond --depth-max is unknown"
    assert np.isfinite(far.depth).sum() == 1, "a distance of 0 stays known"
    assert store.facts.depth_max == 5
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
    assert store.facts.count == len(store.index) == 6
    assert len(store.facts.skipped) == 2
    whole_store = [source.load(entry).image[0, 0] for entry in source.entries if entry.id not in ("02", "05")]
    small = pack_all(source, tmp_path / "small", (24, 32), skip_broken=True)
    assert all(np.array_equal(small.sample(i).image[0, 0], pixel) for i, pixel in enumerate(whole_store))


def test_negative_or_absent_depth_is_refused(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    negative = source_of([Sample(str(i), image + i, depth=np.full((4, 4), -1, np.float32)) for i in range(3)])
    with pytest.raises(DataError, match="below 0"):
        pack_all(negative, tmp_path / "a", (4, 4))
    nothing = source_of([Sample(str(i), image + i, depth=np.full((4, 4), np.nan, np.float32)) for i in range(3)])
    with pytest.raises(DataError, match="zero or unknown everywhere"):
        pack_all(nothing, tmp_path / "b", (4, 4))


def test_a_truncated_edited_or_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    source = open_source("scenes:4", DataOptions(resolution=(16, 16)))
    store = pack_all(source, tmp_path / "store", (16, 16))
    path = store.path / "mask-000.npy"
    whole = path.read_bytes()
    path.write_bytes(whole)
    assert open_store(store.path).facts == store.facts, "a file written anew, as by copying, is the same file"
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"mask-000\.npy is cut short"):
        open_store(store.path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=r"mask-000\.npy was changed"):
        open_store(store.path)
    path.unlink()
    with pytest.raises(DataError, match=r"mask-000\.npy is missing"):
        open_store(store.path)
    (store.path / "store.json").write_text("{")
    with pytest.raises(DataError, match=r"store\.json"):
        open_store(store.path)


def test_the_store_is_the_same_for_any_number_of_processes_and_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quartets = write_quartets_b(tmp_path / "quartets", make_quartets(4, 6))
    source = open_source(str(quartets))
    one = pack_all(source, tmp_path / "one", (24, 32), jobs=1)
    monkeypatch.setattr("basrelief.data.pack.CHUNK", 5)
    two = pack_all(source, tmp_path / "two", (24, 32), jobs=2)
    files = [path.name for path in sorted(one.path.iterdir()) if path.suffix == ".npy"]
    assert files == ["background-000.npy", "depth-000.npy", "image-000.npy", "mask-000.npy"]
    assert all((one.path / name).read_bytes() == (two.path / name).read_bytes() for name in files)
    assert one.index.equals(two.index)
    assert one.facts.fingerprint == two.facts.fingerprint
    monkeypatch.setattr("basrelief.data.pack.SHARD_BYTES", 7 * 24 * 32 * 3)
    sharded = pack_all(source, tmp_path / "sharded", (24, 32), jobs=2)
    assert [len(shard) for shard in sharded.shards("image")] == [7, 7, 7, 3]
    assert sharded.facts.fingerprint == one.facts.fingerprint
    for number in range(24):
        a, b = one.sample(number), sharded.sample(number)
        assert all(np.array_equal(getattr(a, p), getattr(b, p)) for p in ("image", "background", "mask", "depth"))


def test_only_changed_samples_are_decoded_again(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", 6, depths=True)
    options = DataOptions(depth_scale=0.001)
    before = pack_all(open_source(str(folder), options), tmp_path / "store", (20, 28))
    Image.new("RGB", (32, 24), "red").save(folder / "images" / "02.png")
    for plane in ("images", "masks", "depths"):
        (folder / plane / "04.png").unlink()
    source = open_source(str(folder), options)
    decoded: list[str] = []

    def load(entry: Entry) -> Sample:
        decoded.append(entry.id)
        return source.load(entry)

    watched = dataclasses.replace(source, load=load, load_near=None)
    after = pack_all(watched, tmp_path / "store", (20, 28), previous=before)
    assert decoded == ["02"]
    fresh = pack_all(source, tmp_path / "fresh", (20, 28))
    assert after.facts.fingerprint == fresh.facts.fingerprint
    assert after.index.equals(fresh.index)
    assert not list(tmp_path.glob(".partial-*"))
    rescaled = open_source(str(folder), DataOptions(depth_scale=0.01))
    decoded.clear()
    pack_all(dataclasses.replace(rescaled, load=load, load_near=None), tmp_path / "rescaled", (20, 28), previous=before)
    assert len(decoded) == 5, "the same files, read otherwise"


def test_a_background_of_many_samples_is_decoded_once(tmp_path: Path) -> None:
    source = open_source(str(write_quartets_b(tmp_path / "quartets", make_quartets(2, 5))))
    with_background: list[str] = []

    def load(entry: Entry) -> Sample:
        with_background.extend(entry.id for plane in entry.planes if plane == "background")
        return source.load(entry)

    store = pack_all(dataclasses.replace(source, load=load, load_near=None), tmp_path / "store", (24, 32))
    assert len(with_background) == 2
    whole = resize_sample(source.load(source.entries[4]), (24, 32))
    assert np.array_equal(store.sample(4).background, whole.background)  # type: ignore[arg-type]


def test_a_store_is_data(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", 5, depths=True)
    store = pack_all(open_source(str(folder), DataOptions(depth_scale=0.001)), tmp_path / "store", (24, 32))
    source = open_source(str(store.path))
    assert (source.format, source.resolution, source.depth_unit) == ("store", (24, 32), store.facts.depth_unit)
    again = pack_all(source, tmp_path / "again", (24, 32))
    assert again.hashes("content").to_list() == store.hashes("content").to_list()


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


def test_a_store_stays_what_was_opened_when_another_takes_its_place(tmp_path: Path) -> None:
    source = open_source("scenes:4", DataOptions(resolution=(16, 16)))
    store = pack_all(source, tmp_path / "store", (16, 16))
    opened = open_store(store.path)
    image = store.sample(0).image
    other = open_source("scenes:4", DataOptions(resolution=(16, 16), seed=1))
    pack_all(other, tmp_path / "store", (16, 16))
    assert np.array_equal(opened.sample(0).image, image)
    assert np.array_equal(opened.shards("image")[0][opened.rows[0]], image), "as the loader reads it"


def test_shards_are_counted_not_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basrelief.data.pack.SHARD_BYTES", 1)
    samples = [Sample(str(i), np.full((8, 8, 3), i % 251, np.uint8), depth=np.ones((8, 8))) for i in range(1003)]
    store = pack_all(source_of(samples), tmp_path / "store", (8, 8), jobs=1)
    assert [int(shard[0, 0, 0, 0]) for shard in store.shards("image")] == [i % 251 for i in range(1003)]


def test_many_shards_need_no_higher_limit_of_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr("basrelief.data.pack.SHARD_BYTES", 1)
    source = open_source("scenes:40", DataOptions(resolution=(16, 16)))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        store = pack_all(source, tmp_path / "store", (16, 16), jobs=1)
        assert len(store.shards("image")) == 40
        assert store.sample(39).depth is not None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    "change",
    [
        {"files": [1]}, {"files": {}}, {"resolution": ["a", 3]}, {"resolution": [16, 24]}, {"count": 10**30},
        {"depth_max": float("nan")}, {"depth_max": "far"}, {"depth_max": 0}, {"shard_rows": 0}, {"shard_rows": 3},
        {"classes": [1]}, {"classes": ["a", "b"]}, {"targets": ["mask", "sound"]}, {"background": False},
        {"unknown_mask": True}, {"notes": [1]}, {"depth_unit": 3}, {"location": None},
    ],
    ids=str,
)  # fmt: skip
def test_facts_that_do_not_fit_the_arrays_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    source = open_source("scenes:4", DataOptions(resolution=(16, 16)))
    store = pack_all(source, tmp_path / "store", (16, 16))
    path = store.path / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"is damaged|cannot be read as JSON"):
        open_store(store.path)


def test_a_store_without_its_index_is_still_a_store_and_says_what_it_lacks(tmp_path: Path) -> None:
    source = open_source("scenes:4", DataOptions(resolution=(16, 16)))
    store = pack_all(source, tmp_path / "store", (16, 16))
    (store.path / "index.parquet").unlink()
    with pytest.raises(DataError, match=r"index\.parquet is missing"):
        open_source(str(store.path))


def test_a_copied_store_is_read_through_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source("scenes:4", DataOptions(resolution=(16, 16)))
    store = pack_all(source, tmp_path / "store", (16, 16))
    shutil.copytree(store.path, tmp_path / "copy", copy_function=shutil.copyfile)
    open_store(tmp_path / "copy")
    monkeypatch.setattr("hashlib.file_digest", None)
    assert open_store(tmp_path / "copy").facts == store.facts
