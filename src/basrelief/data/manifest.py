"""The format ``manifest``: a table with a line for each image, as CSV, TSV or Parquet.

::

    image,background,mask,depth,valid,group,split
    photos/1.jpg,empty.jpg,masks/1.png,,,room-1,train

Only ``image`` has to be there; a blank cell means that there is none. Paths start at the manifest's folder; absolute
ones, and such with ``..``, are followed, since whoever writes a manifest can read what it names. ``valid``
is a picture of the image's size, bright where mask and depth are known. Samples with the same ``group`` stay in one
split. A sample's id is its image's path without suffix.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from basrelief.batch import TARGETS, Sample
from basrelief.data.decode import FileError, read_mask_values
from basrelief.data.folder_facts import check_headers, depth_facts, point_out_unknown_depth, recognise_masks
from basrelief.data.folder_layout import SPLIT_NAMES, natural, writable
from basrelief.data.folder_load import Reading, load_entry
from basrelief.data.headers import is_lossy
from basrelief.data.manifest_table import COLUMNS, Line, is_manifest, read_table
from basrelief.data.source import SPLITS, DataOptions, Entry, Fault, Source
from basrelief.errors import DataError, suggest

FILES = ("image", "background", "mask", "depth", "valid")


def detect_manifest(location: str) -> bool:
    """Return whether this is a file of a manifest's type."""
    path = Path(location)
    return is_manifest(path) and path.is_file()


@dataclass
class _Findings:
    notes: list[str]
    faults: list[Fault]
    broken: dict[str, Fault]


def read_manifest(location: str, options: DataOptions) -> Source:
    """List a manifest.

    Raises
    ------
    DataError
        If it cannot be read as a table, lacks the column ``image``, names an image twice or an unknown split, leaves
        nothing to train on, or the masks' values have to be stated.
    UsageError
        If an option has a value that makes no sense.
    """
    path = Path(location)
    table = read_table(path)
    found = _Findings([], [], {})
    if table.ignored:
        found.notes.append(f"Columns left alone: {', '.join(table.ignored)}. Known are {', '.join(COLUMNS)}.")
    lines = []
    for line in table.lines:
        if "image" in line.cells:
            lines.append(line)
        elif line.cells:
            found.faults.append(Fault(line.at, "names no image", "Name one, or remove the line"))
    splits = _splits(path, lines, found.notes)
    names = _names(path, lines)
    entries = [_entry(path.parent, line, names[i], splits[i], found) for i, line in enumerate(lines)]
    entries = sorted(_with_targets(entries, lines, found), key=lambda entry: natural(entry.id))
    entries = _use_backgrounds(entries, options, found)
    check_headers(entries, found.broken)
    found.faults += found.broken.values()
    usable = [entry for entry in entries if entry.id not in found.broken]
    if not usable:
        listed = "".join(f"\n  {fault}" for fault in dict.fromkeys(found.faults[:10]))
        expected = "Expected lines with an image and its mask or depth map"
        raise DataError(f"{location}: none of its {len(table.lines)} lines can be used. {expected}.{listed}")

    mapping = unit = kind = None
    if masks := [entry.planes["mask"] for entry in usable if "mask" in entry.planes]:
        mapping = recognise_masks(masks, path.parent, options, found.faults)
        found.notes.append(mapping.says)
    if depths := [entry.planes["depth"] for entry in usable if "depth" in entry.planes]:
        unit, kind = depth_facts(depths[0].parent.name, options, found.notes)
        point_out_unknown_depth(depths, options, found.faults)
    reading = Reading(
        mapping, options.depth_scale or 1.0, tuple(options.depth_invalid), options.depth_max, found.broken
    )
    return Source(
        format="manifest",
        location=location,
        entries=tuple(entries),
        targets=tuple(target for target in TARGETS if any(target in entry.planes for entry in usable)),
        load=partial(_load, reading),
        classes=mapping.classes if mapping else (),
        background=all("background" in entry.planes for entry in usable),
        depth_unit=unit,
        depth_kind=kind,
        notes=tuple(found.notes),
        faults=tuple(dict.fromkeys(found.faults)),
        reading=reading.words,
    )


def _splits(path: Path, lines: Sequence[Line], notes: list[str]) -> list[str | None]:
    """Return each line's split, in our spelling."""
    splits: list[str | None] = []
    for line in lines:
        stated = line.cells.get("split")
        if stated is not None and stated.lower() not in SPLIT_NAMES:
            near = suggest(stated.lower(), SPLIT_NAMES)
            raise DataError(f"{line.at}: the split {stated!r} is not known.{near} Expected one of {', '.join(SPLITS)}.")
        splits.append(None if stated is None else SPLIT_NAMES[stated.lower()])
    blank = splits.count(None)
    if 0 < blank < len(splits):
        notes.append(f"{blank} lines of {path.name} state no split, and others do: these are left out of all splits.")
    return splits


