"""What the commands on data do, as functions: look at it, pack it, compose it, generate it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from basrelief.composing.options import ComposeOptions
from basrelief.composing.run import compose_data
from basrelief.config import DataSettings, TrainSettings, checked
from basrelief.data import open_source
from basrelief.data.inspect import Inspection, inspect_source
from basrelief.data.pack import pack as write_store
from basrelief.data.pack import source_key
from basrelief.data.purdue_write import write_purdue_shapes
from basrelief.data.resize import choose_resolution
from basrelief.data.scenes_write import write_scenes
from basrelief.data.splits import spread_out
from basrelief.data.store import detect_store, open_store
from basrelief.errors import OutputError, UsageError
from basrelief.files import write_text
from basrelief.report.inspection import check_place, render_inspection


def pack(
    data: str | Path,
    out: str | Path,
    *,
    resolution: str | int | tuple[int, int] | None = None,
    seed: int = 0,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Decode data once, into a store that can be used in its place.

    Parameters
    ----------
    data
        Anything that can be trained on.
    out
        A new folder. A store there is brought up to date: only what has changed since is decoded, and the new store
        takes its place once it is whole.
    resolution
        N or (height, width); None: 64 px on the longer side.
    seed
        Of generated data.
    jobs
        Number of processes; None: one a core.
    progress
        Called with (done, total).
    **options
        Those of ``DataSettings`` that say how to read, ``limit`` and ``skip_broken``.

    Returns
    -------
    dict
        ``out``, ``count``, ``copied`` (taken from the store before), ``resolution``, ``targets``, ``classes``,
        ``background``, ``bytes``, ``skipped`` (samples left out, each with its fault), ``fingerprint``.

    Raises
    ------
    OutputError
        When ``out`` holds anything but a store, or another command is at work on it.
    UsageError
        When ``out`` is the data itself.
    DataError
        Listing every broken file, unless ``skip_broken``.
    """
    folder = Path(out).resolve() if Path(out).is_symlink() else Path(out)  # a link stays one
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: expected 1 or more.")
    if folder.exists() and Path(data).exists() and folder.samefile(data):
        raise UsageError(f"--out {folder} is DATA itself, which would be lost. Choose a new folder.")
    if folder.exists() and not detect_store(str(folder)) and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} holds something else. Choose an empty or a new folder, or a store, with --out.")
    size = checked(TrainSettings, {} if resolution is None else {"resolution": resolution}).resolution
    settings = checked(DataSettings, {"location": str(data), **options})
    source = open_source(settings.location, settings.options(size, seed))
    entries = spread_out(source.entries, settings.limit)
    size = size or choose_resolution(source, entries)
    reading = settings.options(size, seed)
    if not source.entries[0].planes and source.format == "scenes":  # generated at the resolution that was chosen
        source = open_source(settings.location, reading)
        entries = spread_out(source.entries, settings.limit)
    before = open_store(folder) if detect_store(str(folder)) else None
    key = source_key(source, entries, size, reading)
    keys = set() if before is None else set(before.hashes("key"))
    if before is not None and before.facts.source_key == key:
        store, copied = before, before.facts.count
    else:
        store = write_store(
            source,
            entries,
            folder,
            size,
            key=key,
            depth_max=settings.depth_max,
            skip_broken=settings.skip_broken,
            previous=before,
            jobs=jobs,
            progress=progress,
        )
        copied = sum(key in keys for key in store.hashes("key"))
    facts = store.facts
    return {
        "out": str(folder),
        "count": facts.count,
        "copied": copied,
        "resolution": list(facts.resolution),
        "targets": list(facts.targets),
        "classes": list(facts.classes),
        "background": facts.background,
        "bytes": sum(file["bytes"] for file in facts.files.values()),
        "skipped": list(facts.skipped),
        "fingerprint": facts.fingerprint,
    }


