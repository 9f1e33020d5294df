"""Uploaded pictures to arrays, trusting nothing: type, size and structure are checked before anything is decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from basrelief.data.decode import Blob, FileError, read_image
from basrelief.errors import DataError
from basrelief.serving.limits import Limits, RequestError
from basrelief.serving.picture_parts import PartsError, picture_parts

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # of Pillow's decoders, the only ones that see an upload
TAKEN = "Send one PNG, JPEG, WebP or BMP picture."
# What people send instead, by the first bytes, at their place.
_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF file"),
    (0, b"II*\0", "a TIFF file"),
    (0, b"MM\0*", "a TIFF file"),
    (0, b"II+\0", "a TIFF file"),
    (0, b"MM\0+", "a TIFF file"),
    (0, b"%PDF", "a PDF file"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x1a\x45\xdf\xa3", "a video"),
    (4, b"ftypavif", "an AVIF file"),
    (4, b"ftypavis", "an AVIF file"),
    (4, b"ftyphei", "a HEIC file"),
    (4, b"ftypmif", "a HEIC file"),
    (4, b"ftyp", "a video"),
    (8, b"AVI ", "a video"),
)


def read_upload(data: bytes | Path, limits: Limits, what: str = "image") -> np.ndarray:
    """Return an uploaded picture as uint8 (H, W, 3), turned as its EXIF orientation says.

    It is what ``read_image`` makes of the same file. It takes time; call it in a thread.

    Parameters
    ----------
    data
        The file's content, or where it lies.
    limits
        How large it may be.
    what
        "image" or "background", for messages.

    Raises
    ------
    RequestError
        400 empty, truncated or damaged; 413 too many bytes or pixels; 415 another type, or an animation.
    """
    data = _content(data, limits, what)
    try:
        picture = picture_parts(data)
    except PartsError as error:
        raise RequestError(400, f"The {what} {error}. {TAKEN}") from None
    if picture is None:
        raise RequestError(415, f"The {what} is {_name(data)}. {TAKEN}")
    if picture.frames > 1:
        raise RequestError(415, f"The {what} is an animation. {TAKEN}")
    width, height = picture.size
    if not width or not height:
        raise RequestError(400, f"The {what} is damaged: it states no size. {TAKEN}")
    if width * height > limits.max_pixels:
        raise RequestError(
            413,
            f"The {what} has {width:,} x {height:,} pixels; at most {limits.max_pixels / 1e6:g} million are taken. "
            "Make it smaller.",
        )
    try:
        return read_image(Blob(what, picture.data), formats=FORMATS)
    except FileError as error:
        raise RequestError(400, f"The {what} {error.fault.problem}.") from None
    except DataError:
        raise RequestError(400, f"The {what} is damaged.") from None


def _content(data: bytes | Path, limits: Limits, what: str) -> bytes:
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    if size > limits.max_bytes:
        raise RequestError(
            413, f"The {what} has {size:,} bytes; at most {limits.max_bytes:,} are taken. Make it smaller."
        )
    if not size:
        raise RequestError(400, f"The {what} is empty. {TAKEN}")
    return data.read_bytes() if isinstance(data, Path) else data


def _name(data: bytes) -> str:
    for place, start, name in _OTHERS:
        if data.startswith(start, place):
            return name
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"<svg" in head or head.startswith(b"<?xml"):
        return "an SVG or XML file"
    if b"\0" not in head and head.isascii():
        return "text"
    return "in no known format"
