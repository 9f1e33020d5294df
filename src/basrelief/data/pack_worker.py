"""What a process does when a store is packed: decode a chunk of samples, bring it to the resolution, write its rows."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from basrelief.batch import Sample
from basrelief.data.decode import FileError
from basrelief.data.folder_load import size_fault
from basrelief.data.resize import UNKNOWN_MASK
from basrelief.data.shards import create_rows, write_rows
from basrelief.data.source import Entry, Source
from basrelief.data.store import DEPTH_CODES, UNKNOWN_DEPTH, Store, hash_image, load_to_pack, open_store
from basrelief.errors import DataError

_COLUMNS = (
    *("id", "group", "foreground", "split", "row", "height", "width", "depth_max"),
    *("image_hash", "background_hash", "content", "key"),
)
BACKGROUNDS_KEPT = 1 << 26  # bytes of resized backgrounds that a worker keeps by name


@dataclass(frozen=True)
class Packing:
    """All that is the same for every chunk."""

    source: Source
    folder: Path
    resolution: tuple[int, int]
    count: int
    depth_max: float | None
    previous: Path | None
    shard_rows: int  # of a full shard
    read: str = ""  # what a sample's rows depend on besides its own files

    @property
    def shapes(self) -> dict[str, tuple[tuple[int, ...], type]]:
        """Plane -> shape and type of a row."""
        height, width = self.resolution
        bits = -(-width // 8)
        shapes: dict[str, tuple[tuple[int, ...], type]] = {"image": ((height, width, 3), np.uint8)}
        if "mask" in self.source.targets:
            shapes["mask"] = ((len(self.source.classes), height, bits), np.uint8)
            shapes["mask_valid"] = ((height, bits), np.uint8)
        if "depth" in self.source.targets:
            shapes["depth"] = ((height, width), np.uint16)
        return shapes

    def path(self, plane: str, shard: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"{plane}-{shard:03d}.npy"

    def create(self) -> None:
        """Make the shards of every plane but the backgrounds."""
        for plane, (shape, dtype) in self.shapes.items():
            for shard, start in enumerate(range(0, self.count, self.shard_rows)):
                rows = min(self.shard_rows, self.count - start)
                create_rows(self.path(plane, shard), dtype, (rows, *shape))


class Kept(NamedTuple):
    """A sample that need not be decoded: its number in the store before, and its key there."""

    number: int
    key: str


@dataclass(frozen=True)
class Chunk:
    """Some neighbouring entries: ``first`` is the row of the first; a kept one has its place in the store before."""

    first: int
    entries: Sequence[Entry]
    kept: Sequence[Kept | None]


@dataclass
class Packed:
    """What a worker hands back of a chunk."""

    count: int
    columns: dict[str, Sequence[Any]] = field(default_factory=dict)  # of the index, for the samples without a fault
    faults: list[str] = field(default_factory=list)
    backgrounds: dict[str, np.ndarray] = field(default_factory=dict)  # those not handed back before, by hash


_Background = tuple[str, np.ndarray]  # its hash and the picture, at the resolution


class _Filled(NamedTuple):
    """What is known of a sample whose rows are filled."""

    largest: float  # its depth
    background: _Background | None
    size: tuple[int | None, int | None]  # own (height, width) of its image, where it has one


class Worker:
    """Packs chunks; each process has one, and gets its chunks in ascending order."""

    def __init__(self, packing: Packing) -> None:
        self.packing = packing
        self.named: OrderedDict[Path, tuple[_Background, tuple[int, ...]]] = OrderedDict()  # with the file's own size
        self.handed: set[str] = set()

    def __call__(self, chunk: Chunk) -> Packed:
        """Write a chunk's rows, and return what the index needs of them."""
        packing, count = self.packing, len(chunk.entries)
        arrays: dict[str, np.ndarray] = {
            plane: np.zeros((count, *shape), dtype) for plane, (shape, dtype) in packing.shapes.items()
        }
        packed = Packed(count)
        lines: list[tuple[object, ...]] = []
        used: list[int] = []
        for number, (entry, kept) in enumerate(zip(chunk.entries, chunk.kept, strict=True)):
            key = kept.key if kept else sample_key(packing.read, entry)  # before the files are read
            try:
                fill = self._copy(arrays, number, kept.number) if kept else self._fill(arrays, number, entry)
            except DataError as error:
                packed.faults.append(str(error))
                continue
            largest, background, size = fill
            hashes = hash_image(arrays["image"][number]), background and background[0]
            content = _content((*hashes, largest), arrays, number)
            named = entry.id, entry.group, entry.foreground, entry.split
            lines.append((*named, chunk.first + number, *size, largest, *hashes, content, key))
            used.append(number)
            if background is not None and background[0] not in self.handed:
                self.handed.add(background[0])
                packed.backgrounds[background[0]] = background[1]
        packed.columns = {name: [line[i] for line in lines] for i, name in enumerate(_COLUMNS)}
        packed.columns |= _known(arrays, used, packing.resolution)
        shard, row = divmod(chunk.first, packing.shard_rows)
        for plane, array in arrays.items():
            write_rows(packing.path(plane, shard), array, row)
        return packed

    def _fill(self, arrays: dict[str, np.ndarray], number: int, entry: Entry) -> _Filled:
        """Decode a sample into the chunk's arrays."""
        sample, background, size = self._decode(entry)
        arrays["image"][number] = sample.image
        if "mask" in arrays and sample.mask is not None:
            arrays["mask"][number] = np.packbits(sample.mask == 1, axis=-1)
            arrays["mask_valid"][number] = np.packbits(sample.mask[0] != UNKNOWN_MASK, axis=-1)
        if "depth" not in arrays:
            return _Filled(0.0, background, size)
        codes, largest = _code_depth(sample.depth, self.packing.depth_max, entry)
        arrays["depth"][number] = codes
        return _Filled(largest, background, size)

    def _decode(self, entry: Entry) -> tuple[Sample, _Background | None, tuple[int | None, int | None]]:
        """Return a sample at the resolution, its background apart, its own size; a file that recurs is decoded once."""
        source, resolution = self.packing.source, self.packing.resolution
        path = entry.planes.get("background")
        if path is not None and path in self.named:
            self.named.move_to_end(path)
            background, size = self.named[path]
            planes = {plane: file for plane, file in entry.planes.items() if plane != "background"}
            sample, sizes = load_to_pack(source, dataclasses.replace(entry, planes=planes), resolution)
            fault = size_fault("background", entry.planes, size, sizes["image"]) if "image" in planes else None
            if fault:
                raise FileError(fault.file, fault.problem, fault.remedy)
            return sample, background, sizes.get("image", (None, None))
        sample, sizes = load_to_pack(source, entry, resolution)
        own = sizes.get("image", (None, None))
        if not source.background or sample.background is None:
            return sample, None, own
        background = hash_image(sample.background), sample.background
        if path is not None:
            self.named[path] = background, sizes["background"]
            if len(self.named) * sample.background.nbytes > BACKGROUNDS_KEPT:
                self.named.popitem(last=False)
        return sample, background, own

    def _copy(self, arrays: dict[str, np.ndarray], number: int, kept: int) -> _Filled:
        """Copy a sample from the store before, as ``_fill`` decodes one."""
        before = self.before
        assert before is not None
        row = int(before.rows[kept])
        for plane, array in arrays.items():
            found = before.row(plane, row)
            array[number] = np.packbits(np.ones(self.packing.resolution, bool), axis=-1) if found is None else found
        background = None
        if self.packing.source.background:
            picture = before.row("background", int(before.background_rows[kept]))
            assert picture is not None
            background = hash_image(picture), picture
        return _Filled(float(before.index["depth_max"][kept]), background, before.own_size(kept) or (None, None))

    @functools.cached_property
    def before(self) -> Store | None:
        """The store that unchanged samples are copied from, opened in this process."""
        return open_store(self.packing.previous) if self.packing.previous else None


