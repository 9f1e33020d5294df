"""Lists of names that say which files make a quartet, as layouts A and C have them: one composite a line.

A name is looked up among the files that are there and never used as a path, so a list cannot point anywhere else.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from basrelief.data.archive import Stored
from basrelief.data.decode import ARRAY_SUFFIXES, IMAGE_SUFFIXES
from basrelief.data.folder_layout import composed, plain_name
from basrelief.data.quartets import Findings, Row
from basrelief.data.source import Fault
from basrelief.errors import DataError

SHOWN = 20  # faults of one kind that are listed one by one
_SUFFIXES = IMAGE_SUFFIXES | ARRAY_SUFFIXES
_SEPARATORS = {",": "commas", ";": "semicolons", "|": "bars", " ": "spaces"}
_TITLES = (
    "bg background backgrounds fg foreground foregrounds image composite bgfg fgbg mask bgfgmask fgbgmask depth "
    "depthmap bgfgdepth fgbgdepth bgfgdepthmap fgbgdepthmap"
)


class Shelf(NamedTuple):
    """The files of one plane: what messages call the place, and the files by their names without suffix."""

    title: str
    files: Mapping[str, list[Stored]]


def shelve(title: str, files: Iterable[Stored]) -> Shelf:
    """Sort files by name."""
    found: dict[str, list[Stored]] = {}
    for file in files:
        stem, suffix = posixpath.splitext(file.name)
        if suffix.lower() in _SUFFIXES:
            if together := found.get(stem := composed(stem)):
                together.append(file)
            else:
                found[stem] = [file]  # of the one that it will hold, and no larger
    return Shelf(title, found)


def read_lines(data: bytes, where: str, columns: Sequence[str], faults: list[Fault]) -> list[tuple[int, list[str]]]:
    """Return the lines of a list as (number, cells); lines with other columns become faults.

    Parameters
    ----------
    data
        The file's bytes: UTF-8, lines ended in any system's way, cells separated by tabs. A line of titles is left out.
    where
        Named in messages.
    columns
        What the cells are.
    faults
        Added to.

    Raises
    ------
    DataError
        If it is no such list.
    """
    expected = f"Expected {len(columns)} columns separated by tabs: {', '.join(columns)}"
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is no UTF-8 text ({error}). {expected}; save it as UTF-8.") from None
    good: list[tuple[int, list[str]]] = []
    bad: list[Fault] = []
    known: dict[str, str] = {}  # backgrounds and foregrounds recur; each is kept once
    first = ""
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if not line.strip():
            continue
        first = first or line
        cells = [composed(cell.strip()) for cell in line.rstrip("\t ").split("\t")]
        if len(cells) != len(columns):
            problem = f"has {len(cells)} column{'s' * (len(cells) != 1)}"
            bad.append(Fault(f"{where} line {number}", problem, expected))
        elif not all(cells):
            empty = ", ".join(column for column, cell in zip(columns, cells, strict=True) if not cell)
            bad.append(Fault(f"{where} line {number}", f"names no {empty}", expected))
        elif good or not all(plain_name(cell) in _TITLES.split() for cell in cells):
            good.append((number, [known.setdefault(cell, cell) for cell in cells[:2]] + cells[2:]))
    if not good:
        other = next((name for mark, name in _SEPARATORS.items() if first.count(mark) >= len(columns) - 1), "")
        found = (
            f"the first line is {first[:80]!r}{f', separated by {other}' if other else ''}" if first else "it is empty"
        )
        raise DataError(f"{where} lists no quartet: {found}. {expected}.")
    faults += at_most(bad, f"{where}: {{}} more lines have other columns")
    return good


def rows_of(
    lines: Sequence[tuple[int, list[str]]],
    columns: Sequence[str],
    where: str,
    shelves: Mapping[str, Shelf],
    found: Findings,
) -> list[Row]:
    """Look up the files of every line.

    A line of which nothing but the background is there, as where parts of the data were not downloaded, is left out
    and counted. A line of which something is missing becomes a row that cannot be used.

    Parameters
    ----------
    lines, columns, where
        As ``read_lines`` takes and returns them; the columns are planes, the composite's being "image". Others do not
        matter here.
    shelves
        Plane -> its files, for the planes that are to be used.
    found
        Added to.
    """
    rows: dict[str, tuple[int, Row]] = {}
    absent: list[Fault] = []
    known: dict[str, str] = {}
    for number, cells in lines:
        names = dict(zip(columns, cells, strict=True))
        at = f"{where} line {number}"
        files: dict[str, Stored] = {}
        fault: Fault | None = None
        for plane, shelf in shelves.items():
            hits = _find(names[plane], shelf)
            if len(hits) == 1:
                files[plane] = hits[0]
            else:
                fault = fault or _unclear(at, plane, names[plane], shelf, hits)
        if fault and not any(plane != "background" and _find(names[plane], shelf) for plane, shelf in shelves.items()):
            problem = f"is left out: none of the files of {names['image']!r} is there"
            absent.append(Fault(at, problem, "Add them if they should be used", fatal=False))
            continue
        background, foreground = (
            known.setdefault(name, name)
            for name in (_without_suffix(names.get(key, "")) for key in ("background", "foreground"))
        )
        row = Row(_without_suffix(names["image"]), background, files, fault, foreground or None)
        earlier, first = rows.setdefault(row.id, (number, row))
        if first is not row:
            same = first.files == row.files
            problem = f"names the composite {row.id!r}, as line {earlier} does{', with the same files' * same}"
            remedy = "Remove one of the lines"
            found.faults.append(Fault(at, problem, remedy, fatal=not same))
            if not same:  # which of them is right cannot be told
                rows[row.id] = (earlier, first._replace(fault=first.fault or Fault(at, problem, remedy)))
    found.faults += at_most(absent, f"{where}: {{}} more lines are left out, since none of their files is there")
    if not rows:
        listed = "".join(f"\n  {fault}" for fault in absent[:3])
        raise DataError(f"{where}: none of the files that it names is there.{listed}")
    _note_unlisted(rows.values(), shelves, where, found)
    return [row for _, row in rows.values()]


def at_most(faults: Sequence[Fault], more: str) -> Iterator[Fault]:
    """Yield some faults one by one, and the rest as one; ``more`` says so, with their number in braces."""
    yield from faults[:SHOWN]
    if len(faults) > SHOWN:
        last = faults[-1]
        yield Fault(
            more.format(len(faults) - SHOWN), f"the last is {last.file.rpartition(' ')[2]}", last.remedy, last.fatal
        )


def _find(name: str, shelf: Shelf) -> list[Stored]:
    """Return the files that a name means: without suffix, with one, or with folders."""
    path = name.replace("\\", "/")
    last = posixpath.basename(path)
    hits = shelf.files.get(name) or shelf.files.get(last) or shelf.files.get(_without_suffix(last)) or []
    if len(hits) > 1:
        exact = [hit for hit in hits if composed(str(hit)).endswith(f"/{path}")]
        return exact if len(exact) == 1 else hits
    return hits


def _unclear(at: str, plane: str, name: str, shelf: Shelf, hits: Sequence[Stored]) -> Fault:
    what = {"image": "composite", "depth": "depth map"}.get(plane, plane)
    if not hits:
        return Fault(at, f"names the {what} {name!r}, which {shelf.title} lacks", "Add the file, or remove the line")
    problem = f"names the {what} {name!r}, which is there {len(hits)} times: {hits[0]} and {hits[1]}"
    return Fault(at, problem, "Keep one of the files")


def _note_unlisted(rows: Iterable[tuple[int, Row]], shelves: Mapping[str, Shelf], where: str, found: Findings) -> None:
    used = {id(file) for _, row in rows for file in row.files.values()}  # the shelves hold the same objects
    for shelf in shelves.values():
        if count := sum(id(file) not in used for files in shelf.files.values() for file in files):
            found.notes.append(f"{where} does not name {count} of the files in {shelf.title}; they are left alone.")


def _without_suffix(name: str) -> str:
    stem, suffix = posixpath.splitext(name.replace("\\", "/"))
    return stem if suffix.lower() in _SUFFIXES else name
