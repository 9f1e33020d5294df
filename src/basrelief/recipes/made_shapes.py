"""Made data of write-up D's first experiment: files of PurdueShapes5MultiObject's format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from basrelief.data.purdue_write import write_purdue_shapes


def make_shapes(folder: Path, progress: Callable[[int, int], None], *, train: int, test: int, seed: int) -> None:
    """Write a file of ``train`` pictures and one of ``test``, named as the published ones."""
    total = train + test
    for split, count, before in (("train", train, 0), ("test", test, train)):
        write_purdue_shapes(
            folder / f"PurdueShapes5MultiObject-{count}-{split}.gz",
            count,
            seed=seed,
            progress=lambda done, _, before=before: progress(before + done, total),  # type: ignore[misc]
        )
