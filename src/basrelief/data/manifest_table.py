"""Reading a manifest's table: CSV with any usual separator, TSV or Parquet, to lines of cells by column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import polars as pl

from basrelief.errors import DataError, suggest

COLUMNS = ("image", "background", "mask", "depth", "valid", "group", "split")
TEXT_SUFFIXES = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
MAX_LINES = 20_000_000
_HEAD = 1 << 16  # bytes in which a line of column names ends


class Line(NamedTuple):
    """A line: the file and the line, the line alone, and its cells that are not blank."""

    at: str
    place: str
    cells: Mapping[str, str]


class Table(NamedTuple):
    """A manifest's lines, and the names of the columns that mean nothing here."""

    lines: list[Line]
    ignored: list[str]


def is_manifest(path: Path) -> bool:
    """Return whether a name ends as a manifest's does."""
    return path.suffix.lower() in TEXT_SUFFIXES or path.suffix.lower() in PARQUET_SUFFIXES


def read_table(path: Path) -> Table:
    """Read a manifest. Column names count in any letter case.

    Raises
    ------
    DataError
        If it is not there, cannot be read, or has no column ``image``.
    """
    if not path.is_file():
        there = "is a folder" if path.is_dir() else "is not there"
        raise DataError(f"{path} {there}. Expected a manifest: a CSV, TSV or Parquet file with the column image.")
    parquet = path.suffix.lower() in PARQUET_SUFFIXES
    expected = f"a {'Parquet' if parquet else 'CSV or TSV'} file with the column image was expected"
    try:
        with path.open("rb") as file:  # polars knows no names that are not UTF-8
            if (
                parquet and pl.scan_parquet(file).select(pl.len()).collect().item() > MAX_LINES
            ):  # a few bytes can say so
                raise DataError(f"{path} claims more than {MAX_LINES:,} lines, the limit. Divide it.")
            file.seek(0)
            frame = pl.read_parquet(file) if parquet else _read_text(path, file)
    # A damaged Parquet file makes polars panic, which is no Exception.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise DataError(f"{path} cannot be read: {expected} ({reason}). Save it again, in UTF-8.") from None
    known: dict[str, str] = {}
    for column in frame.columns:
        name = column.strip().lower()
        if name in COLUMNS:
            if name in known:
                raise DataError(f"{path} has two columns named {name}: {known[name]!r} and {column!r}. Rename one.")
            known[name] = column
    ignored = [column for column in frame.columns if column not in known.values()]
    if "image" not in known:
        near = next((f" Did you mean {column!r}? Name it image." for column in ignored if _like_image(column)), "")
        listed = ", ".join(map(repr, frame.columns[:20])) or "none"
        raise DataError(f"{path} has no column image; its columns: {listed}. The first line names the columns.{near}")
    nested = [name for name, column in known.items() if frame.schema[column].is_nested()]
    if nested:
        raise DataError(
            f"{path}: the column {nested[0]} holds {frame.schema[known[nested[0]]]}; text was expected. Save it so."
        )
    try:
        frame = frame.select(pl.col(column).cast(pl.String).alias(name) for name, column in known.items())
    except pl.exceptions.PolarsError:
        raise DataError(f"{path} holds what cannot be written as text. {expected.capitalize()}.") from None
    lines = []
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        place = f"row {number}" if parquet else f"line {number + 1}"
        cells = {name: value.strip() for name, value in row.items() if value is not None and value.strip()}
        lines.append(Line(f"{path} {place}", place, cells))
    if not any(line.cells for line in lines):
        raise DataError(f"{path} has no line below its column names. Expected one for each image; add them.")
    return Table(lines, ignored)


def _read_text(path: Path, file: BinaryIO) -> pl.DataFrame:
    head = file.read(_HEAD)
    file.seek(0)
    if not head.strip():
        raise pl.exceptions.NoDataError("it is empty")
    first = head.decode("utf-8-sig", errors="replace").lstrip("\r\n").partition("\n")[0].rstrip("\r")
    usual = TEXT_SUFFIXES.get(path.suffix.lower(), ",")
    names = {mark: [name.strip(' "').lower() for name in first.split(mark)] for mark in (usual, ",", ";", "\t")}
    separator = next((mark for mark, found in names.items() if "image" in found), usual)
    return pl.read_csv(file, separator=separator, infer_schema=False, encoding="utf8")


def _like_image(column: str) -> bool:
    name = column.strip().lower()
    words = ("image", "images", "img", "photo", "rgb", "file", "filename", "path", "picture")
    return bool(suggest(name, words)) or any(word in name for word in ("image", "img"))
