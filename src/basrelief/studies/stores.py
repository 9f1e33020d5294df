"""The packed data of a study or run, made once and found again: at its resolution, and at those of other stages."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from basrelief.config import TrainSettings
from basrelief.data import open_source
from basrelief.data.pack import pack, source_key
from basrelief.data.source import DataOptions, Source
from basrelief.data.store import FACTS, Store, open_store
from basrelief.errors import DataError, OutputError
from basrelief.studies.plan import StudyPlan

PLAN = "plan.json"
STORE = "data"
SMALLER = "data-smaller"
SPLITS_FILE = "splits.csv"


def packed_store(
    folder: Path, source: Source, plan: StudyPlan, options: DataOptions, progress: Callable[[int, int], None]
) -> Store:
    """Open the store packed before, or pack; a store whose files have changed since is an error, not a surprise.

    Data that is a packed store already is used where it lies, unless only some of it is wanted or another resolution.
    """
    resolution = plan.train.resolution
    assert resolution is not None
    place = folder / STORE
    if _is_used_in_place(source, plan, options):
        return open_store(Path(source.location))
    if place.exists() and Path(source.location).exists() and place.samefile(source.location):
        raise OutputError(f"{place} is the data itself, and would be packed over. Choose another --out.")
    key = source_key(source, plan.entries, resolution, options)
    before = None
    if (place / FACTS).exists():
        before = open_store(place)
        if before.facts.source_key == key:
            return before
        if (folder / PLAN).exists():
            raise changed(folder, source)
    elif place.exists():  # without its facts
        shutil.rmtree(place)
    return pack(
        source,
        plan.entries,
        place,
        resolution,
        key=key,
        depth_max=options.depth_max,
        skip_broken=plan.data.skip_broken,
        previous=before,
        progress=progress,
    )


def pack_stages(
    folder: Path,
    source: Source,
    plan: StudyPlan,
    options: DataOptions,
    store: Store,
    progress: Callable[[int, int], None],
) -> dict[tuple[int, int], Store]:
    """Pack the same samples at the resolutions of the other stages."""
    for resolution in {stage.resolution for stage in plan.train.stages} - {store.facts.resolution}:
        place = _smaller_place(folder, resolution)
        key = f"{store.facts.fingerprint} at {resolution[0]}x{resolution[1]}"
        if (place / FACTS).exists() and open_store(place).facts.source_key == key:
            continue
        if not source.entries[0].planes:  # generated at the resolution asked for
            source = open_source(source.location, dataclasses.replace(options, resolution=resolution))
        pack(
            source,
            plan.entries,
            place,
            resolution,
            key=key,
            depth_max=store.facts.depth_max,  # so that depth means the same at every resolution
            skip_broken=plan.data.skip_broken,
            progress=progress,
        )
    return open_stages(folder, plan.train, store)


def open_stages(folder: Path, train: TrainSettings, store: Store) -> dict[tuple[int, int], Store]:
    """Open what ``pack_stages`` packed, by resolution."""
    others = {stage.resolution for stage in train.stages} - {store.facts.resolution}
    found = {resolution: open_store(_smaller_place(folder, resolution)) for resolution in others}
    for other in found.values():
        if not other.index["id"].equals(store.index["id"]):
            raise DataError(f"{other.path} holds other samples than {store.path}. Remove it, and it is packed again.")
    return found


def _smaller_place(folder: Path, resolution: tuple[int, int]) -> Path:
    return folder / SMALLER / f"{resolution[0]}x{resolution[1]}"


def changed(folder: Path, source: Source) -> OutputError:
    """Return the error of data that is another than when the study or run was begun."""
    return OutputError(
        f"The data at {source.location} has changed since {folder} was begun. Start anew with another --out, so that "
        "all losses are compared on the same data."
    )


def _is_used_in_place(source: Source, plan: StudyPlan, options: DataOptions) -> bool:
    return (
        source.format == "store"
        and source.resolution == plan.train.resolution
        and len(plan.entries) == len(source.entries)
        and options.depth_max is None
    )
