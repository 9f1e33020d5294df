"""What composites are made of: backgrounds with their depth maps, and foregrounds, found, checked and decoded.

Everything is looked at once before anything is written, since a background that fails in the middle would leave the
others with uneven numbers of composites.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from basrelief.data.cutout import load_figure
from basrelief.data.decode import ARRAY_SUFFIXES, IMAGE_SUFFIXES, FileError, read_depth, read_image
from basrelief.data.folder_facts import depth_facts
from basrelief.data.folder_layout import Found, best_pairs, natural, scan, without_doubles
from basrelief.data.folder_load import size_fault
from basrelief.data.source import DataOptions, Fault
from basrelief.errors import DataError, UsageError

UNKNOWN = 0  # code of unknown depth in what is written
MOST = 65535  # the largest code
USUAL_INVALID = (0.0, 65535.0)  # stored values that sensors write where they measure nothing


@dataclass(frozen=True)
class Material:
    """A picture to compose with: its name below its folder without suffix, its file, and its depth map if any."""

    name: str
    path: Path
    depth: Path | None = None


@dataclass(frozen=True)
class DepthCoding:
    """How depth is read, and how composites store it.

    Attributes
    ----------
    read_scale, invalid
        Stored values of the depth maps times this are distances; stored values that mean unknown.
    scale
        A code of a composite times this is its distance; code 0 is unknown.
    unit, kind
        Of distances; "metric", or "relative" where the unit is not known.
    usual
        A distance at which figures often stand; a figure's size in the picture is its size there, in perspective.
    """

    read_scale: float
    invalid: tuple[float, ...]
    scale: float
    unit: str
    kind: str
    usual: float = 1.0


@dataclass(frozen=True)
class Materials:
    """All that can be used, and what was found out about it. ``skipped``: file -> why it is left out."""

    backgrounds: tuple[Material, ...]
    foregrounds: tuple[Material, ...]
    coding: DepthCoding | None = None
    notes: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)

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


class _Looked(NamedTuple):
    """What one depth map holds: whether whole numbers that fit 16 bits, its highest value, how near and how unknown."""

    whole: bool
    highest: float
    near: float
    unknown: float
    topmost: float


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
        coding = _read_coding(options, notes)
    looks: dict[str, _Looked] = {}

    def look(material: Material) -> Fault | None:
        try:
            if material in in_front:
                load_figure(material.path)
            else:
                load_backdrop(material, resolution, None)
                if coding is not None:
                    looks[material.name] = _look(material, coding, resolution)
        except FileError as error:
            return error.fault
        return None

    in_front = set(figures)
    everything = [*behind, *figures]
    broken: set[Material] = set()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for done, (material, fault) in enumerate(zip(everything, pool.map(look, everything), strict=True), start=1):
            if fault:
                faults.append(fault)
                broken.add(material)
            if progress is not None:
                progress(done, len(everything))
    if faults and not skip_broken:
        raise _refusal(faults)
    behind = [material for material in behind if material not in broken]
    figures = [material for material in figures if material not in broken]
    for folder, left, what in ((backgrounds, behind, "backgrounds"), (foregrounds, figures, "foregrounds")):
        if not left:
            raise DataError(f"{folder}: none of its {what} can be used.\n" + _listed(faults))
    if coding is not None:
        coding = _settle(coding, [looks[material.name] for material in behind], not options.depth_invalid, notes)
    skipped = {fault.file: str(fault).removeprefix(f"{fault.file}: ") for fault in faults}
    return Materials(tuple(behind), tuple(figures), coding, tuple(notes), skipped)


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
    return Backdrop(image, _encode(stored[down.astype(np.intp)[:, None], across.astype(np.intp)], coding))


def decode_depth(codes: np.ndarray, scale: float) -> np.ndarray:
    """Return codes as float32 distances, NaN where unknown, as reading the file does."""
    return np.where(codes == UNKNOWN, np.float32(np.nan), codes.astype(np.float32) * np.float32(scale))


def fine_scale(highest: float) -> float:
    """Return the finest scale of the form 1, 2 or 5 times a power of ten with which 16 bits reach ``highest``."""
    exact = highest / MOST
    power = math.floor(math.log10(exact))
    return next(float(f"{digit}e{power}") for digit in (1, 2, 5, 10) if digit * 10.0**power >= exact)


def _encode(stored: np.ndarray, coding: DepthCoding) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        known = np.isfinite(stored) & (stored > 0) & ~np.isin(stored, np.array(coding.invalid, np.float32))
        codes = np.rint(np.where(known, stored, 0).astype(np.float64) * (coding.read_scale / coding.scale))
    return np.where(known & (codes <= MOST), np.maximum(codes, 1), UNKNOWN).astype(np.uint16)


def _middle(aspect: float, wanted: float) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom), in shares, of the largest part in the middle with an aspect ratio."""
    across, down = min(1.0, wanted / aspect), min(1.0, aspect / wanted)
    return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def _look(material: Material, coding: DepthCoding, resolution: tuple[int, int]) -> _Looked:
    assert material.depth is not None
    stored = read_depth(material.depth)
    where = str(material.depth)
    said = stored[np.isfinite(stored) & ~np.isin(stored, np.array(coding.invalid, np.float32))]
    known = said[said > 0]
    if not known.size:
        raise FileError(where, "has no known depth", "Export it again, or remove it and its background")
    if (said < 0).any():
        remedy = "If these mean unknown, name them with --depth-invalid"
        raise FileError(where, "has depth below 0, where distances are expected", remedy)
    whole = bool((known == np.rint(known)).all() and known.max() <= MOST)
    trial = replace(coding, scale=coding.read_scale if whole else coding.read_scale * fine_scale(float(known.max())))
    codes = load_backdrop(material, resolution, trial).codes
    assert codes is not None
    if not codes.any():
        problem = "has no known depth in the part that is used, the middle of its background"
        raise FileError(where, problem, "Choose another --resolution, or remove it and its background")
    near = float(np.percentile(codes[codes != UNKNOWN], 10)) * trial.scale
    return _Looked(whole, float(known.max()), near, 1 - known.size / stored.size, float(np.mean(stored == MOST)))