def sample_key(read: str, entry: Entry) -> str:
    """Return a hash of what a sample's rows depend on; ``read`` is what is the same for all."""
    digest = hashlib.sha256(f"{read} {entry.id}".encode())
    digest.update(files_of(entry))
    return digest.hexdigest()[:32]


def files_of(entry: Entry) -> bytes:
    """Return name, size and time of an entry's files, as bytes to hash."""
    found = []
    for plane, path in sorted(entry.planes.items()):
        try:
            status = os.stat(path)  # noqa: PTH116 - half the time of path.stat, for every file there is
        except OSError:  # a dangling link, or a file that just went: packing will name it
            continue
        found.append((plane, path.name, status.st_size, status.st_mtime_ns))
    return repr(found).encode()


def _known(arrays: dict[str, np.ndarray], used: list[int], resolution: tuple[int, int]) -> dict[str, Sequence[bool]]:
    """Return the columns of the index that say whether targets are known, everywhere and anywhere."""
    nowhere = np.zeros(len(used), bool)
    columns: dict[str, np.ndarray] = dict.fromkeys(("mask", "unknown_mask", "empty", "depth", "unknown_depth"), nowhere)
    if "mask" in arrays:
        valid = arrays["mask_valid"][used]
        everywhere = np.packbits(np.ones(resolution, bool), axis=-1)
        known = columns["mask"] = np.asarray(valid.any((1, 2)))
        columns["unknown_mask"] = (valid != everywhere).any((1, 2))
        columns["empty"] = known & ~arrays["mask"][used].any((1, 2, 3))
    if "depth" in arrays:
        unknown = arrays["depth"][used] == UNKNOWN_DEPTH
        columns["depth"] = ~unknown.all((1, 2))
        columns["unknown_depth"] = unknown.any((1, 2))
    return {name: column.tolist() for name, column in columns.items()}


def _code_depth(depth: np.ndarray | None, depth_max: float | None, entry: Entry) -> tuple[np.ndarray, float]:
    """Return depth in 16-bit codes, and the largest depth, which the largest code stands for."""
    if depth is None:
        return np.array(UNKNOWN_DEPTH, np.uint16), 0.0
    with np.errstate(invalid="ignore"):
        known = np.isfinite(depth) if depth_max is None else depth <= depth_max
        if (depth < 0).any():
            raise FileError(
                str(entry.planes.get("depth", entry.id)),
                "has depth below 0, where distances are expected",
                "If that means unknown, say so with --depth-invalid",
            )
    everywhere = known.all()
    values = depth if everywhere else np.where(known, depth, 0)
    largest = float(values.max())
    codes = np.rint(values * (DEPTH_CODES / largest if largest else 0.0)).astype(np.uint16)
    return codes if everywhere else np.where(known, codes, np.uint16(UNKNOWN_DEPTH)), largest


def _content(first: tuple[str, str | None, float], arrays: dict[str, np.ndarray], number: int) -> str:
    """Return a hash of everything that a sample is: hash of image and of background, largest depth, and its planes."""
    digest = hashlib.sha256(f"{first[0]} {first[1]} {first[2]!r}".encode())
    for plane in ("mask", "mask_valid", "depth"):
        if plane in arrays:
            digest.update(arrays[plane][number].data)
    return digest.hexdigest()[:32]
