"""What composites are made of: backgrounds with their depth maps, and foregrounds, found, checked and decoded.

Everything is looked at once before anything is written, since a background that fails in the middle would leave the
others with uneven numbers of composites.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from basrelief.batch import TARGETS
from basrelief.composing.cutout import load_figure
from basrelief.composing.depth import (
    DepthCoding,
    DepthLook,
    encode_depth,
    fine_scale,
    look_at_depth,
    read_coding,
    settle,
)
from basrelief.data.decode import ARRAY_SUFFIXES, IMAGE_SUFFIXES, FileError, read_depth, read_image
from basrelief.data.folder_layout import FOLDERS, Found, best_pairs, natural, plain_name, scan, without_doubles
from basrelief.data.folder_load import size_fault
from basrelief.data.source import DataOptions, Fault
from basrelief.errors import DataError


@dataclass(frozen=True)
class Material:
    """A picture to compose with: its name below its folder without suffix, its file, and its depth map if any."""

    name: str
    path: Path
    depth: Path | None = None


@dataclass(frozen=True)
class Materials:
    """All that can be used, and what was found out about it.

    ``skipped``: file -> why it is left out. ``alike``: whether neighbouring backgrounds look like frames of a video.
    """

    backgrounds: tuple[Material, ...]
    foregrounds: tuple[Material, ...]
    coding: DepthCoding | None = None
    notes: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    alike: bool = False

    def fingerprint(self) -> str:
        """Return a hash of names and sizes of all files, to notice that they have changed."""
        digest = hashlib.sha256()
        for material in (*self.backgrounds, None, *self.foregrounds):
            for path in (material.path, material.depth) if material else ():
                digest.update(repr(path and (path.name, path.stat().st_size)).encode())
            digest.update(repr(material and material.name).encode())
        return digest.hexdigest()[:32]


class Backdrop(NamedTuple):
    """A background at the composites' size: uint8 (H, W, 3), and codes of its depth, uint16 (H, W), 0 unknown."""

    image: np.ndarray
    codes: np.ndarray | None


def find_materials(
    backgrounds: Path,
    foregrounds: Path,
    depths: Path | None,
    options: DataOptions,
    resolution: tuple[int, int],
    *,
    skip_broken: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Materials:
    """List and check everything there is to compose with.

    Parameters
    ----------
    backgrounds, foregrounds, depths
        Folders; depth maps are paired with backgrounds by name.
    options
        What says how depth is stored: ``depth_scale``, ``depth_unit``, ``depth_kind``, ``depth_invalid``.
    resolution
        (height, width) of the composites.
    skip_broken
        Leave out what cannot be used, and say why.
    progress
        Called with (done, total) as files are looked at.

    Raises
    ------
    DataError
        If a folder holds nothing usable, or, unless ``skip_broken``, listing every file that cannot be used.
    UsageError
        If an option about depth makes no sense here.
    """
    notes: list[str] = []
    faults: list[Fault] = []
    behind = _list(backgrounds, "backgrounds", faults)
    figures = _list(foregrounds, "foregrounds", faults)
    coding = None
    if depths is not None:
        behind = _with_depth(behind, depths, faults, notes)
        coding = read_coding(options, notes)
    looks: dict[str, DepthLook | None] = {}
    thumbs: dict[str, np.ndarray] = {}

    def look(material: Material, in_front: bool) -> Fault | None:
        try:
            if in_front:
                load_figure(material.path)
            else:
                thumbs[material.name], looks[material.name] = _look(material, coding, resolution)
        except FileError as error:
            return error.fault
        return None

    everything = [*behind, *figures]
    whole: list[bool] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for fault in pool.map(look, everything, [False] * len(behind) + [True] * len(figures)):
            if fault:
                faults.append(fault)
            whole.append(fault is None)
            if progress is not None:
                progress(len(whole), len(everything))
    if faults and not skip_broken:
        raise _refusal(faults)
    behind, figures = (
        [material for material, usable in zip(materials, flags, strict=True) if usable]
        for materials, flags in ((behind, whole[: len(behind)]), (figures, whole[len(behind) :]))
    )
    for folder, left, what in ((backgrounds, behind, "backgrounds"), (foregrounds, figures, "foregrounds")):
        if not left:
            raise DataError(f"{folder}: none of its {what} can be used.\n" + _listed(faults))
    if coding is not None:
        seen = [found for material in behind if (found := looks[material.name])]
        coding = settle(coding, seen, not options.depth_invalid, notes)
    alike = _neighbours_alike([thumbs[material.name] for material in behind])
    skipped = {fault.file: str(fault).removeprefix(f"{fault.file}: ") for fault in faults}
    return Materials(tuple(behind), tuple(figures), coding, tuple(notes), skipped, alike)


def load_backdrop(material: Material, resolution: tuple[int, int], coding: DepthCoding | None) -> Backdrop:
    """Decode a background, cut its middle to the picture's aspect ratio, and resize it; its depth by the nearest pixel.

    Raises
    ------
    FileError
        Naming the file that cannot be used.
    """
    picture = read_image(material.path)
    height, width = resolution
    box = _middle(picture.shape[1] / picture.shape[0], width / height)
    rows, columns = picture.shape[:2]
    edges = (box[0] * columns, box[1] * rows, box[2] * columns, box[3] * rows)
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR, edges, reducing_gap=3.0)
    image = np.asarray(resized)
    if coding is None or material.depth is None:
        return Backdrop(image, None)
    stored = read_depth(material.depth)
    if fault := size_fault("depth", {"image": material.path, "depth": material.depth}, stored.shape, picture.shape[:2]):
        raise FileError(fault.file, fault.problem, fault.remedy)
    down = (box[1] + (np.arange(height) + 0.5) / height * (box[3] - box[1])) * stored.shape[0]
    across = (box[0] + (np.arange(width) + 0.5) / width * (box[2] - box[0])) * stored.shape[1]
    return Backdrop(image, encode_depth(stored[down.astype(np.intp)[:, None], across.astype(np.intp)], coding))


