"""Writing composites as quartets in layout A, B or C, on all cores, so that the same command goes on where one stopped.

Every file is put in place in one step, and what is in place is kept: composites depend on nothing but the seed and
what they show, so it does not matter who wrote them or when. Lists and ``basrelief.json`` come last; until then the
folder is marked as unfinished, and nothing reads half a set.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import re
import signal
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from basrelief.data.beside import FACTS, FACTS_VERSION, MADE_BY, SAMPLES
from basrelief.data.compose import Composition, Studio
from basrelief.data.compose_material import UNKNOWN
from basrelief.data.compose_scene import Placement
from basrelief.data.cutout import FIGURE_FROM
from basrelief.errors import OutputError
from basrelief.files import PARTIAL, only_writer, output_errors, read_json, write_json

CHUNK = 16  # composites that a worker makes at a time, and a teacher sees at a time
PART = 64 * CHUNK  # composites in an archive of layout C


class Layout(NamedTuple):
    """A layout: the format that reads it, the folder of each plane, and the list that pairs them, if any."""

    format: str
    folders: Mapping[str, str]
    list: str | None = None


LAYOUTS = {
    "a": Layout(
        "quartets-a",
        {"background": "bg", "image": "bg_fg", "mask": "bg_fg_mask", "depth": "bg_fg_depth_map"},
        "file_map.txt",
    ),
    "b": Layout("quartets-b", {"background": "bg", "image": "bg_fg", "mask": "mask", "depth": "depth"}),
    "c": Layout(
        "quartets-c",
        {"background": "Background", "image": "Fg-Bg", "mask": "Fg-Bg-Mask", "depth": "Depth"},
        "labels.txt",
    ),
}


@dataclass(frozen=True)
class StoredDepth:
    """What the depth files of a set mean: the facts that are written beside them."""

    scale: float
    unit: str
    kind: str
    invalid: tuple[int, ...]


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
    folder: Path
    layout: str
    jpeg: int | None
    taught: bool

    @property
    def planes(self) -> list[str]:
        """The planes that a worker makes."""
        depth = self.studio.composition.materials.coding is not None and not self.taught
        return ["image", "mask", *(["depth"] if depth else [])]

    def path(self, plane: str, name: str) -> Path:
        """Return where a plane of a composite, or a background, lies."""
        return self.folder / LAYOUTS[self.layout].folders[plane] / f"{name}{self.suffix(plane)}"

    def suffix(self, plane: str) -> str:
        """Return the type of a plane's files: masks and depth are never written with loss."""
        return ".jpg" if self.jpeg is not None and plane in ("image", "background") else ".png"

    def make(self, start: int, stop: int, part_is_there: bool) -> list[_Made]:
        """Make some composites, and the backgrounds that begin with them; leave alone what is there."""
        composition = self.studio.composition
        zipped = self.layout == "c"
        for index in range(start, stop):
            rank, number = divmod(index, composition.plan.each)
            path = self.path("background", composition.background_name(rank))
            if number == 0 and not _is_there(path):
                backdrop = self.studio.backdrop(composition.backgrounds[rank])
                put(path, _encode("background", backdrop.image, self.jpeg))
        teach = self.taught and not part_is_there
        if teach and not zipped:  # a teacher sees the same images together, whatever is there already
            teach = not all(_is_there(self.path("depth", composition.name(i))) for i in range(start, stop))
        made = []
        for index in range(start, stop):
            cell, name = composition.cell(index), composition.name(index)
            lacking = [plane for plane in self.planes if not (zipped or _is_there(self.path(plane, name)))]
            lacking = self.planes if zipped and not part_is_there else lacking
            if not lacking and not teach:
                made.append(_Made(self.studio.place(cell), {}))
                continue
            scene, _, where = self.studio.compose(cell)
            planes = {"image": scene.image, "mask": scene.alpha, "depth": scene.codes}
            files = {plane: _encode(plane, planes[plane], self.jpeg) for plane in lacking}
            if not zipped:
                for plane, content in files.items():
                    put(self.path(plane, name), content)
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
    with only_writer(folder):
        shop = _Workshop(Studio(composition), folder, layout, jpeg, teacher is not None)
        _begin(shop, dict(asked))
        stored = teacher.stored if teacher else _stored(composition)
        clipped = _write_all(shop, stored, teacher, jobs, progress)
        _write_list(shop)
        facts = _facts(composition, layout, stored, clipped) | {"settings": dict(asked), "versions": dict(versions)}
        write_json(folder / FACTS, facts)
    return facts


