"""One file of PurdueShapes5MultiObject: unpacked, read as plain data, every sample checked and made compact."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from basrelief.data.decode import FileError
from basrelief.data.plain_pickle import read_plain_pickle
from basrelief.data.plain_values import PickleRefused, PlainArray, PlainList
from basrelief.data.source import Fault

SIDE = 64
PLANES = 5
_PIXELS = SIDE * SIDE
_LEAST = _PIXELS + PLANES * _PIXELS  # bytes of a sample, even if its channels were one list
_FEW = 100  # samples that do no harm
_MOST_BOXES = 1000  # of a sample; five figures are usual
_EXPECTED = "[R, G, B, mask, boxes] was expected"
_GET_AGAIN = "Get or generate the file again"


class Box(NamedTuple):
    """A figure's place: both corners are pixels of the figure, x to the right and y downward from 0."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass
class ShapesFile:
    """What one file holds; ``keys`` are the samples' numbers in it, ``broken`` and ``boxes`` go by row."""

    values: dict[str, int]
    keys: list[int]
    images: np.ndarray
    masks: np.ndarray
    boxes: list[tuple[tuple[str, Box], ...]]
    broken: dict[int, Fault]
    faults: list[Fault]


def read_shapes_file(file: Path) -> ShapesFile:
    """Read a file completely.

    Raises
    ------
    FileError
        If it is damaged, or holds anything but plain data of this layout. A wrong sample is a fault of that sample.
    """
    dataset, values, size = _unpickle(file)
    keys, samples = _samples(file, dataset)
    count = len(samples)
    if count > _FEW and count * _LEAST > size:  # a pickle can name one object a million times
        problem = f"claims {count:,} samples in {size:,} bytes, though each has at least {_LEAST:,}"
        raise FileError(str(file), problem, _GET_AGAIN)
    found = ShapesFile(
        values, keys, np.zeros((count, 3, SIDE, SIDE), np.uint8), np.zeros((count, PLANES * _PIXELS // 8), np.uint8),
        [()] * count, {}, [],
    )  # fmt: skip
    wanted = np.array(list(values.values()), np.uint8).reshape(PLANES, 1, 1)
    for row, key in enumerate(keys):
        sample, samples[row] = samples[row], None  # let go of it, so that memory does not hold everything twice
        where = f"{file}, sample {key}"
        try:
            channels, mask, figures = _parts(sample)
            found.images[row] = channels
            planes = mask == wanted
            if (planes != (mask != 0)).any():
                plane = int(np.flatnonzero((planes != (mask != 0)).any(axis=(1, 2)))[0])
                odd = sorted(set(np.unique(mask[plane]).tolist()) - {0, int(wanted[plane, 0, 0])})
                raise _SampleError(
                    f"has the value {odd[0]} in plane {plane} of its mask, which is that of {list(values)[plane]} and "
                    f"holds 0 and {int(wanted[plane, 0, 0])}"
                )
            found.masks[row] = np.packbits(planes)
        except _SampleError as error:
            found.broken[row] = Fault(where, str(error), _GET_AGAIN)
            continue
        try:
            found.boxes[row] = tuple(_boxes(figures, values))
        except _SampleError as error:
            found.faults.append(
                Fault(where, str(error), "Its boxes are left out; image and mask are used", fatal=False)
            )
    return found


def _unpickle(file: Path) -> tuple[Any, dict[str, int], int]:
    """Return the dataset, the label map, and how many bytes both took."""
    try:
        if file.stat().st_size == 0:
            raise FileError(str(file), "is empty (zero bytes)", "Copy the file again")
        with gzip.open(file) as stream:
            whole = read_plain_pickle(stream)  # type: ignore[arg-type]
            stream.read(1)  # has the checksum compared, where this is the end
            size = stream.tell()
    except PickleRefused as error:
        remedy = "Use PurdueShapes5MultiObject as published, or what basrelief generate purdue-shapes writes"
        raise FileError(str(file), str(error), remedy) from None
    except EOFError:
        raise FileError(str(file), "is truncated: it ends in the middle", "Copy the file again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        problem = f"is damaged, or is not compressed with gzip ({error})"
        raise FileError(str(file), problem, "Copy the file again") from None
    except FileNotFoundError:
        raise FileError(str(file), "is not there; a .gz file was expected", "Check the path") from None
    except MemoryError:
        raise FileError(str(file), "does not fit into memory", "Use a smaller one") from None
    except OSError as error:
        raise FileError(str(file), f"cannot be read: {error.strerror}", "Check the path and its permissions") from None
    parts = whole.to_list() if type(whole) is PlainList else whole
    if not isinstance(parts, tuple | list) or len(parts) != 2 or type(parts[1]) is not dict:
        raise FileError(str(file), "holds no pair (dataset, label_map)", _GET_AGAIN)
    return parts[0], _label_map(file, parts[1]), size


def _label_map(file: Path, found: dict[Any, Any]) -> dict[str, int]:
    names = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in found.items()}
    values = list(names.values())
    if (
        len(names) != PLANES
        or not all(isinstance(name, str) and name.isprintable() and 0 < len(name) <= 80 for name in names)
        or not all(type(value) is int and PLANES <= value <= 255 for value in values)
        or len(set(values)) != PLANES
    ):
        problem = f"has no label map of {PLANES} names with values from {PLANES} to 255 of their own"
        raise FileError(str(file), problem, _GET_AGAIN)
    return dict(sorted(names.items(), key=lambda item: item[1]))


def _samples(file: Path, dataset: Any) -> tuple[list[int], list[Any]]:
    """Return the samples and their numbers, from a list or a dict of them."""
    if type(dataset) is PlainList:
        samples = dataset.to_list()
        dataset.items = []
        keys = list(range(len(samples)))
    elif type(dataset) is dict and all(type(key) is int and 0 <= key < 10**9 for key in dataset):
        keys = sorted(dataset)
        samples = [dataset.pop(key) for key in keys]
    else:
        raise FileError(str(file), "holds no list of samples and no dict from number to sample", _GET_AGAIN)
    if not samples:
        raise FileError(str(file), "holds no sample", _GET_AGAIN)
    return keys, samples


def _parts(sample: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return a sample's image (3, 64, 64), stored mask (5, 64, 64) and boxes, checked in that order."""
    parts = sample.items if type(sample) is PlainList else sample
    if not isinstance(parts, list | tuple) or len(parts) != 5:
        raise _SampleError(f"is no list of five; {_EXPECTED}")
    channels = np.empty((3, _PIXELS), np.uint8)
    for number, channel in enumerate(parts[:3]):
        name = "RGB"[number]
        if type(channel) is not PlainList:
            raise _SampleError(f"has no list of numbers as {name}; {_EXPECTED}")
        if len(channel) != _PIXELS:
            raise _SampleError(f"has {len(channel):,} numbers in {name}; {_PIXELS} (64 × 64) were expected")
        if channel.items is not None:
            raise _SampleError(f"has something else than whole numbers from 0 to 255 in {name}")
        channels[number] = np.frombuffer(channel.numbers, np.uint8)
    mask = parts[3]
    if type(mask) is not PlainArray:
        raise _SampleError(f"has no array as mask; {_EXPECTED}")
    if mask.shape != (PLANES, SIDE, SIDE):
        raise _SampleError(f"has a mask of the shape {mask.shape}; ({PLANES}, {SIDE}, {SIDE}) was expected")
    stored = np.frombuffer(mask.data, np.uint8).reshape(mask.shape, order="F" if mask.fortran else "C")
    return channels.reshape(3, SIDE, SIDE), stored, parts[4]


def _boxes(found: Any, values: Mapping[str, int]) -> Iterator[tuple[str, Box]]:
    """Yield the boxes; keys are mask values, or numbers of planes (the published programs index with them)."""
    if type(found) is not dict:
        raise _SampleError("has no dict of boxes")
    names = {value: name for name, value in values.items()}
    if set(found) <= set(range(PLANES)):
        names = dict(enumerate(values))
    for key, listed in found.items():
        if key not in names or type(listed) is not PlainList:
            raise _SampleError("has boxes that are not listed by mask value")
        if len(listed) > _MOST_BOXES:
            raise _SampleError(f"has {len(listed):,} boxes of one kind; {_MOST_BOXES:,} is the limit")
        for corners in listed.to_list():
            box = corners.to_list() if type(corners) is PlainList else corners
            if not isinstance(box, list | tuple) or len(box) != 4 or not all(type(side) is int for side in box):
                raise _SampleError("has a box that is not four whole numbers")
            if not (0 <= box[0] <= box[2] <= SIDE and 0 <= box[1] <= box[3] <= SIDE):
                raise _SampleError(f"has a box outside of its image, or turned: {[int(side) for side in box]}"[:200])
            yield names[key], Box(*box)


class _SampleError(Exception):
    """What is wrong with one sample; the text continues a sentence about it."""
