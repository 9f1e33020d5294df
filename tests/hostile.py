"""Uploads that are broken, mistaken or made to do harm, small as files and large when somebody believes them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a part of a PNG file."""
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def png(width: int, height: int, *parts: bytes, pixels: bytes | None = None) -> bytes:
    """Return a grey PNG file that claims a size, with further parts before its pixels."""
    rows = zlib.compress(bytes((width + 1) * height) if pixels is None else pixels, 9)
    head = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(parts) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def saved(kind: str, size: tuple[int, int] = (24, 32), seed: int = 0, **options: object) -> bytes:
    """Return a good picture of noise, (height, width), as a file."""
    array = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def exif_bomb(size: int = 1 << 20) -> bytes:
    """Return an EXIF block whose thousands of entries each claim all of it."""
    count = 5000
    entries = b"".join(struct.pack(">HHLL", 0x9000 + n, 7, size - 8, 8) for n in range(count))
    return (b"MM\0*\0\0\0\x08" + struct.pack(">H", count) + entries).ljust(size, b"\0")


def scans_bomb(count: int = 3000) -> bytes:
    """Return a progressive JPEG file of 4000 x 4000 pixels with one scan repeated, each a pass over the whole."""
    stream = io.BytesIO()
    Image.new("L", (4000, 4000)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def animation(kind: str) -> bytes:
    """Return a moving picture of two frames."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    return stream.getvalue()


def archive() -> bytes:
    """Return a ZIP archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("image.png", saved("PNG"))
    return stream.getvalue()


def hostile() -> dict[str, tuple[bytes, int]]:
    """Return name -> (file, the status code that refuses it)."""
    good_png, good_jpeg, good_webp = saved("PNG"), saved("JPEG"), saved("WEBP")
    frame = good_jpeg.index(b"\xff\xc0") + 5
    tiff = io.BytesIO()
    Image.new("L", (8, 8)).save(tiff, "TIFF")
    packed = io.BytesIO()
    Image.new("L", (8, 8)).save(packed, "BMP")
    return {
        "empty": (b"", 400),
        "png of 50,000 x 50,000": (png(50_000, 50_000, pixels=b"\0"), 413),
        "png of 2^31 x 2^31": (png(0x7FFFFFFF, 0x7FFFFFFF, pixels=b"\0"), 413),
        "png of 100 megapixels": (png(10_000, 10_000), 413),
        "png of no size": (png(0, 0), 400),
        "png with too many parts": (png(8, 8, chunk(b"teXt", b"") * 25_000), 400),
        "png header alone": (good_png[:33], 400),
        "png cut in its size": (good_png[:20], 400),
        "png truncated": (good_png[: len(good_png) // 2], 400),
        "png with a wrong sum": (good_png[:60] + b"\0\1\2" + good_png[63:], 400),
        "jpeg of 65,500 x 65,500": (
            good_jpeg[:frame] + struct.pack(">HH", 65_500, 65_500) + good_jpeg[frame + 4 :],
            413,
        ),
        "jpeg truncated": (good_jpeg[: len(good_jpeg) * 2 // 3], 400),
        "jpeg header alone": (good_jpeg[:4], 400),
        "jpeg of thousands of scans": (scans_bomb(200), 400),
        "webp truncated": (good_webp[: len(good_webp) // 2], 400),
        "webp of 16,383 x 16,383": (
            b"RIFF\x30\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xfe\x3f\0\xfe\x3f\0"
            b"VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f",
            413,
        ),
        "bmp packed": (packed.getvalue()[:30] + b"\1\0\0\0" + packed.getvalue()[34:], 400),
        "bmp of 40,000 x 40,000": (
            packed.getvalue()[:18] + struct.pack("<ll", 40_000, -40_000) + packed.getvalue()[26:],
            413,
        ),
        "gif": (animation("GIF"), 415),
        "moving png": (animation("PNG"), 415),
        "moving webp": (animation("WEBP"), 415),
        "tiff": (tiff.getvalue(), 415),
        "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 415),
        "xml bomb": (b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaa">]><svg>&a;</svg>', 415),
        "pdf": (b"%PDF-1.7\n", 415),
        "text": (b"hello", 415),
        "zip": (archive(), 415),
        "video": (b"\0\0\0\x18ftypisom\0\0\2\0", 415),
        "noise": (bytes(range(256)) * 8, 415),
    }


def laden() -> dict[str, bytes]:
    """Return good pictures that carry bombs where nobody looks: they are read, and the bomb is not."""
    text = zlib.compress(bytes(50 << 20), 9)
    exif = exif_bomb()
    part = good_exif(6)
    with_exif = saved("WEBP", exif=part)
    return {
        "png with a text of 50 MB": png(8, 8, chunk(b"zTXt", b"Comment\0\0" + text)),
        "png with a profile of 50 MB": png(8, 8, chunk(b"iCCP", b"x\0\0" + text)),
        "png with an EXIF bomb": png(8, 8, chunk(b"eXIf", exif)),
        "png with an EXIF bomb as text": png(
            8, 8, chunk(b"tEXt", b"Raw profile type exif\0\nexif\n%8d\n" % 40_000 + exif[:40_000].hex().encode())
        ),
        "jpeg with an EXIF bomb": saved("JPEG", exif=exif_bomb(60_000)),
        "webp with an EXIF bomb": saved("WEBP", exif=exif),
        "webp turned": with_exif,
    }


def good_exif(orientation: int) -> bytes:
    """Return an EXIF block with an orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()
