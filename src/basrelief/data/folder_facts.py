"""What listing a folder finds out by opening some of its files: sizes, what the masks' values mean, kind of depth.

Nothing here reads all files of a large folder; what it misses is found when an entry is loaded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from basrelief.data.archive import Stored, fetched
from basrelief.data.decode import File, FileError, read_depth
from basrelief.data.folder_layout import plain_name
from basrelief.data.folder_load import size_fault
from basrelief.data.headers import image_size
from basrelief.data.mask_looks import MaskLook, look_at, palettes_differ
from basrelief.data.mask_recognise import recognise
from basrelief.data.mask_values import ClassNames, MaskMapping, read_class_names, soft_share
from basrelief.data.source import DataOptions, Entry, Fault
from basrelief.errors import DataError, UsageError

CLASS_FILES = ("classes.txt", "class_names.txt", "classes.csv", "class_dict.csv", "label_colors.txt")
DEPTH_KINDS = ("metric", "relative", "disparity")
MASKS_LOOKED_AT = 200
MASKS_LOOKED_AT_FOR_CLASSES = 2000  # a rare class is in few masks
HEADERS_READ = 2000
_Item = TypeVar("_Item")


def check_headers(entries: Sequence[Entry], broken: dict[str, Fault]) -> None:
    """Compare sizes from the files' headers, and add entries whose files do not fit together to ``broken``."""
    for entry in spread(entries, HEADERS_READ):
        if entry.id in broken:
            continue
        try:
            fault = header_fault(entry.planes)
        except FileError as error:
            fault = error.fault
        if fault:
            broken[entry.id] = fault


def header_fault(files: Mapping[str, File], backgrounds: dict[Path, tuple[int, int]] | None = None) -> Fault | None:
    """Return what is wrong with the sizes of an entry's files, by their headers.

    ``backgrounds`` holds the sizes of those met before, and is added to: one may stand in many entries.

    Raises
    ------
    FileError
        If a file's header cannot be read.
    """
    sizes = {}
    for plane, path in files.items():
        if plane != "background" or backgrounds is None or not isinstance(path, Path):
            sizes[plane] = image_size(path)
        else:
            if path not in backgrounds:
                backgrounds[path] = image_size(path)
            sizes[plane] = backgrounds[path]
    for plane, size in sizes.items():
        if plane != "image" and 0 not in size and (fault := size_fault(plane, files, size, sizes["image"])):
            return fault
    return None


def recognise_masks(paths: Sequence[Stored], root: Path, options: DataOptions, faults: list[Fault]) -> MaskMapping:
    """Return what the masks' values mean, from a sample of them, a classes file in ``root`` and the options.

    Raises
    ------
    DataError
        If the values do not decide it, no mask can be read, or the classes file cannot be used.
    UsageError
        If an option does not suit the masks.
    """
    names = next((read_class_names(root / name) for name in CLASS_FILES if (root / name).is_file()), ClassNames())
    looks = _look(spread(paths, MASKS_LOOKED_AT), faults)
    if not looks:
        raise DataError(f"{paths[0].parent}: no mask can be read. Check how they were saved.")
    values = {value for look in looks for value in look.counts}
    rare = len(values) == 1 or (not names.names and 2 < len(values) <= 128 and not any(look.lossy for look in looks))
    if rare and not options.mask_map and len(paths) > MASKS_LOOKED_AT:
        looks = _look(spread(paths, MASKS_LOOKED_AT_FOR_CLASSES), faults)
    by_colour = palettes_differ(looks) or (bool(names.colours) and any(look.palette for look in looks))
    if by_colour:
        seen = {look.file for look in looks}
        looks = _look([path for path in paths if str(path) in seen], faults, colours=True)
    mapping = recognise(looks, names=names, mask_map=options.mask_map, invert=options.invert_masks)
    for look in looks:
        if (soft := soft_share(mapping, look)) > 0.05:
            problem = f"is soft: {soft:.0%} of its pixels lie halfway between figure and background and are cut at half"
            faults.append(Fault(look.file, problem, "Save it with two values if the edge matters", fatal=False))
    return replace(mapping, colours=mapping.colours or by_colour)


def _look(paths: Sequence[Stored], faults: list[Fault], *, colours: bool = False) -> list[MaskLook]:
    def attempt(path: Stored) -> MaskLook | Fault:
        try:
            return look_at(fetched(path), colours=colours)
        except FileError as error:
            return error.fault

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        found = list(pool.map(attempt, paths))
    faults += [look for look in found if isinstance(look, Fault)]
    return [look for look in found if isinstance(look, MaskLook)]


def depth_facts(folder: str, options: DataOptions, notes: list[str]) -> tuple[str, str]:
    """Return unit and kind, and say what was assumed; ``folder`` is the name of the folder of depth maps.

    Raises
    ------
    UsageError
        If the scale is not positive or the kind is unknown.
    """
    scale, unit, kind = options.depth_scale, options.depth_unit, options.depth_kind
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"--depth-scale {scale} is no scale; expected a positive number, such as 0.001.")
    if kind is not None and kind not in DEPTH_KINDS:
        raise UsageError(f"--depth-kind {kind!r} is not known; expected one of {', '.join(DEPTH_KINDS)}.")
    if unit is None and scale is not None:
        unit = "m"
        notes.append(f"Depth: stored values times {scale:g}, taken as metres; --depth-unit says otherwise.")
    if kind is None:
        kind = "metric" if unit else "disparity" if plain_name(folder).startswith("disp") else "relative"
    if unit is None:
        unit = ""
        notes.append(
            f"Depth is in stored units and counts as {kind}; "
            "--depth-scale 0.001 --depth-unit m if these are millimetres."
        )
    return unit, kind


def point_out_unknown_depth(paths: Sequence[Stored], options: DataOptions, faults: list[Fault]) -> None:
    """Look in some depth maps for values that often mean unknown."""
    shares: dict[float, list[float]] = {0.0: [], 255.0: [], 65535.0: []}
    for path in spread(paths, 16):
        try:
            depth = read_depth(fetched(path))
        except FileError as error:
            faults.append(error.fault)
            continue
        top = float(depth.max(initial=0, where=np.isfinite(depth)))
        for value, found in shares.items():
            found.append(float((depth == value).mean()) if value in (0.0, top) else 0.0)
    for value, found in shares.items():
        share = float(np.mean(found)) if found else 0.0
        if share > 0.02 and value not in options.depth_invalid:
            problem = f"hold the value {value:g} at {share:.1%} of the pixels, which often means unknown"
            remedy = f"If so: --depth-invalid {value:g}"
            faults.append(Fault(f"{paths[0].parent} (depth maps)", problem, remedy, fatal=False))


def spread(items: Sequence[_Item], count: int) -> Sequence[_Item]:
    """Return at most ``count`` items, evenly spread."""
    return items if len(items) <= count else [items[i * len(items) // count] for i in range(count)]
