"""Planes brought to a resolution as they are decoded are those decoded whole and resized after."""

from __future__ import annotations

import re
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from basrelief.batch import Sample
from basrelief.data import open_source
from basrelief.data.decode import Blob, FileError, read_depth, read_depth_at, read_image, read_image_at
from basrelief.data.folder_load import Reading, load_files
from basrelief.data.mask_values import MaskMapping, to_planes
from basrelief.data.pack import pack
from basrelief.data.resize import pick_nearest, resize_image, resize_picture, resize_sample
from basrelief.data.store import hash_image, load_to_pack


def test_a_jpeg_brought_to_a_resolution_is_nearly_what_it_is_decoded_whole(tmp_path):
    rows, columns = np.mgrid[:240, :320]
    colours = [rows * 255 // 240, columns * 255 // 320, (rows + columns) * 255 // 558]
    smooth = np.stack(colours, axis=-1).astype(np.uint8)
    path = tmp_path / "x.jpg"
    Image.fromarray(smooth).save(path, quality=95)
    for turn, own in ((1, (240, 320)), (6, (320, 240))):
        exif = Image.Exif()
        exif[274] = turn
        Image.fromarray(smooth).save(path, quality=95, exif=exif)
        whole = read_image(path)
        for resolution in ((80, 100), (81, 100), (20, 20), (240, 320), (300, 400)):
            small, found = read_image_at(path, resolution)
            assert found == own
            assert small.shape == (*resolution, 3)
            assert np.abs(small.astype(int) - resize_image(whole, resolution)).max() <= 6, (turn, resolution)


def test_a_jpeg_is_decoded_at_least_half_as_large_again_as_the_resolution(tmp_path, monkeypatch):
    asked = []

    def watched(picture, resolution):
        asked.append(picture.size)
        return resize_picture(picture, resolution)

    monkeypatch.setattr("basrelief.data.decode.resize_picture", watched)
    Image.new("RGB", (320, 240)).save(tmp_path / "x.jpg")
    for resolution in ((80, 100), (81, 100), (20, 20), (240, 320)):
        read_image_at(tmp_path / "x.jpg", resolution)
    assert asked == [(160, 120), (320, 240), (40, 30), (320, 240)]


_PICTURES = [
    ("RGB", "png"), ("L", "png"), ("1", "png"), ("P", "png"), ("RGBA", "png"), ("LA", "png"), ("I;16", "png"),
    ("RGB", "tif"), ("I;16", "tif"), ("F", "tif"), ("CMYK", "tif"), ("RGB", "webp"), ("RGB", "gif"), ("RGB", "bmp"),
    ("RGB", "jpg"), ("L", "jpg"), ("CMYK", "jpg"),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "suffix"), _PICTURES)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.integers(1, 24), st.integers(1, 8))
@settings(max_examples=6, deadline=None)
def test_reading_at_a_resolution_is_reading_and_then_resizing(mode, suffix, height, width, high, wide, turn):
    least = max(height, width) // 3 + 2 if suffix == "jpg" else 1  # of a JPEG, nothing is left out from there on
    resolution = (max(high, least), max(wide, least))
    rng = np.random.default_rng(height * width)
    noise = rng.integers(0, 256, (height, width, 4)).astype(np.uint8)
    if mode in ("I;16", "F"):
        grey = noise[..., 0]
        picture = Image.fromarray(grey.astype(np.uint16) * 200 if mode == "I;16" else grey / np.float32(255))
    else:
        picture = Image.fromarray(noise).convert(mode)
    file = BytesIO()
    exif = Image.Exif()
    exif[274] = turn
    carries = {"exif": exif} if suffix in ("jpg", "png", "webp") else {}
    picture.save(file, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix), **carries)
    blob = Blob(f"x.{suffix}", file.getvalue())
    whole = read_image(blob)
    small, own = read_image_at(blob, resolution)
    assert own == whole.shape[:2]
    assert np.array_equal(small, resize_image(whole, resolution))
    if mode not in ("RGB", "RGBA", "CMYK", "P"):
        depth, size = read_depth_at(blob, (high, wide))
        assert size == read_depth(blob).shape
        assert np.array_equal(depth, pick_nearest(read_depth(blob), (high, wide)))


KEYS = st.lists(st.integers(0, 300), min_size=2, max_size=3, unique=True)


