"""Packing a source into a store: decoded once, in several processes, with memory that does not grow with the data.

The samples are cut into chunks. A worker decodes a chunk, resizes it and writes its rows into the shards, which exist
at full size from the start; it hands back one small line a sample, and the backgrounds it has not met before. What
the store held before is copied for samples whose files have not changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from basrelief.data.pack_worker import Chunk, Kept, Packing, Worker, files_of, sample_key
from basrelief.data.shards import write_header, write_rows
from basrelief.data.source import Entry, Source
from basrelief.data.store import FACTS, INDEX, STORE_VERSION, Store, StoreFacts, file_facts, open_store
from basrelief.errors import DataError
from basrelief.files import write_json
from basrelief.folders import new_folder
from basrelief.parallel import cores, ordered_map

SHARD_BYTES = 1 << 28  # of an image shard, about
CHUNK_BYTES = 1 << 21  # of the images of a chunk, about
CHUNK = 64  # samples, at most: few enough that at the end no process waits long for another
FEW = 256  # samples below which other processes are not worth starting


def source_key(source: Source, entries: Sequence[Entry], resolution: tuple[int, int], options: object) -> str:
    """Return a hash of what is packed: every file's name, size and time, the options and the resolution."""
    digest = hashlib.sha256(repr((source.format, source.location, source.reading, resolution, options)).encode())
    for entry in entries:
        digest.update(repr((entry.id, entry.group, entry.foreground, entry.split)).encode())
        digest.update(files_of(entry))
    return digest.hexdigest()


