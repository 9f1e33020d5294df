"""The format ``folder``: images beside masks, depth maps and backgrounds, paired by name.

::

    root/images/x.jpg  root/masks/x.png  root/depths/x.npy  root/backgrounds/x.jpg
    root/train/images/...  or  root/images/train/...     ready-made splits, kept as they are
    root/x.jpg  root/x_mask.png  root/x_depth.png        all in one folder

Listing reads names, headers (of all files, or of a spread-out sample of a large folder) and a sample of the masks.
An entry that listing finds broken stays in the list, and loading it raises the same fault, so that whoever goes
through the entries counts it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from basrelief.batch import TARGETS
from basrelief.data.folder_facts import check_headers, depth_facts, point_out_unknown_depth, recognise_masks
from basrelief.data.folder_layout import (
    Found,
    Layout,
    background_by_prefix,
    best_pairs,
    core_name,
    find_layout,
    natural,
    pair,
    scan,
    without_doubles,
    writable,
)
from basrelief.data.folder_load import Reading, load_entry, load_entry_at
from basrelief.data.manifest_table import is_manifest
from basrelief.data.source import DataOptions, Entry, Fault, Source
from basrelief.errors import DataError


def detect_folder(path: Path) -> bool:
    """Return whether a folder holds images with masks or depth maps in one of the known layouts."""
    if not path.is_dir():
        return False
    try:
        files = find_layout(path).files
    except OSError:
        return False
    return bool(files.get("image")) and any(files.get(target) for target in TARGETS)


@dataclass
class _Findings:
    """What listing a folder has to say. ``broken``: entry -> why it cannot be loaded."""

    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    broken: dict[str, Fault] = field(default_factory=dict)


def read_folder(location: str, options: DataOptions) -> Source:
    """List a folder.

    Raises
    ------
    DataError
        If there is nothing to train on, or the masks' values have to be stated.
    UsageError
        If an option has a value that makes no sense.
    """
    root = Path(location)
    if not root.is_dir():
        raise DataError(
            f"{location} is {'no folder' if root.exists() else 'not there'}. Expected a folder with images/."
        )
    layout = find_layout(root)
    found = _Findings()
    images, spelling = _images(layout, location, found)
    images, found.broken = without_doubles(images)
    planes: list[dict[str, Path]] = [{"image": image.path} for image in images]
    folders = {plane: _add_targets(plane, images, planes, layout, spelling, found) for plane in TARGETS}
    if not any(len(files) > 1 for files in planes):
        raise _nothing_paired(location, layout, images, found.faults)
    groups = _add_backgrounds(images, planes, layout, options, found)
    entries = _entries(images, planes, groups, found)
    check_headers(entries, found.broken)
    found.faults += found.broken.values()

    mapping = None
    if masks := [entry.planes["mask"] for entry in entries if "mask" in entry.planes]:
        try:
            mapping = recognise_masks(masks, layout.root, options, found.faults)
        except DataError as error:
            raise _with_others(error, found.faults) from None
        found.notes.append(mapping.says)
    unit = kind = None
    if depths := [entry.planes["depth"] for entry in entries if "depth" in entry.planes]:
        unit, kind = depth_facts(folders["depth"], options, found.notes)
        point_out_unknown_depth(depths, options, found.faults)
    if layout.passed_over:
        listed = ", ".join(
            f"{count} {suffix or 'without suffix'}" for suffix, count in layout.passed_over.most_common(5)
        )
        found.notes.append(f"Files of other types were left alone: {listed}.")
    reading = Reading(
        mapping, options.depth_scale or 1.0, tuple(options.depth_invalid), options.depth_max, found.broken
    )
    return Source(
        format="folder",
        location=location,
        entries=tuple(entries),
        targets=tuple(target for target in TARGETS if any(target in entry.planes for entry in entries)),
        load=partial(load_entry, reading),
        load_near=partial(load_entry_at, reading),
        classes=mapping.classes if mapping else (),
        background=all("background" in entry.planes for entry in entries),
        depth_unit=unit,
        depth_kind=kind,
        notes=tuple(found.notes),
        faults=tuple(dict.fromkeys(found.faults)),
        reading=reading.words,
    )


def _images(layout: Layout, location: str, found: _Findings) -> tuple[list[Found], str]:
    spelled = layout.files.get("image", {})
    for spelling, images in spelled.items():
        if others := [f"{name}/" for name in spelled if name != spelling]:
            found.notes.append(f"Images are taken from {spelling}/; {', '.join(others)} left alone.")
        return sorted(images, key=lambda image: natural(image.name)), spelling
    expected = "Expected a folder images/ beside masks/ or depths/, with PNG, JPEG or TIFF files"
    if not layout.files and not layout.passed_over:
        raise DataError(f"{location} is empty: it holds no image. {expected}.")
    there = ", ".join(sorted(f"{name}/" for plane in layout.files.values() for name in plane if name != "."))
    types = ", ".join(sorted(layout.passed_over))
    raise DataError(
        f"{location} has no folder of images ({f'found: {there}' if there else f'found only files of type {types}'}). "
        f"{expected}; rename the folder that holds the images."
    )


def _add_targets(
    plane: str,
    images: Sequence[Found],
    planes: Sequence[dict[str, Path]],
    layout: Layout,
    spelling: str,
    found: _Findings,
) -> str:
    """Add each image's mask or depth map to its planes; return the folder that these are taken from."""
    spelled = layout.files.get(plane, {})
    pairs = best_pairs(images, spelled, plane)
    others = [name for name in spelled if name != pairs.folder]
    if others:
        found.notes.append(f"{plane.capitalize()}s are taken from {pairs.folder}/; {', '.join(others)}/ left alone.")
    for files, path in zip(planes, pairs.files, strict=True):
        if path is not None:
            files[plane] = path
    found.broken.update((name, fault) for name, fault in pairs.doubles.items() if name not in found.broken)
    found.faults += [_without_image(file, plane, spelling) for file in pairs.unpaired]
    return pairs.folder


