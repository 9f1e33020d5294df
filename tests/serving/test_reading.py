"""Uploads: every hostile one is refused with its code, quickly and in little memory; good ones are read exactly."""

from __future__ import annotations

import contextlib
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from basrelief.data.decode import Blob, read_image
from basrelief.serving.limits import Limits, RequestError
from basrelief.serving.picture_parts import orientation_in, picture_parts
from basrelief.serving.reading import read_upload
from hostile import good_exif, hostile, laden, png, saved

LIMITS = Limits()
HOSTILE = hostile()
LADEN = laden()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_uploads_are_refused_with_their_code_in_little_memory(name: str) -> None:
    data, status = HOSTILE[name]
    tracemalloc.start()
    with pytest.raises(RequestError) as caught:
        read_upload(data, LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.status == status
    assert caught.value.message.startswith("The image ")
    assert "0x" not in caught.value.message  # no address of an object
    assert peak < 8 << 20


@pytest.mark.parametrize("name", LADEN)
def test_what_is_hidden_beside_a_picture_is_never_unpacked(name: str) -> None:
    tracemalloc.start()
    array = read_upload(LADEN[name], LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert array.shape in ((8, 8, 3), (24, 32, 3), (32, 24, 3))
    assert peak < 16 << 20


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_cameras_orientation_is_kept(kind: str, orientation: int) -> None:
    data = saved(kind, exif=good_exif(orientation))
    assert np.array_equal(read_upload(data, LIMITS), read_image(Blob("x", data)))
    assert read_upload(data, LIMITS).shape == ((32, 24, 3) if orientation > 4 else (24, 32, 3))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_of_every_kind_is_read_as_from_disk(mode: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65536, (9, 7), dtype=np.uint16))
    else:
        picture = Image.fromarray(rng.integers(0, 256, (9, 7, 4), dtype=np.uint8), "RGBA").convert(mode)
    picture.save(tmp_path / "a.png", dpi=(72, 72), pnginfo=None)
    expected = read_image(tmp_path / "a.png")
    assert np.array_equal(read_upload((tmp_path / "a.png").read_bytes(), LIMITS), expected)
    assert np.array_equal(read_upload(tmp_path / "a.png", LIMITS), expected)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"hello", "icc_profile": b"x" * 70_000}])
def test_jpeg_of_every_kind_is_read_as_from_disk(options: dict[str, object]) -> None:
    for data in (saved("JPEG", **options), _cmyk()):
        assert np.array_equal(read_upload(data, LIMITS), read_image(Blob("x", data)))


def _cmyk() -> bytes:
    stream = io.BytesIO()
    Image.new("CMYK", (12, 10), (10, 200, 30, 40)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize("lossless", [False, True])
def test_size_is_known_before_decoding(lossless: bool) -> None:
    webp = [saved("WEBP", lossless=lossless, **options) for options in ({}, {"exif": good_exif(3)})]
    for data in (*webp, saved("BMP"), saved("PNG"), saved("JPEG")):
        found = picture_parts(data)
        assert found is not None
        assert (found.size, found.frames) == ((32, 24), 1)


def test_limits_are_exact() -> None:
    assert read_upload(png(10, 10), Limits(max_pixels=100)).shape == (10, 10, 3)
    with pytest.raises(RequestError, match=r"11 x 10 pixels; at most 0.0001 million"):
        read_upload(png(11, 10), Limits(max_pixels=100))
    data = png(10, 10)
    assert read_upload(data, Limits(max_bytes=len(data))) is not None
    with pytest.raises(RequestError, match="bytes; at most") as caught:
        read_upload(data, Limits(max_bytes=len(data) - 1))
    assert caught.value.status == 413


@given(st.integers(0, 3), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_refused_or_read_and_nothing_else(kind: int, drawn: st.DataObject) -> None:
    data = bytearray(saved(("PNG", "JPEG", "WEBP", "BMP")[kind], size=(6, 5)))
    for _ in range(drawn.draw(st.integers(1, 4))):
        place = drawn.draw(st.integers(0, min(len(data) - 1, 200)))
        data[place] = drawn.draw(st.integers(0, 255))
    cut = drawn.draw(st.integers(0, len(data)))
    for content in (bytes(data), bytes(data[:cut])):
        with contextlib.suppress(RequestError):
            assert read_upload(content, Limits(max_pixels=10_000)).dtype == np.uint8


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_orientation_of_any_bytes_is_an_orientation(noise: bytes) -> None:
    assert 1 <= orientation_in(noise) <= 8
    assert 1 <= orientation_in(b"MM\0*\0\0\0\x08" + noise) <= 8
