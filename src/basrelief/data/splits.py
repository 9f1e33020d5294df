"""Which sample trains, which chooses, which judges: train, val and test, by group, so that nothing leaks."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from basrelief.data.groups import Apart, blocks, find_apart, joined, read_column
from basrelief.data.source import SPLITS, DataOptions, Entry
from basrelief.errors import DataError, UsageError
from basrelief.seeding import stream

DEFAULT_SHARES = (0.70, 0.15, 0.15)
RULES = ("group", "background", "foreground", "random")


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
        What decides: "as the data comes", "group", "background", "foreground", shares, "random" or a file.
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
        places = np.zeros(len(self.groups), np.int8)
        for number, split in enumerate(SPLITS, start=1):
            places[self.rows[split]] = number
        return hashlib.sha256(places.tobytes() + np.ascontiguousarray(self.groups, np.int64).tobytes()).hexdigest()


def spread_out(entries: Sequence[Entry], limit: int | None) -> Sequence[Entry]:
    """Return at most ``limit`` entries, evenly spread over their order, each ready-made split keeping its share.

    Which samples share a group does not change; a group merely has fewer of them.
    """
    if limit is None or limit >= len(entries):
        return entries
    if limit < len(SPLITS):
        raise UsageError(f"--limit {limit} is too few: train, val and test need a sample each, so at least 3.")
    by_split: dict[str | None, list[int]] = defaultdict(list)
    for position, entry in enumerate(entries):
        by_split[entry.split].append(position)
    shares = {split: max(1, limit * len(positions) // len(entries)) for split, positions in by_split.items()}
    while sum(shares.values()) > limit:  # the smallest parts got one each; of what no split has, none may be left
        shares[max(shares, key=lambda split: (shares[split], split is None))] -= 1
    kept: list[int] = []
    for split, positions in by_split.items():
        kept += [positions[int(i)] for i in np.linspace(0, len(positions) - 1, shares[split])]
    return tuple(entries[position] for position in sorted(kept))


def split_store(index: pl.DataFrame, options: DataOptions, rule: str = "group", seed: int = 0) -> Split:
    """Divide a store's samples.

    Parameters
    ----------
    index
        The store's index, in the order of the samples: id, group, foreground, split, image_hash.
    options
        ``group_blocks`` and ``group_file`` say what belongs together, beyond shared backgrounds and identical images.
    rule
        "group" (70/15/15 of the samples; groups whole, and foregrounds too where they are known) or shares such as
        "80/0/20" (likewise); "background" or "foreground" (only these are kept apart); "random" (nothing is); or a CSV
        file with the columns ``id`` and ``split``. Data that comes divided stays so, unless anything but "group" is
        asked for. Where every foreground stands before every background, both can be kept apart only by leaving out
        the samples that mix a training background with a test foreground, and the like: nearly half of all.
    seed
        Shuffles the groups.

    Raises
    ------
    UsageError, DataError
        When the rule cannot be read, or a split that is needed would be empty.
    """
    count = len(index)
    apart = find_apart(index, options, rule)
    notes: list[str] = []
    shares = _shares(rule)
    if shares is None:
        names = _from_file(Path(rule), index["id"].to_list())
        missing = names.count("")
        notes.append(f"Split as {rule} says" + (f"; {missing} samples that it lacks are left out." if missing else "."))
    elif rule == "group" and index["split"].is_not_null().any():
        names = index["split"].fill_null("").to_list()
        missing = names.count("")
        notes.append(
            "Split as the data comes: its train, val and test parts are kept"
            + (f"; {missing} samples that belong to none are left out." if missing else ".")
        )
        names, added = _complete(names, apart.groups, seed)
        notes += added
        rule = "as the data comes"
    else:
        if count < sum(share > 0 for share in shares):
            raise DataError(f"There are only {count} usable samples; train, val and test need one each.")
        notes += apart.notes
        parts = _divide(apart, shares, seed, notes)
        names = [SPLITS[part] if part >= 0 else "" for part in parts]
        names = _leave_out_borders(names, options, rule, notes)
    rows = {split: np.flatnonzero(np.asarray(names) == split) for split in SPLITS}
    for split, share in zip(SPLITS, shares or DEFAULT_SHARES, strict=True):
        if not len(rows[split]) and (split != "val" or (share > 0 and shares is not None)):
            raise _empty(split, rows, count)
    notes += _crossing(names, apart, rule, notes)
    return Split(rows, apart.groups, rule, tuple(notes))


def split_folds(
    index: pl.DataFrame, options: DataOptions, folds: int, rule: str = "group", seed: int = 0
) -> list[Split]:
    """Divide a store's samples for cross-validation: part k judges in fold k, the part after it chooses.

    Parameters
    ----------
    index, options, seed
        As ``split_store`` takes them.
    folds
        3 or more.
    rule
        "group", "background", "foreground" or "random".

    Raises
    ------
    UsageError, DataError
        For other rules or fewer folds, or when there are too few groups.
    """
    if folds < 3:
        raise UsageError(f"--folds {folds}: expected 3 or more, since a fold each trains, chooses and judges.")
    if rule not in RULES:
        raise UsageError(f"--folds goes with --split {', '.join(RULES)}, not with {rule!r}.")
    apart = find_apart(index, options, rule)
    notes = [*apart.notes]
    if index["split"].is_not_null().any():
        notes.append("The train, val and test parts that the data comes with are not kept: --folds divides it anew.")
    shares = [1 / folds] * folds
    whole = _assign_chains(apart, shares, seed, notes)
    parts = [_assign(factor, shares, seed, number) for number, factor in enumerate(apart.factors)]
    parts = parts if whole is None else [whole]
    for factor, kind, other in zip(parts, ("groups", "foregrounds"), ("random", "background"), strict=False):
        if len(np.unique(factor)) < folds:
            raise DataError(f"There are too few {kind} for {folds} folds. Use fewer, or --split {other}.")
    splits = []
    for fold in range(folds):
        roles = [np.array([_role(int(part), fold, folds) for part in factor]) for factor in parts]
        names = [role if all(other[i] == role for other in roles) else "" for i, role in enumerate(roles[0].tolist())]
        added = [f"Fold {fold + 1} of {folds}: another part judges in each."]
        added += _mixed(names.count(""), len(index)) if len(parts) > 1 else []
        names = _leave_out_borders(names, options, rule, added)
        rows = {split: np.flatnonzero(np.asarray(names) == split) for split in SPLITS}
        for split in SPLITS:
            if not len(rows[split]):
                raise _empty(split, rows, len(index))
        added += _crossing(names, apart, rule, notes)
        splits.append(Split(rows, apart.groups, rule, (*notes, *added)))
    return splits


def _role(part: int, fold: int, folds: int) -> str:
    return "test" if part == fold else "val" if part == (fold + 1) % folds else "train"


def _divide(apart: Apart, shares: Sequence[float], seed: int, notes: list[str]) -> np.ndarray:
    """Return the number of a split for every sample, -1 where it is left out."""
    count, needed = len(apart.groups), sum(share > 0 for share in shares)
    first, *others = apart.factors
    if len(np.unique(first)) < needed:
        notes.append(
            f"All samples belong to {len(np.unique(first))} group(s), too few to keep groups apart: split by sample "
            "instead, so test scores are flattered."
        )
        return _assign(np.arange(count), shares, seed)
    one = _assign(first, shares, seed)
    if not others:
        return one
    whole = _assign_chains(apart, shares, seed, notes)
    if whole is not None:
        return whole
    two = _assign(others[0], shares, seed, 1)
    kept = np.where(one == two, one, -1)
    if len(np.unique(others[0])) < needed or {n for n, share in enumerate(shares) if share > 0} - set(kept.tolist()):
        notes.append(
            f"The {len(np.unique(others[0]))} foregrounds cannot be kept apart as well without leaving a split empty: "
            "only groups are."
        )
        return one
    notes += _mixed(int((kept < 0).sum()), count)
    return kept


def _assign_chains(apart: Apart, shares: Sequence[float], seed: int, notes: list[str]) -> np.ndarray | None:
    """Return parts that keep both factors whole and lose no sample; None where the chains are too long for that."""
    if len(apart.factors) < 2:
        return None
    chained = joined(*apart.factors)
    if len(np.unique(chained)) < sum(share > 0 for share in shares):
        return None
    parts = _assign(chained, shares, seed)
    found = np.bincount(parts, minlength=len(shares)) / len(parts)
    if any(abs(a - b) > b / 2 for a, b in zip(found, shares, strict=True)):
        return None
    notes.append("Groups and foregrounds are kept apart.")
    return parts


def _mixed(left_out: int, count: int) -> list[str]:
    return [
        "Backgrounds and foregrounds are both kept apart, so val and test hold only ones never trained on. "
        f"{left_out} of {count} samples ({100 * left_out / count:.0f} %), which mix those of different splits, are "
        "left out; --split background or --split foreground keeps them."
    ]


def _leave_out_borders(names: list[str], options: DataOptions, rule: str, notes: list[str]) -> list[str]:
    if rule in ("random", "foreground") or not options.group_blocks or options.group_blocks < 2:
        return names
    kept, dropped = _without_borders(names, blocks(len(names), options.group_blocks))
    if set(kept) >= set(names):
        notes.append(f"{dropped} samples at borders between blocks of different splits are left out.")
        return kept
    notes.append("The blocks are too short to leave out the samples at their borders: neighbours may leak.")
    return names


def _crossing(names: Sequence[str], apart: Apart, rule: str, said: Sequence[str]) -> list[str]:
    """Say what stands in more than one split, unless it is said, and what the scores therefore do not show."""
    notes = []
    groups = _in_several(names, apart.groups)
    foregrounds = 0 if apart.foregrounds is None else _in_several(names, apart.foregrounds)
    if rule == "random" and (groups or foregrounds):
        notes.append("Split at random: samples of one group stand on both sides, so test scores are flattered.")
    elif rule == "foreground" and groups:
        notes.append(
            f"{groups} background(s) or other groups stand in more than one split, as --split foreground leaves them: "
            "the scores do not show how it does before new ones."
        )
    elif groups and not any("too few to keep groups apart" in note for note in said):
        notes.append(f"{groups} group(s) stand in more than one split: test scores are flattered.")
    if foregrounds and rule != "random":
        notes.append(
            f"{foregrounds} foreground(s) stand in more than one split: the scores do not show how it does on new ones."
        )
    return notes


def _in_several(names: Sequence[str], labels: np.ndarray) -> int:
    """Return how many labels stand in more than one split."""
    places = {(int(label), name) for label, name in zip(labels, names, strict=True) if name}
    return sum(count > 1 for count in Counter(label for label, _ in places).values())


def _empty(split: str, rows: Mapping[str, np.ndarray], count: int) -> DataError:
    found = ", ".join(f"{name}: {len(part)}" for name, part in rows.items())
    return DataError(
        f"The {split} split is empty ({found} of {count} samples). More samples or groups are needed, or other shares "
        "(--split 70/15/15)."
    )


def _assign(groups: np.ndarray, shares: Sequence[float], seed: int, factor: int = 0) -> np.ndarray:
    """Give each group to the part that lacks most samples, in an order shuffled by the seed; none is left empty.

    Returns the number of a part for every sample.
    """
    labels, places, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = stream(seed, "split", *([factor] if factor else [])).permutation(len(labels))
    lacking = np.asarray(shares) * len(groups)
    empty = {number for number, share in enumerate(shares) if share > 0}
    chosen = np.zeros(len(labels), int)
    for position, label in enumerate(order):
        urgent = len(order) - position <= len(empty)
        candidates = sorted(empty) if urgent else [n for n, share in enumerate(shares) if share > 0]
        part = max(candidates, key=lambda n: lacking[n])
        lacking[part] -= sizes[label]
        empty.discard(part)
        chosen[label] = part
    return chosen[places]


def _without_borders(names: list[str], blocks: np.ndarray) -> tuple[list[str], int]:
    """Leave out samples within a tenth of a block (at least one) on both sides of a border between splits.

    What is left out already is no border: beyond it the same split may go on.
    """
    margin = max(1, round(len(names) / (blocks.max() + 1) / 10))
    kept, before = list(names), ""
    for i, name in enumerate(names):
        if not name:
            continue
        before, last = name, before
        if last and last != name:
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
        for row, part in zip(train, _assign(together, (1 - share, share), seed), strict=True):
            names[row] = missing if part == 1 else "train"
        notes.append(f"The data has no {missing} part: 15 % of train, by group, serve as {missing}.")
    return names, notes


def _shares(rule: str) -> tuple[float, ...] | None:
    """Return the three shares of a rule, or None where it names a file."""
    if rule in RULES:
        return DEFAULT_SHARES
    parts = rule.split("/")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        if Path(rule).is_file():
            return None
        raise UsageError(
            f"--split {rule!r} is neither {', '.join(RULES)}, nor shares such as 80/0/20, nor a file that exists."
        ) from None
    total = sum(numbers)
    if len(numbers) != 3 or min(numbers) < 0 or not 0 < total < float("inf") or numbers[0] == 0 or numbers[2] == 0:
        raise UsageError(
            f"--split {rule!r}: expected three shares, train/val/test, such as 70/15/15; only val may be 0."
        )
    return tuple(number / total for number in numbers)


def _from_file(path: Path, ids: Sequence[str]) -> list[str]:
    names = [value or "" for value in read_column(path, "split", ids)]
    for name in names:
        if name and name not in SPLITS:
            raise DataError(f"{path}: the split {name!r} is not one of {', '.join(SPLITS)}.")
    return names