def put(path: Path, content: bytes) -> None:
    """Write a file in one step. Not forced onto the disk, which would take longer than making it: files are checked."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
        temporary.write_bytes(content)
        temporary.replace(path)


def _is_there(path: Path) -> bool:
    try:
        return path.stat().st_size > 0  # a power cut can leave empty files
    except OSError:
        return False


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
    parts = (
        [shop.folder / f"data_part{part + 1}.zip" for part in range(-(-count // PART))] if shop.layout == "c" else []
    )
    there = [_is_there(path) for path in parts]
    chunks = [(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    tasks = ((start, stop, bool(parts) and there[start // PART]) for start, stop in chunks)
    table = shop.folder / f"{PARTIAL}{SAMPLES}"
    with output_errors(table), ExitStack() as stack:
        lines = csv.writer(stack.enter_context(table.open("w", newline="", encoding="utf-8")), lineterminator="\n")
        lines.writerow(_COLUMNS)
        archive: _Archive | None = None
        for made in _in_order(shop, tasks, min(jobs, -(-len(chunks) // 2))):
            pictures = [one.image for one in made if one.image is not None]
            depths = teacher.estimate(pictures) if teacher and pictures else []
            for number, (where, files, _) in enumerate(made):
                cell, name = composition.cell(index), composition.name(index)
                if depths:
                    files["depth"] = _encode("depth", depths[number], None)
                if parts and not there[index // PART]:
                    archive = archive or stack.enter_context(_Archive(parts[index // PART]))
                    for plane, content in files.items():
                        archive.add(f"data_{index // PART + 1}/{_inside(shop, plane, name)}", content)
                elif "depth" in files:
                    path = shop.path("depth", name)
                    if not _is_there(path):
                        put(path, files["depth"])
                lines.writerow(_line(composition, cell, name, where, stored))
                clipped += where.clipped
                index += 1
                if archive and (index == count or index % PART == 0):
                    archive.finish()
                    archive = None
            if progress is not None:
                progress(index, count)
    table.replace(shop.folder / SAMPLES)
    return clipped


_COLUMNS = (  # of samples.csv
    *("id", "background", "foreground", "split", "mirror", "position"),
    *("x", "y", "width", "height", "distance", "clipped"),
)


def _line(
    composition: Composition, cell: Any, name: str, where: Placement, stored: StoredDepth | None
) -> tuple[object, ...]:
    materials = composition.materials
    own = where.code is not None and stored is not None
    distance = round((where.code or 0) * (stored.scale if stored else 0), 10) if own else ""
    return (
        name,
        materials.backgrounds[cell.background].name,
        materials.foregrounds[cell.foreground].name,
        cell.split or "",
        int(cell.mirror),
        cell.position,
        *where[:4],
        distance,
        int(where.clipped),
    )


class _Archive:
    """A zip archive that appears whole. Members carry no time: the same composites are the same bytes."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_name(f"{PARTIAL}{path.name}")
        self._zip = zipfile.ZipFile(self._temporary, "w", zipfile.ZIP_STORED)  # PNG and JPEG are compressed already

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._temporary.unlink(missing_ok=True)

    def add(self, name: str, content: bytes) -> None:
        """Add a member."""
        member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        member.external_attr = 0o644 << 16
        member.create_system = 3  # Unix, wherever it is made
        self._zip.writestr(member, content)

    def finish(self) -> None:
        """Put the archive in its place."""
        self._zip.close()
        self._temporary.replace(self._path)


def _inside(shop: _Workshop, plane: str, name: str) -> str:
    return f"{LAYOUTS['c'].folders[plane]}/{name}{shop.suffix(plane)}"


