"""The packed store: every file decoded once, into plain ``.npy`` arrays at the training resolution.

Anyone can open it with ``numpy.load(path, mmap_mode="r")``:

    image.npy        uint8  (N, H, W, 3)
    background.npy   uint8  (B, H, W, 3)   each distinct background once; the index says which row is whose
    mask.npy         uint8  (N, K, H, W)   0, 1, or 255 where unknown
    depth.npy        uint16 (N, H, W)      code c is c / 65534 * depth_max; 65535 is unknown
    index.parquet    id, group, split, background (row), image_hash, mask and depth (whether known anywhere)
    store.json       the facts: resolution, classes, unit, depth_max, fingerprint, notes
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import DTypeLike

from basrelief.batch import Sample
from basrelief.data.resize import UNKNOWN_MASK, resize_sample
from basrelief.data.source import Entry, Source
from basrelief.errors import DataError
from basrelief.files import new_folder, read_json, write_json

STORE_VERSION = 1
UNKNOWN_DEPTH = 65535
DEPTH_CODES = 65534  # the largest code of a known depth


@dataclass(frozen=True)
class StoreFacts:
    """What a store holds, as in ``store.json``.

    ``depth_max`` is what depth is divided by, in ``depth_unit``. ``source_key`` tells whether the files are still the
    ones packed; ``fingerprint`` identifies the packed samples themselves. ``skipped`` counts broken samples left out.
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
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    source_key: str
    fingerprint: str


@dataclass(frozen=True)
class Store:
    """An open store. The arrays are mapped, not read, so opening is instant and memory stays flat."""

    path: Path
    facts: StoreFacts
    index: pl.DataFrame

    @functools.cached_property
    def image(self) -> np.ndarray:
        """uint8 (N, H, W, 3)."""
        return self._map("image")

    @functools.cached_property
    def background(self) -> np.ndarray | None:
        """uint8 (B, H, W, 3), by the index's column ``background``."""
        return self._map("background") if self.facts.background else None

    @functools.cached_property
    def mask(self) -> np.ndarray | None:
        """uint8 (N, K, H, W)."""
        return self._map("mask") if "mask" in self.facts.targets else None

    @functools.cached_property
    def depth(self) -> np.ndarray | None:
        """uint16 (N, H, W)."""
        return self._map("depth") if "depth" in self.facts.targets else None

    @functools.cached_property
    def background_rows(self) -> np.ndarray:
        """Row in ``background`` of every sample."""
        return self.index["background"].to_numpy()

    def _map(self, plane: str) -> np.ndarray:
        # Copy-on-write, never written to: torch warns of read-only arrays, and a private mapping costs no memory.
        path = self.path / f"{plane}.npy"
        try:
            array: np.ndarray = np.load(path, mmap_mode="c")
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path} is damaged ({error}). Remove {self.path} to have it made again.") from None
        return array