def _names(path: Path, lines: Sequence[Line]) -> list[str]:
    """Return each line's id: its image's path without suffix, or with it where x.jpg and x.png are both there."""
    images = [_posix(path.parent, line.cells["image"]) for line in lines]
    named: dict[str, list[int]] = defaultdict(list)
    for i, image in enumerate(images):
        named[image].append(i)
    twice = {image: where for image, where in named.items() if len(where) > 1}
    if twice:
        image, where = next(iter(twice.items()))
        places = ", ".join(lines[i].place for i in where[:5]) + (", …" if len(where) > 5 else "")
        others = f"; so are {len(twice) - 1} more images" if len(twice) > 1 else ""
        raise DataError(
            f"{path}: the image {image} is named {len(where)} times, in {places}{others}. Expected one line for each "
            "image; remove the others, or copy the image under another name."
        )
    short = [str(PurePosixPath(image).with_suffix("")) for image in images]
    count = Counter(short)
    return [image if count[name] > 1 else name for image, name in zip(images, short, strict=True)]


def _entry(folder: Path, line: Line, name: str, split: str | None, found: _Findings) -> Entry:
    """Return a line as an entry; a file that is not there makes it one that cannot be used."""
    planes: dict[str, Path] = {}
    for plane in FILES:
        if plane not in line.cells:
            continue
        planes[plane] = folder / _posix(folder, line.cells[plane])
        if name not in found.broken and not planes[plane].is_file():
            problem = f"names the {plane} {line.cells[plane]!r}, which is not there"
            if planes[plane].is_dir():
                problem = f"names the {plane} {line.cells[plane]!r}, which is a folder"
            remedy = f"Correct the path, which starts at {folder}, or remove the line"
            found.broken[name] = Fault(line.at, problem, remedy)
    return Entry(name, planes, line.cells.get("group"), split=split)


def _posix(folder: Path, stated: str) -> str:
    """Return a path as written, in one spelling; with backslashes only where a file has them in its name."""
    if "\\" in stated and not (folder / stated).exists():
        stated = stated.replace("\\", "/")
    return str(PurePosixPath(stated))


def _with_targets(entries: Sequence[Entry], lines: Sequence[Line], found: _Findings) -> list[Entry]:
    kept = []
    for entry, line in zip(entries, lines, strict=True):
        if any(target in entry.planes for target in TARGETS):
            kept.append(entry)
        else:
            found.broken.pop(entry.id, None)
            problem = "has neither mask nor depth map and is left out"
            found.faults.append(Fault(line.at, problem, "Name one if it should be used", fatal=False))
    return kept


def _use_backgrounds(entries: list[Entry], options: DataOptions, found: _Findings) -> list[Entry]:
    """Leave backgrounds out unless they are wanted and every entry has one; a shared one makes a group."""
    lacking = [entry for entry in entries if "background" not in entry.planes]
    if len(lacking) == len(entries):
        return entries
    shared = Counter(entry.planes.get("background") for entry in entries)
    if None in shared or len(shared) > 1:  # one that serves all would leave nothing to split
        entries = [
            replace(entry, group=writable(str(path)))
            if entry.group is None and (path := entry.planes.get("background")) is not None and shared[path] > 1
            else entry
            for entry in entries
        ]
    if options.background and not lacking:
        return entries
    if lacking and options.background:
        listed = ", ".join(entry.id for entry in lacking[:3]) + (", …" if len(lacking) > 3 else "")
        found.notes.append(f"Backgrounds are not used: {len(lacking)} of {len(entries)} lines have none ({listed}).")
    else:
        found.notes.append("Backgrounds are there and are not used, as asked for.")
    return [
        replace(entry, planes={plane: path for plane, path in entry.planes.items() if plane != "background"})
        for entry in entries
    ]


def _load(reading: Reading, entry: Entry) -> Sample:
    sample = load_entry(reading, entry)
    if "valid" not in entry.planes:
        return sample
    valid = _read_valid(entry.planes["valid"], sample.image.shape[:2], entry.planes)
    known = sample.mask_valid
    if sample.mask is not None:
        known = valid if known is None else known & valid
    depth = sample.depth
    if depth is not None:
        rows, columns = (np.arange(n) * m // n for n, m in zip(depth.shape, valid.shape, strict=True))
        depth = np.where(valid[rows[:, None], columns], depth, np.float32(np.nan))
    return replace(sample, mask_valid=known, depth=depth)


def _read_valid(path: Path, size: tuple[int, ...], files: Mapping[str, Path]) -> np.ndarray:
    """Return where targets are known, bool (H, W): above half of the brightest, so that 0/1 and 0/255 both work."""
    values = read_mask_values(path)
    if values.ndim != 2:
        raise FileError(str(path), "holds colours; bright where known, dark elsewhere, was expected", "Save it as grey")
    if values.shape != size:
        problem = f"is {values.shape[1]} × {values.shape[0]} pixels, and its image {files['image'].name} is "
        raise FileError(str(path), f"{problem}{size[1]} × {size[0]}", "Save both with one size, without smoothing")
    # Noise of a lossy file that is dark all over is not bright.
    brightest = 255 if is_lossy(path) else int(values.max(initial=0))
    return values > brightest / 2
