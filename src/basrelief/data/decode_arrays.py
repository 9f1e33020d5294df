"""Arrays of numbers from files that are no pictures: NumPy's ``.npy`` and PFM."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from basrelief.data.data_file import Blob, File, FileError, check_pixels, open_file

ARRAY_SUFFIXES = frozenset({".npy", ".pfm"})


def load_array(path: File) -> Any:
    """Open a ``.npy`` file; one on disk is mapped, not read."""
    if isinstance(path, Blob):
        return np.load(BytesIO(path.data), allow_pickle=False)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def read_array(path: File) -> np.ndarray:
    """Return what a file holds, of any shape and type of numbers."""
    if path.suffix.lower() == ".pfm":
        with Image.open(open_file(path)) as picture:
            check_pixels(picture.size[0] * picture.size[1], path)
            return np.asarray(ImageOps.exif_transpose(picture))
    try:
        array = load_array(path)
    except ValueError as error:
        if "object" not in str(error).lower():
            raise
        raise FileError(
            str(path), "holds Python objects, which are not read from files", "Save a plain array of numbers"
        ) from error
    if not isinstance(array, np.ndarray):  # numpy.load opens archives, too, whatever the suffix
        raise FileError(str(path), "is an archive of arrays; one array was expected", "Save it with numpy.save")
    check_pixels(array.size, path)
    return np.array(array)


def one_plane(array: np.ndarray, path: File) -> np.ndarray:
    """Return (H, W), from that or one channel; raises FileError for other shapes."""
    shape = array.shape
    if array.ndim == 3 and 1 in (shape[0], shape[-1]):
        array = array[..., 0] if shape[-1] == 1 else array[0]
    if array.ndim != 2 or array.size == 0:
        raise FileError(str(path), f"has the shape {shape}; (H, W) was expected", "Save one plane a file")
    return array
