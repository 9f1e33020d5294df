"""Files of which Pillow would lose something: TIFF of any width, PNG with 16 bits a colour or damaged parts."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from PIL import Image, ImageOps

from basrelief.data.data_file import Blob, File, FileError, check_pixels, first_bytes, open_file

ORIENTATION = 274  # the EXIF and TIFF tag
_MOST_ENTRIES = 500  # of an EXIF directory
_PNG = b"\x89PNG\r\n\x1a\n"
_HEAD = 26  # bytes that say what a PNG file holds
_WHOLE = 1 << 28  # bytes; larger files are not read as a whole before they are decoded
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ALPHA = 2  # in TIFF's tag of further channels; others are no transparency, or are applied already


def read_beyond_pillow(path: File) -> tuple[np.ndarray | None, Path | BytesIO]:
    """Return a file's content where Pillow would lose some of it, else None; and what Pillow is to open."""
    if isinstance(path, Blob):
        data, whole = path.data, True
    else:
        with path.open("rb", buffering=0) as file:  # opened once, since a small picture decodes in the time of a few
            data = file.read(_HEAD)
            whole = data[:4] not in _TIFF and os.fstat(file.fileno()).st_size < _WHOLE
            if whole:
                data += file.readall()
    if data[:4] in _TIFF:
        return read_tiff(path), open_file(path)
    if not whole:
        return None, open_file(path)
    if not data.startswith(_PNG) or len(data) < _HEAD:
        return None, BytesIO(data)
    _check_sums(data, path)
    bits, kind = data[24], data[25]
    return _read_wide_png(data, kind, path) if bits == 16 and kind in (2, 4, 6) else None, BytesIO(data)


def is_tiff(path: File) -> bool:
    """Return whether a file is TIFF, as its first bytes say."""
    return first_bytes(path, 4) in _TIFF


def has_16_bits(path: File) -> bool:
    """Return whether a file is PNG with 16 bits a number."""
    head = first_bytes(path, 26)
    return head.startswith(_PNG) and len(head) == 26 and head[24] == 16


def loaded(picture: Image.Image, path: File) -> Image.Image:
    """Return an open picture decoded, and turned as its EXIF orientation says."""
    check_pixels(picture.size[0] * picture.size[1], path)
    picture.load()
    drop_exif_bomb(picture)
    ImageOps.exif_transpose(picture, in_place=True)
    return picture


def drop_exif_bomb(picture: Image.Image) -> None:
    """Forget an EXIF block of more entries than any camera writes: each may claim all of it, and would be copied."""
    exif = picture.info.get("exif")
    if not isinstance(exif, bytes):
        return
    block = exif.removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if block[:2] == b"II" else "big"
    start = int.from_bytes(block[4:8], order)
    if int.from_bytes(block[start : start + 2], order) > _MOST_ENTRIES:
        del picture.info["exif"]


def read_tiff(path: File) -> np.ndarray | None:
    """Return the first page of a grey or RGB TIFF at its full width; None where Pillow does as well or better."""
    try:
        with tifffile.TiffFile(open_file(path)) as tiff:
            page: Any = tiff.pages[0]
            name = getattr(page.photometric, "name", "")
            if name not in ("MINISBLACK", "MINISWHITE", "RGB") or page.bitspersample < 8:
                return None
            if name == "RGB" and page.bitspersample == 8:
                return None
            check_pixels(max(int(page.imagelength) * int(page.imagewidth), int(page.size) // 4), path)
            array = np.asarray(page.asarray())
            if page.extrasamples and int(page.extrasamples[0]) != _ALPHA and page.samplesperpixel in (2, 4):
                array = array[..., :-1] if array.shape[-1] == page.samplesperpixel else array[:-1]
            tag = page.tags.get(ORIENTATION)
    except tifffile.TiffFileError as error:
        raise FileError(
            str(path), f"is truncated or not a TIFF file ({error})", "Copy the file again, or remove it"
        ) from error
    except ValueError as error:
        if "imagecodecs" in str(error):  # a compression that tifffile leaves to another package; Pillow has most
            return None
        raise
    if array.ndim == 3 and array.shape[0] in (3, 4) and array.shape[-1] not in (3, 4):
        array = np.moveaxis(array, 0, -1)  # planes stored one after the other
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] > 4):
        raise FileError(
            str(path), f"has the shape {array.shape}; (H, W) or (H, W, 3) was expected", "Save one picture a file"
        )
    if name == "MINISWHITE" and array.dtype.kind == "u":
        array = np.iinfo(array.dtype).max - array
    return _turn(array, int(tag.value) if tag is not None else 1)


def tiff_size(path: File) -> tuple[int, int]:
    """Return (height, width) after orientation of kinds of TIFF that Pillow does not know, such as 64-bit floats."""
    with tifffile.TiffFile(open_file(path)) as tiff:
        page: Any = tiff.pages[0]
        size = (int(page.imagelength), int(page.imagewidth))
        check_pixels(size[0] * size[1], path)
        tag = page.tags.get(ORIENTATION)
        return size[::-1] if tag is not None and tag.value in (5, 6, 7, 8) else size


def _turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (1 to 8)."""
    turns: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
        8: lambda a: np.rot90(a, 1),
    }
    return np.ascontiguousarray(turns[orientation](array)) if orientation in turns else array


def _read_wide_png(data: bytes, kind: int, path: File) -> np.ndarray:
    """Return 16-bit colour, or grey with alpha (kind 4), at its full width.

    Pillow keeps the high byte of each number. It is asked a second time for the low ones, by their places.
    """
    with Image.open(BytesIO(data)) as picture:
        if kind == 4:  # two numbers of 16 bits are four of 8
            parts: np.ndarray = _unpacked(picture, path, "RGBA").astype(np.uint16)
            grey: np.ndarray = parts[..., ::2] << 8 | parts[..., 1::2]
            return grey
        high = _unpacked(picture, path, f"{picture.mode};16B").astype(np.uint16)
    with Image.open(BytesIO(data)) as picture:
        colours: np.ndarray = high << 8 | _unpacked(picture, path, f"{picture.mode};16L")
    return colours


def _unpacked(picture: Image.Image, path: File, layout: str) -> np.ndarray:
    """Load a picture with its bytes laid out as said."""
    picture.tile = [(*tile[:3], layout) for tile in picture.tile]  # type: ignore[attr-defined]
    return np.asarray(loaded(picture, path))


def _check_sums(data: bytes, path: File) -> None:
    """Compare the checksums in a PNG file, of which Pillow compares few."""
    at = len(_PNG)
    while at + 12 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND":
            break
        end = at + 8 + size
        matters = kind[:1].isupper() or kind in (b"tRNS", b"eXIf")
        if (
            matters
            and len(data) >= end + 4
            and int.from_bytes(data[end : end + 4], "big") != zlib.crc32(memoryview(data)[at + 4 : end])
        ):
            raise FileError(
                str(path), f"is damaged: the checksum of its part {kind!a} does not fit", "Copy the file again"
            )
        at = end + 4
