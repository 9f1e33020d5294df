"""What belongs together in a split: samples of one group, and, where they recur, samples of one foreground."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from basrelief.data.folder_layout import composed
from basrelief.data.source import DataOptions
from basrelief.errors import DataError, UsageError


@dataclass(frozen=True)
class Apart:
    """What a split keeps apart: for each factor a number a sample, equal where samples belong together.

    ``groups`` are the groups as found, whether or not the rule keeps them; ``foregrounds`` is None where none is known.
    ``notes`` say what made groups, where the rule keeps them.
    """

    factors: list[np.ndarray]
    groups: np.ndarray
    foregrounds: np.ndarray | None
    notes: list[str]


def find_apart(index: pl.DataFrame, options: DataOptions, rule: str) -> Apart:
    """Return what the rule keeps apart; see ``split_store``.

    Raises
    ------
    UsageError
        Where the rule asks for foregrounds and none is known.
    DataError
        When a file of groups cannot be read.
    """
    groups, notes = _groups(index, options)
    foregrounds = _foregrounds(index)
    if rule == "foreground":
        if foregrounds is None:
            raise UsageError(
                "--split foreground: the data does not say which foreground stands in which image. Layout C, a "
                "samples.csv beside the data and what basrelief compose makes do."
            )
        return Apart([foregrounds], groups, foregrounds, [])
    if rule == "random":
        return Apart([np.arange(len(index))], groups, foregrounds, [])
    factors = [groups]
    if foregrounds is not None and rule != "background":
        factors.append(foregrounds)
    return Apart(factors, groups, foregrounds, notes)


def _foregrounds(index: pl.DataFrame) -> np.ndarray | None:
    """Return one number a sample, equal for equal foregrounds; None where none recurs."""
    if "foreground" not in index.columns:
        return None
    known = index["foreground"].drop_nulls()
    return numbered(index["foreground"]) if known.n_unique() < len(known) else None


def _groups(index: pl.DataFrame, options: DataOptions) -> tuple[np.ndarray, list[str]]:
    """Return one number a sample, equal where samples belong together, and what was found."""
    count, notes = len(index), []
    groups = np.arange(count)

    def unite(labels: pl.Series) -> None:
        nonlocal groups
        groups = joined(groups, numbered(labels))

    if index["image_hash"].n_unique() < count:
        unite(index["image_hash"])
        notes.append("Identical images are kept in one split.")
    if options.group_file:
        unite(pl.Series(read_column(options.group_file, "group", index["id"].to_list()), dtype=pl.String))
        notes.append(f"Groups as {options.group_file} says.")
    if options.group_blocks:
        if options.group_blocks < 1:
            raise UsageError(f"--group-blocks {options.group_blocks} must be at least 1.")
        groups = joined(groups, blocks(count, options.group_blocks))
        notes.append(f"{min(options.group_blocks, count)} blocks of neighbouring samples are kept whole.")
    unite(index["group"])  # of shared backgrounds, as the format knows them
    if "background" in index.columns and index["background"].is_not_null().any():  # one picture under several names
        before = len(np.unique(groups))
        unite(index["background"])
        if len(np.unique(groups)) < before:
            notes.append("Samples whose backgrounds are the same picture are kept in one split.")
    return np.unique(groups, return_inverse=True)[1], notes


def numbered(labels: pl.Series) -> np.ndarray:
    """Return one number a label, equal for equal labels; null differs from everything."""
    known = labels.drop_nulls().unique(maintain_order=True).to_frame("label").with_row_index("number")
    found = labels.to_frame("label").join(known, on="label", how="left", maintain_order="left")["number"]
    own = np.arange(len(labels)) + len(labels)
    return np.where(found.is_null().to_numpy(), own, found.fill_null(0).to_numpy().astype(np.int64))


def joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return one number a sample, equal where a chain of equal values of either kind connects samples."""
    links = np.stack([first, second + first.max() + 1])
    nodes = int(links.max()) + 1
    graph = coo_array((np.ones(len(first)), links), shape=(nodes, nodes))
    found: np.ndarray = connected_components(graph, directed=False)[1][first]
    return found


def blocks(count: int, number: int) -> np.ndarray:
    """Return the block of every sample, of ``number`` blocks of neighbours."""
    return np.arange(count) * min(number, count) // count


def read_column(path: Path, column: str, ids: Sequence[str]) -> list[str | None]:
    """Read a CSV file with ``id`` and ``column``; ids that it lacks get None, but some must match."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"id", column} <= set(reader.fieldnames or ()):
                raise DataError(f"{path}: expected a CSV file with the columns id and {column} in its first line.")
            found: dict[str, str | None] = {}
            for row in reader:
                name, value = composed(row["id"] or ""), row[column] or None
                if found.setdefault(name, value) != value:
                    raise DataError(
                        f"{path}: {name!r} has two lines, of the {column} {found[name]!r} and {value!r}. Remove one."
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read as a CSV file with the columns id and {column} ({error}). Save it again."
        ) from None
    if not any(name in found for name in ids):
        raise DataError(f"{path}: none of its ids is in the data, where ids look like {ids[0]!r}. Correct them.")
    return [found.get(name) for name in ids]
