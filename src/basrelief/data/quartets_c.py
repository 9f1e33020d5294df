"""The format ``quartets-c``: zip archives, read where they lie, and ``labels.txt`` that says what belongs together.

::

    root/data_part1.zip, root/data_part2.zip, …    each holding data_1/Fg-Bg, data_1/Fg-Bg-Mask, data_1/Depth
    root/Background/*.jpg                          beside the archives, or in one of them
    root/labels.txt                                likewise: background, foreground, composite, mask, depth; by tabs

``root`` may also be one archive. Folders are known by their names in any letter case, at any depth in an archive.
Folders already unpacked beside ``labels.txt`` are read as well, unless an archive holds them.
"""

from __future__ import annotations

import functools
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from basrelief.batch import TARGETS
from basrelief.data.archive import Member, Stored, list_archive
from basrelief.data.folder_layout import natural, plain_name, scan
from basrelief.data.quartets import Findings, find_root, source_of
from basrelief.data.quartets_list import at_most, read_lines, rows_of, shelve
from basrelief.data.source import DataOptions, Fault, Source
from basrelief.errors import DataError

LIST = "labels.txt"
COLUMNS = ("background", "foreground", "image", "mask", "depth")
FOLDERS = {"background": "Background", "image": "Fg-Bg", "mask": "Fg-Bg-Mask", "depth": "Depth"}
_PLANES = {plain_name(name): plane for plane, name in FOLDERS.items()}
_EXPECTED = (
    "Expected zip archives holding Fg-Bg, Fg-Bg-Mask and Depth, a folder Background, and labels.txt naming background, "
    "foreground, composite, mask and depth, separated by tabs"
)


def detect_quartets_c(location: str) -> bool:
    """Return whether a folder, or an archive, holds composites in ``Fg-Bg`` as layout C names them."""
    path = Path(location)
    if path.is_file():
        return _is_zip(path) and _may_hold_composites(path, if_damaged=True)
    try:
        root = find_root(location)
        folders, files = scan(root)
        if any(_is_zip(file) and _may_hold_composites(file) for file in files):
            return True
        return any(file.name.lower() == LIST for file in files) and any("image" in _roles(f) for f in folders)
    except (DataError, OSError):
        return False


def read_quartets_c(location: str, options: DataOptions) -> Source:
    """List archives in layout C. Nothing is unpacked to disk.

    Raises
    ------
    DataError
        If an archive is damaged or a bomb, ``labels.txt`` is missing, or nothing can be used.
    UsageError
        If an option has a value that makes no sense.
    """
    found = Findings()
    alone = Path(location).is_file()
    root = Path(location).parent if alone else find_root(location)
    folders, beside = scan(root)
    archives = [Path(location)] if alone else sorted(filter(_is_zip, beside), key=lambda path: natural(path.name))
    refused: list[Fault] = []
    members = [member for path in archives for member in list_archive(path, refused)]
    found.faults += at_most(refused, f"{location}: {{}} more members are turned away")
    files, others = _sort(members)
    zipped = set(files)
    for folder in folders:
        for plane, inner in _roles(folder).items():
            if plane in zipped:
                found.notes.append(
                    f"{FOLDERS[plane]} is read from the archives; {inner.name}/ beside them is left alone."
                )
            else:
                files.setdefault(plane, []).extend(scan(inner)[1])
    if not files.get("image") or not any(files.get(target) for target in TARGETS):
        there = ", ".join(sorted(f"{FOLDERS[plane]}/" for plane in files)) or f"{len(others)} other files"
        listed = "".join(f"\n  {fault}" for fault in found.faults[:5])
        raise DataError(
            f"{location} lacks composites, or both masks and depth maps (found: {there}). {_EXPECTED}.{listed}"
        )
    named = _find_list(location, beside, others)
    where = str(named)
    data = named.fetch().data if isinstance(named, Member) else named.read_bytes()
    lines = read_lines(data, where, COLUMNS, found.faults)
    shelves = {
        plane: shelve(f"{FOLDERS[plane]}/", files[plane])
        for plane in FOLDERS
        if files.get(plane) and (plane != "background" or options.background)
    }
    if lacking := [name for plane, name in FOLDERS.items() if not files.get(plane)]:
        found.notes.append(f"Without {', '.join(lacking)}: not there, or empty.")
    if files.get("background") and not options.background:
        found.notes.append("Backgrounds are there and are not used, as asked for.")
    foregrounds = len({cells[1] for _, cells in lines})
    if foregrounds < len(lines):
        found.notes.append(f"{foregrounds} foregrounds recur in {len(lines)} composites.")
    rows = rows_of(lines, COLUMNS, where, shelves, found)
    del members, files, others, lines, shelves, data  # all that the rows do not hold
    listed_in = named.archive if isinstance(named, Member) else named
    return source_of("quartets-c", location, root, rows, options, found, listed_in)


def _sort(members: Sequence[Member]) -> tuple[dict[str, list[Stored]], list[Member]]:
    """Return the members by plane, as their folder says, and the others."""
    files: dict[str, list[Stored]] = defaultdict(list)
    others: list[Member] = []
    for member in members:
        if plane := _plane_of(member.inside):
            files[plane].append(member)
        else:
            others.append(member)
    return dict(files), others


def _plane_of(name: str) -> str | None:
    return _plane_called(name.rpartition("/")[0].rpartition("/")[2])


@functools.lru_cache(maxsize=256)
def _plane_called(folder: str) -> str | None:
    """Return the plane of a folder's name; hundreds of thousands of members lie in a few folders."""
    return _PLANES.get(plain_name(folder))


def _roles(folder: Path) -> dict[str, Path]:
    """Return plane -> folder for a folder of one plane, or for one such as data_1 that holds them."""
    if plane := _PLANES.get(plain_name(folder.name)):
        return {plane: folder}
    inner = ((_PLANES.get(plain_name(path.name)), path) for path in scan(folder)[0])
    return {plane: path for plane, path in inner if plane}


def _find_list(location: str, beside: Sequence[Path], others: Sequence[Member]) -> Stored:
    """Return ``labels.txt`` from the folder, or else from the archives."""
    lists: list[Stored] = [file for file in beside if file.name.lower() == LIST]
    lists = lists or [member for member in others if member.name.lower() == LIST]
    if not lists:
        raise DataError(f"{location} has no {LIST}, neither beside the archives nor in them. {_EXPECTED}.")
    if len(lists) > 1:
        raise DataError(
            f"{location} has several lists: {lists[0]} and {lists[1]}. Expected one {LIST}; put it beside the archives."
        )
    return lists[0]


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _may_hold_composites(path: Path, *, if_damaged: bool = False) -> bool:
    """Return whether an archive has a folder Fg-Bg, or cannot be looked into and is asked for or named as one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(_plane_of(name.replace("\\", "/")) == "image" for name in archive.namelist())
    except Exception:  # damaged: reading it says so better than a format that expects folders
        return if_damaged or plain_name(path.stem).startswith("datapart")
