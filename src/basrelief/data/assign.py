"""Giving groups to the parts of a split: whole, by shares, in an order that the seed shuffles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from basrelief.data.groups import Apart, blocks, joined
from basrelief.data.source import DataOptions
from basrelief.seeding import stream


def divide(apart: Apart, shares: Sequence[float], seed: int, notes: list[str], cautions: list[str]) -> np.ndarray:
    """Return the number of a part for every sample, -1 where it is left out; add what there is to say."""
    count, needed = len(apart.groups), sum(share > 0 for share in shares)
    first, *others = apart.factors
    if len(np.unique(first)) < needed:
        cautions.append(
            f"All samples belong to {len(np.unique(first))} group(s), too few to keep groups apart: split by sample "
            "instead, so test scores are flattered."
        )
        return assign(np.arange(count), shares, seed)
    one = assign(first, shares, seed)
    if not others:
        return one
    whole = assign_chains(apart, shares, seed, notes)
    if whole is not None:
        return whole
    two = assign(others[0], shares, seed, 1)
    kept = np.where(one == two, one, -1)
    if len(np.unique(others[0])) < needed or {n for n, share in enumerate(shares) if share > 0} - set(kept.tolist()):
        cautions.append(
            f"The {len(np.unique(others[0]))} foregrounds cannot be kept apart as well without leaving a split empty: "
            "only groups are."
        )
        return one
    notes += mixed(int((kept < 0).sum()), count)
    return kept


def assign_chains(apart: Apart, shares: Sequence[float], seed: int, notes: list[str]) -> np.ndarray | None:
    """Return parts that keep both factors whole and lose no sample; None where the chains are too long for that."""
    if len(apart.factors) < 2:
        return None
    chained = joined(*apart.factors)
    if len(np.unique(chained)) < sum(share > 0 for share in shares):
        return None
    parts = assign(chained, shares, seed)
    found = np.bincount(parts, minlength=len(shares)) / len(parts)
    if any(abs(a - b) > b / 2 for a, b in zip(found, shares, strict=True)):
        return None
    notes.append("Groups and foregrounds are kept apart.")
    return parts


def mixed(left_out: int, count: int) -> list[str]:
    """Say how many samples mix what is kept apart, and are left out."""
    return [
        "Backgrounds and foregrounds are both kept apart, so val and test hold only ones never trained on. "
        f"{left_out} of {count} samples ({100 * left_out / count:.0f} %), which mix those of different splits, are "
        "left out; --split background or --split foreground keeps them."
    ]


def assign(groups: np.ndarray, shares: Sequence[float], seed: int, factor: int = 0) -> np.ndarray:
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


def leave_out_borders(
    names: list[str], options: DataOptions, rule: str, notes: list[str], cautions: list[str]
) -> list[str]:
    """Return the splits, without samples at borders between blocks of neighbours where these are kept whole."""
    if rule in ("random", "foreground") or not options.group_blocks or options.group_blocks < 2:
        return names
    kept, dropped = _without_borders(names, blocks(len(names), options.group_blocks))
    if set(kept) >= set(names):
        notes.append(f"{dropped} samples at borders between blocks of different splits are left out.")
        return kept
    cautions.append("The blocks are too short to leave out the samples at their borders: neighbours may leak.")
    return names


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


def complete(names: list[str], groups: np.ndarray, seed: int) -> tuple[list[str], list[str]]:
    """Take a missing val, and a missing test, out of train by group."""
    notes: list[str] = []
    for missing, share in (("test", 0.15), ("val", 0.15)):
        train = np.flatnonzero(np.asarray(names) == "train")
        if missing in names or len(train) < 2:
            continue
        together = groups[train]
        if len(np.unique(together)) < 2:
            together = np.arange(len(train))
        for row, part in zip(train, assign(together, (1 - share, share), seed), strict=True):
            names[row] = missing if part == 1 else "train"
        notes.append(f"The data has no {missing} part: 15 % of train, by group, serve as {missing}.")
    return names, notes
