"""The split that a study would make of samples, as far as it can be told before anything is packed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from basrelief.data.source import SPLITS, DataOptions, Entry
from basrelief.data.splits import RULES, Split, split_store
from basrelief.errors import DataError


def divide(
    entries: Sequence[Entry], digests: Sequence[str], options: DataOptions, rule: str, seed: int
) -> tuple[Split | None, str]:
    """Return the split that a study would make of these samples; None, with the reason, where it could not.

    Raises
    ------
    UsageError
        When the rule cannot be read.
    """
    if not entries:
        return None, "There are no usable samples to divide."
    try:
        return split_store(_index(entries, digests), options, rule, seed), ""
    except DataError as error:
        return None, str(error)


def check_rule(entries: Sequence[Entry], options: DataOptions, rule: str, seed: int) -> None:
    """Raise what a study would about the rule or a file that it names, before anything is decoded."""
    ids = [entry.id for entry in entries]
    named = options.group_file is not None or (rule not in RULES and Path(rule).is_file())
    if entries and named:
        split_store(_index(entries, ids), options, rule, seed)
    else:
        divide(entries, ids, options, rule, seed)


def _index(entries: Sequence[Entry], digests: Sequence[str]) -> pl.DataFrame:
    """Return what a store's index has of these samples, as far as splits read it."""
    columns = {
        "id": [entry.id for entry in entries],
        "group": [entry.group for entry in entries],
        "foreground": [entry.foreground for entry in entries],
        "split": [entry.split for entry in entries],
        "image_hash": list(digests),
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def describe_split(split: Split, seed: int) -> dict[str, Any]:
    """Return a split as plain data: "rule", "seed", "train", "val", "test", "left_out", "groups" and "notes"."""
    counts = {name: len(split.rows[name]) for name in SPLITS if name in split.rows}
    left_out = len(split.groups) - sum(counts.values())
    groups = len(np.unique(split.groups))
    return {"rule": split.rule, "seed": seed, **counts, "left_out": left_out, "groups": groups, "notes": split.notes}
