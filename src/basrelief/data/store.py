"""The packed store: every file decoded once, into plain ``.npy`` shards at the training resolution.

Anyone can open a shard with ``numpy.load(path, mmap_mode="r")``:

    image-000.npy       uint8  (R, H, W, 3)
    background-000.npy  uint8  (R, H, W, 3)        each distinct background once
    mask-000.npy        uint8  (R, K, H, W/8)      a bit a pixel, the leftmost in the highest bit (numpy.unpackbits)
    mask_valid-000.npy  uint8  (R, H, W/8)         likewise, 1 where the mask is known; only if some of it is unknown
    depth-000.npy       uint16 (R, H, W)           code / 65534 * the sample's ``depth_max``; 65535 is unknown
    index.parquet       a line a sample: id, group, foreground, split; row and background (rows counted over all
                        shards); depth_max; height and width (of the image before it was resized; null for
                        generated ones, and in stores packed before this was noted); mask and depth (whether known
                        anywhere); image_hash, content, key
    store.json          the facts: resolution, classes, unit, depth_max, rows a shard, fingerprint, notes, and the
                        size and SHA-256 of every file

A row that no line of the index names belongs to a sample that could not be decoded and was left out.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import polars as pl

from basrelief.batch import TARGETS, Sample
from basrelief.data.resize import resize_sample
from basrelief.data.source import DataOptions, Entry, Near, Source
from basrelief.data.store_files import allow_open_files, check_file, map_file
from basrelief.errors import DataError, UsageError
from basrelief.files import read_json

STORE_VERSION = 2
UNKNOWN_DEPTH = 65535
DEPTH_CODES = 65534  # the code of a sample's largest known depth
FACTS, INDEX = "store.json", "index.parquet"
PLANES = ("image", "background", "mask", "mask_valid", "depth")
READING = ("depth_scale", "depth_unit", "depth_kind", "depth_invalid", "mask_map", "invert_masks")  # of files
_SELDOM = ("content", "key")  # columns of the index that only packing reads


@dataclass(frozen=True)
class StoreFacts:
    """What a store holds, as in ``store.json``.

    ``depth_max`` is what the loader divides depth by, in ``depth_unit``. ``source_key`` tells whether the files are
    still the ones packed; ``fingerprint`` identifies the packed samples themselves, in their order. ``skipped`` lists
    broken samples left out. ``shard_rows`` and ``background_shard_rows`` are rows a shard (the last may have fewer).
    ``files`` maps each file's name to its ``bytes``, ``mtime_ns`` and ``sha256``.
    """

    version: int
    format: str
    location: str
    resolution: tuple[int, int]
    count: int
    targets: tuple[str, ...]
    classes: tuple[str, ...]
    background: bool
    depth_unit: str | None
    depth_kind: str | None
    depth_max: float | None
    unknown_mask: bool
    unknown_depth: bool
    empty_masks: int
    shard_rows: int
    background_shard_rows: int
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    source_key: str
    fingerprint: str
    files: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Store:
    """An open store. Shards are mapped, not read, so opening is quick and memory stays flat.

    Samples are counted by their line in the index, from 0.
    """

    path: Path
    facts: StoreFacts
    index: pl.DataFrame

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """Row of every sample in the shards of its image, mask and depth."""
        return self.index["row"].to_numpy()

    @functools.cached_property
    def background_rows(self) -> np.ndarray:
        """Row of every sample's background in the shards of backgrounds; 0 where there are none."""
        return self.index["background"].fill_null(0).to_numpy()

    @functools.cached_property
    def depth_scales(self) -> np.ndarray:
        """float64: what a sample's depth codes are multiplied by, to give depth in the store's unit."""
        return self.index["depth_max"].to_numpy() / DEPTH_CODES

    def own_size(self, number: int) -> tuple[int, int] | None:
        """Return the (height, width) that a sample's image had before it was packed; None where not known."""
        if "height" not in self.index.columns:  # packed before it was noted
            return None
        height, width = self.index["height"][number], self.index["width"][number]
        return None if height is None or width is None else (int(height), int(width))

    def median_size(self, numbers: np.ndarray) -> tuple[int, int] | None:
        """Return the median own (height, width) of some samples' images; None where not known."""
        if "height" not in self.index.columns:
            return None
        sizes = self.index[numbers].select(pl.col("height", "width").drop_nulls().median()).row(0)
        return None if None in sizes else (round(sizes[0]), round(sizes[1]))

    def hashes(self, column: str) -> pl.Series:
        """Return a column of the index that trainings have no use for: "content" or "key"."""
        return pl.read_parquet(self.path / INDEX, columns=[column])[column]

    def shards(self, plane: str) -> list[np.ndarray]:
        """Return the mapped shards of a plane, in their order; empty where the store has none of it."""
        return self._shards[plane]

    def row(self, plane: str, row: int) -> np.ndarray | None:
        """Return a copy of one row of a plane; None where the store has none of it."""
        shards = self._shards[plane]
        rows = self.facts.background_shard_rows if plane == "background" else self.facts.shard_rows
        return np.array(shards[row // rows][row % rows]) if shards else None

    def sample(self, number: int) -> Sample:
        """Return a sample, decoded: masks as 0, 1 and validity, depth as float32 in the unit, NaN where unknown."""
        row, width = int(self.rows[number]), self.facts.resolution[1]
        image = self.row("image", row)
        assert image is not None
        bits, valid_bits, codes = (self.row(plane, row) for plane in ("mask", "mask_valid", "depth"))
        mask = None if bits is None else np.unpackbits(bits, axis=-1, count=width)
        valid = None if valid_bits is None else np.unpackbits(valid_bits, axis=-1, count=width).astype(bool)
        if valid is not None and not valid.any():
            mask = valid = None
        depth = None
        if codes is not None and (codes != UNKNOWN_DEPTH).any():
            values = (codes * self.depth_scales[number]).astype(np.float32)
            depth = np.where(codes == UNKNOWN_DEPTH, np.float32("nan"), values)
        background = self.row("background", int(self.background_rows[number]))
        return Sample(self.index["id"][number], image, background, mask, valid, depth)

    @functools.cached_property
    def _shards(self) -> dict[str, list[np.ndarray]]:
        # Mapped once: where another store takes this one's place meanwhile, this one goes on as it was opened.
        found: dict[str, list[np.ndarray]] = {plane: [] for plane in PLANES}
        allow_open_files(len(self.facts.files))
        for name in sorted(self.facts.files, key=lambda name: (len(name), name)):  # shard 1000 comes after 999
            plane = name.rpartition("-")[0]
            if plane in found:
                found[plane].append(map_file(self.path / name))
        return found


def open_store(path: Path) -> Store:
    """Open a store that ``pack`` wrote, and check its files.

    A file that has another size or time than when it was packed is read once and compared by its hash; a copied store
    passes, an edited one does not. Its shards are mapped at once, so that what was checked is what is read, whatever
    becomes of the folder.

    Raises
    ------
    DataError
        Naming the file that is missing, truncated, changed or of another version, or what does not fit the rest.
    """
    document = read_json(path / FACTS)
    try:
        if document["version"] != STORE_VERSION:
            raise DataError(f"{path} was packed by another version of Basrelief. Remove it to have it made again.")
        document |= {name: tuple(document[name]) for name in ("resolution", "targets", "classes", "notes", "skipped")}
        facts = StoreFacts(**document)
        _check_facts(facts)
        for name, stated in facts.files.items():
            if Path(name).name != name:
                raise ValueError(f"a file called {name!r}")
            check_file(path / name, stated)
        known = pl.read_parquet_schema(path / INDEX)
        index = pl.read_parquet(path / INDEX, columns=[name for name in known if name not in _SELDOM])
        store = Store(path, facts, index)
        _check_planes(store)
    except (KeyError, TypeError, ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"The store {path} is damaged ({error}). Remove it to have it made again.") from None
    return store


def detect_store(location: str) -> bool:
    """Return whether a folder holds a packed store, be it one that lacks a file; opening it says which."""
    folder = Path(location)
    return (folder / FACTS).is_file() and ((folder / INDEX).is_file() or any(folder.glob("image-*.npy")))


def read_store(location: str, options: DataOptions) -> Source:
    """Return a packed store as a source; its samples have the store's resolution.

    Raises
    ------
    DataError
        If a file of it is missing or changed.
    UsageError
        For an option that says how to read files.
    """
    given = [name for name in READING if getattr(options, name) not in (None, ())]
    if given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        raise UsageError(f"{names}: {location} is packed, so its values are understood already. Pack the files anew.")
    store = open_store(Path(location))
    facts = store.facts
    reader = _StoreReader(Path(location), options.background)
    return Source(
        format="store",
        location=location,
        entries=_StoreEntries(store.index.select("id", "group", "foreground", "split")),
        targets=facts.targets,
        load=reader,
        load_near=reader.near,
        classes=facts.classes,
        background=facts.background and options.background,
        depth_unit=facts.depth_unit,
        depth_kind=facts.depth_kind,
        notes=(f"A packed store at {facts.resolution[0]}x{facts.resolution[1]}, of {facts.location}.", *facts.notes),
        resolution=facts.resolution,
        reading=facts.fingerprint,
        in_memory=True,
    )


class _StoreEntries(Sequence[Entry]):
    """The samples of a store as entries, each made when it is asked for: there may be hundreds of thousands."""

    def __init__(self, table: pl.DataFrame) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, place: int) -> Entry: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Entry, ...]: ...

    def __getitem__(self, place: int | slice) -> Entry | tuple[Entry, ...]:
        if isinstance(place, slice):
            return tuple(_entry(*row) for row in self.table[place].iter_rows())
        return _entry(*self.table.row(place))

    def __iter__(self) -> Iterator[Entry]:
        return (_entry(*row) for row in self.table.iter_rows())


