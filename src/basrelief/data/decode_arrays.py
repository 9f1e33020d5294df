"""Arrays of numbers from files that are no pictures: NumPy's ``.npy``, PFM and OpenEXR.

Values are those stored. PFM's scale line says by its sign in which order bytes stand, and its size is not applied, as
is usual; its rows run upward and are turned. Of an EXR file, the one part with its pixels placed into the display
window is read; around its data window pixels are NaN.
"""

from __future__ import annotations

import importlib
import importlib.util
import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np

from basrelief.data.data_file import Blob, File, FileError, check_pixels, first_bytes, open_file
from basrelief.errors import MissingExtraError

ARRAY_SUFFIXES = frozenset({".npy", ".pfm", ".exr"})

_HEAD = 4096  # bytes in which a header of PFM ends
_EXR_MAGIC, _EXR_DEEP, _EXR_PARTS = 20000630, 0x800, 0x1000
_EXR_TYPES = {"HALF": np.float16, "FLOAT": np.float32, "UINT": np.uint32}
_EXR_DEPTH = frozenset(("z", "depth"))  # names that mean depth even beside colours


def read_array(path: File) -> np.ndarray:
    """Return what a file holds, as any type of numbers: of PFM and EXR (H, W) or (H, W, 3), of ``.npy`` any shape.

    EXR channels that are equal count as one. Beside others, one named Z or depth is taken; R, G and B that differ are
    colour, and the channel A beside others is left out.

    Raises
    ------
    FileError
        If it is damaged, or its channels do not say which is meant.
    MissingExtraError
        For EXR without the package OpenEXR.
    """
    match path.suffix.lower():
        case ".pfm":
            return _read_pfm(path)
        case ".exr":
            return _read_exr(path)
        case _:
            return _read_npy(path)


def array_size(path: File) -> tuple[int, int]:
    """Return (height, width) from the header; (0, 0) for an array that is no picture, which reading refuses."""
    match path.suffix.lower():
        case ".pfm":
            return _pfm_header(path, first_bytes(path, _HEAD))[1]
        case ".exr":
            shape: tuple[int, ...] = _ExrFile(path).size
        case _:
            shape = _load_npy(path).shape
            shape = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    return (int(shape[0]), int(shape[1])) if len(shape) in (2, 3) else (0, 0)


def one_plane(array: np.ndarray, path: File) -> np.ndarray:
    """Return (H, W), from that or one channel; raises FileError for other shapes."""
    shape = array.shape
    if array.ndim == 3 and 1 in (shape[0], shape[-1]):
        array = array[..., 0] if shape[-1] == 1 else array[0]
    if array.ndim != 2 or array.size == 0:
        raise FileError(str(path), f"has the shape {shape}; (H, W) was expected", "Save one plane a file")
    return array


def _read_npy(path: File) -> np.ndarray:
    try:
        array = _load_npy(path)
    except ValueError as error:
        if "object" not in str(error).lower():
            raise
        raise FileError(
            str(path), "holds Python objects, which are not read from files", "Save a plain array of numbers"
        ) from error
    check_pixels(array.size, path)
    return np.array(array)


def _load_npy(path: File) -> np.ndarray:
    """Open a ``.npy`` file; one on disk is mapped, not read."""
    if not first_bytes(path, 6).startswith(b"\x93NUMPY"):  # numpy.load takes archives and pickles for arrays, too
        raise FileError(str(path), "is no .npy file, as its first bytes show", "Save it with numpy.save")
    if isinstance(path, Blob):
        loaded: np.ndarray = np.load(BytesIO(path.data), allow_pickle=False)
    else:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    return loaded


def _read_pfm(path: File) -> np.ndarray:
    head = first_bytes(path, _HEAD)
    start, (height, width), channels, order = _pfm_header(path, head)
    check_pixels(height * width, path)
    size = height * width * channels
    data = first_bytes(path, start + 4 * size)[start:]
    if len(data) < 4 * size:
        raise FileError(
            str(path),
            f"is truncated: it has {len(data):,} bytes of numbers, and {width} × {height} pixels take {4 * size:,}",
            "Copy the file again, or remove it",
        )
    array = np.frombuffer(data, f"{order}f4").astype(np.float32).reshape(height, width, channels)[::-1]
    return _collapse_channels(array)


