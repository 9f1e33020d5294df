"""What a composed folder holds besides pictures: its layout's names and list, ``samples.csv``, and the facts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from basrelief.composing.cutout import FIGURE_FROM
from basrelief.composing.depth import UNKNOWN
from basrelief.composing.plan import Cell
from basrelief.composing.scene import Placement
from basrelief.composing.source import Composition
from basrelief.data.beside import FACTS, FACTS_VERSION, MADE_BY, SAMPLES
from basrelief.errors import OutputError
from basrelief.files import PARTIAL, output_errors, read_json, write_json


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
class SetFolder:
    """A folder that composites are written into: its layout, and the quality of JPEG, None for PNG."""

    folder: Path
    layout: str
    jpeg: int | None = None

    def path(self, plane: str, name: str) -> Path:
        """Return where a plane of a composite, or a background, lies."""
        return self.folder / self.inside(plane, name)

    def inside(self, plane: str, name: str) -> str:
        """Return the same below the folder, or below that of an archive's content."""
        return f"{LAYOUTS[self.layout].folders[plane]}/{name}{self.suffix(plane)}"

    def suffix(self, plane: str) -> str:
        """Return the type of a plane's files: masks and depth are never written with loss."""
        return ".jpg" if self.jpeg is not None and plane in ("image", "background") else ".png"


@dataclass(frozen=True)
class StoredDepth:
    """What the depth files of a set mean: the facts that are written beside them."""

    scale: float
    unit: str
    kind: str
    invalid: tuple[int, ...]


def begin(place: SetFolder, composition: Composition, asked: dict[str, Any]) -> None:
    """Mark a new folder as unfinished; refuse one that holds anything but part of what is asked for."""
    folder, path = place.folder, place.folder / FACTS
    layout = LAYOUTS[place.layout]
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
                name for name in there - ours if not (place.layout == "c" and re.fullmatch(r"data_part\d+\.zip", name))
            }
            others |= set(_strange(place, composition))
            if not others:
                return
            there = others
    if there:
        named = ", ".join(sorted(there)[:3]) + ("…" if len(there) > 3 else "")
        raise OutputError(f"{folder} holds other files ({named}). Choose an empty or a new folder with --out.")
    write_json(path, {"made_by": MADE_BY, "version": FACTS_VERSION, "finished": False, "settings": asked})


def _strange(place: SetFolder, composition: Composition) -> Iterator[str]:
    """Yield files in our folders that are not part of the set, which pairing by order would trip over."""
    for plane, name in LAYOUTS[place.layout].folders.items():
        folder = place.folder / name
        if not folder.is_dir():
            continue
        with os.scandir(folder) as found:
            for item in found:
                stem, suffix = Path(item.name).stem, Path(item.name).suffix
                digits = re.fullmatch(r"bg(\d+)(?:_(\d+))?", stem, re.ASCII)
                rank, number = (int(part or 1) - 1 for part in digits.groups()) if digits else (-1, -1)
                expected = ""
                if 0 <= rank < len(composition.backgrounds) and 0 <= number < composition.plan.each:
                    index = rank * composition.plan.each + number
                    expected = composition.background_name(rank) if plane == "background" else composition.name(index)
                if (stem, suffix) != (expected, place.suffix(plane)) and not item.name.startswith(PARTIAL):
                    yield f"{name}/{item.name}"


def write_list(place: SetFolder, composition: Composition) -> None:
    """Write the list that says what belongs together, where the layout has one."""
    name = LAYOUTS[place.layout].list
    if name is None:
        return
    each, foregrounds = composition.plan.each, composition.materials.foregrounds
    path = place.folder / name
    temporary = path.with_name(f"{PARTIAL}{name}")
    with output_errors(path):
        with temporary.open("w", newline="", encoding="utf-8") as file:
            for index, cell, stem in composition.rows():
                background = composition.background_name(index // each)
                if place.layout == "a":
                    file.write(f"{background}\t{stem}\t{stem}\t{stem}\n")
                else:
                    figure = foregrounds[cell.foreground].path.name
                    image, mask = stem + place.suffix("image"), stem + place.suffix("mask")
                    file.write(f"{background}{place.suffix('background')}\t{figure}\t{image}\t{mask}\t{mask}\n")
        temporary.replace(path)


def own_depth(composition: Composition) -> StoredDepth | None:
    """Return what the depth files mean that come from the backgrounds' depth; None without."""
    coding = composition.materials.coding
    return None if coding is None else StoredDepth(coding.scale, coding.unit, coding.kind, (UNKNOWN,))


def facts_of(composition: Composition, layout: str, stored: StoredDepth | None, clipped: int) -> dict[str, Any]:
    """Return the facts of a finished set, without settings and versions; ``clipped`` counts clipped sizes."""
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


COLUMNS = (  # of samples.csv
    *("id", "background", "foreground", "split", "mirror", "position"),
    *("x", "y", "width", "height", "distance", "clipped"),
)


def line_of(
    composition: Composition, cell: Cell, name: str, where: Placement, stored: StoredDepth | None
) -> tuple[object, ...]:
    """Return a composite's line in ``samples.csv``."""
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


def put(path: Path, content: bytes) -> None:
    """Write a file in one step. Not forced onto the disk, which would take longer than making it: files are checked."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
        temporary.write_bytes(content)
        temporary.replace(path)


def is_there(path: Path) -> bool:
    """Return whether a file is in place."""
    try:
        return path.stat().st_size > 0  # a power cut can leave empty files
    except OSError:
        return False
