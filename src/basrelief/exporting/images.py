"""The images that an export is checked and calibrated with: the run's own where they are still there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from basrelief.config import DataSettings, checked
from basrelief.data import INSTANCE_FORMATS, find_format, open_source
from basrelief.data.source import Entry, Source
from basrelief.data.splits import Split
from basrelief.data.store import READING, detect_store
from basrelief.errors import BasreliefError, DataError
from basrelief.inference.predictor import Predictor
from basrelief.studies.stored import Prepared, reopen

MOST = 16  # images that a file is compared with the run on
JUDGED = 64  # images that the cost of whole numbers is measured on
CALIBRATION = 64  # images that their ranges are taken from

Pair = tuple[np.ndarray, np.ndarray | None]  # an image and its background, uint8 (H, W, 3)


@dataclass(frozen=True)
class Images:
    """Images with their backgrounds, and in words which they are."""

    pairs: tuple[Pair, ...]
    on: str


def images_to_compare(run: Mapping[str, Any], home: Path | None, data: str | None) -> Images:
    """Return some of the run's validation images, or of ``data``, at their own size, and one of them at other sizes.

    Where the run's files are gone, those packed in its directory; where there are none either, generated scenes.
    """
    found = _own_images(run, home) if data is None else _load(source_of(home, data, run), None)
    if not found.pairs:
        raise DataError(f"{data}: none of its images can be read. Give --data another folder.")
    (image, background), sides = found.pairs[0], run["resolution"]
    sizes = [(6 * sides[0] + 7, 7 * sides[1] + 5), (sides[0] // 2 + 1, 2 * sides[1] + 3)]  # averaged before; both ways
    others = tuple((_resized(image, size), background) for size in sizes)
    return Images(found.pairs + others, f"{found.on}, and the first at {len(others)} more sizes")


def _own_images(run: Mapping[str, Any], home: Path | None) -> Images:
    if home is None:
        return _load(open_source(f"scenes:{MOST}"), "generated scenes, since a saved network has no data")
    try:
        prepared = reopen(home)
        rows = find_split(prepared, run).rows["val"]
    except DataError:
        return _load(open_source(f"scenes:{MOST}"), "generated scenes, since the run's data is gone")
    try:
        source = own_source(prepared, run)
        found = _load(dataclasses.replace(source, entries=entries_of(source, prepared, rows)), "validation images")
        if found.pairs:
            return found
    except BasreliefError:
        pass  # moved or deleted since
    samples = [prepared.store.sample(int(row)) for row in _spread(rows, MOST)]
    pairs = tuple((sample.image, sample.background if run["background"] else None) for sample in samples)
    return Images(pairs, "validation images as they were packed, since their files are gone")


def own_source(prepared: Prepared, run: Mapping[str, Any]) -> Source:
    """Open the data that a run was trained on."""
    settings = prepared.plan.data
    resolution = (int(run["resolution"][0]), int(run["resolution"][1]))
    return open_source(settings.location, settings.options(resolution, prepared.plan.train.seed))


def find_split(prepared: Prepared, run: Mapping[str, Any]) -> Split:
    """Return the split that a run was trained with."""
    return next((split for split in prepared.splits if split.fingerprint() == run.get("split")), prepared.split)


def entries_of(source: Source, prepared: Prepared, rows: np.ndarray) -> list[Entry]:
    """Return the source's entries of these rows of the store."""
    wanted = set(prepared.store.index["id"].gather(rows).to_list())
    return [entry for entry in source.entries if entry.id in wanted]


def source_of(home: Path | None, data: str, run: Mapping[str, Any]) -> Source:
    """Open other data, read as the run's own was."""
    known: dict[str, Any] = {"background": run["background"]}
    seed = 0
    if home is not None:
        plan = reopen(home).plan
        known, seed = plan.data.model_dump(), plan.train.seed
    fresh = {"location": data, "limit": None, "group_file": None, "group_blocks": None, "split": "group"}
    settings = checked(DataSettings, known | fresh)
    if find_format(settings.location, settings.options(None, 0)) not in INSTANCE_FORMATS:
        unset = {"categories": None, "single_instance": False, "min_box": None}
        settings = checked(DataSettings, settings.model_dump() | unset)
    if detect_store(settings.location):
        settings = checked(DataSettings, settings.model_dump() | dict.fromkeys(READING) | {"depth_invalid": ()})
    resolution = (int(run["resolution"][0]), int(run["resolution"][1]))
    source = open_source(settings.location, settings.options(resolution, seed))
    if run["background"] and not source.background:
        raise DataError(f"The network was trained with backgrounds, which {data} does not have. Give --data others.")
    return source


def spread(source: Source, count: int) -> Source:
    """Return a source with at most ``count`` of the entries, evenly spread."""
    places = _spread(range(len(source.entries)), count)
    return dataclasses.replace(source, entries=[source.entries[int(place)] for place in places])


def images_to_calibrate(predictor: Predictor, home: Path) -> Iterator[dict[str, np.ndarray]]:
    """Give training images at the run's resolution, each as the inputs of an exported file."""
    prepared = reopen(home)
    for row in _spread(find_split(prepared, predictor.run).rows["train"], CALIBRATION):
        sample = prepared.store.sample(int(row))
        given = {"image": predictor.shrink(sample.image)[None]}
        if predictor.takes_background and sample.background is not None:
            given["background"] = predictor.shrink(sample.background)[None]
        yield given


def _load(source: Source, on: str | None) -> Images:
    pairs: list[Pair] = []
    for entry in spread(source, MOST).entries:
        try:
            sample = source.load(entry)
        except DataError:
            continue  # evaluate and inspect list broken files; here the others do
        pairs.append((sample.image, sample.background))
    return Images(tuple(pairs), on or f"images of {source.location}")


def _spread(items: Sequence[Any] | np.ndarray, count: int) -> list[Any]:
    return [items[int(i)] for i in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).astype(int))]


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