def _in_order(shop: _Workshop, tasks: Iterator[tuple[int, int, bool]], jobs: int) -> Iterator[list[_Made]]:
    """Yield what tasks make, in their order; a bounded number waits, so that memory stays flat."""
    if jobs <= 1:
        yield from (shop.make(*task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that has threads, as torch's, can hang
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (shop,))
    try:
        waiting: deque[Future[list[_Made]]] = deque()
        for task in tasks:
            waiting.append(pool.submit(_work, *task))
            if len(waiting) >= 3 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise OutputError(
            f"A worker process ended early, perhaps for want of memory. Run the same command again with fewer "
            f"--jobs: what is in {shop.folder} is kept. (In a script, put the call under: if __name__ == '__main__'.)"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_shop: _Workshop | None = None  # of this worker process


def _start_worker(shop: _Workshop) -> None:
    global _shop
    _shop = shop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process answers Ctrl-C
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """End this process when its parent is killed; it would wait for work for ever."""
    wait([sentinel])
    os._exit(1)


def _work(start: int, stop: int, part_is_there: bool) -> list[_Made]:
    assert _shop is not None
    return _shop.make(start, stop, part_is_there)


def _begin(shop: _Workshop, asked: dict[str, Any]) -> None:
    """Mark a new folder as unfinished; refuse one that holds anything but part of what is asked for."""
    folder, path = shop.folder, shop.folder / FACTS
    layout = LAYOUTS[shop.layout]
    there = {item.name for item in folder.iterdir() if not item.name.startswith(".")}
    ours = {FACTS, SAMPLES, layout.list, *layout.folders.values()}
    if path.exists():
        facts = read_json(path)
        before = facts.get("settings")
        if facts.get("made_by") == MADE_BY and isinstance(before, dict) and before != asked:
            different = [name for name in {**before, **asked} if before.get(name) != asked.get(name)]
            told = "; ".join(f"{name}: {before.get(name)} there, {asked.get(name)} asked for" for name in different[:3])
            raise OutputError(
                f"{folder} holds another set ({told}). Choose another --out; the same command goes on with an "
                "unfinished one."
            )
        if facts.get("made_by") == MADE_BY and before == asked:
            others = {
                name for name in there - ours if not (shop.layout == "c" and re.fullmatch(r"data_part\d+\.zip", name))
            }
            others |= set(_strange(shop))
            if not others:
                return
            there = others
    if there:
        named = ", ".join(sorted(there)[:3]) + ("…" if len(there) > 3 else "")
        raise OutputError(f"{folder} holds other files ({named}). Choose an empty or a new folder with --out.")
    write_json(path, {"made_by": MADE_BY, "version": FACTS_VERSION, "finished": False, "settings": asked})


def _strange(shop: _Workshop) -> Iterator[str]:
    """Yield files in our folders that are not part of the set, which pairing by order would trip over."""
    composition = shop.studio.composition
    for plane, name in LAYOUTS[shop.layout].folders.items():
        folder = shop.folder / name
        if not folder.is_dir():
            continue
        with os.scandir(folder) as found:
            for item in found:
                stem, suffix = Path(item.name).stem, Path(item.name).suffix
                digits = re.fullmatch(r"bg([1-9]\d*|0\d+)(?:_(\d+))?", stem, re.ASCII)
                rank, number = (int(part or 1) - 1 for part in digits.groups()) if digits else (-1, -1)
                expected = ""
                if 0 <= rank < len(composition.backgrounds) and 0 <= number < composition.plan.each:
                    index = rank * composition.plan.each + number
                    expected = composition.background_name(rank) if plane == "background" else composition.name(index)
                if (stem, suffix) != (expected, shop.suffix(plane)) and not item.name.startswith(PARTIAL):
                    yield f"{name}/{item.name}"


def _write_list(shop: _Workshop) -> None:
    """Write the list that says what belongs together, where the layout has one."""
    name = LAYOUTS[shop.layout].list
    if name is None:
        return
    composition = shop.studio.composition
    each, foregrounds = composition.plan.each, composition.materials.foregrounds
    path = shop.folder / name
    temporary = path.with_name(f"{PARTIAL}{name}")
    with output_errors(path):
        with temporary.open("w", newline="", encoding="utf-8") as file:
            for index, cell, stem in composition.rows():
                background = composition.background_name(index // each)
                if shop.layout == "a":
                    file.write(f"{background}\t{stem}\t{stem}\t{stem}\n")
                else:
                    figure = foregrounds[cell.foreground].path.name
                    image, mask = stem + shop.suffix("image"), stem + shop.suffix("mask")
                    file.write(f"{background}{shop.suffix('background')}\t{figure}\t{image}\t{mask}\t{mask}\n")
        temporary.replace(path)


def _stored(composition: Composition) -> StoredDepth | None:
    coding = composition.materials.coding
    return None if coding is None else StoredDepth(coding.scale, coding.unit, coding.kind, (UNKNOWN,))


def _facts(composition: Composition, layout: str, stored: StoredDepth | None, clipped: int) -> dict[str, Any]:
    plan = composition.plan
    depth = {}
    if stored is not None:
        depth = {
            "depth_scale": stored.scale,
            "depth_unit": stored.unit,
            "depth_kind": stored.kind,
            "depth_invalid": list(stored.invalid),
        }
    coding = composition.materials.coding
    return {
        "made_by": MADE_BY,
        "version": FACTS_VERSION,
        "finished": True,
        "format": LAYOUTS[layout].format,
        "samples": SAMPLES,
        "mask_figure_from": FIGURE_FROM,
        **depth,
        **({} if coding is None else {"usual_distance": coding.usual, "clipped_sizes": clipped}),
        "composites": plan.count,
        "backgrounds": len(composition.backgrounds),
        "composites_per_background": plan.each,
        "splits": composition.splits(),
        "skipped": composition.materials.skipped,
        "notes": list(composition.notes),
    }
