"""What the three layouts of quartets share: background, composite, mask and depth of one scene, as one sample.

A layout says which files belong together (its rows); from there on all of them are checked, recognised and loaded as
the format ``folder`` does it. Every background stands in many composites, so a background is a group: a split by
group keeps it on one side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from basrelief.batch import TARGETS, Sample
from basrelief.data.archive import Member, Stored, fetched
from basrelief.data.decode import FileError
from basrelief.data.folder_facts import (
    HEADERS_READ,
    depth_facts,
    header_fault,
    point_out_unknown_depth,
    recognise_masks,
    spread,
)
from basrelief.data.folder_layout import natural, scan
from basrelief.data.folder_load import Reading, load_files
from basrelief.data.source import DataOptions, Entry, Fault, Near, Source
from basrelief.errors import DataError

PLANES = ("image", "background", *TARGETS)


class Row(NamedTuple):
    """One composite and the files that belong to it, plane by plane; ``fault`` says why it cannot be used."""

    id: str
    background: str
    files: Mapping[str, Stored]
    fault: Fault | None = None
    foreground: str | None = None


@dataclass(frozen=True, slots=True)
class PackedEntry(Entry):
    """A composite of whose files some lie in archives; ``files`` are those of ``PLANES``, in that order."""

    files: tuple[Stored | None, ...] = ()


@dataclass
class Findings:
    """What reading a layout has to say."""

    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def find_root(location: str) -> Path:
    """Return the folder that holds a layout: the one named, or its only folder, as archives often unpack to.

    Raises
    ------
    DataError
        If it is not there or no folder.
    """
    root = Path(location)
    if not root.is_dir():
        raise DataError(
            f"{location} is {'no folder' if root.exists() else 'not there'}. Expected a folder of quartets; check the "
            "path."
        )
    folders, files = scan(root)
    return folders[0] if len(folders) == 1 and not files else root


def source_of(
    form: str,
    location: str,
    root: Path,
    rows: Sequence[Row],
    options: DataOptions,
    found: Findings,
    listed_in: Path | None = None,
) -> Source:
    """Check rows of files and return them as a source.

    Parameters
    ----------
    form
        The format's name.
    location, root
        What the user called the data, and the folder where a classes file may lie.
    rows
        With different ids.
    options
        As given.
    found
        What the layout noted so far.
    listed_in
        The file that says what belongs together, where rows are members of archives.

    Raises
    ------
    DataError
        If no row can be used, or the masks' values have to be stated.
    UsageError
        If an option has a value that makes no sense.
    """
    rows = sorted(rows, key=lambda row: natural(row.id))
    broken = {row.id: row.fault for row in rows if row.fault}
    _check_headers(rows, broken)
    found.faults += broken.values()
    usable = [row for row in rows if row.id not in broken]
    if not usable:
        listed = "".join(f"\n  {fault}" for fault in dict.fromkeys(found.faults[:10]))
        raise DataError(f"{location}: none of its {len(rows)} quartets can be used.{listed}")
    targets = tuple(target for target in TARGETS if any(target in row.files for row in usable))
    if not targets:
        raise DataError(f"{location} holds neither masks nor depth maps. Expected one of them for each composite.")
    mapping = unit = kind = None
    if "mask" in targets:
        mapping = recognise_masks(
            [row.files["mask"] for row in usable if "mask" in row.files], root, options, found.faults
        )
        found.notes.append(mapping.says)
    if "depth" in targets:
        unit, kind = depth_facts("depth", options, found.notes)
        if unit:  # depth without unit comes from a network, which fills its whole range: 0 and 255 are known there
            depths = [row.files["depth"] for row in usable if "depth" in row.files]
            point_out_unknown_depth(depths, options, found.faults)
    groups = Counter(row.background for row in rows)
    few, many = min(groups.values()), max(groups.values())
    each = f"{few}" if few == many else f"{few} to {many}"
    found.notes.append(f"Grouped by background: {len(groups)} backgrounds, composites of each: {each}.")
    reading = Reading(mapping, options.depth_scale or 1.0, tuple(options.depth_invalid), options.depth_max, broken)
    return Source(
        format=form,
        location=location,
        entries=_entries(rows, listed_in),
        targets=targets,
        load=partial(_load, reading),
        load_near=partial(_load_at, reading),
        classes=mapping.classes if mapping else (),
        background=all("background" in row.files for row in usable),
        depth_unit=unit,
        depth_kind=kind,
        notes=tuple(found.notes),
        faults=tuple(dict.fromkeys(found.faults)),
        reading=reading.words,
    )


def _entries(rows: Sequence[Row], listed_in: Path | None) -> tuple[Entry, ...]:
    """Return rows as entries. Where the files are members of few archives, entries share what is equal in them."""
    shared: dict[tuple[object, ...], dict[str, Path]] = {}
    entries: list[Entry] = []
    for row in rows:
        if any(isinstance(file, Member) for file in row.files.values()):
            places = tuple(
                (plane, file.archive if isinstance(file, Member) and plane != "background" else file)
                for plane, file in row.files.items()
            )
            planes = shared.get(places) or shared.setdefault(places, _on_disk(row.files, listed_in))
            files = tuple(row.files.get(plane) for plane in PLANES)
            entries.append(PackedEntry(row.id, planes, row.background, row.foreground, files=files))
        else:
            paths = {plane: file for plane, file in row.files.items() if isinstance(file, Path)}
            entries.append(Entry(row.id, paths, row.background, row.foreground))
    return tuple(entries)


def _load(reading: Reading, entry: Entry) -> Sample:
    return _load_at(reading, entry, None).sample


def _load_at(reading: Reading, entry: Entry, resolution: tuple[int, int] | None) -> Near:
    if entry.id in reading.broken:
        return load_files(reading, entry.id, {})  # raises
    if not isinstance(entry, PackedEntry):
        return load_files(reading, entry.id, entry.planes, resolution)
    found = zip(PLANES, entry.files, strict=True)
    files = {plane: fetched(file) for plane, file in found if file is not None and plane in entry.planes}
    return load_files(reading, entry.id, files, resolution)


def _on_disk(files: Mapping[str, Stored], listed_in: Path | None) -> dict[str, Path]:
    """Return plane -> the file that changes when the plane does: a member's archive.

    A background in an archive keeps its own name, since entries that name the same background share it, and has its
    archive beside it. The list is named as well where archives hide which of their members are meant.
    """
    paths: dict[str, Path] = {}
    for plane, file in files.items():
        if isinstance(file, Path):
            paths[plane] = file
        elif plane == "background":
            paths |= {plane: Path(str(file)), "background_archive": file.archive}
        else:
            paths[plane] = file.archive
    if listed_in:
        paths["list"] = listed_in
    return paths


def _check_headers(rows: Sequence[Row], broken: dict[str, Fault]) -> None:
    backgrounds: dict[Path, tuple[int, int]] = {}
    for row in spread(rows, HEADERS_READ):
        if row.id in broken:
            continue
        try:
            fault = header_fault({plane: fetched(file) for plane, file in row.files.items()}, backgrounds)
        except FileError as error:
            fault = error.fault
        if fault:
            broken[row.id] = fault
