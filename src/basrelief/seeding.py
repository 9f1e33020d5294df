"""One seed, several independent streams: initial weights, batch order, dropout, splits, generated data.

A stream is named, so adding a new one never shifts the numbers of another, and every trial of a study that has the
same seed draws the same weights and the same order whatever its loss.
"""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, name: str, *indices: int) -> np.random.Generator:
    """Return the generator of the stream ``name`` of ``seed``; ``indices`` (an epoch, say) select independent parts.

    >>> stream(7, "order", 0).integers(100) == stream(7, "order", 0).integers(100)
    np.True_
    """
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(name.encode()), *indices]))


def stream_seed(seed: int, name: str, *indices: int) -> int:
    """Return a 63-bit seed for libraries that take a number instead of a generator (torch)."""
    return int(stream(seed, name, *indices).integers(2**63 - 1))
