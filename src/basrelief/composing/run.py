"""``basrelief compose``: from the options to a folder of quartets, or a store, and what there is to say about it."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import shlex
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from basrelief.composing.layouts import LAYOUTS
from basrelief.composing.options import ComposeOptions
from basrelief.composing.source import Composition, composed_source, plan_composition
from basrelief.composing.write import DepthTeacher, write_composition
from basrelief.data.beside import FACTS
from basrelief.data.pack import pack
from basrelief.data.source import Source
from basrelief.data.store import open_store
from basrelief.errors import OutputError, UsageError, unknown_name
from basrelief.files import read_json
from basrelief.parallel import cores

STORE = "store"


def compose_data(
    options: ComposeOptions,
    out: Path,
    *,
    layout: str | None = None,
    jpeg: int | None = None,
    packed: bool = False,
    teacher: str | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Compose a set of quartets.

    Parameters
    ----------
    options
        What to compose.
    out
        A folder: new, empty, or begun by the same call, which then goes on.
    layout
        "a" (the default), "b" or "c".
    jpeg
        Quality, 1 to 100, of images and backgrounds; None: PNG.
    packed
        Write a store instead of files.
    teacher
        Folder or name of a depth-estimation network, which then says the composites' depth.
    jobs
        Processes; None: one for each core. What is made does not depend on it.
    progress
        Called with (done, total): while materials are looked at, then while composites are made.

    Returns
    -------
    dict
        ``out``, ``layout`` (the format's name, or "store"), ``count``, ``splits`` (split -> composites),
        ``backgrounds``, ``foregrounds`` (how many are used), ``composites_per_background``, ``resolution``, ``depth``
        (scale, unit, kind, invalid; None without), ``skipped`` (file -> why), ``notes``, ``images_per_second`` (of
        making them), ``next`` (a command that looks at it).

    Raises
    ------
    UsageError
        For options that make no sense, or not together.
    DataError
        For materials, or a teacher, that cannot be used.
    OutputError
        If ``out`` holds something else, or cannot be written.
    MissingExtraError
        For a teacher without the package transformers.
    """
    _check(options, out, layout, jpeg, packed, teacher, jobs)
    guide = None
    if teacher is not None:
        from basrelief.composing.teacher import Teacher

        guide = Teacher(teacher, options.depth.depth_kind)
    composition = plan_composition(options, progress)
    asked = _asked(options, composition, out, layout or "a", jpeg, teacher)
    versions = _versions(guide)
    before = (out / "store.json").exists() or (
        (out / FACTS).exists() and read_json(out / FACTS).get("finished") is True
    )
    begun = time.perf_counter()
    if not packed:
        facts = write_composition(
            composition,
            out,
            layout or "a",
            asked=asked,
            versions=versions,
            jpeg=jpeg,
            teacher=guide,
            jobs=jobs or cores(),
            progress=progress,
        )
        depth = {name: facts.get(f"depth_{name}") for name in ("scale", "unit", "kind", "invalid")}
        found = depth if "depth_kind" in facts else None
    else:
        found = _write_store(composition, out, asked, versions, guide, jobs, progress)
    seconds = time.perf_counter() - begun
    used = {composition.cell(index).foreground for index in range(composition.plan.count)}
    return {
        "out": str(out),
        "layout": STORE if packed else LAYOUTS[layout or "a"].format,
        "count": composition.plan.count,
        "splits": composition.splits(),
        "backgrounds": len(composition.backgrounds),
        "foregrounds": len(used),
        "composites_per_background": composition.plan.each,
        "resolution": list(options.resolution),
        "depth": found,
        "skipped": composition.materials.skipped,
        "notes": _notes(composition, jpeg, guide, before),
        "images_per_second": round(composition.plan.count / seconds, 1),
        "next": f"basrelief inspect {shlex.quote(str(out))}",
    }


def _write_store(
    composition: Composition,
    out: Path,
    asked: dict[str, Any],
    versions: dict[str, str],
    teacher: DepthTeacher | None,
    jobs: int | None,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any] | None:
    """Pack composites as they are made; those that a teacher must see are written as files first, and these removed."""
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    if (out / "store.json").exists():
        if open_store(out).facts.source_key != key:
            raise OutputError(f"{out} holds another store. Choose another --out, or remove it.")
        return _depth_of(composed_source(composition), composition, teacher)
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise OutputError(f"{out} holds other files. Choose an empty or a new folder with --out.")
    resolution = composition.recipe.resolution
    if teacher is None:
        source = composed_source(composition)
        pack(source, source.entries, out, resolution, key=key, jobs=jobs, progress=progress)
        return _depth_of(source, composition, teacher)
    from basrelief.data import open_source

    files = out.with_name(f".{out.name}.files")
    write_composition(
        composition,
        files,
        "a",
        asked=asked,
        versions=versions,
        teacher=teacher,
        jobs=jobs or cores(),
        progress=progress,
    )
    source = open_source(str(files))
    pack(source, source.entries, out, resolution, key=key, jobs=jobs, progress=progress)
    shutil.rmtree(files)
    return _depth_of(source, composition, teacher)


