"""The parts of an uploaded file that make its picture, found by its structure alone, before any decoder sees it.

Decoders trust what a file says of itself. So the size is read here, without decoding, and only the parts that hold
pixels are kept: texts, colour profiles, thumbnails and camera notes, which may unpack to gigabytes, are left out. Of
the camera's notes the orientation is kept, as the only thing that changes what is seen.

Structures: PNG, third edition (W3C, 2025); JPEG, ITU-T T.81 annex B; WebP, RFC 9649; EXIF's first directory is TIFF's.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

MAX_PARTS = 20_000  # of a file; 40 million pixels in PNG's usual parts of 8 KiB are a few thousand
MAX_SCANS = 100  # of a progressive JPEG file, which has about ten; each is a pass over the whole picture
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# Frames, tables, restarts, and the two application segments that say how colours are stored (JFIF's and Adobe's).
_JPEG_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_KEPT = _JPEG_SIZES | {0xC4, 0xCC, 0xDB, 0xDD, 0xE0, 0xEE}
_ORIENTATION = 274  # the EXIF tag
_BMP_UNPACKED = (0, 3, 6)  # plain, and plain with masks of the channels


class PartsError(ValueError):
    """A file whose structure is broken, or made to do harm; the text goes on from "The image "."""


@dataclass(frozen=True)
class Picture:
    """A picture that is not decoded yet.

    Attributes
    ----------
    size
        (width, height) as stored.
    frames
        1, or more for an animation.
    data
        The file, without what does not make the picture.
    """

    size: tuple[int, int]
    frames: int
    data: bytes


def picture_parts(data: bytes) -> Picture | None:
    """Return the picture in a PNG, JPEG, WebP or BMP file; None for other types.

    Raises
    ------
    PartsError
        When the file ends before its size is known, or is made to do harm.
    """
    try:
        if data.startswith(_PNG):
            return _png(data)
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"BM"):
            return _bmp(data)
    except (struct.error, IndexError):
        raise PartsError("is truncated or damaged") from None
    return None


def orientation_in(exif: bytes) -> int:
    """Return the orientation (1 to 8) that an EXIF block states, 1 where it states none; nothing else is read."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None:
            return 1
        (start,) = struct.unpack_from(order + "L", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for place in range(start + 2, start + 2 + 12 * min(count, 200), 12):
            tag, kind, number, value = struct.unpack_from(order + "HHLH", exif, place)
            if tag == _ORIENTATION:
                return value if (kind, number) == (3, 1) and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _exif(orientation: int) -> bytes:
    """Return an EXIF block that states an orientation and nothing else."""
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHLHH", _ORIENTATION, 3, 1, orientation, 0) + bytes(4)


def _png(data: bytes) -> Picture:
    width, height = struct.unpack_from(">LL", data, 16)
    if data[12:16] != b"IHDR":
        raise PartsError("is damaged: a PNG file begins with its size")
    kept, frames, orientation = [_PNG], 1, 1
    place, parts = len(_PNG), 0
    while place + 8 <= len(data):
        (size,) = struct.unpack_from(">L", data, place)
        kind, end = data[place + 4 : place + 8], place + 12 + size
        parts += 1
        if parts > MAX_PARTS:
            raise PartsError(f"has more than {MAX_PARTS:,} parts")
        if kind == b"acTL":
            frames = max(1, *struct.unpack_from(">L", data, place + 8))
        elif kind == b"eXIf" and orientation == 1:
            orientation = orientation_in(data[place + 8 : min(end - 4, place + 8 + (1 << 16))])
        elif kind in _PNG_KEPT:
            kept.append(data[place:end])
            if kind == b"IHDR" and place == len(_PNG):
                kept.append(b"")  # where the orientation goes
        if kind == b"IEND":
            break
        place = end
    if orientation != 1:
        part = b"eXIf" + _exif(orientation)
        kept[2] = struct.pack(">L", len(part) - 4) + part + struct.pack(">L", zlib.crc32(part))
    return Picture((width, height), frames, b"".join(kept))


def _jpeg(data: bytes) -> Picture:
    kept, size, orientation = [data[:2], b""], (0, 0), 1
    place, parts = 2, 0
    while True:
        while data[place + 1] == 0xFF:  # fill
            place += 1
        if data[place] != 0xFF:
            raise PartsError("is damaged: a part of it does not begin where the one before ends")
        marker = data[place + 1]
        if marker == 0xDA:
            break
        (length,) = struct.unpack_from(">H", data, place + 2)
        end = place + 2 + length
        parts += 1
        if parts > MAX_PARTS:
            raise PartsError(f"has more than {MAX_PARTS:,} parts")
        if length < 2 or marker in (0xD8, 0xD9):
            raise PartsError("is damaged: it ends before its picture begins")
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            size = (max(size[0], width), max(size[1], height))
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", place + 4) and orientation == 1:
            orientation = orientation_in(data[place + 4 : end])
        if marker in _JPEG_KEPT:
            kept.append(data[place:end])
        place = end
    if data.count(b"\xff\xda", place) > MAX_SCANS:
        raise PartsError(f"has more than {MAX_SCANS} scans")
    if orientation != 1:
        part = b"Exif\0\0" + _exif(orientation)
        kept[1] = b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part
    return Picture(size, 1, b"".join([*kept, data[place:]]))


def _webp(data: bytes) -> Picture:
    size, frames, whole = (0, 0), 1, bytearray(data)
    place, parts = 12, 0
    while place + 8 <= len(data):
        kind, (length,) = data[place : place + 4], struct.unpack_from("<L", data, place + 4)
        body = place + 8
        parts += 1
        if parts > MAX_PARTS:
            raise PartsError(f"has more than {MAX_PARTS:,} parts")
        own = (0, 0)
        if kind == b"VP8X":
            flags, own = data[body], (_three(data, body + 4) + 1, _three(data, body + 7) + 1)
            frames = 2 if flags & 2 else frames
        elif kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", data, body + 6)
            own = (width & 0x3FFF, height & 0x3FFF)
        elif kind == b"VP8L":
            (bits,) = struct.unpack_from("<L", data, body + 1)
            own = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        elif kind == b"ANMF":
            frames = 2
        elif kind == b"EXIF":  # overwritten where it stands, since the file's head counts its bytes
            block = data[body : body + length]
            least = _exif(orientation_in(block[: 1 << 16]))
            whole[body : body + len(block)] = (least if len(least) <= len(block) else b"").ljust(len(block), b"\0")
        size = (max(size[0], own[0]), max(size[1], own[1]))
        place = body + length + length % 2
    return Picture(size, frames, bytes(whole))


def _three(data: bytes, place: int) -> int:
    return data[place] | data[place + 1] << 8 | data[place + 2] << 16


def _bmp(data: bytes) -> Picture:
    (header,) = struct.unpack_from("<L", data, 14)
    if header == 12:
        (width, height), packing = struct.unpack_from("<HH", data, 18), 0
    else:
        width, height, _, _, packing = struct.unpack_from("<llHHL", data, 18)
    if packing not in _BMP_UNPACKED:  # decoded pixel by pixel, which takes minutes
        raise PartsError("is a packed BMP file; save it as PNG")
    return Picture((abs(width), abs(height)), 1, data)