def source_key(source: Source, entries: Sequence[Entry], resolution: tuple[int, int], options: object) -> str:
    """Return a hash of what is packed: every file's name, size and time, the options and the resolution."""
    digest = hashlib.sha256(repr((source.format, source.location, resolution, options)).encode())
    for entry in entries:
        digest.update(repr((entry.id, entry.group, entry.split)).encode())
        for plane, path in sorted(entry.planes.items()):
            try:
                status = path.stat()
            except OSError:  # a dangling link, or a file that just went: packing will name it
                continue
            digest.update(repr((plane, path.name, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()


def open_store(path: Path) -> Store:
    """Open a store that ``pack`` wrote.

    Raises
    ------
    DataError
        Naming the file that is missing, truncated or of another version.
    """
    document = read_json(path / "store.json")
    try:
        if document["version"] != STORE_VERSION:
            raise DataError(f"{path} was packed by another version of Basrelief. Remove it to have it made again.")
        document |= {name: tuple(document[name]) for name in ("resolution", "targets", "classes", "notes", "skipped")}
        facts = StoreFacts(**document)
        index = pl.read_parquet(path / "index.parquet")
    except (KeyError, TypeError, OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"The store {path} is damaged ({error}). Remove it to have it made again.") from None
    store = Store(path, facts, index)
    for plane in ("image", *facts.targets, *(("background",) if facts.background else ())):
        array = getattr(store, plane)
        if plane != "background" and len(array) != facts.count:
            raise DataError(f"{path / plane}.npy has {len(array)} samples, not {facts.count}. Remove {path}.")
    return store


def pack(
    source: Source,
    entries: Sequence[Entry],
    folder: Path,
    resolution: tuple[int, int],
    *,
    key: str,
    depth_max: float | None = None,
    skip_broken: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Decode and resize ``entries`` into a store at ``folder``, which appears whole or not at all.

    Parameters
    ----------
    source, entries
        What to pack; ``entries`` are some or all of ``source.entries``.
    resolution
        (height, width). Images are resized with anti-aliasing, masks by their area, depth by the nearest pixel, so
        that depth of two surfaces never mixes.
    key
        From ``source_key``.
    depth_max
        In the source's unit; farther depth counts as unknown. None: the largest depth found.
    skip_broken
        Leave out samples that cannot be decoded, and list them in the facts.

    Raises
    ------
    DataError
        Listing every broken file, unless ``skip_broken``; or when nothing usable is left.
    """
    height, width = resolution
    count, classes = len(entries), len(source.classes)
    targets = source.targets
    with new_folder(folder) as temporary:

        def create(plane: str, dtype: type, *shape: int) -> np.ndarray:
            return _create(temporary / f"{plane}.npy", dtype, (max(count, 1), *shape))

        image = create("image", np.uint8, height, width, 3)
        mask = create("mask", np.uint8, classes, height, width) if "mask" in targets else None
        # Depth is coded once its maximum is known; until then it is kept as it is.
        depth = create("depth.part", np.float32, height, width) if "depth" in targets else None
        backgrounds: dict[str, int] = {}
        background = create("background", np.uint8, height, width, 3) if source.background else None
        faults: list[str] = []
        rows: list[dict[str, object]] = []
        fingerprint = hashlib.sha256()
        empties: list[bool] = []
        for number, (entry, sample) in enumerate(_decoded(source, entries, resolution)):
            if progress:
                progress(number + 1, count)
            if isinstance(sample, DataError):
                faults.append(str(sample))
                continue
            row = len(rows)
            image[row] = sample.image
            digest = hashlib.sha256(sample.image.tobytes())
            image_hash = hash_image(sample.image)
            record: dict[str, object] = {"id": entry.id, "group": entry.group, "split": entry.split, "background": 0}
            if background is not None and sample.background is not None:
                name = hashlib.sha256(sample.background.tobytes()).hexdigest()
                place = backgrounds.setdefault(name, len(backgrounds))
                background[place] = sample.background
                record["background"] = place
                digest.update(name.encode())
            if mask is not None:
                planes = np.full(mask.shape[1:], UNKNOWN_MASK, np.uint8) if sample.mask is None else sample.mask
                mask[row] = planes
                digest.update(planes.tobytes())
                empties.append(bool(sample.mask is not None and not (planes == 1).any()))
                record["mask"] = bool((planes != UNKNOWN_MASK).any())
            if depth is not None:
                depth[row] = np.nan if sample.depth is None else sample.depth
                digest.update(depth[row].tobytes())
                record["depth"] = bool(np.isfinite(depth[row]).any())
                if (depth[row] < 0).any():
                    faults.append(
                        f"{entry.planes.get('depth', entry.id)}: has depth below 0, where distances are expected. If "
                        "that means unknown, say so with --depth-invalid."
                    )
                    continue
            fingerprint.update(entry.id.encode() + digest.digest())
            rows.append(record | {"image_hash": image_hash})
        if faults and not skip_broken:
            raise _broken(faults, count, source.location)
        if not rows:
            raise DataError(f"{source.location}: none of its {count} samples can be used. {' '.join(faults[:3])}")
        kept = len(rows)
        largest = _finish_depth(temporary, depth, kept, depth_max, source.location) if depth is not None else None
        unknown_mask = mask is not None and any((chunk == UNKNOWN_MASK).any() for chunk in _chunks(mask[:kept]))
        unknown_depth = depth is not None and any(
            (chunk == UNKNOWN_DEPTH).any() for chunk in _chunks(np.load(temporary / "depth.npy", mmap_mode="r"))
        )
        del image, mask, depth
        _truncate(temporary / "image.npy", kept)
        if "mask" in targets:
            _truncate(temporary / "mask.npy", kept)
        if background is not None:
            del background
            _truncate(temporary / "background.npy", len(backgrounds))
        facts = StoreFacts(
            version=STORE_VERSION,
            format=source.format,
            location=source.location,
            resolution=resolution,
            count=kept,
            targets=targets,
            classes=source.classes,
            background=source.background,
            depth_unit=source.depth_unit,
            depth_kind=source.depth_kind,
            depth_max=largest,
            unknown_mask=unknown_mask,
            unknown_depth=unknown_depth,
            empty_masks=sum(empties),
            notes=source.notes,
            skipped=tuple(faults),
            source_key=key,
            fingerprint=fingerprint.hexdigest(),
        )
        schema = {"id": pl.String, "group": pl.String, "split": pl.String, "background": pl.Int64}
        schema |= {"image_hash": pl.String, **dict.fromkeys(targets, pl.Boolean)}
        pl.DataFrame(rows, schema=schema).write_parquet(temporary / "index.parquet")
        write_json(temporary / "store.json", dataclasses.asdict(facts))
    return open_store(folder)


def hash_image(image: np.ndarray) -> str:
    """Return what the index holds of an image at the training resolution, to know it again."""
    return hashlib.sha256(image.tobytes()).hexdigest()[:32]


def _decoded(
    source: Source, entries: Sequence[Entry], resolution: tuple[int, int]
) -> Iterator[tuple[Entry, Sample | DataError]]:
    """Yield every entry with its resized sample, in order; threads help, since decoding releases the interpreter."""

    def work(entry: Entry) -> Sample | DataError:
        try:
            return resize_sample(source.load(entry), resolution)
        except DataError as error:
            return error

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        ahead = 16 * workers  # bounds the memory: at most this many decoded samples wait
        for start in range(0, len(entries), ahead):
            chunk = entries[start : start + ahead]
            yield from zip(chunk, pool.map(work, chunk), strict=True)


def _finish_depth(folder: Path, part: np.ndarray, count: int, depth_max: float | None, location: str) -> float:
    """Code the depth gathered in ``depth.part.npy`` into ``depth.npy``, and return what it is divided by."""
    found = max((float(np.nanmax(chunk)) for chunk in _chunks(part[:count]) if not np.isnan(chunk).all()), default=0.0)
    largest = depth_max or found
    if largest <= 0:
        raise DataError(
            f"{location}: depth is zero or unknown everywhere; expected values above 0. See --depth-scale and "
            "--depth-invalid."
        )
    coded = _create(folder / "depth.npy", np.uint16, (count, *part.shape[1:]))
    start = 0
    for chunk in _chunks(part[:count]):
        known = chunk <= largest  # False for NaN
        codes = np.where(known, np.rint(np.where(known, chunk, 0) * (DEPTH_CODES / largest)), UNKNOWN_DEPTH)
        coded[start : start + len(chunk)] = codes.astype(np.uint16)
        start += len(chunk)
    coded.flush()
    (folder / "depth.part.npy").unlink()
    return largest


def _create(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """Make an array file with its space reserved: a full disk is an error here, not a crash at a later write."""
    array: np.memmap = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _chunks(array: np.ndarray, size: int = 256) -> Iterator[np.ndarray]:
    return (array[start : start + size] for start in range(0, len(array), size))


def _truncate(path: Path, count: int) -> None:
    """Keep the first ``count`` rows of an array file."""
    array = np.load(path, mmap_mode="r")
    if len(array) == count:
        return
    shorter = path.with_suffix(".short.npy")
    kept = _create(shorter, array.dtype, (count, *array.shape[1:]))
    for start in range(0, count, 256):
        kept[start : start + 256] = array[start : min(start + 256, count)]
    kept.flush()
    shorter.replace(path)


def _broken(faults: Sequence[str], count: int, location: str) -> DataError:
    listed = "\n".join(f"  {fault}" for fault in faults[:10])
    more = f"\n  … and {len(faults) - 10} more" if len(faults) > 10 else ""
    return DataError(
        f"{location}: {len(faults)} of {count} samples cannot be used:\n{listed}{more}\n"
        f"Mend or remove them (basrelief inspect {location} lists everything), or leave them out with --skip-broken."
    )
