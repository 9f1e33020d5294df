"""One sample, decoded once: what is kept of it, what is added up and dropped, and what is strange about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from basrelief.batch import Sample
from basrelief.data.decode import FileError, highest_in_16_bits, read_depth
from basrelief.data.headers import frames_of
from basrelief.data.histogram import Tally, tally
from basrelief.data.near import perceptual_hash
from basrelief.data.pixels import PixelSums, measure
from basrelief.data.source import Entry, Fault, Source
from basrelief.errors import DataError

DARK_16_BIT = 4096  # a 16-bit image below this was meant to be read with fewer bits


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of a sample.

    Attributes
    ----------
    planes
        Those that it has; empty where it cannot be used.
    digest, background
        Of the decoded image and background: equal for equal ones.
    hash
        Perceptual hash of the image; None for one without contrast.
    colours
        uint8 (8, 8, 3) as bytes, the image in small.
    shares
        Share of the known pixels of each class; None without a mask.
    """

    entry: Entry
    faults: tuple[Fault, ...] = ()
    planes: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    digest: bytes = b""
    background: bytes | None = None
    hash: int | None = None
    colours: bytes = b""
    brightness: float = 0.0
    shares: tuple[float, ...] | None = None
    mask_unknown: float = 0.0
    depth_unknown: float = 0.0


@dataclass(frozen=True, slots=True)
class Amounts:
    """What is added up over samples."""

    image: PixelSums
    background: PixelSums | None
    depth: Tally | None


def look(source: Source, entry: Entry) -> tuple[Look, Amounts | None]:
    """Decode a sample; one that cannot be decoded is a fault without planes."""
    try:
        sample = source.load(entry)
    except FileError as error:
        return Look(entry, (error.fault,)), None
    except DataError as error:
        return Look(entry, (Fault(entry.id, str(error).rstrip("."), "Mend it, or remove it"),)), None
    image = measure(sample.image)
    background = None if sample.background is None else measure(sample.background)
    shares, mask_unknown = _shares(sample)
    depth, depth_unknown = _depth(sample)
    found = Look(
        entry,
        faults=tuple(_faults_of(entry, sample)),
        planes=tuple(p for p in ("image", "background", "mask", "depth") if getattr(sample, p) is not None),
        size=(sample.image.shape[0], sample.image.shape[1]),
        digest=image.digest,
        background=None if background is None else background.digest,
        hash=perceptual_hash(image.grey),
        colours=image.colours.tobytes(),
        brightness=image.sums.brightness(),
        shares=shares,
        mask_unknown=mask_unknown,
        depth_unknown=depth_unknown,
    )
    return found, Amounts(image.sums, None if background is None else background.sums, depth)


def _shares(sample: Sample) -> tuple[tuple[float, ...] | None, float]:
    """Return each class's share of the known pixels, and the share of unknown ones."""
    if sample.mask is None:
        return None, 0.0
    planes = np.ascontiguousarray(sample.mask).view(np.bool_)  # 0 and 1 as they are
    pixels = planes[0].size if len(planes) else 1
    known = pixels if sample.mask_valid is None else int(np.count_nonzero(sample.mask_valid))
    if sample.mask_valid is not None:
        planes = planes & sample.mask_valid
    return tuple(int(np.count_nonzero(plane)) / max(1, known) for plane in planes), 1 - known / pixels


def _depth(sample: Sample) -> tuple[Tally | None, float]:
    if sample.depth is None:
        return None, 0.0
    return tally(sample.depth), 1 - int(np.count_nonzero(np.isfinite(sample.depth))) / sample.depth.size


def _faults_of(entry: Entry, sample: Sample) -> Iterator[Fault]:
    """Yield what can be used and is nevertheless strange."""
    image = entry.planes.get("image")
    if image is not None:
        highest = highest_in_16_bits(image)
        if highest is not None and highest < DARK_16_BIT:
            read = "it is read as 8-bit data" if highest < 256 else "the image is nearly black"
            problem = f"is a 16-bit file whose highest value is {highest}; up to 65535 was expected, so {read}"
            yield Fault(str(image), problem, "Save it with 8 bits, or with values over the full 16", fatal=False)
    for plane, file in entry.planes.items():
        if (frames := frames_of(file)) > 1:
            problem = f"holds {frames} pictures, as an animation or a stack; the first one is taken as the {plane}"
            yield Fault(str(file), problem, "Save each picture that is meant as a file of its own", fatal=False)
    if sample.mask_valid is not None and not sample.mask_valid.any():
        mask = str(entry.planes.get("mask", entry.id))
        yield Fault(mask, "is unknown everywhere", "Mend it, or remove it", fatal=False)
    depth = entry.planes.get("depth")
    if sample.depth is not None:
        if depth is not None and _may_hold_nan(depth) and np.isnan(sample.depth).any():
            stored = read_depth(depth)
            count = int(np.count_nonzero(~np.isfinite(stored)))
            if count:
                problem = f"holds NaN or infinity at {count} of {stored.size} pixels, which count as unknown"
                yield Fault(str(depth), problem, "Export it again if these should be known", fatal=False)
        if (sample.depth < 0).any():
            problem = "holds negative depth, where distances are expected"
            yield Fault(str(depth or entry.id), problem, "If it means unknown, say so with --depth-invalid")


def _may_hold_nan(path: Path) -> bool:
    return path.suffix.lower() in (".npy", ".pfm", ".exr", ".tif", ".tiff")
