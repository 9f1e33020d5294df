"""A full check of data: every sample is decoded once, and everything found is listed together."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from basrelief.data.histogram import Tally, show_shares, show_tally
from basrelief.data.leaks import Looks, find_leaks, leak_faults
from basrelief.data.look import Amounts, Look, look
from basrelief.data.pixels import COLOURS, PixelSums
from basrelief.data.planned_split import check_rule, describe_split, divide
from basrelief.data.source import SPLITS, DataOptions, Entry, Fault, Source

FEW_SAMPLES = 20  # below this the three splits hold next to nothing
SIZES_SHOWN = 12


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
    size_counts
        The most frequent sizes: "height", "width" and "count" of each.
    colour
        "image" and "background" -> "mean" and "std" of red, green and blue in [0, 1], "images" and "pixels". Over all
        pixels of all usable images at their own size, so that a larger image weighs more; the standard deviation is
        that of these pixels, divided by their number. Of backgrounds, each distinct one counts once.
    mask_mapping
        What the values of masks mean, in words; None where there is nothing to say.
    foreground
        Class -> "min", "median", "mean" and "max" of the share of known pixels that it covers.
    empty_masks
        Masks without a pixel of any class.
    mask_unknown_share, depth_unknown_share
        Share of pixels that are unknown; None without that target.
    depth_range
        Lowest and highest known depth, in the source's unit; None without depth.
    depth_middle
        The depths that 0.5 % and 99.5 % of the known pixels lie below, to a bin of the histogram; None without depth.
    histograms
        "foreground/CLASS" (share of known pixels, of each mask), "brightness" (mean luma in [0, 1] of each image) and
        "depth" (known pixels, in the source's unit; of large maps as many rows as hold 65,536 pixels, weighed
        accordingly) -> "edges" and "counts".
    duplicates
        Ids of samples whose decoded images are equal, a tuple for each such image.
    split
        What a study would make of the samples: "rule", "seed", "train", "val", "test", "left_out", "groups" and
        "notes"; or "reason", where it could not.
    near_duplicates, leaks
        As ``basrelief.data.leaks.find_leaks`` gives them.
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
    size_counts: tuple[Mapping[str, int], ...]
    colour: Mapping[str, Mapping[str, Any]]
    classes: tuple[str, ...]
    mask_mapping: str | None
    foreground: Mapping[str, Mapping[str, float]]
    empty_masks: int
    mask_unknown_share: float | None
    depth_unit: str | None
    depth_kind: str | None
    depth_range: tuple[float, float] | None
    depth_middle: tuple[float, float] | None
    depth_unknown_share: float | None
    histograms: Mapping[str, Mapping[str, Any]]
    duplicates: tuple[tuple[str, ...], ...]
    split: Mapping[str, Any]
    near_duplicates: Mapping[str, Any]
    leaks: Mapping[str, Any]
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts, numbers and strings, without NaN."""
        return dataclasses.asdict(self)


@dataclass
class _Sums:
    """What is added up over samples."""

    image: PixelSums = dataclasses.field(default_factory=PixelSums)
    background: PixelSums = dataclasses.field(default_factory=PixelSums)
    depth: Tally | None = None
    backgrounds: set[bytes] = dataclasses.field(default_factory=set)

    def add(self, found: Look, amounts: Amounts) -> None:
        self.image += amounts.image
        if found.background is not None and amounts.background is not None:
            if found.background not in self.backgrounds:
                self.background += amounts.background
            self.backgrounds.add(found.background)
        if amounts.depth is not None:
            self.depth = amounts.depth if self.depth is None else self.depth + amounts.depth