def _entries(
    images: Sequence[Found], planes: Sequence[dict[str, Path]], groups: Sequence[str | None], found: _Findings
) -> list[Entry]:
    """Return the images that have a target, or are broken, as entries in natural order."""
    entries: list[Entry] = []
    for image, files, group in zip(images, planes, groups, strict=True):
        if any(target in files for target in TARGETS) or image.name in found.broken:
            entries.append(Entry(image.name, files, group, split=image.split))
        else:
            problem = "has neither mask nor depth map and is left out"
            remedy = f"Add one named {Path(image.name).name}"
            found.faults.append(Fault(str(image.path), problem, remedy, fatal=False))
    return sorted(entries, key=lambda entry: natural(entry.id))


def _without_image(file: Found, plane: str, spelling: str) -> Fault:
    folder = "" if spelling == "." else f"{spelling}/"
    what = "depth map" if plane == "depth" else plane
    expected = f"{folder}{core_name(file.name, plane)}.jpg or .png"
    return Fault(
        str(file.path),
        f"is a {what} without its image; expected {expected}",
        "Add the image, or remove it",
        fatal=False,
    )


def _nothing_paired(location: str, layout: Layout, images: Sequence[Found], faults: Sequence[Fault]) -> DataError:
    if faults:
        return DataError(
            f"{location}: no mask or depth map has the name of an image: beside {images[0].path} there is "
            f"{faults[0].file}. Expected names that agree, such as images/x.jpg and masks/x.png; rename the files."
        )
    there = [f"{name}/" for found in layout.files.values() for name in found if name != "."]
    found = f"only {', '.join(there)}" if there else f"only {len(images)} images"
    found += f", and files of type {', '.join(sorted(layout.passed_over))}" if layout.passed_over else ""
    return DataError(
        f"{location} holds neither masks nor depth maps ({found}). Expected masks/ or depths/ beside the images, or "
        f"files such as {images[0].path.stem}_mask.png; add them, or rename their folder.{_table_in(location)}"
    )


def _table_in(location: str) -> str:
    """Say how a table beside the images is used, which may be a manifest."""
    tables = sorted(path for path in scan(Path(location))[1] if is_manifest(path))
    return f" If {tables[0].name} says what belongs to each image, give it as DATA: {tables[0]}." if tables else ""


def _add_backgrounds(
    images: Sequence[Found],
    planes: Sequence[dict[str, Path]],
    layout: Layout,
    options: DataOptions,
    found: _Findings,
) -> list[str | None]:
    """Add each image's background to its planes if they are to be used; return groups of images that share one."""
    groups: list[str | None] = [None] * len(images)
    backgrounds = [file for spelled in layout.files.get("background", {}).values() for file in spelled]
    if not backgrounds:
        return groups
    paths: list[Path | None]
    if len(backgrounds) == 1:
        paths = [backgrounds[0].path] * len(images)
        found.notes.append(f"Backgrounds: {backgrounds[0].path.name} serves all images.")
    else:
        names = {core_name(file.name, "background"): file.path for file in backgrounds}
        by_name = pair(images, backgrounds, "background").files
        paths = [path or background_by_prefix(image, names) for image, path in zip(images, by_name, strict=True)]
        shared = Counter(path for path in paths if path is not None)
        groups = [writable(str(path)) if path is not None and shared[path] > 1 else None for path in paths]
    usable = [i for i, files in enumerate(planes) if len(files) > 1]
    lacking = [i for i in usable if paths[i] is None]
    if not options.background:
        found.notes.append("Backgrounds are there and are not used, as asked for.")
    elif lacking:
        found.notes.append(
            f"Backgrounds are not used: {len(lacking)} of {len(usable)} images have none. Name them as the images, or "
            "so that the image's name begins with the background's."
        )
        if len(lacking) <= len(usable) / 2:
            remedy = "Add it, or take the image away, so that backgrounds can be used"
            found.faults += [Fault(str(images[i].path), "has no background", remedy, fatal=False) for i in lacking]
    else:
        for files, path in zip(planes, paths, strict=True):
            if path is not None:
                files["background"] = path
    return groups


def _with_others(error: DataError, faults: Sequence[Fault]) -> DataError:
    """Add what else is wrong with the folder, so that it can be mended in one go."""
    others = [fault for fault in dict.fromkeys(faults) if str(fault) != str(error)]
    if not others:
        return error
    more = f"\n  … and {len(others) - 20} more" if len(others) > 20 else ""
    return DataError(f"{error}\nAlso found:\n" + "\n".join(f"  {fault}" for fault in others[:20]) + more)
