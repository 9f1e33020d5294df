"""EXR and PFM: expected values are those written with the package OpenEXR, or put together by hand here."""

from __future__ import annotations

import importlib.util
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from basrelief.data import data_file, open_source
from basrelief.data.decode import Blob, FileError, read_depth, read_image, read_mask_values
from basrelief.data.headers import image_size
from basrelief.data.source import DataOptions
from basrelief.errors import MissingExtraError
from support import write_folder

DEPTH = np.array([[0.5, np.nan, 3.0, 4.0], [np.inf, 6.0, 7.0, 2048.0], [9.0, 10.0, 11.0, 12.0]], np.float32)
needs_exr = pytest.mark.skipif(importlib.util.find_spec("OpenEXR") is None, reason="the extra 'exr' is not installed")


def write_exr(path: Path, channels: dict, **header) -> Path:
    import OpenEXR

    OpenEXR.File({"type": OpenEXR.scanlineimage, **header}, channels).write(str(path))
    return path


def window(left: int, top: int, right: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array([left, top], "i"), np.array([right, bottom], "i")


@needs_exr
@pytest.mark.parametrize("name", ["Y", "Z", "R", "depth", "V", "ViewLayer.Depth.Z", "odd name"])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_exr_depth_of_any_channel_name_and_width(name: str, kind: type, tmp_path: Path) -> None:
    path = write_exr(tmp_path / "x.EXR", {name: DEPTH.astype(kind)})
    found = read_depth(path)
    assert found.dtype == np.float32
    assert np.array_equal(found, DEPTH, equal_nan=True)
    assert image_size(path) == (3, 4)
    assert np.array_equal(read_depth(Blob("a.zip/x.exr", path.read_bytes())), DEPTH, equal_nan=True)


@needs_exr
def test_exr_of_whole_numbers_tiles_and_every_compression(tmp_path: Path) -> None:
    import OpenEXR

    whole = np.array([[0, 1, 65535], [3, 4, 1 << 24]], np.uint32)
    assert (read_depth(write_exr(tmp_path / "u.exr", {"Z": whole})) == whole).all()
    tiled = write_exr(tmp_path / "t.exr", {"Z": DEPTH}, type=OpenEXR.tiledimage, tiles=OpenEXR.TileDescription())
    assert np.array_equal(read_depth(tiled), DEPTH, equal_nan=True)
    for name in ("NO", "RLE", "ZIP", "ZIPS", "PIZ"):
        path = write_exr(tmp_path / f"{name}.exr", {"Z": DEPTH}, compression=getattr(OpenEXR, f"{name}_COMPRESSION"))
        assert np.array_equal(read_depth(path), DEPTH, equal_nan=True), name
    path = write_exr(tmp_path / "down.exr", {"Z": DEPTH}, lineOrder=OpenEXR.DECREASING_Y)
    assert np.array_equal(read_depth(path), DEPTH, equal_nan=True)


@needs_exr
def test_exr_channels_that_are_equal_are_one_and_depth_beside_colour_is_found(tmp_path: Path) -> None:
    colour = {name: DEPTH + i for i, name in enumerate("RGB")}
    alpha = {"A": np.ones_like(DEPTH)}
    for channels in (dict.fromkeys("RGB", DEPTH), {"Y": DEPTH, **alpha}, {**colour, **alpha, "Depth.Z": DEPTH}):
        path = write_exr(tmp_path / "x.exr", channels)
        assert np.array_equal(read_depth(path), DEPTH, equal_nan=True), list(channels)
    with pytest.raises(FileError, match=r"x\.exr.*colours.*one number a pixel"):
        read_depth(write_exr(tmp_path / "x.exr", colour))
    with pytest.raises(FileError, match=r"x\.exr.*differ \(left, right\).*named Z"):
        read_depth(write_exr(tmp_path / "x.exr", {"left": DEPTH, "right": DEPTH + 1}))


@needs_exr
def test_exr_pixels_are_placed_in_the_display_window(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "x.exr", {"Z": DEPTH}, dataWindow=window(1, -1, 4, 1), displayWindow=window(0, 0, 5, 3))
    expected = np.full((4, 6), np.nan, np.float32)
    expected[:2, 1:5] = DEPTH[1:]
    assert np.array_equal(read_depth(path), expected, equal_nan=True)
    assert image_size(path) == (4, 6)
    outside = write_exr(
        tmp_path / "y.exr", {"Z": DEPTH}, dataWindow=window(-9, 9, -6, 11), displayWindow=window(0, 0, 2, 1)
    )
    assert np.isnan(read_depth(outside)).all()


@needs_exr
def test_exr_of_other_kinds_and_broken_ones_say_what_they_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import OpenEXR

    parts = [OpenEXR.Part({"name": name}, {"Z": DEPTH}) for name in "ab"]
    OpenEXR.File(parts).write(str(tmp_path / "parts.exr"))
    deep = np.empty((2, 2), dtype=object)
    for i in range(4):
        deep.flat[i] = np.array([1.0, 2.0], "f")
    write_exr(tmp_path / "deep.exr", {"Z": deep}, type=OpenEXR.deepscanline, compression=OpenEXR.ZIPS_COMPRESSION)
    whole = write_exr(tmp_path / "whole.exr", {"Z": DEPTH}).read_bytes()
    at = whole.index(b"dataWindow\0box2i\0") + len(b"dataWindow\0box2i\0") + 4
    (tmp_path / "huge.exr").write_bytes(whole[:at] + struct.pack("<4i", 0, 0, 99_999, 99_999) + whole[at + 16 :])
    (tmp_path / "other.exr").write_bytes(whole[:at] + struct.pack("<4i", 0, 0, 5, 5) + whole[at + 16 :])
    (tmp_path / "png.exr").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    expected = {
        "parts": "several parts", "deep": "deep pixels", "huge": "178,956,970 pixels", "other": "damaged",
        "png": "no EXR file",
    }  # fmt: skip
    for name, words in expected.items():
        with pytest.raises(FileError, match=rf"{name}\.exr.*{words}"):
            read_depth(tmp_path / f"{name}.exr")
    for end in range(len(whole)):
        with pytest.raises(FileError, match=r"cut\.exr"):
            read_depth(Blob("cut.exr", whole[:end]))
    assert capfd.readouterr().out == ""  # --json stays one document


@needs_exr
def test_exr_images_and_masks_are_read_as_other_floats_are(tmp_path: Path) -> None:
    half = np.full((2, 3), 0.5, np.float32)
    path = write_exr(tmp_path / "x.exr", {"R": half * 2, "G": half, "B": half * 0, "A": half})
    assert (read_image(path) == [255, 128, 0]).all()
    with pytest.raises(FileError, match=r"y\.exr.*outside \[0, 1\]"):
        read_image(write_exr(tmp_path / "y.exr", {"Y": half * 4}))
    assert read_mask_values(write_exr(tmp_path / "m.exr", {"Y": half * 2})).tolist() == [[1, 1, 1]] * 2


@needs_exr
def test_a_folder_with_exr_depth_is_scaled_and_keeps_unknown_pixels(tmp_path: Path) -> None:
    root = write_folder(tmp_path, 4)
    depth = np.full((24, 32), 2000, np.float32)
    depth[0], depth[1] = np.inf, 7
    (root / "depths").mkdir()
    for i in range(4):
        write_exr(root / "depths" / f"{i:02d}.exr", {"Z": depth})
    source = open_source(str(root), DataOptions(depth_scale=0.001, depth_invalid=(7,)))
    found = source.load(source.entries[0]).depth
    assert found is not None
    assert np.isnan(found[:2]).all()
    assert np.allclose(found[2:], 2)
    assert pickle.loads(pickle.dumps(source.load))(source.entries[1]).depth is not None


def test_exr_without_the_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    (tmp_path / "x.exr").write_bytes(b"\x76\x2f\x31\x01\x02\0\0\0")
    for read in (read_depth, image_size):
        with pytest.raises(MissingExtraError, match=r"OpenEXR.*basrelief\[exr\]") as caught:
            read(tmp_path / "x.exr")
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def pfm(kind: str, scale: str, array: np.ndarray, between: str = "\n") -> bytes:
    order = "<" if scale.startswith("-") else ">"
    return f"{kind}{between}4 3{between}{scale}\n".encode() + array[::-1].astype(f"{order}f4").tobytes()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pfm("Pf", "-1.0", ROWS), id="little-endian, rows upward"),
        pytest.param(pfm("Pf", "1", ROWS), id="big-endian"),
        pytest.param(pfm("Pf", "-0.003922", ROWS), id="a scale is not applied"),
        pytest.param(pfm("PF", "-1", np.repeat(ROWS[..., None], 3, 2)), id="colour with equal channels"),
        pytest.param(pfm("Pf", "-1e0", ROWS, between=" "), id="on one line"),
        pytest.param(pfm("Pf", "-1", ROWS, between="\r\n").replace(b"-1\n", b"-1\n"), id="Windows line ends"),
        pytest.param(pfm("Pf", "-1", ROWS, between="\n# a comment\n"), id="comments"),
        pytest.param(pfm("Pf", "-1", ROWS) + b"more", id="bytes behind the end"),
    ],
)
def test_pfm_of_every_writing(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pfm").write_bytes(data)
    assert (read_depth(tmp_path / "x.pfm") == ROWS).all()
    assert image_size(tmp_path / "x.pfm") == (3, 4)
    assert (read_depth(Blob("x.pfm", data)) == ROWS).all()


def test_pfm_keeps_nan_and_infinity(tmp_path: Path) -> None:
    (tmp_path / "x.pfm").write_bytes(pfm("PF", "-1", np.repeat(DEPTH[..., None], 3, 2)))
    assert np.array_equal(read_depth(tmp_path / "x.pfm"), DEPTH, equal_nan=True)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pfm("Pf", "-1", ROWS)[:-1], "truncated: it has 47 bytes"),
        (pfm("PF", "-1", np.stack([ROWS, ROWS, ROWS + 1], -1)), "colours"),
        (pfm("Pf", "0", ROWS), "no PFM"),
        (pfm("Pf", "-nan", ROWS), "no PFM"),
        (pfm("Pg", "-1", ROWS), "no PFM"),
        (b"Pf\n4", "no PFM"),
        (b"Pf\n-4 3\n-1\n", "no PFM"),
        (b"Pf\n" + b"9" * 5000, "no PFM"),
        (b"Pf #" + b"x" * 5000, "no PFM"),
        (b"Pf\n99999 99999\n-1\n", "178,956,970 pixels"),
        (b"\x89PNG\r\n\x1a\n", "no PFM"),
    ],
)
def test_broken_pfm_is_refused(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.pfm").write_bytes(data)
    with pytest.raises(FileError, match=rf"x\.pfm.*{words}"):
        read_depth(tmp_path / "x.pfm")


def test_what_only_calls_itself_npy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    np.savez(tmp_path / "y.npz", ROWS)
    (tmp_path / "y.npz").rename(tmp_path / "y.npy")
    (tmp_path / "z.npy").write_bytes(pickle.dumps([1, 2]))
    for name in "xyz":
        with pytest.raises(FileError, match=rf"{name}\.npy.*no \.npy file.*numpy\.save"):
            read_depth(tmp_path / f"{name}.npy")


@needs_exr
def test_the_pixel_limit_holds_for_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_file, "MAX_PIXELS", 10)
    (tmp_path / "x.pfm").write_bytes(pfm("Pf", "-1", ROWS))
    np.save(tmp_path / "x.npy", ROWS)
    for path in (tmp_path / "x.pfm", tmp_path / "x.npy", write_exr(tmp_path / "x.exr", {"Z": DEPTH})):
        with pytest.raises(FileError, match="more than 10 pixels"):
            read_depth(path)