def _depth_of(source: Source, composition: Composition, teacher: DepthTeacher | None) -> dict[str, Any] | None:
    if teacher is not None:
        return dataclasses.asdict(teacher.stored)
    coding = composition.materials.coding
    if coding is None:
        return None
    return {"scale": coding.scale, "unit": source.depth_unit, "kind": source.depth_kind, "invalid": [0]}


def _asked(
    options: ComposeOptions, composition: Composition, out: Path, layout: str, jpeg: int | None, teacher: str | None
) -> dict[str, Any]:
    """Return all that decides what is made, as JSON holds it."""
    depth = options.depth
    return {
        "backgrounds": _place(options.backgrounds, out),
        "foregrounds": _place(options.foregrounds, out),
        "depths": None if options.depths is None else _place(options.depths, out),
        "depth_scale": depth.depth_scale,
        "depth_unit": depth.depth_unit,
        "depth_kind": depth.depth_kind,
        "depth_invalid": list(depth.depth_invalid),
        "teacher": None if teacher is None else str(Path(teacher).resolve()) if Path(teacher).is_dir() else teacher,
        "resolution": list(options.resolution),
        "positions": options.positions,
        "mirror": options.mirror,
        "min_size": options.smallest,
        "max_size": options.largest,
        "shadow": options.shadow,
        "harmonise": options.harmonise,
        "misalign": options.misalign,
        "split": options.split,
        "group_blocks": options.group_blocks,
        "limit": options.limit,
        "skip_broken": options.skip_broken,
        "seed": options.seed,
        "layout": layout,
        "jpeg": jpeg,
        "materials": composition.materials.fingerprint(),
    }


def _place(folder: Path, out: Path) -> str:
    """Return a folder as seen from ``out`` where it lies beside it: both may be moved together, or renamed above."""
    found, beside = folder.resolve(), out.resolve().parent
    return f"../{found.relative_to(beside).as_posix()}" if found.is_relative_to(beside) else str(found)


def _notes(composition: Composition, jpeg: int | None, teacher: DepthTeacher | None, before: bool) -> list[str]:
    notes = list(composition.notes)
    if before:
        notes.append("The set was finished before: what was there is kept as it was.")
    if jpeg is not None:
        notes.append(
            "Images and backgrounds are JPEG, which changes pixels: outside the figure they differ by its noise. "
            "Masks and depth are PNG, and exact."
        )
    if teacher is not None and teacher.stored.kind != "metric":
        notes.append(
            f"The teacher's depth counts as {teacher.stored.kind}, without a unit; in every picture it fills the "
            "range 0 to 1 anew."
        )
    if skipped := len(composition.materials.skipped):
        notes.append(f"{skipped} file{'s' * (skipped > 1)} left out (--skip-broken).")
    return notes


def _versions(teacher: DepthTeacher | None) -> dict[str, str]:
    packages = ["basrelief", "numpy", "pillow", *(["torch", "transformers"] if teacher else [])]
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def _check(
    options: ComposeOptions,
    out: Path,
    layout: str | None,
    jpeg: int | None,
    packed: bool,
    teacher: str | None,
    jobs: int | None,
) -> None:
    if layout is not None and layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    if packed and (layout is not None or jpeg is not None):
        raise UsageError("--pack writes a store, which has neither --layout nor --jpeg. Leave them out, or --pack.")
    if jpeg is not None and not 1 <= jpeg <= 100:
        raise UsageError(f"--jpeg {jpeg}: expected a quality of 1 to 100, such as 90.")
    if teacher is not None and options.depths is not None:
        raise UsageError("--depths and --teacher both say the composites' depth. Leave one of them out.")
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: expected 1 or more.")
    if options.depth.depth_kind is not None and options.depths is None and teacher is None:
        raise UsageError("--depth-kind says what --depths or --teacher gives, and there is neither.")
    if out.exists() and not out.is_dir():
        raise OutputError(f"--out {out} is a file; expected a folder, which is made if needed.")
    for folder in (options.backgrounds, options.foregrounds, options.depths):
        if folder is not None and folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"--out {out} lies in {folder}, which is read from. Choose a folder beside it.")
