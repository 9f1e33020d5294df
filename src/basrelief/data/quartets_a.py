"""The format ``quartets-a``: four folders, and ``file_map.txt`` that says which files belong together.

::

    root/bg/*.jpeg  root/bg_fg/*.jpeg  root/bg_fg_mask/*.jpeg  root/bg_fg_depth_map/*.jpeg
    root/file_map.txt    names without suffix: background, composite, mask, depth map; separated by tabs

Folders may be spelt in any letter case, images be of any usual type. Masks or depth maps may be absent as a whole, and
so may backgrounds.
"""

from __future__ import annotations

from pathlib import Path

from basrelief.batch import TARGETS
from basrelief.data.folder_layout import plain_name, scan
from basrelief.data.quartets import Findings, find_root, source_of
from basrelief.data.quartets_list import Shelf, read_lines, rows_of, shelve
from basrelief.data.source import DataOptions, Source
from basrelief.errors import DataError

LIST = "file_map.txt"
COLUMNS = ("background", "image", "mask", "depth")
FOLDERS = {"background": "bg", "image": "bg_fg", "mask": "bg_fg_mask", "depth": "bg_fg_depth_map"}
_EXPECTED = "Expected the folders bg, bg_fg, bg_fg_mask and bg_fg_depth_map beside file_map.txt"


def detect_quartets_a(location: str) -> bool:
    """Return whether a folder holds ``file_map.txt`` and composites in ``bg_fg``."""
    try:
        folders, files = scan(find_root(location))
    except (DataError, OSError):
        return False
    return any(file.name.lower() == LIST for file in files) and any(_is(folder, "image") for folder in folders)


def read_quartets_a(location: str, options: DataOptions) -> Source:
    """List a folder in layout A.

    Raises
    ------
    DataError
        If a folder or ``file_map.txt`` is missing, or nothing in it can be used.
    UsageError
        If an option has a value that makes no sense.
    """
    root, found = find_root(location), Findings()
    folders, files = scan(root)
    shelves: dict[str, Shelf] = {}
    for plane in COLUMNS:
        if here := next((folder for folder in folders if _is(folder, plane)), None):
            shelf = shelve(f"{here.name}/", scan(here)[1])
            if shelf.files:
                shelves[plane] = shelf
    names = next((file for file in files if file.name.lower() == LIST), None)
    if names is None:
        raise DataError(f"{location} has no {LIST}. {_EXPECTED}.")
    if "image" not in shelves or not any(target in shelves for target in TARGETS):
        there = ", ".join(shelf.title for shelf in shelves.values())
        raise DataError(
            f"{location} lacks images ({f'there are only {there}' if there else 'no folder has any'}). {_EXPECTED}."
        )
    lacking = [FOLDERS[plane] for plane in COLUMNS if plane not in shelves]
    if lacking:
        found.notes.append(f"Without {', '.join(lacking)}: not there, or empty.")
    if "background" in shelves and not options.background:
        found.notes.append("Backgrounds are there and are not used, as asked for.")
        del shelves["background"]
    found.notes.append(f"{LIST} does not name the foregrounds, which may recur in train, val and test.")
    lines = read_lines(names.read_bytes(), str(names), COLUMNS, found.faults)
    rows = rows_of(lines, COLUMNS, str(names), shelves, found)
    return source_of("quartets-a", location, root, rows, options, found)


def _is(folder: Path, plane: str) -> bool:
    return plain_name(folder.name) == plain_name(FOLDERS[plane])
