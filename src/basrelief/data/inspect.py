"""A full check of data: every sample is decoded once, and everything found is listed together."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.batch import Sample
from basrelief.data.decode import FileError, highest_in_16_bits, read_depth
from basrelief.data.source import Entry, Fault, Source
from basrelief.errors import DataError

FEW_SAMPLES = 20  # below this the three splits hold next to nothing
DARK_16_BIT = 4096  # a 16-bit image below this was meant to be read with fewer bits


@dataclass(frozen=True)
class Inspection:
    """What a source holds, and what is wrong with it.

    Attributes
    ----------
    samples, usable
        Number of entries, and of those that can be decoded.
    planes
        Plane name -> number of usable samples that have it.
    splits
        Ready-made split -> number of entries; empty where there are none.
    sizes
        "min", "median" and "max" (by area) -> (height, width) of the images; empty without images.
    foreground
        Class -> "min", "median", "mean" and "max" of the share of known pixels that it covers.
    empty_masks
        Masks without a pixel of any class.
    mask_unknown_share, depth_unknown_share
        Share of pixels that are unknown; None without that target.
    depth_range
        Lowest and highest known depth, in the source's unit; None without depth.
    duplicates
        Ids of samples whose decoded images are equal, a tuple for each such image.
    notes, faults
        Those of the listing and those of the check.
    """

    format: str
    location: str
    samples: int
    usable: int
    planes: Mapping[str, int]
    splits: Mapping[str, int]
    sizes: Mapping[str, tuple[int, int]]
    classes: tuple[str, ...]
    foreground: Mapping[str, Mapping[str, float]]
    empty_masks: int
    mask_unknown_share: float | None
    depth_unit: str | None
    depth_kind: str | None
    depth_range: tuple[float, float] | None
    depth_unknown_share: float | None
    duplicates: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts, numbers and strings, without NaN."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class _Facts:
    """What is kept of a sample once it has been looked at."""

    id: str
    faults: tuple[Fault, ...] = ()
    usable: bool = True
    planes: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    digest: bytes = b""
    shares: tuple[float, ...] | None = None
    mask_unknown: float = 0.0
    depth_low: float = 0.0
    depth_high: float = 0.0
    depth_unknown: float = 0.0


def inspect_source(source: Source, *, progress: Callable[[int, int], None] | None = None) -> Inspection:
    """Decode every sample of a source and report on it. Memory does not grow with the size of the images.

    Parameters
    ----------
    source
        From any format.
    progress
        Called with (done, total) after each sample.
    """
    facts: list[_Facts] = []
    for done, found in enumerate(_each(source), start=1):
        facts.append(found)
        if progress is not None:
            progress(done, len(source.entries))
    usable = [found for found in facts if found.usable]
    masks = [found for found in usable if found.shares is not None]
    depths = [found for found in usable if "depth" in found.planes]
    sizes = sorted((found.size for found in usable), key=lambda size: (size[0] * size[1], size))
    duplicates = _duplicates(usable)
    empty = sum(not any(found.shares or ()) for found in masks)
    # A file that both the listing and the decoding found broken counts once, as the decoding, which read it all, says.
    decoded = [fault for found in facts for fault in found.faults]
    told = {fault.file for fault in decoded if fault.fatal}
    listed = [fault for fault in source.faults if not (fault.fatal and fault.file in told)]
    faults = list(dict.fromkeys([*listed, *decoded]))
    faults += _faults_of_all(source, len(usable), len(masks), empty) + _leaks(source.entries, duplicates)
    return Inspection(
        format=source.format,
        location=source.location,
        samples=len(facts),
        usable=len(usable),
        planes=dict(Counter(plane for found in usable for plane in found.planes)),
        splits=dict(Counter(entry.split for entry in source.entries if entry.split is not None)),
        sizes={"min": sizes[0], "median": sizes[len(sizes) // 2], "max": sizes[-1]} if sizes else {},
        classes=source.classes,
        foreground=_foreground(source.classes, [found.shares for found in masks if found.shares is not None]),
        empty_masks=empty,
        mask_unknown_share=float(np.mean([found.mask_unknown for found in masks])) if masks else None,
        depth_unit=source.depth_unit,
        depth_kind=source.depth_kind,
        depth_range=(min(d.depth_low for d in depths), max(d.depth_high for d in depths)) if depths else None,
        depth_unknown_share=float(np.mean([found.depth_unknown for found in depths])) if depths else None,
        duplicates=duplicates,
        notes=source.notes,
        faults=tuple(faults),
    )


def _each(source: Source) -> Iterator[_Facts]:
    """Yield facts in the order of the entries, decoding a few samples ahead."""
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=workers) as pool:  # decoders let go of the interpreter lock
        ahead: deque[Future[_Facts]] = deque()
        for entry in source.entries:
            ahead.append(pool.submit(_look, source, entry))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _look(source: Source, entry: Entry) -> _Facts:
    try:
        sample = source.load(entry)
    except FileError as error:
        return _Facts(entry.id, (error.fault,), usable=False)
    except DataError as error:
        return _Facts(entry.id, (Fault(entry.id, str(error).rstrip("."), "Mend it, or remove it"),), usable=False)
    digest = hashlib.blake2b(repr(sample.image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(sample.image).data)
    planes = tuple(p for p in ("image", "background", "mask", "depth") if getattr(sample, p) is not None)
    facts = _Facts(
        entry.id,
        tuple(_faults_of(entry, sample)),
        planes=planes,
        size=(sample.image.shape[0], sample.image.shape[1]),
        digest=digest.digest(),
    )
    if sample.mask is not None:
        known = sample.mask_valid if sample.mask_valid is not None else np.ones(sample.mask.shape[1:], dtype=bool)
        count = max(1, int(known.sum()))
        shares = tuple(int(np.count_nonzero(plane & known)) / count for plane in sample.mask)
        facts = dataclasses.replace(facts, shares=shares, mask_unknown=1 - int(known.sum()) / known.size)
    if sample.depth is not None:
        known = np.isfinite(sample.depth)
        low, high = (float(f(sample.depth[known])) for f in (np.min, np.max)) if known.any() else (0.0, 0.0)
        unknown = 1 - int(known.sum()) / known.size
        facts = dataclasses.replace(facts, depth_low=low, depth_high=high, depth_unknown=unknown)
    return facts


def _faults_of(entry: Entry, sample: Sample) -> Iterator[Fault]:
    """Yield what can be used and is nevertheless strange."""
    image = entry.planes.get("image")
    if image is not None:
        highest = highest_in_16_bits(image)
        if highest is not None and highest < DARK_16_BIT:
            read = "it is read as 8-bit data" if highest < 256 else "the image is nearly black"
            problem = f"is a 16-bit file whose highest value is {highest}; up to 65535 was expected, so {read}"
            yield Fault(str(image), problem, "Save it with 8 bits, or with values over the full 16", fatal=False)
    if sample.mask_valid is not None and not sample.mask_valid.any():
        file = str(entry.planes.get("mask", entry.id))
        yield Fault(file, "is unknown everywhere", "Mend it, or remove it", fatal=False)
    depth = entry.planes.get("depth")
    if sample.depth is not None:
        if depth is not None and np.isnan(sample.depth).any() and _may_hold_nan(depth):
            stored = read_depth(depth)
            count = int(np.count_nonzero(~np.isfinite(stored)))
            if count:
                problem = f"holds NaN or infinity at {count} of {stored.size} pixels, which count as unknown"
                yield Fault(str(depth), problem, "Export it again if these should be known", fatal=False)
        if (sample.depth < 0).any():
            problem = "holds negative depth, where distances are expected"
            yield Fault(str(depth or entry.id), problem, "If it means unknown, say so with --depth-invalid")


def _may_hold_nan(path: Path) -> bool:
    return path.suffix.lower() in (".npy", ".pfm", ".tif", ".tiff")


def _faults_of_all(source: Source, usable: int, masks: int, empty: int) -> list[Fault]:
    faults = []
    if masks and empty == masks:
        problem = f"all {masks} masks are empty: no pixel belongs to a class"
        faults.append(Fault(source.location, problem, "Check how the masks were saved, or state --mask-map"))
    if usable == 1:
        problem = "holds one usable image only; train, val and test need one each, so at least 3"
        faults.append(Fault(source.location, problem, "Add images"))
    elif usable < FEW_SAMPLES:
        problem = f"holds {usable} usable samples; a comparison of losses needs more to decide anything"
        faults.append(Fault(source.location, problem, "Add samples if there are any", fatal=usable < 3))
    return faults


def _duplicates(usable: Sequence[_Facts]) -> tuple[tuple[str, ...], ...]:
    same: dict[bytes, list[str]] = defaultdict(list)
    for found in usable:
        same[found.digest].append(found.id)
    return tuple(tuple(ids) for ids in same.values() if len(ids) > 1)


def _leaks(entries: Sequence[Entry], duplicates: Sequence[Sequence[str]]) -> list[Fault]:
    """Return a fault for each image that is in several ready-made splits."""
    split = {entry.id: entry.split for entry in entries}
    faults = []
    for ids in duplicates:
        splits = sorted({found for i in ids if (found := split[i]) is not None})
        if len(splits) > 1:
            problem = f"is the same image as {', '.join(ids[1:])}, and they are in {' and '.join(splits)}"
            faults.append(Fault(ids[0], problem, "Keep it in one split, or the scores are too good", fatal=False))
    return faults


def _foreground(classes: Sequence[str], shares: Sequence[Sequence[float]]) -> dict[str, dict[str, float]]:
    if not shares:
        return {}
    table = np.array(shares, dtype=np.float64).reshape(len(shares), len(classes))
    return {
        name: {
            "min": float(column.min()),
            "median": float(np.median(column)),
            "mean": float(column.mean()),
            "max": float(column.max()),
        }
        for name, column in zip(classes, table.T, strict=True)
    }