@given(KEYS, st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_masks_cut_at_half_are_the_same_from_bytes_and_from_wide_numbers(keys, inverted, seed):
    planes = {key: (i > 0) != inverted for i, key in enumerate(sorted(keys))}
    mapping = MaskMapping(("figure",), {key: int(plane) for key, plane in planes.items()}, nearest=True)
    rng = np.random.default_rng(seed)
    values = rng.choice([*(key for key in keys if key < 256), 0, 255, *range(0, 256, 37)], (9, 7)).astype(np.uint8)
    values[rng.random((9, 7)) < 0.7] = min(keys) % 256
    try:
        expected = to_planes(mapping, values.astype(np.int64), "x.png")
    except FileError as error:
        with pytest.raises(FileError, match=re.escape(str(error))):
            to_planes(mapping, values, "x.png")
        return
    for found, wanted in zip(to_planes(mapping, values, "x.png"), expected, strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize(("low", "high"), [(0, 255), (1, 2), (10, 90), (3, 250), (0, 300), (200, 40000)])
def test_masks_mostly_halfway_are_told_from_bytes_as_from_wide_numbers(low, high):
    mapping = MaskMapping(("figure",), {low: 0, high: 1}, nearest=True)

    def refused(values):
        try:
            to_planes(mapping, values, "x.png")
        except FileError:
            return True
        return False

    found = [refused(np.full((3, 3), value, np.uint8)) for value in range(256)]
    assert found == [refused(np.full((3, 3), value, np.int64)) for value in range(256)]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_shrunk_mask_is_where_the_mean_of_its_floats_reaches_half(height, width, seed):
    rng = np.random.default_rng(seed)
    high, wide = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
    mask = (rng.random((2, height, width)) < 0.5).astype(np.uint8)
    small = resize_sample(Sample("x", np.zeros((height, width, 3), np.uint8), mask=mask), (high, wide)).mask
    for plane, found in zip(mask, small, strict=True):
        mean = Image.fromarray(plane.astype(np.float32)).resize((wide, high), Image.Resampling.BOX)
        assert np.array_equal(found, np.asarray(mean) >= 0.5)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_the_nearest_pixel_is_the_one_below_the_centre(height, width, high, wide):
    plane = np.arange(height * width).reshape(height, width)
    found = pick_nearest(plane, (high, wide))
    for row, column in ((0, 0), (high - 1, wide - 1), (high // 2, wide // 3)):
        assert found[row, column] == plane[(2 * row + 1) * height // (2 * high), (2 * column + 1) * width // (2 * wide)]


def quartet(folder, *, mode="L", unknown_elsewhere=False):
    rng = np.random.default_rng(3)
    figure = np.zeros((48, 60), np.uint8)
    figure[10:30, 20:45] = 255
    files = {plane: folder / f"{plane}.jpg" for plane in ("image", "background", "mask", "depth")}
    for plane in ("image", "background"):
        Image.fromarray(rng.integers(0, 256, (48, 60, 3)).astype(np.uint8)).save(files[plane])
    Image.fromarray(figure).convert(mode).save(files["mask"], quality=75)
    depth = rng.integers(1, 255, (24, 30)).astype(np.uint8)
    if unknown_elsewhere:
        files["depth"] = folder / "depth.png"
        depth[
            pick_nearest(np.arange(24 * 30).reshape(24, 30), (16, 20)).ravel() // 30,
            pick_nearest(np.arange(24 * 30).reshape(24, 30), (16, 20)).ravel() % 30,
        ] = 0
    Image.fromarray(depth).save(files["depth"])
    return files


READING = Reading(MaskMapping(("figure",), {0: 0, 255: 1}, nearest=True), 0.01, (0.0,), 2.0)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("unknown_elsewhere", [False, True])
def test_files_loaded_for_a_resolution_are_those_loaded_and_resized(tmp_path, mode, unknown_elsewhere):
    files = quartet(tmp_path, mode=mode, unknown_elsewhere=unknown_elsewhere)
    whole = resize_sample(load_files(READING, "x", files).sample, (16, 20))
    near, sizes = load_files(READING, "x", files, (16, 20))
    assert sizes == {"image": (48, 60), "background": (48, 60)}
    small = resize_sample(near, (16, 20))
    for plane in ("mask", "mask_valid"):
        assert np.array_equal(getattr(small, plane), getattr(whole, plane))
    assert np.array_equal(small.depth, whole.depth, equal_nan=True)
    assert np.isnan(small.depth).all() == unknown_elsewhere
    same = load_files(READING, "x", files, (40, 50)).sample  # no part of the JPEG is large enough
    whole = resize_sample(load_files(READING, "x", files).sample, (40, 50))
    assert np.array_equal(same.image, whole.image)
    assert np.array_equal(same.background, whole.background)


@pytest.mark.parametrize("plane", ["image", "background", "mask", "depth"])
@pytest.mark.parametrize("harm", ["empty", "cut", "text", "gone", "shape"])
def test_what_is_wrong_with_a_file_is_said_alike_at_any_resolution(tmp_path, plane, harm):
    files = quartet(tmp_path)
    data = files[plane].read_bytes()
    if harm == "gone":
        files[plane].unlink()
    elif harm == "shape":
        Image.new("RGB" if plane in ("image", "background") else "L", (60, 90)).save(files[plane])
    else:
        files[plane].write_bytes({"empty": b"", "cut": data[: len(data) // 2], "text": b"no picture"}[harm])
    with pytest.raises(FileError) as whole:
        load_files(READING, "x", files)
    with pytest.raises(FileError) as small:
        load_files(READING, "x", files, (16, 20))
    assert str(small.value) == str(whole.value)


def test_an_image_alone_has_the_hash_that_a_store_gives_it(tmp_path):
    for plane in ("images", "masks", "depths", "backgrounds"):
        (tmp_path / "data" / plane).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, size in enumerate([(60, 48), (200, 160), (20, 16)]):
        noise = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
        for plane in ("images", "backgrounds"):
            Image.fromarray(noise).save(tmp_path / "data" / plane / f"{i}.jpg")
        Image.fromarray((noise[..., 0] > 99).astype(np.uint8) * 255).save(tmp_path / "data/masks" / f"{i}.png")
        Image.fromarray(noise[..., 1]).save(tmp_path / "data/depths" / f"{i}.png")
    source = open_source(str(tmp_path / "data"))
    store = pack(source, source.entries, tmp_path / "store", (16, 20), key="k", jobs=1)
    for entry, stored in zip(source.entries, store.index["image_hash"], strict=True):
        alone = replace(entry, planes={"image": entry.planes["image"]})
        assert hash_image(load_to_pack(source, alone, (16, 20)).sample.image) == stored