def pack(
    source: Source,
    entries: Sequence[Entry],
    folder: Path,
    resolution: tuple[int, int],
    *,
    key: str,
    depth_max: float | None = None,
    skip_broken: bool = False,
    previous: Store | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Decode and resize ``entries`` into a store at ``folder``, which appears whole or not at all.

    Parameters
    ----------
    source, entries
        What to pack; ``entries`` are some or all of ``source.entries``.
    folder
        A store there is replaced once the new one is whole.
    resolution
        (height, width). Images are resized with anti-aliasing, masks by their area, depth by the nearest pixel, so
        that depth of two surfaces never mixes.
    key
        From ``source_key``.
    depth_max
        In the source's unit; farther depth counts as unknown. None: the largest depth found.
    skip_broken
        Leave out samples that cannot be decoded, and list them in the facts.
    previous
        A store of the same data: samples whose files and reading are unchanged are copied from it.
    jobs
        Number of processes; None: as many as there are cores, or one for few samples. The store is the same, byte for
        byte, whatever their number.
    progress
        Called with (done, total).

    Raises
    ------
    DataError
        Listing every broken file, unless ``skip_broken``; or when nothing usable is left.
    """
    read = repr(
        (source.format, source.reading, source.classes, source.targets, source.background, resolution, depth_max)
    )
    kept = _reusable(previous, entries, read, resolution)
    if jobs is None:
        jobs = 1 if source.in_memory or len(entries) - len(kept) < FEW else cores()
    with new_folder(folder, replace=True) as temporary:
        bare = dataclasses.replace(source, entries=())  # what every process is sent
        before = previous.path if previous else None
        shard_rows = max(1, SHARD_BYTES // (3 * resolution[0] * resolution[1]))
        packing = Packing(bare, temporary, resolution, len(entries), depth_max, before, shard_rows, read)
        packing.create()
        parts: list[pl.DataFrame] = []
        faults: list[str] = []
        backgrounds = _Backgrounds(packing)
        fingerprint = hashlib.sha256()
        done = 0
        chunks = list(_chunks(packing, entries, kept))
        for packed in ordered_map(Worker(packing), chunks, jobs=min(jobs, len(chunks))):
            backgrounds.add(packed.backgrounds)
            faults += packed.faults
            for name, content in zip(packed.columns["id"], packed.columns["content"], strict=True):
                fingerprint.update(f"{name} {content}".encode())
            parts.append(_frame(packed.columns, backgrounds, source.targets))
            done += packed.count
            if progress:
                progress(done, len(entries))
        if faults and not skip_broken:
            raise _broken(faults, len(entries), source.location)
        index = pl.concat(parts)
        if index.is_empty():
            raise DataError(
                f"{source.location}: none of its {len(entries)} samples can be used. {' '.join(faults[:3])}"
            )
        backgrounds.close()
        facts = _facts(packing, index, key, tuple(faults))
        depth = (facts.depth_max, facts.depth_unit, facts.depth_kind)  # with which the same codes mean other depth
        fingerprint.update(repr((facts.resolution, facts.targets, facts.classes, facts.background, depth)).encode())
        facts = dataclasses.replace(facts, fingerprint=fingerprint.hexdigest())
        if "mask" in source.targets and not facts.unknown_mask:
            for path in temporary.glob("mask_valid-*.npy"):
                path.unlink()
        index.drop("unknown_mask", "unknown_depth", "empty").write_parquet(temporary / INDEX)
        paths = sorted(temporary.iterdir())
        with ThreadPoolExecutor(jobs) as pool:  # hashing leaves Python's lock to others
            files = {path.name: found for path, found in zip(paths, pool.map(file_facts, paths), strict=True)}
        write_json(temporary / FACTS, dataclasses.asdict(dataclasses.replace(facts, files=files)))
    return open_store(folder)


class _Backgrounds:
    """The shards of backgrounds, which grow as new ones come; their number is known at the end alone."""

    def __init__(self, packing: Packing) -> None:
        self.packing = packing
        self.rows: dict[str, int] = {}

    def add(self, found: dict[str, np.ndarray]) -> None:
        for name, picture in found.items():
            if name in self.rows:
                continue
            row = self.rows[name] = len(self.rows)
            shard, place = divmod(row, self.packing.shard_rows)
            path = self.packing.path("background", shard)
            if place == 0:
                with path.open("wb") as file:
                    write_header(file, np.uint8, (0, *picture.shape))
            write_rows(path, picture[None], place)

    def close(self) -> None:
        """Write into each shard's header how many rows it has."""
        shape = (*self.packing.resolution, 3)
        for shard, start in enumerate(range(0, len(self.rows), self.packing.shard_rows)):
            rows = min(self.packing.shard_rows, len(self.rows) - start)
            with self.packing.path("background", shard).open("r+b") as file:
                write_header(file, np.uint8, (rows, *shape))


def _chunks(packing: Packing, entries: Sequence[Entry], kept: dict[int, Kept]) -> Iterator[Chunk]:
    height, width = packing.resolution
    size = min(CHUNK, max(1, CHUNK_BYTES // (3 * height * width)))
    for shard in range(0, len(entries), packing.shard_rows):  # a chunk lies in one shard
        for start in range(shard, min(shard + packing.shard_rows, len(entries)), size):
            stop = min(start + size, shard + packing.shard_rows, len(entries))
            yield Chunk(start, entries[start:stop], [kept.get(row) for row in range(start, stop)])


def _frame(columns: dict[str, Sequence[Any]], backgrounds: _Backgrounds, targets: Sequence[str]) -> pl.DataFrame:
    columns["background"] = [backgrounds.rows.get(name) for name in columns["background_hash"]]
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        **dict.fromkeys(("id", "group", "foreground", "split"), pl.String),
        **dict.fromkeys(("row", "background"), pl.Int64),
        **dict.fromkeys(("height", "width"), pl.Int32),
        "depth_max": pl.Float64,
        **dict.fromkeys(targets, pl.Boolean),
        **dict.fromkeys(("image_hash", "content", "key"), pl.String),
        **dict.fromkeys(("unknown_mask", "unknown_depth", "empty"), pl.Boolean),
    }
    return pl.DataFrame({name: columns[name] for name in schema}, schema=schema)


def _facts(packing: Packing, index: pl.DataFrame, key: str, skipped: tuple[str, ...]) -> StoreFacts:
    source = packing.source
    depth_max = None
    if "depth" in source.targets:
        depth_max = packing.depth_max or float(index["depth_max"].to_numpy().max())
        if depth_max <= 0:
            raise DataError(
                f"{source.location}: depth is zero or unknown everywhere; expected values above 0. See --depth-scale "
                "and --depth-invalid."
            )
    return StoreFacts(
        version=STORE_VERSION,
        format=source.format,
        location=source.location,
        resolution=packing.resolution,
        count=len(index),
        targets=source.targets,
        classes=source.classes,
        background=source.background,
        depth_unit=source.depth_unit,
        depth_kind=source.depth_kind,
        depth_max=depth_max,
        unknown_mask=bool(index["unknown_mask"].any()),
        unknown_depth=bool(index["unknown_depth"].any()),
        empty_masks=int(index["empty"].sum()),
        shard_rows=packing.shard_rows,
        background_shard_rows=packing.shard_rows,
        notes=source.notes,
        skipped=skipped,
        source_key=key,
        fingerprint="",
        files={},
    )


def _reusable(
    previous: Store | None, entries: Sequence[Entry], read: str, resolution: tuple[int, int]
) -> dict[int, Kept]:
    """Return row -> place in ``previous`` for samples that need no decoding."""
    if previous is None or previous.facts.resolution != resolution:
        return {}
    numbers = {key: number for number, key in enumerate(previous.hashes("key"))}
    keys = (sample_key(read, entry) for entry in entries)
    return {row: Kept(numbers[key], key) for row, key in enumerate(keys) if key in numbers}


def _broken(faults: Sequence[str], count: int, location: str) -> DataError:
    listed = "\n".join(f"  {fault}" for fault in faults[:10])
    more = f"\n  … and {len(faults) - 10} more" if len(faults) > 10 else ""
    return DataError(
        f"{location}: {len(faults)} of {count} samples cannot be used:\n{listed}{more}\n"
        f"Mend or remove them (basrelief inspect {location} lists everything), or leave them out with --skip-broken."
    )