def _entry(name: str, group: str | None, foreground: str | None, split: str | None) -> Entry:
    return Entry(name, {}, group, foreground, split)


class _StoreReader:
    """Loads an entry of a store; opened where it is used, since maps do not travel between processes."""

    def __init__(self, path: Path, background: bool) -> None:
        self.path, self.background = path, background

    def __getstate__(self) -> tuple[Path, bool]:
        return self.path, self.background

    def __setstate__(self, state: tuple[Path, bool]) -> None:
        self.path, self.background = state

    @functools.cached_property
    def opened(self) -> tuple[Store, dict[str, int]]:
        store = open_store(self.path)
        return store, {name: number for number, name in enumerate(store.index["id"])}

    def __call__(self, entry: Entry) -> Sample:
        store, numbers = self.opened
        sample = store.sample(numbers[entry.id])
        if self.background:
            return sample
        return Sample(sample.id, sample.image, None, sample.mask, sample.mask_valid, sample.depth)

    def near(self, entry: Entry, _resolution: tuple[int, int]) -> Near:
        """Return a sample with the size that its image had before it was packed, where that is known."""
        store, numbers = self.opened
        size = store.own_size(numbers[entry.id])
        return Near(self(entry), {} if size is None else {"image": size})


def load_to_pack(source: Source, entry: Entry, resolution: tuple[int, int]) -> Near:
    """Load an entry as packing at this resolution does: with every plane brought to it."""
    if source.load_near is not None:
        near = source.load_near(entry, resolution)
        return Near(resize_sample(near.sample, resolution), near.sizes)
    sample = source.load(entry)
    # What is generated at the resolution that is asked for has no size of its own.
    found = {"image": sample.image, "background": sample.background} if entry.planes else {}
    sizes = {plane: (array.shape[0], array.shape[1]) for plane, array in found.items() if array is not None}
    return Near(resize_sample(sample, resolution), sizes)


