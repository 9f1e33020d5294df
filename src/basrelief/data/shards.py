"""Array files that are written in pieces: a header, and rows put where they belong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

HEADER = 128  # bytes; the format asks for a multiple of 64


def create_rows(path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    """Make an array file with its space reserved: a full disk is an error here, not a crash at a later write."""
    with path.open("wb") as file:
        write_header(file, dtype, shape)
        file.flush()
        size = HEADER + int(np.prod(shape)) * np.dtype(dtype).itemsize
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def write_header(file: BinaryIO, dtype: type, shape: tuple[int, ...]) -> None:
    """Write the header of an array file (NumPy's format, version 1.0), as long for any number of rows."""
    words = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    start = np.lib.format.magic(1, 0) + (HEADER - 10).to_bytes(2, "little")
    header = start + repr(words).ljust(HEADER - len(start) - 1).encode() + b"\n"
    assert len(header) == HEADER
    file.seek(0)
    file.write(header)


def write_rows(path: Path, array: np.ndarray, row: int) -> None:
    """Write some rows of an array file, from ``row`` on."""
    data = np.ascontiguousarray(array).data.cast("B")
    offset = HEADER + row * (len(data) // len(array))
    with path.open("r+b") as file:  # each writer has a place of its own in it: Windows has no pwrite
        file.seek(offset)
        file.write(data)
