"""Writing composites as quartets in layout A, B or C, on all cores, so that the same command goes on where one stopped.

Every file is put in place in one step, and what is in place is kept: composites depend on nothing but the seed and
what they show, so it does not matter who wrote them or when. Lists and ``basrelief.json`` come last; until then the
folder is marked as unfinished, and nothing reads half a set.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from basrelief.composing.layouts import (
    COLUMNS,
    SetFolder,
    StoredDepth,
    begin,
    facts_of,
    is_there,
    line_of,
    own_depth,
    put,
    write_list,
)
from basrelief.composing.scene import Placement
from basrelief.composing.source import Composition, Studio
from basrelief.data.beside import FACTS, SAMPLES
from basrelief.files import PARTIAL, output_errors, write_json
from basrelief.folders import only_writer
from basrelief.parallel import ordered_map

CHUNK = 16  # composites that a worker makes at a time, and a teacher sees at a time
PART = 64 * CHUNK  # composites in an archive of layout C


class DepthTeacher(Protocol):
    """What gives depth to composites that have none."""

    @property
    def stored(self) -> StoredDepth:
        """What its codes mean."""

    def estimate(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Return codes, uint16 (H, W), for images, uint8 (H, W, 3)."""


class _Made(NamedTuple):
    """What a worker hands back of a composite: its placement, files not yet written, and the image for a teacher."""

    where: Placement
    files: dict[str, bytes]
    image: np.ndarray | None = None


@dataclass(frozen=True)
class _Workshop:
    """All that a worker needs. ``taught``: depth comes from a teacher, who works in the main process."""

    studio: Studio
    place: SetFolder
    taught: bool

    @property
    def planes(self) -> list[str]:
        """The planes that a worker makes."""
        depth = self.studio.composition.materials.coding is not None and not self.taught
        return ["image", "mask", *(["depth"] if depth else [])]

    def __call__(self, task: tuple[int, int, bool]) -> list[_Made]:
        """Make some composites, and the backgrounds that begin with them; leave alone what is there."""
        start, stop, part_is_there = task
        composition = self.studio.composition
        zipped = self.place.layout == "c"
        for index in range(start, stop):
            rank, number = divmod(index, composition.plan.each)
            path = self.place.path("background", composition.background_name(rank))
            if number == 0 and not is_there(path):
                backdrop = self.studio.backdrop(composition.backgrounds[rank])
                put(path, _encode("background", backdrop.image, self.place.jpeg))
        teach = self.taught and not part_is_there
        if teach and not zipped:  # a teacher sees the same images together, whatever is there already
            teach = not all(is_there(self.place.path("depth", composition.name(i))) for i in range(start, stop))
        made = []
        for index in range(start, stop):
            cell, name = composition.cell(index), composition.name(index)
            lacking = [plane for plane in self.planes if not (zipped or is_there(self.place.path(plane, name)))]
            lacking = self.planes if zipped and not part_is_there else lacking
            if not lacking and not teach:
                made.append(_Made(self.studio.place(cell), {}))
                continue
            scene, _, where = self.studio.compose(cell)
            planes = {"image": scene.image, "mask": scene.alpha, "depth": scene.codes}
            files = {plane: _encode(plane, planes[plane], self.place.jpeg) for plane in lacking}
            if not zipped:
                for plane, content in files.items():
                    put(self.place.path(plane, name), content)
                files = {}
            made.append(_Made(where, files, scene.image if teach else None))
        return made


