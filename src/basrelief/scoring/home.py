"""A loaded network with the data it was trained on: what it has seen, and how other data is read like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from basrelief.config import DataSettings, checked
from basrelief.data import INSTANCE_FORMATS, find_format, open_source
from basrelief.data.groups import find_apart
from basrelief.data.source import Source
from basrelief.data.store import READING, detect_store
from basrelief.errors import DataError, UsageError
from basrelief.inference.load import Loaded
from basrelief.studies.stored import Prepared, reopen


def _read(settings: DataSettings, resolution: tuple[int, int], seed: int) -> tuple[Source, bool, dict[str, int]]:
    options = settings.options(resolution, seed)
    source = open_source(settings.location, options)
    names = [entry.id for entry in source.entries]
    facts = {
        "id": names,
        "image_hash": names,  # equal images would have to be decoded to be found
        "group": [entry.group for entry in source.entries],
    }
    index = pl.DataFrame(facts, schema=dict.fromkeys(facts, pl.String))
    groups = find_apart(index, options, "random").groups if names else np.empty(0, np.int64)
    return source, False, dict(zip(names, groups.tolist(), strict=True))


def unseen_by_all(owners: list[Home], source: Source) -> dict[str, str | None]:
    """Return the test images of any owner that suit every other: its test images too, or unlike all it was trained on.

    Unlike: neither one of them nor of their groups. The first owner's images come with their hash; another one's may be
    of another resolution.
    """
    group_of = {entry.id: entry.group for entry in source.entries}
    wanted: dict[str, str | None] = {name: None for owner in owners for name in owner.test_images()}
    wanted |= owners[0].test_images()
    for owner in owners:
        tests, seen, labels = owner.test_images(), set(owner.seen_names()), owner.groups()
        groups = {labels[name] for name in seen}
        families = {group_of.get(name) for name in seen} - {None}

        alike = {name for name, label in labels.items() if label in groups} | seen
        alike |= {name for name, family in group_of.items() if family in families}
        wanted = {name: known for name, known in wanted.items() if name in tests or name not in alike}
    return wanted


@dataclass(eq=False)
class Home:
    """A loaded network with the data it was trained on, as far as that is known."""

    loaded: Loaded

    def __post_init__(self) -> None:
        self.prepared: Prepared | None = None if self.loaded.home is None else reopen(self.loaded.home)

    @property
    def run(self) -> Mapping[str, Any]:
        """``run.json``, or what an exported file carries of it."""
        return self.loaded.predictor.run

    def owns(self, data: str | Path | None) -> bool:
        """Tell whether this is the data that the network was trained on."""
        if self.prepared is None:
            return False
        home = self.prepared.plan.data.location
        return data is None or str(data) == home or Path(data).resolve() == Path(home).resolve()

    def open(self, data: str | Path | None, given: dict[str, Any]) -> tuple[Source, bool, dict[str, int]]:
        """Return data, read as the network's own was; whether it is that; and the group of each image by its name."""
        resolution = self.loaded.predictor.resolution
        if self.prepared is None:
            if data is None:
                raise UsageError(f"{self.loaded.source} carries no data: say what to score it on, after its name.")
            settings = checked(DataSettings, {"location": str(data), **given})
            return _read(settings, resolution, 0)
        home, seed = self.prepared.plan.data, self.prepared.plan.train.seed
        if self.owns(data):
            if given:
                raise UsageError(
                    f"{home.location} is the run's own data and is read as it was then; leave the options out."
                )
            return open_source(home.location, home.options(resolution, seed)), True, self.groups()
        fresh = {"location": str(data), "limit": None, "group_file": None, "group_blocks": None, "split": "group"}
        settings = checked(DataSettings, home.model_dump() | fresh | given)
        if find_format(settings.location, settings.options(None, 0)) not in INSTANCE_FORMATS:
            unset = {"categories": None, "single_instance": False, "min_box": None}
            settings = checked(DataSettings, settings.model_dump() | unset | given)
        if detect_store(settings.location):
            # Its values are understood; how the run's own files were read is nothing to it.
            plain = dict.fromkeys(READING) | {"depth_invalid": ()}
            settings = checked(DataSettings, settings.model_dump() | plain | given)
        return _read(settings, resolution, seed)

    def groups(self) -> dict[str, int]:
        """Return the group of each image of the network's own data, as its split knew them."""
        assert self.prepared is not None
        split = self.prepared.splits[0]
        return dict(zip(self.prepared.store.index["id"].to_list(), split.groups.tolist(), strict=True))

    def test_images(self) -> dict[str, str]:
        """Return the hash of each test image by its name."""
        rows, index = self._split()
        return dict(index[rows["test"]].select("id", "image_hash").iter_rows())

    def seen_names(self) -> list[str]:
        """Return the names of training's and validation's images."""
        rows, index = self._split()
        return list(index["id"].to_numpy()[np.concatenate([rows["train"], rows["val"]])].tolist())

    def seen_images(self) -> dict[tuple[int, int], frozenset[str]]:
        """Return the hashes of training's and validation's images, by the resolution they are of; {} where unknown."""
        if self.prepared is None:
            return {}
        rows, index = self._split()
        hashes = index["image_hash"].to_numpy()[np.concatenate([rows["train"], rows["val"]])]
        return {self.loaded.predictor.resolution: frozenset(hashes.tolist())}

    def _split(self) -> tuple[Mapping[str, np.ndarray], pl.DataFrame]:
        assert self.prepared is not None
        fingerprint, index = self.run.get("split"), self.prepared.store.index
        if self.run.get("ensemble") and fingerprint is None:
            # Networks of several folds: what one is tested on, another was trained on.
            rows = [split.rows for split in self.prepared.splits]
            seen = np.unique(np.concatenate([part[name] for part in rows for name in ("train", "val")]))
            every = np.unique(np.concatenate([part[name] for part in rows for name in part]))
            return {"train": seen, "val": seen[:0], "test": np.setdiff1d(every, seen)}, index
        for split in self.prepared.splits:
            if split.fingerprint() == fingerprint:
                return split.rows, index
        raise DataError(
            f"{self.loaded.source / 'run.json'} is of another split than {self.loaded.home} holds. Put it back as it "
            "was."
        )
