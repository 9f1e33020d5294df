"""Which sample trains, which chooses, which judges: train, val and test, by group, so that nothing leaks."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from basrelief.data.source import SPLITS, DataOptions, Entry
from basrelief.errors import DataError, UsageError
from basrelief.seeding import stream

DEFAULT_SHARES = (0.70, 0.15, 0.15)


@dataclass(frozen=True)
class Split:
    """Rows of a store for each split, and how they were found.

    Attributes
    ----------
    rows
        "train", "val", "test" -> row numbers, ascending.
    groups
        The group of every row of the store, as a number.
    rule
        What decides: "as the data comes", "group", "random" or a file.
    notes
        Sentences: how many groups, what was left out, what could not be kept apart.
    """

    rows: Mapping[str, np.ndarray]
    groups: np.ndarray
    rule: str
    notes: tuple[str, ...]

    def names(self) -> list[str]:
        """Return the split of every row of the store, "" where it is left out."""
        names = [""] * len(self.groups)
        for split, rows in self.rows.items():
            for row in rows:
                names[int(row)] = split
        return names

    def fingerprint(self) -> str:
        """Return a hash of which row is where, equal for equal splits."""
        return hashlib.sha256(repr((self.names(), self.groups.tolist())).encode()).hexdigest()


def spread_out(entries: Sequence[Entry], limit: int | None) -> tuple[Entry, ...]:
    """Return at most ``limit`` entries, evenly spread over their order, each ready-made split keeping its share.

    Which samples share a group does not change; a group merely has fewer of them.
    """
    if limit is None or limit >= len(entries):
        return tuple(entries)
    if limit < len(SPLITS):
        raise UsageError(f"--limit {limit} is too few: train, val and test need a sample each, so at least 3.")
    by_split: dict[str | None, list[int]] = defaultdict(list)
    for position, entry in enumerate(entries):
        by_split[entry.split].append(position)
    kept: list[int] = []
    for positions in by_split.values():
        share = max(1, limit * len(positions) // len(entries))
        kept += [positions[int(i)] for i in np.linspace(0, len(positions) - 1, min(share, len(positions)))]
    return tuple(entries[position] for position in sorted(set(kept)))


def split_store(index: pl.DataFrame, options: DataOptions, rule: str = "group", seed: int = 0) -> Split:
    """Divide a store's samples.

    Parameters
    ----------
    index
        The store's index, in the order of the samples.
    options
        ``group_blocks`` and ``group_file`` say what belongs together, beyond shared backgrounds and identical images.
    rule
        "group" (70/15/15 of the samples, groups whole), shares such as "80/0/20" (likewise), "random" (ignores
        groups), or a CSV file with the columns ``id`` and ``split``. Data that comes divided stays so, unless shares,
        "random" or a file are asked for.
    seed
        Shuffles the groups.

    Raises
    ------
    UsageError, DataError
        When the rule cannot be read, or a split that is needed would be empty.
    """
    count = len(index)
    ids: list[str] = index["id"].to_list()
    given: list[str | None] = index["split"].to_list()
    groups, notes = _groups(index, options)
    shares = _shares(rule)
    if shares is None:
        names = _from_file(Path(rule), ids)
        missing = names.count("")
        notes.append(f"Split as {rule} says" + (f"; {missing} samples that it lacks are left out." if missing else "."))
    elif rule == "group" and any(given):
        names = ["" if name is None else name for name in given]
        notes.append("Split as the data comes: train, val and test folders are kept.")
        names, added = _complete(names, groups, seed)
        notes += added
        rule = "as the data comes"
    else:
        if count < sum(share > 0 for share in shares):
            raise DataError(f"There are only {count} usable samples; train, val and test need one each.")
        together = np.arange(count) if rule == "random" else groups
        if rule == "random" and len(np.unique(groups)) < count:
            notes.append("Split at random: samples of one group stand on both sides, so test scores are flattered.")
        if len(np.unique(together)) < sum(share > 0 for share in shares):
            notes.append(
                f"All samples belong to {len(np.unique(groups))} group(s), too few to keep groups apart: split by "
                "sample instead, so test scores are flattered."
            )
            together = np.arange(count)
        names = _assign(together, shares, seed)
        if rule != "random" and options.group_blocks and options.group_blocks > 1:
            kept, dropped = _without_borders(names, _blocks(count, options.group_blocks))
            if set(kept) >= set(names):
                names = kept
                notes.append(f"{dropped} samples at borders between blocks of different splits are left out.")
            else:
                notes.append("The blocks are too short to leave out the samples at their borders: neighbours may leak.")
    rows = {split: np.flatnonzero(np.asarray(names) == split) for split in SPLITS}
    for split, share in zip(SPLITS, shares or DEFAULT_SHARES, strict=True):
        if not len(rows[split]) and (split != "val" or (share > 0 and shares is not None)):
            found = ", ".join(f"{name}: {len(part)}" for name, part in rows.items())
            raise DataError(
                f"The {split} split is empty ({found} of {count} samples). "
                "More samples or groups are needed, or other shares (--split 70/15/15)."
            )
    places = {(int(group), name) for group, name in zip(groups, names, strict=True) if name}
    crossing = len(places) - len({group for group, _ in places})
    if crossing and rule not in ("random", "group"):
        notes.append(f"{crossing} group(s) stand in more than one split: test scores are flattered.")
    return Split(rows, groups, rule, tuple(notes))


def _groups(index: pl.DataFrame, options: DataOptions) -> tuple[np.ndarray, list[str]]:
    """Return one number a sample, equal where samples belong together, and what was found."""
    count, notes = len(index), []
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def unite(labels: Iterable[object]) -> int:
        first: dict[object, int] = {}
        united = 0
        for i, label in enumerate(labels):
            if label is not None and first.setdefault(label, i) != i:
                united += root(i) != root(first[label])
                parent[root(i)] = root(first[label])
        return united

    if unite(index["image_hash"]):
        notes.append("Identical images are kept in one split.")
    if options.group_file:
        unite(_read_column(options.group_file, "group", index["id"].to_list()))
        notes.append(f"Groups as {options.group_file} says.")
    if options.group_blocks:
        if options.group_blocks < 1:
            raise UsageError(f"--group-blocks {options.group_blocks} must be at least 1.")
        unite(_blocks(count, options.group_blocks).tolist())
        notes.append(f"{min(options.group_blocks, count)} blocks of neighbouring samples are kept whole.")
    unite(index["group"])  # of shared backgrounds, as the format knows them
    _, numbers = np.unique([root(i) for i in range(count)], return_inverse=True)
    return numbers, notes


def _blocks(count: int, blocks: int) -> np.ndarray:
    return np.arange(count) * min(blocks, count) // count


def _assign(groups: np.ndarray, shares: Sequence[float], seed: int) -> list[str]:
    """Give each group to the split that lacks most samples, in an order shuffled by the seed; none is left empty."""
    labels, sizes = np.unique(groups, return_counts=True)
    order = stream(seed, "split").permutation(len(labels))
    lacking = np.asarray(shares) * len(groups)
    empty = {number for number, share in enumerate(shares) if share > 0}
    chosen: dict[int, str] = {}
    for position, label in enumerate(order):
        urgent = len(order) - position <= len(empty)
        candidates = sorted(empty) if urgent else [n for n, share in enumerate(shares) if share > 0]
        split = max(candidates, key=lambda n: lacking[n])
        lacking[split] -= sizes[label]
        empty.discard(split)
        chosen[int(labels[label])] = SPLITS[split]
    return [chosen[int(group)] for group in groups]


def _without_borders(names: list[str], blocks: np.ndarray) -> tuple[list[str], int]:
    """Leave out samples within a tenth of a block (at least one) on both sides of a border between splits."""
    margin = max(1, round(len(names) / (blocks.max() + 1) / 10))
    kept = list(names)
    for i in range(1, len(names)):
        if names[i] != names[i - 1]:
            for j in range(max(0, i - margin), min(len(names), i + margin)):
                kept[j] = ""
    return kept, sum(a != b for a, b in zip(names, kept, strict=True))


def _complete(names: list[str], groups: np.ndarray, seed: int) -> tuple[list[str], list[str]]:
    """Take a missing val, and a missing test, out of train by group."""
    notes: list[str] = []
    for missing, share in (("test", 0.15), ("val", 0.15)):
        train = np.flatnonzero(np.asarray(names) == "train")
        if missing in names or len(train) < 2:
            continue
        together = groups[train]
        if len(np.unique(together)) < 2:
            together = np.arange(len(train))
        for row, name in zip(train, _assign(together, (1 - share, share), seed), strict=True):
            names[row] = missing if name == "val" else "train"
        notes.append(f"The data has no {missing} part: 15 % of train, by group, serve as {missing}.")
    return names, notes


def _shares(rule: str) -> tuple[float, ...] | None:
    """Return the three shares of a rule, or None where it names a file."""
    if rule in ("group", "random"):
        return DEFAULT_SHARES
    parts = rule.split("/")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        if Path(rule).is_file():
            return None
        raise UsageError(
            f"--split {rule!r} is neither 'group', 'random', shares such as 80/0/20, nor a file that exists."
        ) from None
    total = sum(numbers)
    if len(numbers) != 3 or min(numbers) < 0 or not 0 < total < float("inf") or numbers[0] == 0 or numbers[2] == 0:
        raise UsageError(
            f"--split {rule!r}: expected three shares, train/val/test, such as 70/15/15; only val may be 0."
        )
    return tuple(number / total for number in numbers)


def _from_file(path: Path, ids: Sequence[str]) -> list[str]:
    names = [value or "" for value in _read_column(path, "split", ids)]
    for name in names:
        if name and name not in SPLITS:
            raise DataError(f"{path}: the split {name!r} is not one of {', '.join(SPLITS)}.")
    return names


def _read_column(path: Path, column: str, ids: Sequence[str]) -> list[str | None]:
    """Read a CSV file with ``id`` and ``column``; ids that it lacks get None, but some must match."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"id", column} <= set(reader.fieldnames or ()):
                raise DataError(f"{path}: expected a CSV file with the columns id and {column} in its first line.")
            found = {row["id"]: row[column] for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV file with the columns id and {column} ({error}).") from None
    if not any(name in found for name in ids):
        raise DataError(f"{path}: none of its ids is in the data, where ids look like {ids[0]!r}.")
    return [found.get(name) or None for name in ids]
