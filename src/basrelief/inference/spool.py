"""Floats of a very large picture, kept on disk while its rows come in, and written as ``.npy``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from basrelief.files import output_errors


class Spool:
    """A float32 array (…, H, W) in a file without a name: it is gone with the process, however that ends."""

    def __init__(self, shape: tuple[int, ...], folder: Path) -> None:
        self._shape, self._folder = shape, folder
        with output_errors(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives until it is saved

    def put(self, rows: slice, values: np.ndarray) -> None:
        """Put some rows (…, rows, W) in their place."""
        height, width = self._shape[-2:]
        with output_errors(self._folder):
            for number, plane in enumerate(values.reshape(-1, *values.shape[-2:])):
                self._file.seek(4 * width * (number * height + rows.start))
                self._file.write(np.ascontiguousarray(plane, "<f4").data)

    def save(self, path: Path) -> None:
        """Write all as ``.npy``, where one plane alone is (H, W), and close the file."""
        shape = self._shape[1:] if self._shape[0] == 1 else self._shape
        with self._file, path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            self._file.seek(0)
            shutil.copyfileobj(self._file, file, 1 << 20)