def _pfm_header(path: File, head: bytes) -> tuple[int, tuple[int, int], int, str]:
    """Return where numbers begin, (height, width), channels and the order of bytes as NumPy writes it."""
    words: list[bytes] = []
    at = 0
    while len(words) < 4 and at < len(head):
        if head[at : at + 1].isspace():
            at += 1
            continue
        end = at
        while end < len(head) and not head[end : end + 1].isspace():
            end += 1
        if head[at : at + 1] == b"#":  # a comment, as some programs write
            at = head.find(b"\n", at) + 1 or len(head)
            continue
        words.append(head[at:end])
        at = end
    try:
        kind, width, height, scale = words
        channels = {b"PF": 3, b"Pf": 1}[kind]
        sides = (int(height), int(width))
        factor = float(scale)
        if min(sides) < 1 or max(sides) >= 2**31 or not np.isfinite(factor) or factor == 0:
            raise ValueError(scale)
    except (ValueError, KeyError):
        raise FileError(
            str(path),
            "is no PFM file: PF or Pf, width, height and a scale other than 0 were expected at its beginning",
            "Copy the file again, or save it as 32-bit TIFF",
        ) from None
    return at + 1, sides, channels, "<" if factor < 0 else ">"


def _collapse_channels(array: np.ndarray) -> np.ndarray:
    """Return (H, W) where all channels are equal, NaN with NaN."""
    first = array[..., 0]
    equal = all(np.array_equal(first, array[..., i], equal_nan=True) for i in range(1, array.shape[-1]))
    return np.ascontiguousarray(first if equal else array)


class _ExrFile:
    """An EXR file that has been opened: its channels by name, and where they lie in the picture."""

    def __init__(self, path: File) -> None:
        if importlib.util.find_spec("OpenEXR") is None:
            raise MissingExtraError("OpenEXR", "exr", f"Reading {path}")
        exr: Any = importlib.import_module("OpenEXR")
        head = first_bytes(path, 8)
        if len(head) < 8 or struct.unpack("<i", head[:4])[0] != _EXR_MAGIC:
            raise FileError(str(path), "is no EXR file, as its first bytes show", "Save it as EXR or 32-bit TIFF")
        flags = struct.unpack("<i", head[4:])[0]
        if flags & (_EXR_DEEP | _EXR_PARTS):
            what = "deep pixels" if flags & _EXR_DEEP else "several parts"
            raise FileError(
                str(path), f"is an EXR file with {what}; one part of flat pixels was expected", "Save depth alone"
            )
        # The older of the package's two ways to read: it raises where the other warns on standard output.
        source = open_file(path)
        self.path = path
        self.file: Any = exr.InputFile(source if isinstance(source, BytesIO) else str(source))
        header = self.file.header()
        self.channels: Mapping[str, Any] = header["channels"]
        self.data = _corners(header["dataWindow"])
        shown = _corners(header["displayWindow"])
        self.top, self.left = self.data[0] - shown[0], self.data[1] - shown[1]
        self.size = (shown[2] - shown[0] + 1, shown[3] - shown[1] + 1)
        self.data_size = (self.data[2] - self.data[0] + 1, self.data[3] - self.data[1] + 1)
        check_pixels(max(self.size[0] * self.size[1], self.data_size[0] * self.data_size[1]), path)

    def read(self, name: str) -> np.ndarray:
        """Return a channel in the display window, (H, W); as stored, or as floats with NaN around the data window."""
        channel = self.channels[name]
        if (channel.xSampling, channel.ySampling) != (1, 1):
            raise FileError(
                str(self.path), f"has the channel {name} at a part of its resolution", "Save it at full resolution"
            )
        pixels = np.frombuffer(self.file.channel(name), _EXR_TYPES[str(channel.type)]).reshape(self.data_size)
        if (self.top, self.left, *self.data_size) == (0, 0, *self.size):
            return pixels
        placed = np.full(self.size, np.nan, np.float64 if pixels.dtype == np.uint32 else pixels.dtype)
        (y, high), (x, wide) = ((max(0, at), max(0, -at)) for at in (self.top, self.left))
        part = pixels[high : high + max(0, self.size[0] - y), wide : wide + max(0, self.size[1] - x)]
        placed[y : y + part.shape[0], x : x + part.shape[1]] = part
        return placed


def _read_exr(path: File) -> np.ndarray:
    file = _ExrFile(path)
    names = sorted(file.channels)
    depths = [name for name in names if name.rpartition(".")[2].lower() in _EXR_DEPTH]
    if len(names) > 1:
        names = depths if len(depths) == 1 else [name for name in names if name.rpartition(".")[2] != "A"]
    if not names:
        raise FileError(str(path), "has no channel that could be depth", "Save depth in a channel named Z")
    read = [file.read(name) for name in sorted(names, key=lambda name: "RGB".find(name) if name in "RGB" else 3)]
    array = _collapse_channels(np.stack(read, axis=-1))
    if array.ndim == 3 and set(names) != set("RGB"):
        listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
        raise FileError(
            str(path), f"has several channels that differ ({listed})", "Save depth alone, or in a channel named Z"
        )
    return array


def _corners(window: Any) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of a window, the last row and column within it."""
    return int(window.min.y), int(window.min.x), int(window.max.y), int(window.max.x)