def compose(
    backgrounds: str | Path,
    foregrounds: str | Path,
    out: str | Path,
    *,
    depths: str | Path | None = None,
    depth_scale: float | None = None,
    depth_unit: str | None = None,
    depth_kind: str | None = None,
    depth_invalid: str | Iterable[float] = (),
    teacher: str | Path | None = None,
    positions: int = 1,
    mirror: bool = False,
    min_size: float = 0.2,
    max_size: float = 0.53,
    shadow: bool = False,
    harmonise: bool = False,
    misalign: float = 0.0,
    layout: str | None = None,
    jpeg: int | None = None,
    packed: bool = False,
    split: str = "70/15/15",
    group_blocks: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    jobs: int | None = None,
    skip_broken: bool = False,
    resolution: str | int | tuple[int, int] = 224,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Paste cut-out foregrounds onto backgrounds: quartets of background, composite, mask and depth.

    Options as on the command line (``packed`` is ``--pack``) and in ``docs/compose.md``; what is returned, as
    ``basrelief.composing.run.compose_data`` says.
    """
    said = {
        "depth_scale": depth_scale,
        "depth_unit": depth_unit,
        "depth_kind": depth_kind,
        "depth_invalid": depth_invalid,
    }
    reading = checked(DataSettings, {"location": str(backgrounds), **said}).options(None, 0)
    size = checked(TrainSettings, {"resolution": resolution}).resolution
    assert size is not None
    options = ComposeOptions(
        Path(backgrounds),
        Path(foregrounds),
        None if depths is None else Path(depths),
        depth=reading,
        resolution=size,
        positions=positions,
        mirror=mirror,
        smallest=min_size,
        largest=max_size,
        shadow=shadow,
        harmonise=harmonise,
        misalign=misalign,
        split=split,
        group_blocks=group_blocks,
        limit=limit,
        skip_broken=skip_broken,
        seed=seed,
    )
    return compose_data(
        options,
        Path(out),
        layout=layout,
        jpeg=jpeg,
        packed=packed,
        teacher=None if teacher is None else str(teacher),
        jobs=jobs,
        progress=progress,
    )


def generate_purdue_shapes(
    count: int,
    out: str | Path,
    *,
    seed: int = 0,
    box_keys: str = "value",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a file of PurdueShapes5MultiObject's format; see ``write_purdue_shapes``.

    Returns
    -------
    dict
        ``out``, ``format``, ``count``, ``seed``, ``next`` (a command that looks at it).
    """
    write_purdue_shapes(Path(out), count, seed=seed, box_keys=box_keys, progress=progress)
    return _generated(out, "purdue-shapes", count, seed)


def generate_scenes(
    count: int,
    out: str | Path,
    *,
    seed: int = 0,
    resolution: str | int | tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write generated scenes as a folder, and return what ``generate_purdue_shapes`` does; see ``write_scenes``."""
    size = checked(TrainSettings, {} if resolution is None else {"resolution": resolution}).resolution
    write_scenes(Path(out), count, seed=seed, resolution=size, progress=progress)
    return _generated(out, "folder", count, seed)


def _generated(out: str | Path, kind: str, count: int, seed: int) -> dict[str, Any]:
    look = f"basrelief inspect {shlex.quote(str(out))}"
    return {"out": str(out), "format": kind, "count": count, "seed": seed, "next": look}


def inspect(
    data: str | Path,
    *,
    html: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Inspection:
    """Look at every file of the data; list what is there and everything that is wrong with it.

    ``html`` is a file for a page that shows it. ``options`` are those of ``DataSettings`` that say how to read, and how
    a study would divide.
    """
    page = None if html is None else Path(html)
    if page is not None:
        check_place(page)
    settings = checked(DataSettings, {"location": str(data), **options})
    reading = settings.options(None, 0)
    source = open_source(settings.location, reading)
    found = inspect_source(source, options=reading, rule=settings.split, progress=progress)
    if page is not None:
        write_text(page, render_inspection(found, source), sweep=True)
    return found
