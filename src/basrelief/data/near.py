"""Images that look alike: a hash that survives small changes, and all pairs of hashes that are near each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from basrelief.data.pixels import GREY_STEPS, GRID

# Two images look alike where at most 10 of 64 bits differ and their small pictures in colour correlate by 0.9.
# Measured: on distinct photographs (600 of PASCAL, 120 rooms, 100 of COCO) and 300 micrographs, the nearest of 236,745
# pairs differ in 12 bits. Of 175 frames of a kitchen, filmed by hand, 83 % have a neighbour within 10, and frames more
# than 60 apart differ in at least 18. Drawn shapes on black often agree in 10 bits by chance; their small pictures
# correlate by 0.67 in the median, those of the kitchen's neighbours by 0.98 (least 0.90).
DISTANCE = 10
CORRELATION = 0.9
LEAST_CONTRAST = 1.0  # an image whose small grey picture deviates by less (of 255 levels) has nothing to be known by

_BANDS, _BAND_BITS = 4, 16
_PICTURES = 2**12  # small pictures compared together
_FEW = 512  # so many are compared all with all, which is quicker than to begin with bands
_CHUNK = 2**18  # pairs looked at together, so that memory does not grow with their number

# Rows 1 to 8 of the discrete cosine transform, in whole numbers: the hash is the same on every machine.
_COSINES = np.rint(
    4096 * np.cos(np.pi * np.arange(1, 9)[:, None] * (2 * np.arange(GRID) + 1)[None] / (2 * GRID))
).astype(np.int64)


def perceptual_hash(grey: np.ndarray) -> int | None:
    """Return 64 bits that images keep which look alike; None for one without contrast.

    The lowest 8 by 8 frequencies of the discrete cosine transform, without those that are constant along a side; a
    bit says whether one is above their median (C. Zauner, *Implementation and benchmarking of perceptual image hash
    functions*, 2010, section 3.2.1). It ignores size, brightness, contrast and compression; a mirrored, turned or
    cropped image has another.

    Parameters
    ----------
    grey
        int64 (32, 32), of ``basrelief.data.pixels.measure``.
    """
    if float(grey.std()) < LEAST_CONTRAST * GREY_STEPS:
        return None
    frequencies = (_COSINES @ (grey - int(grey.sum()) // grey.size) @ _COSINES.T).ravel()
    above = frequencies > np.median(frequencies)
    return int.from_bytes(np.packbits(above).tobytes(), "big")


def pairs_within(hashes: np.ndarray, distance: int = DISTANCE) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield every pair of hashes that differ in at most ``distance`` bits, some of them more than once.

    Of four bands of 16 bits, one differs in at most a quarter of the bits: so only hashes are compared that agree in a
    band, or nearly do. Nothing is missed, and memory is flat.

    Parameters
    ----------
    hashes
        uint64 (N,), each value once.
    distance
        At most 11; beyond, too many bands nearly agree.

    Yields
    ------
    first, second
        int64 (P,), places in ``hashes``, never equal to each other.
    """
    if not 0 <= distance < 3 * _BANDS:
        raise ValueError(f"distance {distance} must be between 0 and {3 * _BANDS - 1}")
    if len(hashes) <= _FEW:
        first, second = np.triu_indices(len(hashes), 1)
        near = count_bits(hashes[first] ^ hashes[second]) <= distance
        yield first[near], second[near]
        return
    flips = [
        sum(1 << bit for bit in bits)
        for weight in range(distance // _BANDS + 1)
        for bits in itertools.combinations(range(_BAND_BITS), weight)
    ]
    for band in range(_BANDS):
        keys = (hashes >> np.uint64(band * _BAND_BITS)).astype(np.int64) & (2**_BAND_BITS - 1)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.searchsorted(keys, np.arange(2**_BAND_BITS + 1))
        for flip in flips:
            others = keys ^ flip
            firsts = np.flatnonzero(others > keys) if flip else np.arange(len(keys))
            lows = starts[others[firsts]] if flip else firsts + 1  # within one bucket, each pair once
            lengths = starts[others[firsts] + 1] - lows
            yield from _near(hashes, order, firsts, lows, lengths, distance)


def _near(
    hashes: np.ndarray, order: np.ndarray, firsts: np.ndarray, lows: np.ndarray, lengths: np.ndarray, distance: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    some = lengths > 0
    firsts, lows, lengths = firsts[some], lows[some], lengths[some]
    ends = np.cumsum(lengths)
    start = 0
    while start < len(firsts):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
        own = lengths[start:stop]
        first = np.repeat(firsts[start:stop], own)
        second = np.arange(int(own.sum())) + np.repeat(lows[start:stop] - (np.cumsum(own) - own), own)
        first, second = order[first], order[second]
        near = count_bits(hashes[first] ^ hashes[second]) <= distance
        if near.any():
            yield first[near], second[near]
        start = stop


def count_bits(values: np.ndarray) -> np.ndarray:
    """Return how many bits are set in each of uint64 values, as int64 (adding neighbours in ever wider fields)."""
    one, two, four = (np.uint64(mask) for mask in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
    counts = values - ((values >> np.uint64(1)) & one)
    counts = (counts & two) + ((counts >> np.uint64(2)) & two)
    counts = (counts + (counts >> np.uint64(4))) & four
    bits: np.ndarray = ((counts * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.int64)
    return bits


def correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation of each row of uint8 (P, N) with that of another; 0 for a row without contrast."""
    own, other = first.astype(np.float32), second.astype(np.float32)
    own -= own.mean(axis=1, keepdims=True)
    other -= other.mean(axis=1, keepdims=True)
    product = np.einsum("pn,pn->p", own, other)
    norm = np.sqrt(np.einsum("pn,pn->p", own, own) * np.einsum("pn,pn->p", other, other))
    correlation: np.ndarray = np.divide(product, norm, out=np.zeros_like(product), where=norm > 0)
    return correlation


def look_alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return whether small pictures, uint8 (P, 192), show the same in colour: bool (P,)."""
    alike = np.empty(len(first), dtype=bool)
    for start in range(0, len(first), _PICTURES):
        part = slice(start, start + _PICTURES)
        alike[part] = correlate(first[part], second[part]) >= CORRELATION
    return alike
