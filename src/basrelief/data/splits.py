"""Which sample trains, which chooses, which judges: train, val and test, by group, so that nothing leaks."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from basrelief.data.assign import assign, assign_chains, complete, divide, leave_out_borders, mixed
from basrelief.data.groups import Apart, find_apart, read_column
from basrelief.data.source import SPLITS, DataOptions, Entry
from basrelief.errors import DataError, UsageError

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
    cautions
        Those of them that say why scores are flattered, or what they do not show.
    """

    rows: Mapping[str, np.ndarray]
    groups: np.ndarray
    rule: str
    notes: tuple[str, ...]
    cautions: tuple[str, ...] = ()

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
    cautions: list[str] = []
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
        names, added = complete(names, apart.groups, seed)
        notes += added
        rule = "as the data comes"
    else:
        if count < sum(share > 0 for share in shares):
            raise DataError(f"There are only {count} usable samples; train, val and test need one each. Add samples.")
        notes += apart.notes
        parts = divide(apart, shares, seed, notes, cautions)
        names = [SPLITS[part] if part >= 0 else "" for part in parts]
        names = leave_out_borders(names, options, rule, notes, cautions)
    rows = {split: np.flatnonzero(np.asarray(names) == split) for split in SPLITS}
    for split, share in zip(SPLITS, shares or DEFAULT_SHARES, strict=True):
        if not len(rows[split]) and (split != "val" or (share > 0 and shares is not None)):
            raise _empty(split, rows, count)
    cautions += _crossing(names, apart, rule, cautions)
    return Split(rows, apart.groups, rule, (*notes, *cautions), tuple(cautions))


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
    whole = assign_chains(apart, shares, seed, notes)
    parts = [assign(factor, shares, seed, number) for number, factor in enumerate(apart.factors)]
    parts = parts if whole is None else [whole]
    for factor, kind, other in zip(parts, ("groups", "foregrounds"), ("random", "background"), strict=False):
        if len(np.unique(factor)) < folds:
            raise DataError(f"There are too few {kind} for {folds} folds. Use fewer, or --split {other}.")
    splits = []
    for fold in range(folds):
        roles = [np.array([_role(int(part), fold, folds) for part in factor]) for factor in parts]
        names = [role if all(other[i] == role for other in roles) else "" for i, role in enumerate(roles[0].tolist())]
        cautions: list[str] = []
        added = [f"Fold {fold + 1} of {folds}: another part judges in each."]
        added += mixed(names.count(""), len(index)) if len(parts) > 1 else []
        names = leave_out_borders(names, options, rule, added, cautions)
        rows = {split: np.flatnonzero(np.asarray(names) == split) for split in SPLITS}
        for split in SPLITS:
            if not len(rows[split]):
                raise _empty(split, rows, len(index))
        cautions += _crossing(names, apart, rule, cautions)
        splits.append(Split(rows, apart.groups, rule, (*notes, *added, *cautions), tuple(cautions)))
    return splits


def _role(part: int, fold: int, folds: int) -> str:
    return "test" if part == fold else "val" if part == (fold + 1) % folds else "train"


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


def _shares(rule: str) -> tuple[float, ...] | None:
    """Return the three shares of a rule, or None where it names a file."""
    if rule in RULES:
        return DEFAULT_SHARES
    parts = rule.split("/")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        if os.path.isfile(rule):  # noqa: PTH113 - which takes what can be no path for one that is not there
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
            raise DataError(f"{path}: the split {name!r} is not one of {', '.join(SPLITS)}. Correct it.")
    return names
