"""Images that look alike, and every pair of hashes near each other."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from basrelief.data import near
from basrelief.data.near import DISTANCE, correlate, count_bits, look_alike, pairs_within, perceptual_hash
from basrelief.data.pixels import measure


def photo(seed: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    """Return a smooth picture of blobs, like nothing but itself."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def bits_between(first: np.ndarray, second: np.ndarray) -> int:
    one, other = (perceptual_hash(measure(image).grey) for image in (first, second))
    assert one is not None
    assert other is not None
    return (one ^ other).bit_count()


def saved(image: np.ndarray, quality: int) -> np.ndarray:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content).convert("RGB"))


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_saved_smaller_darker_or_with_noise_is_near(seed: int) -> None:
    image = photo(seed)
    noise = np.random.default_rng(seed).normal(0, 6, image.shape)
    copies = [
        saved(image, 30),
        np.asarray(Image.fromarray(image).resize((70, 50), Image.Resampling.BILINEAR)),
        (image * 0.6).astype(np.uint8),
        np.clip(image + noise, 0, 255).astype(np.uint8),
    ]
    for copy in copies:
        assert bits_between(image, copy) <= DISTANCE
        assert look_alike(measure(image).colours.reshape(1, -1), measure(copy).colours.reshape(1, -1)).all()


def test_others_are_far() -> None:
    distances = [bits_between(photo(a), photo(b)) for a in range(12) for b in range(a)]
    assert min(distances) > DISTANCE


def test_bits_are_those_of_the_transform_in_floating_point() -> None:
    # The definition of Zauner 2010 with scipy's transform, on the same 32 by 32 picture.
    from scipy.fft import dctn

    for seed in range(5):
        grey = measure(photo(seed)).grey
        frequencies = dctn(grey.astype(np.float64), norm=None)[1:9, 1:9].ravel()
        expected = np.packbits(frequencies > np.median(frequencies)).tobytes()
        found = perceptual_hash(grey)
        assert found is not None
        assert (found ^ int.from_bytes(expected, "big")).bit_count() <= 2  # two values beside the median may swap


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_image_without_contrast_has_no_hash(level: int) -> None:
    image = np.full((64, 64, 3), level, np.uint8)
    assert perceptual_hash(measure(image).grey) is None
    image[::2] = max(level - 1, 0)
    assert perceptual_hash(measure(image).grey) is None


def test_a_dark_image_with_a_few_levels_has_one() -> None:
    image = np.full((64, 64, 3), 4, np.uint8)
    image[10:30, 20:50] = 12
    assert perceptual_hash(measure(image).grey) is not None


def brute(hashes: np.ndarray, distance: int) -> set[tuple[int, int]]:
    bits = np.array([[int(a ^ b).bit_count() for b in hashes] for a in hashes])
    return {(int(i), int(j)) for i, j in zip(*np.nonzero(bits <= distance), strict=True) if i < j}


def found(hashes: np.ndarray, distance: int, few: int = 0) -> set[tuple[int, int]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "_FEW", few)
        return {
            (int(min(i, j)), int(max(i, j)))
            for first, second in pairs_within(hashes, distance)
            for i, j in zip(first, second, strict=True)
        }


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.integers(0, 11), st.integers(2, 60))
def test_no_pair_is_missed_and_none_is_too_far(seed: int, distance: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, max(1, count // 8), dtype=np.uint64)[rng.integers(0, max(1, count // 8), count)]
    for bits in rng.integers(0, 64, (distance + 2, count)):  # a ball around each of a few, up to just beyond
        hashes = hashes ^ (np.uint64(1) << bits.astype(np.uint64))
    hashes = np.unique(hashes)
    assert found(hashes, distance) == brute(hashes, distance) == found(hashes, distance, few=1000)


def test_bits_spread_evenly_over_the_bands_are_found() -> None:
    # The hardest case of the pigeonhole: three, three, two and two bits in the four bands.
    far = sum(0b111 << at for at in (0, 16)) | sum(0b11 << at for at in (32, 48))
    hashes = np.array([0, far], dtype=np.uint64)
    assert found(hashes, 10) == {(0, 1)}
    assert found(hashes, 9) == set()


def test_no_hash_and_one_hash_give_no_pair() -> None:
    assert found(np.empty(0, np.uint64), 10) == set()
    assert found(np.array([7], np.uint64), 10) == set()
    with pytest.raises(ValueError, match="between 0 and 11"):
        next(pairs_within(np.array([7], np.uint64), 12))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_bits_are_counted(values: list[int]) -> None:
    assert count_bits(np.array(values, dtype=np.uint64)).tolist() == [value.bit_count() for value in values]


def test_correlation_is_numpys_and_nothing_correlates_with_a_flat_picture() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 192), dtype=np.uint8)
    expected = np.corrcoef(pictures.astype(np.float64))[0, 1]
    assert correlate(pictures[:1], pictures[1:])[0] == pytest.approx(expected, abs=1e-5)
    assert correlate(pictures[:1], np.full((1, 192), 9, np.uint8))[0] == 0
