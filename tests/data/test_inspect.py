from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basrelief.batch import Sample
from basrelief.data import open_source
from basrelief.data.folder import read_folder
from basrelief.data.inspect import inspect_source
from basrelief.data.source import DataOptions, Entry, Source
from basrelief.errors import DataError, UsageError
from support import write_folder


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array) if path.suffix == ".npy" else Image.fromarray(array).save(path)


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(28):
        mask = np.zeros((10, 20), np.uint8)
        mask[3 : 3 + i % 4, 5:10] = 255
        save(tmp_path / f"images/x{i}.png", rng.integers(0, 255, (10, 20, 3), dtype=np.uint8))
        save(tmp_path / f"masks/x{i}.png", mask)
        save(tmp_path / f"depths/x{i}.npy", np.full((10, 20), 1.0 + i, np.float32))
    return tmp_path


def look(root, **options):
    return inspect_source(read_folder(str(root), DataOptions(**options)))


def test_a_sound_folder(root):
    found = look(root)
    assert (found.samples, found.usable) == (28, 28)
    assert found.planes == {"image": 28, "mask": 28, "depth": 28}
    assert found.sizes == {"min": (10, 20), "median": (10, 20), "max": (10, 20)}
    assert found.empty_masks == 7
    assert found.foreground["figure"] == pytest.approx({"min": 0, "median": 0.0375, "mean": 0.0375, "max": 0.075})
    assert found.depth_range == (1.0, 28.0)
    assert found.depth_unknown_share == 0
    assert found.mask_unknown_share == 0
    assert found.duplicates == ()
    assert found.faults == ()
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["samples"] == 28