def write_composition(
    composition: Composition,
    folder: Path,
    layout: str,
    *,
    asked: Mapping[str, Any],
    versions: Mapping[str, str],
    jpeg: int | None = None,
    teacher: DepthTeacher | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write all composites with lists and facts, and return the facts.

    Parameters
    ----------
    composition
        From ``plan_composition``.
    folder
        New, empty, or begun by the same command.
    layout
        "a", "b" or "c".
    asked
        The settings, as JSON holds them; a folder that was begun with others is refused.
    versions
        Of the program and of what it stands on.
    jpeg
        Quality at which images and backgrounds are written as JPEG; None: PNG. Masks and depth are always PNG.
    teacher
        Gives depth; None: the composition's own, if any.
    jobs
        Processes; 1 works in this one.
    progress
        Called with (done, total).

    Raises
    ------
    OutputError
        If the folder holds other files, or another set, or cannot be written.
    """
    place = SetFolder(folder, layout, jpeg)
    with only_writer(folder):
        shop = _Workshop(Studio(composition), place, teacher is not None)
        begin(place, composition, dict(asked))
        stored = teacher.stored if teacher else own_depth(composition)
        clipped = _write_all(shop, stored, teacher, jobs, progress)
        write_list(place, composition)
        facts = facts_of(composition, layout, stored, clipped) | {"settings": dict(asked), "versions": dict(versions)}
        write_json(folder / FACTS, facts)
    return facts


def _encode(plane: str, array: np.ndarray | None, jpeg: int | None) -> bytes:
    assert array is not None
    content = io.BytesIO()
    if jpeg is not None and plane in ("image", "background"):
        Image.fromarray(array).save(content, "JPEG", quality=jpeg)
    else:
        Image.fromarray(array).save(content, "PNG", compress_level=6 if plane == "mask" else 1)
    return content.getvalue()


def _write_all(
    shop: _Workshop,
    stored: StoredDepth | None,
    teacher: DepthTeacher | None,
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Write files or archives, and the table of samples; return how many sizes were clipped."""
    composition = shop.studio.composition
    count, clipped, index = composition.plan.count, 0, 0
    parts: list[Path] = []
    if shop.place.layout == "c":
        parts = [shop.place.folder / f"data_part{part + 1}.zip" for part in range(-(-count // PART))]
    there = [is_there(path) for path in parts]
    starts = range(0, count, CHUNK)
    tasks = ((start, min(start + CHUNK, count), bool(parts) and there[start // PART]) for start in starts)
    table = shop.place.folder / f"{PARTIAL}{SAMPLES}"
    with output_errors(table), ExitStack() as stack:
        lines = csv.writer(stack.enter_context(table.open("w", newline="", encoding="utf-8")), lineterminator="\n")
        lines.writerow(COLUMNS)
        archive: _Archive | None = None
        for made in ordered_map(shop, tasks, jobs=min(jobs, -(-len(starts) // 2))):
            pictures = [one.image for one in made if one.image is not None]
            depths = teacher.estimate(pictures) if teacher and pictures else []
            for number, (where, files, _) in enumerate(made):
                cell, name = composition.cell(index), composition.name(index)
                if depths:
                    files["depth"] = _encode("depth", depths[number], None)
                if parts and not there[index // PART]:
                    archive = archive or stack.enter_context(_Archive(parts[index // PART]))
                    for plane, content in files.items():
                        archive.add(f"data_{index // PART + 1}/{shop.place.inside(plane, name)}", content)
                elif "depth" in files:
                    path = shop.place.path("depth", name)
                    if not is_there(path):
                        put(path, files["depth"])
                lines.writerow(line_of(composition, cell, name, where, stored))
                clipped += where.clipped
                index += 1
                if archive and (index == count or index % PART == 0):
                    archive.finish()
                    archive = None
            if progress is not None:
                progress(index, count)
    table.replace(shop.place.folder / SAMPLES)
    return clipped


class _Archive:
    """A zip archive that appears whole. Members carry no time: the same composites are the same bytes."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_name(f"{PARTIAL}{path.name}")
        # PNG and JPEG are compressed already.
        self._zip: zipfile.ZipFile | None = zipfile.ZipFile(self._temporary, "w", zipfile.ZIP_STORED)

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        if self._zip is not None:
            self._zip.close()
            self._temporary.unlink(missing_ok=True)

    def add(self, name: str, content: bytes) -> None:
        """Add a member."""
        assert self._zip is not None
        member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        member.external_attr = 0o644 << 16
        member.create_system = 3  # Unix, wherever it is made
        self._zip.writestr(member, content)

    def finish(self) -> None:
        """Put the archive in its place, and forget what is in it: of many archives, that would grow large."""
        assert self._zip is not None
        self._zip.close()
        self._zip = None
        self._temporary.replace(self._path)
