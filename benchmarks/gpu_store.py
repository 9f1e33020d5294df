"""The store that ``gpu.py`` trains on: few scenes, drawn, and many variants of them, packed as any data."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np

from basrelief.batch import Sample
from basrelief.data import open_source
from basrelief.data.pack import pack
from basrelief.data.source import DataOptions, Entry, Source


class Varied:
    """Loads sample number n of many: scene n of those drawn, mirrored, shifted and shaded by what n is beyond them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.path = path

    @functools.cached_property
    def drawn(self) -> dict[str, np.ndarray]:
        """The planes of the scenes, opened where they are used."""
        with np.load(self.path) as file:
            return dict(file)

    def __call__(self, entry: Entry) -> Sample:
        """Return the sample of this number."""
        variant, scene = divmod(int(entry.id), len(self.drawn["image"]))
        shade, place = divmod(variant, 32)
        mirrored, shift = place % 2 == 1, 4 * (place // 2)

        def seen(plane: np.ndarray) -> np.ndarray:
            moved = np.roll(plane, shift, axis=1)
            return np.ascontiguousarray(moved[:, ::-1] if mirrored else moved)

        planes = {name: seen(array[scene]) for name, array in self.drawn.items()}
        image = np.clip(planes["image"].astype(np.int16) + 2 * shade, 0, 255).astype(np.uint8)
        return Sample(entry.id, image, planes["background"], planes["mask"][None], None, planes["depth"])


def write_store(folder: Path, count: int, held_out: int, scenes: int, side: int) -> None:
    """Pack varied quartets, ``count`` to train on and twice ``held_out`` beside them, and write which are which."""
    rooms = open_source(f"scenes:{scenes}", DataOptions(resolution=(side, side)))
    samples = [rooms.load(entry) for entry in rooms.entries]
    planes = {
        "image": np.stack([sample.image for sample in samples]),
        "background": np.stack([sample.background for sample in samples]),  # type: ignore[misc]
        "mask": np.stack([sample.mask[0] for sample in samples]),  # type: ignore[index]
        "depth": np.stack([sample.depth for sample in samples]),  # type: ignore[misc]
    }
    np.savez(folder / "scenes.npz", **planes)
    groups = [entry.group for entry in rooms.entries]
    entries = tuple(Entry(f"{n:06d}", group=groups[n % scenes]) for n in range(count + 2 * held_out))
    source = Source(
        "memory",
        "varied scenes",
        entries,
        ("mask", "depth"),
        Varied(folder / "scenes.npz"),
        ("figure",),
        background=True,
        depth_unit="m",
        depth_kind="metric",
    )
    pack(source, entries, folder / "store", (side, side), key="benchmark", jobs=os.cpu_count())
    names = ["train"] * count + ["val"] * held_out + ["test"] * held_out
    lines = [f"{entry.id},{name}" for entry, name in zip(entries, names, strict=True)]
    (folder / "split.csv").write_text("id,split\n" + "\n".join(lines) + "\n", encoding="utf-8")
