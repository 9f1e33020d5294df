"""Examples for the page: a few of the run's validation images, which the network was not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from basrelief.data import open_source
from basrelief.data.source import Source
from basrelief.errors import BasreliefError
from basrelief.inference.predictor import Predictor
from basrelief.serving.page_pictures import shrink
from basrelief.studies.stored import Prepared, reopen

EXAMPLES = 6
SIDE = 1024  # the longer side of an example, in pixels


def write_examples(predictor: Predictor, home: Path | None, folder: Path) -> list[tuple[Path, ...]]:
    """Write up to six validation images into ``folder``, spread over them all, with backgrounds where they are needed.

    They are read from the data at their own size while that is still there, else from the run's packed store, which
    holds them at the training resolution. Without either there are no examples.

    Parameters
    ----------
    home
        The directory with the run's plan and data; None for an exported file.

    Returns
    -------
    list
        (image,) or (image, background) for each example.
    """
    if home is None:
        return []
    try:
        prepared = reopen(home)
    except BasreliefError:  # moved or removed since: the page does without
        return []
    split = next((one for one in prepared.splits if one.fingerprint() == predictor.run.get("split")), prepared.split)
    rows = split.rows["val"]
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, EXAMPLES).round().astype(int))] if len(rows) else rows
    written = []
    for number, planes in enumerate(_pictures(predictor, prepared, rows), 1):
        files = []
        for plane, array in zip(("example", "background"), planes, strict=False):
            files.append(folder / f"{plane}-{number}.png")
            Image.fromarray(shrink(array, SIDE)).save(files[-1])
        written.append(tuple(files))
    return written


def _pictures(predictor: Predictor, prepared: Prepared, rows: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield image and, where the network takes one, background of each row."""
    ids = prepared.store.index["id"]
    source = _source(predictor, prepared)
    entries = {entry.id: entry for entry in source.entries} if source else {}
    wanted = ("image", "background") if predictor.takes_background else ("image",)
    for row in rows:
        sample = None
        if source is not None and ids[int(row)] in entries:
            entry = entries[ids[int(row)]]
            planes = {plane: file for plane, file in entry.planes.items() if plane in wanted}
            try:
                sample = source.load(dataclasses.replace(entry, planes=planes))
            except BasreliefError:
                sample = None
        if sample is None:
            sample = prepared.store.sample(int(row))
        found = tuple(getattr(sample, plane) for plane in wanted)
        if all(plane is not None for plane in found):
            yield found


def _source(predictor: Predictor, prepared: Prepared) -> Source | None:
    data = prepared.plan.data
    try:
        return open_source(data.location, data.options(predictor.resolution, prepared.plan.train.seed))
    except BasreliefError:
        return None