def test_every_fault_is_listed_once_and_the_rest_is_counted(root):
    (root / "images/x1.png").write_bytes(b"")
    (root / "images/x2.png").write_bytes(b"not an image")
    data = (root / "images/x3.png").read_bytes()
    (root / "images/x3.png").write_bytes(data[: len(data) // 2])
    save(root / "masks/x4.png", np.zeros((5, 5), np.uint8))
    save(root / "depths/x5.npy", np.full((10, 20), np.nan))
    partly = np.ones((10, 20), np.float32)
    partly[0] = np.inf
    save(root / "depths/x6.npy", partly)
    save(root / "masks/lonely.png", np.zeros((10, 20), np.uint8))
    found = look(root)
    assert found.usable == 23
    for name, words in {
        "x1.png": "zero bytes",
        "x2.png": "not in a known file format",
        "x3.png": "truncated",
        "x4.png": "5 × 5",
        "x5.npy": "no known depth",
        "x6.npy": "NaN or infinity at 20 of 200 pixels",
        "lonely.png": "without its image",
    }.items():
        about = [str(fault) for fault in found.faults if fault.file.endswith(name)]
        assert len(about) == 1, (name, about)
        assert words in about[0]
    assert len(found.faults) == 7
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("top", "words"), [(200, "read as 8-bit data"), (4000, "nearly black")])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_where_8_were_meant(root, top, words, suffix):
    (root / "images/x1.png").unlink()
    wide = np.linspace(0, top, 200).reshape(10, 20).astype(np.uint16)
    save(root / f"images/x1.{suffix}", wide)
    save(root / "images/x2.png", (wide.astype(np.uint32) * 65535 // top).astype(np.uint16))
    about = [str(fault) for fault in look(root).faults]
    assert len(about) == 1
    assert f"x1.{suffix}: is a 16-bit file whose highest value is {top}" in about[0]
    assert words in about[0]
    assert "Save it with 8 bits" in about[0]


def test_equal_images_and_those_in_two_splits(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    mask = np.pad(np.full((4, 4), 255, np.uint8), 2)
    for split, name in (("train", "a"), ("train", "b"), ("test", "c"), ("val", "d")):
        picture = image if name in "ac" else rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        save(tmp_path / split / "images" / f"{name}.png", picture)
        save(tmp_path / split / "masks" / f"{name}.png", mask)
    found = look(tmp_path)
    assert found.duplicates == (("test/c", "train/a"),)
    assert found.splits == {"train": 2, "val": 1, "test": 1}
    assert any("test/c: is the same image as train/a, and they are in test and train" in str(f) for f in found.faults)


def test_one_image_only_and_few(tmp_path):
    mask = np.pad(np.full((4, 4), 255, np.uint8), 2)
    save(tmp_path / "images/a.png", np.zeros((8, 8, 3), np.uint8))
    save(tmp_path / "masks/a.png", mask)
    fault = look(tmp_path).faults[-1]
    assert "one usable image only; train, val and test need one each, so at least 3. Add images" in str(fault)
    assert fault.fatal
    for name in "bcd":
        save(tmp_path / f"images/{name}.png", np.zeros((8, 8, 3), np.uint8))
        save(tmp_path / f"masks/{name}.png", mask)
    fault = look(tmp_path).faults[-1]
    assert "4 usable samples" in str(fault)
    assert not fault.fatal


def source_of(samples):
    """A source without files, as generated data has it."""

    def load(entry):
        sample = samples[entry.id]
        if sample is None:
            raise DataError("sample two cannot be made.")
        return sample

    entries = tuple(Entry(name) for name in samples)
    return Source("made", "made:3", entries, ("mask",), load, classes=("figure",))


def test_sources_without_files_and_all_empty_masks():
    empty = Sample("one", np.zeros((4, 4, 3), np.uint8), mask=np.zeros((1, 4, 4), np.uint8))
    unknown = Sample(
        "three", np.ones((4, 4, 3), np.uint8), mask=np.zeros((1, 4, 4), np.uint8), mask_valid=np.zeros((4, 4), bool)
    )
    seen = []
    found = inspect_source(
        source_of({"one": empty, "two": None, "three": unknown}),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert found.mask_unknown_share == 0.5
    problems = [str(fault) for fault in found.faults]
    assert any("two: sample two cannot be made" in p for p in problems)
    assert any("three: is unknown everywhere" in p for p in problems)
    assert any("made:3: all 2 masks are empty" in p and "--mask-map" in p for p in problems)


def test_nothing_usable_is_still_a_report():
    found = inspect_source(source_of({"two": None}))
    assert found.usable == 0
    assert found.sizes == {}
    assert found.depth_range is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_mean_and_deviation_count_each_distinct_background_once():
    rng = np.random.default_rng(0)
    behind = [rng.integers(0, 256, (5, 7, 3), dtype=np.uint8) for _ in range(2)]
    images = [rng.integers(0, 256, (4 + i, 6, 3), dtype=np.uint8) for i in range(3)]
    samples = {str(i): Sample(str(i), image, background=behind[i // 2].copy()) for i, image in enumerate(images)}
    found = inspect_source(source_of(samples)).colour
    for plane, pictures in (("image", images), ("background", behind)):
        pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures]) / 255
        assert found[plane]["mean"] == pytest.approx(pixels.mean(axis=0), abs=1e-12)
        assert found[plane]["std"] == pytest.approx(pixels.std(axis=0), abs=1e-12)
        assert found[plane]["images"] == len(pictures)
        assert found[plane]["pixels"] == len(pixels)


def test_nothing_depends_on_the_number_of_threads(root, monkeypatch):
    found = []
    for count in (1, 5):
        monkeypatch.setattr("os.cpu_count", lambda count=count: count)
        found.append(look(root).to_dict())
    assert found[0] == found[1]


def test_histograms_count_every_mask_image_and_pixel(root):
    found = look(root).histograms
    assert set(found) == {"foreground/figure", "brightness", "depth"}
    assert sum(found["foreground/figure"]["counts"]) == 28
    assert sum(found["brightness"]["counts"]) == 28
    assert sum(found["depth"]["counts"]) == 28 * 200
    assert found["depth"]["edges"][0] <= 1.0
    assert found["depth"]["edges"][-1] > 28.0


def test_the_split_is_that_of_a_study_and_its_rule_is_checked_before_decoding(root, tmp_path):
    source = read_folder(str(root), DataOptions())
    found = inspect_source(source, rule="50/25/25", seed=1).split
    assert (found["train"], found["val"], found["test"], found["left_out"]) == (14, 7, 7, 0)
    assert (found["rule"], found["seed"], found["groups"]) == ("50/25/25", 1, 28)
    blocks = inspect_source(source, options=DataOptions(group_blocks=4)).split
    assert blocks["groups"] == 4
    assert "4 blocks of neighbouring samples are kept whole." in blocks["notes"]
    decoded = []
    with pytest.raises(UsageError, match="expected three shares"):
        inspect_source(source, rule="50/50", progress=lambda *done: decoded.append(done))
    with pytest.raises(DataError, match=r"none.csv cannot be read"):
        inspect_source(source, options=DataOptions(group_file=tmp_path / "none.csv"), progress=decoded.append)
    assert decoded == []


def film(count, size=(48, 64)):
    """Return frames of a camera that moves slowly over a wide picture."""
    rng = np.random.default_rng(3)
    wide = Image.fromarray(rng.integers(0, 256, (6, 200, 3), dtype=np.uint8)).resize((4000, size[0]))
    return [np.asarray(wide)[:, 2 * i : 2 * i + size[1]] for i in range(count)]


def test_frames_of_a_film_leak_until_blocks_are_kept_together(tmp_path):
    for i, frame in enumerate(film(60)):
        save(tmp_path / f"images/{i:03}.png", frame)
        save(tmp_path / f"masks/{i:03}.png", np.pad(np.full((4, 4), 255, np.uint8), ((20, 24), (20, 40))))
    found = look(tmp_path)
    assert found.leaks["test"]["similar"] == 9
    assert found.near_duplicates["across"] > 0
    [fault] = found.faults
    assert "9 of 9 test images" in str(fault)
    assert "--group-blocks 10" in str(fault)
    assert not fault.fatal
    source = read_folder(str(tmp_path), DataOptions())
    blocks = inspect_source(source, options=DataOptions(group_blocks=4))
    assert blocks.leaks["test"]["similar"] < 5
    json.dumps(blocks.to_dict(), allow_nan=False)


def test_an_animation_among_the_images_is_pointed_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", 4)
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "green", "blue")]
    frames[0].save(folder / "images" / "02.gif", save_all=True, append_images=frames[1:])
    (folder / "images" / "02.png").unlink()
    faults = [str(fault) for fault in inspect_source(open_source(str(folder))).faults]
    assert [fault for fault in faults if "02.gif: holds 3 pictures" in fault and "first one" in fault]
    assert not any("01.png" in fault for fault in faults)