def inspect_source(
    source: Source,
    *,
    options: DataOptions | None = None,
    rule: str = "group",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Decode every sample of a source and report on it. Memory does not grow with the size of the images.

    Parameters
    ----------
    source
        From any format.
    options
        ``group_blocks`` and ``group_file`` say what belongs together.
    rule, seed
        Of the split that a study would make, as for ``basrelief.data.splits.split_store``.
    progress
        Called with (done, total) after each sample.

    Raises
    ------
    UsageError, DataError
        When the rule, or a file that it names, cannot be read.
    """
    options = options or DataOptions()
    check_rule(source.entries, options, rule, seed)  # a misspelt one is said at once
    sums = _Sums()
    looks: list[Look] = []
    for done, (found, amounts) in enumerate(_each(source), start=1):
        looks.append(found)
        if amounts is not None:
            sums.add(found, amounts)
        if progress is not None:
            progress(done, len(source.entries))
    usable = [found for found in looks if found.planes]
    masks = [found for found in usable if found.shares is not None]
    depths = [found for found in usable if "depth" in found.planes]
    shares = np.array([found.shares for found in masks], dtype=np.float64).reshape(len(masks), len(source.classes))
    sizes = sorted((found.size for found in usable), key=lambda size: (size[0] * size[1], size))
    duplicates = _duplicates(usable)
    empty = int(np.count_nonzero(~shares.any(axis=1)))
    split, reason = divide([found.entry for found in usable], [u.digest.hex() for u in usable], options, rule, seed)
    near, leaks = find_leaks(_to_compare(usable), split)
    # A file that both the listing and the decoding found broken counts once, as the decoding, which read it all, says.
    decoded = [fault for found in looks for fault in found.faults]
    told = {fault.file for fault in decoded if fault.fatal}
    listed = [fault for fault in source.faults if not (fault.fatal and fault.file in told)]
    faults = list(dict.fromkeys([*listed, *decoded]))
    faults += _leaks(source.entries, duplicates)
    faults += leak_faults(source.location, leaks, split.rule if split is not None else rule)
    faults += _faults_of_all(source, len(usable), len(masks), empty)
    ready = Counter(entry.split for entry in source.entries)
    return Inspection(
        format=source.format,
        location=source.location,
        samples=len(looks),
        usable=len(usable),
        planes=dict(Counter(plane for found in usable for plane in found.planes)),
        splits={name: ready[name] for name in SPLITS if ready[name]},
        sizes={"min": sizes[0], "median": sizes[len(sizes) // 2], "max": sizes[-1]} if sizes else {},
        size_counts=tuple(
            {"height": height, "width": width, "count": count}
            for (height, width), count in Counter(sizes).most_common(SIZES_SHOWN)
        ),
        colour=_colour(sums, len(usable)),
        classes=source.classes,
        mask_mapping=next((note for note in source.notes if note.startswith("Masks: ")), None),
        foreground=_foreground(source.classes, shares),
        empty_masks=empty,
        mask_unknown_share=float(np.mean([found.mask_unknown for found in masks])) if masks else None,
        depth_unit=source.depth_unit,
        depth_kind=source.depth_kind,
        depth_range=None if sums.depth is None else (sums.depth.low, sums.depth.high),
        depth_middle=None if sums.depth is None else (sums.depth.quantile(0.005), sums.depth.quantile(0.995)),
        depth_unknown_share=float(np.mean([found.depth_unknown for found in depths])) if depths else None,
        histograms=_histograms(source.classes, shares, usable, sums.depth),
        duplicates=duplicates,
        split={"reason": reason} if split is None else describe_split(split, seed),
        near_duplicates=near,
        leaks=leaks,
        notes=source.notes,
        faults=tuple(faults),
    )


def _each(source: Source) -> Iterator[tuple[Look, Amounts | None]]:
    """Yield what is found in the order of the entries, decoding a few samples ahead."""
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=workers) as pool:  # decoders let go of the interpreter lock
        ahead: deque[Future[tuple[Look, Amounts | None]]] = deque()
        for entry in source.entries:
            ahead.append(pool.submit(look, source, entry))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _to_compare(usable: Sequence[Look]) -> Looks:
    return Looks(
        entries=[found.entry for found in usable],
        digests=[found.digest for found in usable],
        backgrounds=[found.background for found in usable],
        hashes=np.array([found.hash or 0 for found in usable], dtype=np.uint64),
        colours=np.frombuffer(b"".join(found.colours for found in usable), dtype=np.uint8).reshape(
            len(usable), 3 * COLOURS**2
        ),
        hashed=np.array([found.hash is not None for found in usable], dtype=bool),
    )


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


def _duplicates(usable: Sequence[Look]) -> tuple[tuple[str, ...], ...]:
    same: dict[bytes, list[str]] = defaultdict(list)
    for found in usable:
        same[found.digest].append(found.entry.id)
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


def _colour(sums: _Sums, images: int) -> dict[str, dict[str, Any]]:
    planes = (("image", sums.image, images), ("background", sums.background, len(sums.backgrounds)))
    return {
        plane: {"mean": own.mean(), "std": own.deviation(), "images": count, "pixels": own.pixels}
        for plane, own, count in planes
        if own.pixels
    }


def _histograms(
    classes: Sequence[str], shares: np.ndarray, usable: Sequence[Look], depth: Tally | None
) -> dict[str, dict[str, Any]]:
    found = {f"foreground/{name}": show_shares(column) for name, column in zip(classes, shares.T, strict=True)}
    if not len(shares):
        found = {}
    if usable:
        found["brightness"] = show_shares([one.brightness for one in usable])
    if depth is not None:
        found["depth"] = show_tally(depth)
    return found


def _foreground(classes: Sequence[str], shares: np.ndarray) -> dict[str, dict[str, float]]:
    if not len(shares):
        return {}
    return {
        name: {
            "min": float(column.min()),
            "median": float(np.median(column)),
            "mean": float(column.mean()),
            "max": float(column.max()),
        }
        for name, column in zip(classes, shares.T, strict=True)
    }
