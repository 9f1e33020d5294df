"""Sums over pixels, against NumPy over everything at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.data.pixels import GRID, PixelSums, measure


def image_of(seed: int, height: int, width: int, top: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, (height, width, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(1, 90), st.integers(1, 90), st.integers(1, 256), st.integers(0, 9)),
        min_size=1,
        max_size=5,
    )
)
def test_mean_and_deviation_are_those_of_all_pixels_in_any_order(shapes: list[tuple[int, int, int, int]]) -> None:
    images = [image_of(seed, height, width, top) for height, width, top, seed in shapes]
    forth = sum((measure(image).sums for image in images), PixelSums())
    back = sum((measure(image).sums for image in reversed(images)), PixelSums())
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64) / 255
    assert forth == back
    assert forth.pixels == len(pixels)
    assert forth.mean() == pytest.approx(pixels.mean(axis=0), abs=1e-12)
    assert forth.deviation() == pytest.approx(pixels.std(axis=0), abs=1e-12)
    assert forth.brightness() == pytest.approx((pixels @ [0.299, 0.587, 0.114]).mean(), abs=1e-12)


@pytest.mark.parametrize("shape", [(9000, 33), (8193, 40), (40, 50_000), (1, 1), (31, 64), (64, 31)])
def test_white_images_overflow_nothing(shape: tuple[int, int]) -> None:
    found = measure(np.full((*shape, 3), 255, np.uint8))
    pixels = shape[0] * shape[1]
    assert found.sums == PixelSums(pixels, (255 * pixels,) * 3, (65025 * pixels,) * 3)
    assert found.sums.deviation() == (0, 0, 0)
    assert (found.grey == 255 * 16).all()
    assert (found.colours == 255).all()


def test_many_sums_stay_exact() -> None:
    # A million times 255 and as many 254: float32, and naive float64 sums of squares, would not see the difference.
    sums = PixelSums(2 * 10**12, (509 * 10**12,) * 3, ((255**2 + 254**2) * 10**12,) * 3)
    assert sums.deviation() == pytest.approx((0.5 / 255,) * 3, rel=1e-15)


@pytest.mark.parametrize("shape", [(64, 96), (50, 70), (33, 32)])
def test_the_small_picture_is_the_mean_of_its_fields(shape: tuple[int, int]) -> None:
    image = image_of(1, *shape)
    found = measure(image)
    rows, columns = (np.arange(GRID + 1) * length // GRID for length in shape)
    luma = image.astype(np.float64) @ [0.299, 0.587, 0.114]
    for i, j in ((0, 0), (7, 20), (31, 31)):
        field = luma[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
        assert found.grey[i, j] / 16 == pytest.approx(field.mean(), abs=1 / 16)
    corner = image[rows[28] :, columns[28] :].reshape(-1, 3).mean(axis=0)
    assert found.colours[7, 7] == pytest.approx(corner, abs=1)


def test_a_view_with_other_strides_measures_the_same() -> None:
    image = image_of(2, 80, 60)
    assert measure(image[::-1, ::-1]).digest == measure(np.ascontiguousarray(image[::-1, ::-1])).digest


def test_digests_tell_apart_what_sums_cannot() -> None:
    image = image_of(3, 96, 96)
    swapped, turned = image.copy(), np.zeros((40, 60, 3), np.uint8)
    swapped[0, 0], swapped[1, 1] = image[1, 1], image[0, 0]  # within one field
    assert measure(image).digest == measure(image.copy()).digest
    assert measure(image).sums == measure(swapped).sums
    assert measure(image).digest != measure(swapped).digest
    assert measure(turned).digest != measure(turned.reshape(60, 40, 3)).digest


@pytest.mark.parametrize("shape", [(70, 50), (64, 33), (20, 90)])
def test_a_large_image_is_measured_band_by_band_alike(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image = image_of(4, *shape)
    at_once = measure(image)
    monkeypatch.setattr("basrelief.data.pixels._LARGE", 0)
    monkeypatch.setattr("basrelief.data.pixels._BLOCK", 1)
    by_bands = measure(image)
    assert by_bands.digest == at_once.digest
    assert by_bands.sums == at_once.sums
    assert (by_bands.grey == at_once.grey).all()
