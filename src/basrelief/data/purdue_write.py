"""Writing files of the format ``purdue-shapes`` as the published programs read them.

The pickle is of protocol 2 and is written step by step, so that memory does not grow with the number of pictures. It
names ``numpy.core``, as old files do, which every NumPy understands, and holds strings as Python 2 does, so that
``pickle.loads(data, encoding="latin1")`` gives lists of numbers and uint8 arrays.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from basrelief.data.purdue import split_of
from basrelief.data.purdue_draw import CHUNK, LABEL_MAP, SIDE, Pictures, draw_pictures
from basrelief.errors import OutputError, UsageError
from basrelief.files import write_atomic

MOST_PICTURES = 50_000  # a file; reading has limits, which a larger one would pass

_PROTOCOL, _MARK, _STOP = b"\x80\x02", b"(", b"."
_LIST, _APPEND_ALL, _DICT, _SET_ALL = b"]", b"e", b"}", b"u"
_TUPLE_1, _TUPLE_2, _TUPLE_3, _TUPLE = b"\x85", b"\x86", b"\x87", b"t"
_CALL, _BUILD, _NONE, _FALSE, _MINUS_1 = b"R", b"b", b"N", b"\x89", b"J\xff\xff\xff\xff"


def write_purdue_shapes(
    path: Path,
    count: int,
    *,
    seed: int = 0,
    box_keys: str = "value",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Generate a file of ``count`` pictures, which appears whole or not at all.

    The first pictures of a longer file are those of a shorter one. Files whose names hold different splits (``-train``,
    ``-test``) have different pictures from one seed.

    Parameters
    ----------
    path
        A new file whose name ends in ``.gz``.
    count
        1 to 50,000.
    seed
        Not negative.
    box_keys
        "value": boxes by mask value (50 … 250), as the format's description has it; "plane": by number of the plane
        (0 … 4), with which DLStudio's own reader indexes its tensor of boxes.
    progress
        Called with (done, count).

    Raises
    ------
    UsageError
        For a count, seed, name or kind of keys that makes no sense.
    OutputError
        If the file is there already, or cannot be written.
    """
    if not 1 <= count <= MOST_PICTURES:
        raise UsageError(f"Cannot write {count} pictures into a file: expected 1 to {MOST_PICTURES:,}.")
    if seed < 0:
        raise UsageError(f"Cannot generate from seed {seed}: expected 0 or a positive whole number.")
    if path.suffix.lower() != ".gz":
        raise UsageError(
            f"{path} does not end in .gz; expected a name such as PurdueShapes5MultiObject-{count}-train.gz."
        )
    if box_keys not in ("value", "plane"):
        raise UsageError(f"Boxes cannot be listed by {box_keys!r}: use value or plane.")
    if path.exists() or path.is_symlink():
        raise OutputError(f"{path} is there already and is kept. Choose another name, or remove it.")

    def write(temporary: Path) -> None:
        # Neither name nor time in the header: the same pictures are the same bytes.
        with temporary.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as stream:
            _write(stream, count, seed, split_of(path) or "", box_keys == "plane", progress)  # type: ignore[arg-type]

    write_atomic(path, write, sweep=True)


def _write(
    stream: BinaryIO, count: int, seed: int, name: str, by_plane: bool, progress: Callable[[int, int], None] | None
) -> None:
    keys = range(len(LABEL_MAP)) if by_plane else LABEL_MAP.values()
    stream.write(_PROTOCOL + _remembered() + _LIST)
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        stream.write(_MARK)
        for sample in _samples(draw_pictures(seed, name, start // CHUNK), stop - start, [*map(_number, keys)]):
            stream.write(sample)
        stream.write(_APPEND_ALL)
        if progress is not None:
            progress(stop, count)
    labels = b"".join(_string(label.encode()) + _number(value) for label, value in LABEL_MAP.items())
    stream.write(_DICT + _MARK + labels + _SET_ALL + _TUPLE_2 + _STOP)


def _remembered() -> bytes:
    """Return the steps that remember what all arrays share, as 0 to 3, and leave nothing on the stack."""
    kind = b"cnumpy\ndtype\n" + _MARK + _string(b"u1") + _number(0) + _number(1) + _TUPLE + _CALL
    state = _number(3) + _string(b"|") + 3 * _NONE + 2 * _MINUS_1 + _number(0)
    shape = _number(len(LABEL_MAP)) + 2 * _number(SIDE) + _TUPLE_3
    shared = (
        b"cnumpy.core.multiarray\n_reconstruct\n",
        b"cnumpy\nndarray\n",
        kind + _MARK + state + _TUPLE + _BUILD,
        shape,
    )
    return b"".join(steps + b"q" + bytes([place]) + b"0" for place, steps in enumerate(shared))


def _samples(pictures: Pictures, count: int, keys: list[bytes]) -> Iterator[bytes]:
    """Yield the steps that push a sample each: a list of three lists, an array and a dict."""
    numbers = np.full((count, 3, SIDE * SIDE, 2), ord("K"), np.uint8)
    numbers[..., 1] = pictures.image[:count].reshape(count, 3, -1)
    size = len(LABEL_MAP) * SIDE * SIDE
    array = b"h\x00h\x01" + _number(0) + _TUPLE_1 + _string(b"b") + _TUPLE_3 + _CALL
    state = _MARK + _number(1) + b"h\x03h\x02" + _FALSE + b"T" + struct.pack("<i", size)
    for row in range(count):
        channels = b"".join(_LIST + _MARK + channel.tobytes() + _APPEND_ALL for channel in numbers[row])
        mask = array + state + pictures.mask[row].tobytes() + _TUPLE + _BUILD
        listed = b"".join(
            key + _list([_list([*map(_number, box)]) for place, *box in pictures.boxes[row] if place == plane])
            for plane, key in enumerate(keys)
        )
        yield _LIST + _MARK + channels + mask + _DICT + _MARK + listed + _SET_ALL + _APPEND_ALL


def _list(items: list[bytes]) -> bytes:
    return _LIST + (_MARK + b"".join(items) + _APPEND_ALL if items else b"")


def _number(value: int) -> bytes:
    return b"K" + bytes([value])


def _string(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value