def hash_image(image: np.ndarray) -> str:
    """Return what the index holds of an image at the training resolution, to know it again."""
    return hashlib.sha256(image.tobytes()).hexdigest()[:32]


def file_facts(path: Path) -> dict[str, Any]:
    """Return what ``store.json`` states of a file."""
    status = path.stat()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": digest}


def _check_facts(facts: StoreFacts) -> None:
    """Raise ValueError or TypeError at a fact that ``pack`` never writes."""
    texts = (facts.format, facts.location, facts.source_key, facts.fingerprint, facts.depth_unit or "")
    for text in (*texts, facts.depth_kind or "", *facts.classes, *facts.notes, *facts.skipped):
        if not isinstance(text, str):
            raise ValueError(f"{text!r} where text is expected")
    for number in (*facts.resolution, facts.count, facts.empty_masks, facts.shard_rows, facts.background_shard_rows):
        if type(number) is not int or number < 0:
            raise ValueError(f"{number!r} where a count is expected")
    if not isinstance(facts.files, dict) or not set(facts.targets) <= set(TARGETS):
        raise ValueError("files or targets that no store has")
    if "depth" in facts.targets and not 0 < float(facts.depth_max or 0) < float("inf"):
        raise ValueError(f"a depth_max of {facts.depth_max!r}")


def _check_planes(store: Store) -> None:
    """Raise ValueError where facts, arrays and index do not fit together: only hands that changed them do that."""
    facts = store.facts
    (height, width), bits = facts.resolution, -(-facts.resolution[1] // 8)
    shapes = {"image": (height, width, 3), "background": (height, width, 3), "depth": (height, width)}
    shapes |= {"mask": (len(facts.classes), height, bits), "mask_valid": (height, bits)}
    there = {"image", *facts.targets}
    there |= {name for name, has in (("background", facts.background), ("mask_valid", facts.unknown_mask)) if has}
    for plane in PLANES:
        shards, column = store.shards(plane), "background" if plane == "background" else "row"
        rows = facts.background_shard_rows if plane == "background" else facts.shard_rows
        if bool(shards) != (plane in there) or any(
            shard.shape[1:] != shapes[plane] or shard.dtype != (np.uint16 if plane == "depth" else np.uint8)
            for shard in shards
        ):
            raise ValueError(f"its {plane} is not as {FACTS} states")
        found = store.index[column].to_numpy()
        total = sum(map(len, shards))
        if shards and (any(len(shard) != rows for shard in shards[:-1]) or len(shards[-1]) > rows):
            raise ValueError(f"its {plane} is not cut as {FACTS} states")
        if shards and not (len(found) == facts.count and found.min() >= 0 and found.max() < total):
            raise ValueError(f"{INDEX} names rows that {plane} does not have")
