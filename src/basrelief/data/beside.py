"""Facts beside the data: ``basrelief.json`` says how to read a folder, and ``samples.csv`` what each sample shows.

``compose`` writes both, and ``generate scenes`` the first, so that such a folder is read as it was meant without an
option, and its split is the one that it was made with. Anyone may write them for other data. What the user says comes
before what the file says.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from basrelief.data.folder_layout import scan
from basrelief.data.source import SPLITS, DataOptions, Source
from basrelief.errors import DataError
from basrelief.files import read_json

FACTS = "basrelief.json"
SAMPLES = "samples.csv"
FACTS_VERSION = 1
MADE_BY = "basrelief compose"  # as its facts say


def with_facts(location: str, options: DataOptions) -> DataOptions:
    """Return the options, with those that were not given filled in from the facts beside the data, if there are any.

    Raises
    ------
    DataError
        If the facts are damaged, or say that the data is not finished.
    """
    facts = _facts(location)
    if facts is None:
        return options
    where, said = facts
    filled: dict[str, Any] = {}
    for name, kind in (("format", str), ("depth_scale", float), ("depth_unit", str), ("depth_kind", str)):
        value = said.get(name)
        if value is not None and getattr(options, name) is None:
            filled[name] = _checked(where, name, value, kind)
    if not options.depth_invalid and "depth_invalid" in said:
        values = _checked(where, "depth_invalid", said["depth_invalid"], list)
        filled["depth_invalid"] = tuple(float(_checked(where, "depth_invalid", value, float)) for value in values)
    if options.mask_map is None and options.invert_masks is None and "mask_figure_from" in said:
        first = _checked(where, "mask_figure_from", said["mask_figure_from"], int)
        filled["mask_map"] = {value: "figure" if value >= first else "background" for value in range(256)}
    return replace(options, **filled)


def with_samples(location: str, source: Source) -> Source:
    """Return a source whose entries have the group, foreground and split that ``samples.csv`` beside them says.

    Raises
    ------
    DataError
        If the facts beside the data name that file, and it is missing, damaged or lacks a sample.
    """
    facts = _facts(location)
    if facts is None or "samples" not in facts[1]:
        return source
    folder = facts[0].parent
    name = _checked(facts[0], "samples", facts[1]["samples"], str)
    table = _read_samples(folder / Path(name).name)
    entries = []
    for entry in source.entries:
        row = table.get(entry.id)
        if row is None:
            raise DataError(f"{folder / SAMPLES} lacks the sample {entry.id!r}. {_AGAIN}")
        group, foreground, split = row
        entries.append(replace(entry, group=group or entry.group, foreground=foreground or None, split=split or None))
    divided = any(entry.split for entry in entries)
    note = f"{SAMPLES} names background, foreground{' and split' if divided else ''} of every sample."
    # What the layouts say of foregrounds is for data that does not name them.
    notes = [said for said in source.notes if "foregrounds" not in said]
    return replace(source, entries=tuple(entries), notes=(*notes, note))


def is_composed(location: str) -> bool:
    """Return whether the facts beside the data say that ``basrelief compose`` made it."""
    path = _find(location)
    return path is not None and read_json(path).get("made_by") == MADE_BY


_AGAIN = "Mend it; or, where basrelief compose wrote it, run the same command again, or copy the folder again."


def _facts(location: str) -> tuple[Path, Mapping[str, Any]] | None:
    """Return the facts file that belongs to a location and what it says; None where there is none."""
    path = _find(location)
    if path is None:
        return None
    said = read_json(path)
    if said.get("version", FACTS_VERSION) != FACTS_VERSION:
        raise DataError(f"{path} was written by another version of Basrelief. Compose the set again with this one.")
    if said.get("finished", True) is not True:
        raise DataError(
            f"{path.parent} is not finished: basrelief compose was stopped in the middle, or is still at work. Run the "
            "same command again; it goes on from there."
        )
    return path, said


def _find(location: str) -> Path | None:
    folder = Path(location)
    try:
        if not folder.is_dir():
            return None
        if not (folder / FACTS).is_file():
            folders, files = scan(folder)
            if files or len(folders) != 1:
                return None
            folder = folders[0]  # an archive's only folder, which the layouts look into as well
        return folder / FACTS if (folder / FACTS).is_file() else None
    except OSError:
        return None  # reading the data itself says better what is wrong


def _checked(where: Path, name: str, value: Any, kind: type) -> Any:
    if kind is float and type(value) is int and abs(value) < 2**64:
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool) or "\0" in str(value):
        raise DataError(f"{where}: {name} is {value!r}, which makes no sense. {_AGAIN}")
    return value


def _read_samples(path: Path) -> dict[str, tuple[str, str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            columns = ("id", "background", "foreground", "split")
            if missing := [column for column in columns if column not in (rows.fieldnames or ())]:
                raise DataError(f"{path} has no column {missing[0]!r}. {_AGAIN}")
            table = {row["id"]: (row["background"], row["foreground"], row["split"]) for row in rows}
    except FileNotFoundError:
        raise DataError(f"{path} is not there, which {FACTS} beside it names. {_AGAIN}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}). {_AGAIN}") from None
    for name, row in table.items():
        if None in row:
            raise DataError(f"{path}: the line of {name!r} is cut short. {_AGAIN}")
        split = row[2]
        if split not in ("", *SPLITS):
            raise DataError(f"{path}: the split of {name!r} is {split!r}; expected train, val or test. {_AGAIN}")
    return table