def _settle(coding: DepthCoding, looks: Sequence[_Looked], assumed: bool, notes: list[str]) -> DepthCoding:
    """Choose the scale of what is written, and the usual distance, once all depth maps have been seen."""
    scale = coding.read_scale
    unit = f" {coding.unit}".rstrip()
    if not all(look.whole for look in looks):
        scale = fine_scale(max(look.highest for look in looks) * coding.read_scale)
        notes.append(f"Depth maps hold fractions or large numbers: composites store depth in steps of {scale:g}{unit}.")
    unknown = float(np.mean([look.unknown for look in looks]))
    notes.append(f"Depth of backgrounds is unknown at {unknown:.1%} of their pixels, and stays so outside the figure.")
    topmost = float(np.mean([look.topmost for look in looks]))
    if assumed and topmost > 0:
        notes.append(
            f"Depth: the stored value 65535 ({topmost:.1%} of the pixels) counts as unknown, as 0 does; "
            "--depth-invalid says otherwise."
        )
    usual = 0.7 * float(np.median([look.near for look in looks]))
    return replace(coding, scale=scale, usual=float(f"{usual:.3g}"))


def _read_coding(options: DataOptions, notes: list[str]) -> DepthCoding:
    unit, kind = depth_facts("depth", options, notes)
    if kind == "disparity":
        raise UsageError(
            "--depths needs distances, and --depth-kind disparity is the inverse of distance. Convert the depth maps, "
            "or let --teacher say the depth of the composites."
        )
    scale = options.depth_scale or 1.0
    return DepthCoding(scale, options.depth_invalid or USUAL_INVALID, scale, unit, kind)


def _list(folder: Path, what: str, faults: list[Fault]) -> list[Material]:
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