def _middle(aspect: float, wanted: float) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom), in shares, of the largest part in the middle with an aspect ratio."""
    across, down = min(1.0, wanted / aspect), min(1.0, aspect / wanted)
    return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def _look(
    material: Material, coding: DepthCoding | None, resolution: tuple[int, int]
) -> tuple[np.ndarray, DepthLook | None]:
    """Decode a background for a first time; return a tiny grey picture of it, and what its depth map holds."""
    look = None
    if coding is not None and material.depth is not None:
        look = look_at_depth(read_depth(material.depth), material.depth, coding)
        coding = coding if look.whole else replace(coding, scale=coding.read_scale * fine_scale(look.highest))
    image, codes = load_backdrop(material, resolution, coding)
    if codes is not None and not codes.any():
        problem = "has no known depth in the part that is used, the middle of its background"
        raise FileError(str(material.depth), problem, "Choose another --resolution, or remove it and its background")
    thumb = Image.fromarray(image).convert("L").resize((16, 16), Image.Resampling.BOX)
    return np.asarray(thumb, np.float32), look


def _neighbours_alike(thumbs: Sequence[np.ndarray]) -> bool:
    """Return whether pictures differ from the next one by less than half of what they do from one far away."""
    if len(thumbs) < 8:
        return False
    half = len(thumbs) // 2
    near = [np.abs(a - b).mean() for a, b in pairwise(thumbs)]
    far = [np.abs(a - b).mean() for a, b in zip(thumbs, thumbs[half:], strict=False)]
    return bool(np.median(near) < 0.5 * np.median(far))


def _list(folder: Path, what: str, faults: list[Fault]) -> list[Material]:
    _refuse_data(folder, what)
    found = _pictures(folder, what)
    if not found:
        raise DataError(f"{folder} holds no {what}. Expected images, such as PNG or JPEG files.")
    kept, doubles = without_doubles(sorted(found, key=lambda picture: natural(picture.name)))
    faults += doubles.values()
    for picture in kept:
        if any(mark in picture.name for mark in "\t\r\n"):
            problem = "has a tab or line break in its name, which lists of quartets cannot hold"
            faults.append(Fault(repr(str(picture.path)), problem, "Rename it"))
    return [Material(file.name, file.path) for file in kept if not any(mark in file.name for mark in "\t\r\n")]


def _refuse_data(folder: Path, what: str) -> None:
    """Refuse a folder of images beside masks or depth maps: these would be pasted, or pasted onto, as well."""
    inner = {plain_name(path.name): path.name for path in scan(folder)[0]} if folder.is_dir() else {}
    planes = {
        plane: next((inner[word] for word in words.split() if word in inner), "") for plane, words in FOLDERS.items()
    }
    images, beside = planes["image"], [planes[target] for target in TARGETS if planes[target]]
    if images and beside:
        depths = f" --depths {folder / planes['depth']}" if planes["depth"] and what == "backgrounds" else ""
        raise DataError(
            f"{folder} holds {', '.join(f'{name}/' for name in beside)} beside {images}/. Expected a folder of {what} "
            f"alone, since all pictures below it are used; say {folder / images}{depths}."
        )


def _pictures(folder: Path, what: str, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[Found]:
    if not folder.is_dir():
        raise DataError(f"{folder} is {'no folder' if folder.exists() else 'not there'}. Expected a folder of {what}.")
    return [
        Found(file.relative_to(folder).with_suffix("").as_posix(), file)
        for file in _files(folder)
        if file.suffix.lower() in suffixes
    ]


def _files(folder: Path) -> list[Path]:
    folders, files = scan(folder)
    upward = (folder.resolve(), *folder.resolve().parents)
    inner = [path for path in folders if not (path.is_symlink() and path.resolve() in upward)]
    return [*files, *(file for path in inner for file in _files(path))]


def _with_depth(behind: Sequence[Material], depths: Path, faults: list[Fault], notes: list[str]) -> list[Material]:
    images = [Found(material.name, material.path) for material in behind]
    found = _pictures(depths, "depth maps", IMAGE_SUFFIXES | ARRAY_SUFFIXES)
    pairs = best_pairs(images, {depths.name: found}, "depth") if found else best_pairs(images, {}, "depth")
    if pairs.unpaired:
        notes.append(f"{len(pairs.unpaired)} depth maps have no background, the first {pairs.unpaired[0].path.name}.")
    faults += pairs.doubles.values()
    kept = []
    for material, depth in zip(behind, pairs.files, strict=True):
        if depth is None:
            remedy = f"Add one named {Path(material.name).name}, or remove the background"
            faults.append(Fault(str(material.path), f"has no depth map in {depths}", remedy))
        elif material.name not in pairs.doubles:
            kept.append(replace(material, depth=depth))
    return kept


def _refusal(faults: Sequence[Fault]) -> DataError:
    files = "1 file" if len(faults) == 1 else f"{len(faults)} files"
    return DataError(
        f"{files} cannot be used:\n{_listed(faults)}\nMend or remove them, or leave them out: --skip-broken."
    )


def _listed(faults: Sequence[Fault]) -> str:
    more = f"\n  … and {len(faults) - 10} more" if len(faults) > 10 else ""
    return "\n".join(f"  {fault}" for fault in faults[:10]) + more
