"""Which files a folder holds, and which of them belong together.

Files are sorted into planes by the spelling of their folder or by what stands before or after their names, and paired
with the images by name. No file is opened.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from basrelief.batch import TARGETS
from basrelief.data.decode import ARRAY_SUFFIXES, IMAGE_SUFFIXES, LOSSY_SUFFIXES
from basrelief.data.source import Fault

# Spellings of folders, in order of preference; case and the marks - _ . and space do not count.
FOLDERS = {
    "image": "images image imgs img rgb photos photo color colour frames jpegimages fgbg bgfg composites",
    "mask": "masks mask labels label segmentations segmentation segmentationclass seg annotations groundtruth gt "
    "fgbgmask bgfgmask",
    "depth": "depths depth depthmaps depthmap fgbgdepth bgfgdepth bgfgdepthmap fgbgdepthmap disparities disparity disp",
    "background": "backgrounds background bgs bg",
}
# What may stand before or after a name that belongs together: x.jpg, x_mask.png, depth_x.png.
AFFIXES = {
    "image": "image img rgb color colour fg_bg bg_fg",
    "mask": "fg_bg_mask bg_fg_mask mask masks label labels seg segmentation gt",
    "depth": "bg_fg_depth_map fg_bg_depth depth_map depthmap depth disparity disp",
    "background": "background bg",
}
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_EDGE = {
    plane: re.compile(
        "^(?:{0})[-_. ]+|[-_. ]+(?:{0})$".format("|".join(sorted(words.split(), key=len, reverse=True))), re.IGNORECASE
    )
    for plane, words in AFFIXES.items()
}


class Found(NamedTuple):
    """A file: its name below its plane's folder without the suffix, where it is, and its ready-made split."""

    name: str
    path: Path
    split: str | None = None


@dataclass(frozen=True)
class Layout:
    """The files of a folder: plane -> spelling of the plane's folder -> files; other types, counted by suffix."""

    root: Path
    files: Mapping[str, Mapping[str, list[Found]]]
    passed_over: Counter[str]


class Pairs(NamedTuple):
    """Images paired with the files of one folder: for each image its file, if any.

    ``unpaired`` are the files without an image, ``doubles`` the faults of images that several files belong to, by name.
    """

    folder: str
    files: list[Path | None]
    unpaired: list[Found]
    doubles: dict[str, Fault]


def find_layout(root: Path) -> Layout:
    """Return what lies where, without opening a file."""
    folders, files = scan(root)
    passed_over: Counter[str] = Counter()
    planes: dict[str, dict[str, list[Found]]] = defaultdict(dict)
    for plane, words in FOLDERS.items():
        spellings = words.split()
        named = [folder for folder in folders if plain_name(folder.name) in spellings]
        for folder in sorted(named, key=lambda folder: spellings.index(plain_name(folder.name))):
            if found := _split_names(list(_walk(folder, plane, passed_over))):
                planes[plane][folder.name] = found
    splits = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if "image" in planes:
        return Layout(root, planes, passed_over)
    if splits:
        for folder in splits:
            split = SPLIT_NAMES[folder.name.lower()]
            inner = find_layout(folder)
            passed_over += inner.passed_over
            for plane, spelled in inner.files.items():
                for spelling, found in spelled.items():
                    here = [Found(f"{split}/{file.name}", file.path, split) for file in found]
                    planes[plane].setdefault(spelling, []).extend(here)
        return Layout(root, planes, passed_over)
    if len(folders) == 1 and not files and not planes:
        return find_layout(folders[0])  # an archive's one folder
    # Backgrounds may lie in a folder, and all else be told apart by name; or images in the root, beside the others.
    rest = [folder for folder in folders if folder.name not in planes.get("background", {})]
    flat = _flat(root, passed_over, rest if planes.keys() <= {"background"} else [], files)
    if "image" in flat or not planes:
        return Layout(root, {**flat, **planes}, passed_over)
    return Layout(root, planes, passed_over)


def _flat(
    root: Path, passed_over: Counter[str], folders: Sequence[Path], files: Sequence[Path]
) -> dict[str, dict[str, list[Found]]]:
    """Sort the files of one folder, or of its subfolders, into planes by what stands before or after their names."""
    planes: dict[str, dict[str, list[Found]]] = defaultdict(lambda: {".": []})
    same_name: dict[str, list[Found]] = defaultdict(list)
    for file in _walk(root, "depth", passed_over, among=(folders, files)):
        if file.path.suffix.lower() in ARRAY_SUFFIXES:
            planes["depth"]["."].append(file)
            continue
        stem = file.path.stem
        plane = next((plane for plane in ("depth", "mask", "background") if _EDGE[plane].search(stem)), None)
        if plane is None:
            same_name[file.name].append(file)
        else:
            planes[plane]["."].append(file)
    for found in same_name.values():
        lossy = [file for file in found if file.path.suffix.lower() in LOSSY_SUFFIXES]
        exact = [file for file in found if file not in lossy]
        if len(lossy) == len(exact) == 1:  # x.jpg beside x.png or x.pbm: photograph and mask
            planes["image"]["."] += lossy
            planes["mask"]["."] += exact
        else:
            planes["image"]["."] += found
    return dict(planes)


def _split_names(found: list[Found]) -> list[Found]:
    """Recognise images/train/x: where all files lie in folders named for splits, these are their splits."""
    heads = {file.name.partition("/")[0].lower() if "/" in file.name else "" for file in found}
    if not heads or not heads <= SPLIT_NAMES.keys():
        return found
    result = []
    for file in found:
        head, _, rest = file.name.partition("/")
        split = SPLIT_NAMES[head.lower()]
        result.append(Found(f"{split}/{rest}", file.path, split))
    return result


def _walk(
    folder: Path,
    plane: str,
    passed_over: Counter[str],
    prefix: str = "",
    above: frozenset[Path] = frozenset(),
    among: tuple[Sequence[Path], Sequence[Path]] | None = None,
) -> Iterator[Found]:
    """Yield the files below a folder.

    ``above``: where the walk came by, to which a link back would never end. ``among``: what to take of the folder.
    """
    wanted = IMAGE_SUFFIXES | ARRAY_SUFFIXES if plane in TARGETS else IMAGE_SUFFIXES
    folders, files = among or scan(folder)
    for path in files:
        suffix = path.suffix.lower()
        if suffix in wanted:
            yield Found(composed(prefix + path.stem), path)
        else:
            passed_over[suffix] += 1
    above |= {folder.resolve()}
    for inner in folders:
        if not inner.is_symlink() or not any(place.is_relative_to(inner.resolve()) for place in above):
            yield from _walk(inner, plane, passed_over, f"{prefix}{inner.name}/", above)


def composed(name: str) -> str:
    """Return a name in the one spelling that equal names share (macOS takes accents apart), fit to be written."""
    return writable(unicodedata.normalize("NFC", name))


def writable(text: str) -> str:
    """Return a text that can be written: file names may hold bytes that are no UTF-8, and JSON halves of characters.

    What cannot be written is spelt out, so that different names stay different; zeros, which no path has, are marked.
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "?")


def scan(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return (folders, files), without what the operating system leaves around, and without pipes and devices.

    A link that leads nowhere counts as a file, so that reading it says so.
    """
    folders: list[Path] = []
    files: list[Path] = []
    with os.scandir(folder) as found:
        for item in found:
            if item.name.startswith(".") or item.name.lower() in JUNK:
                continue
            try:
                is_file, is_folder = item.is_file(), item.is_dir()  # no system call each, where links are rare
            except OSError:  # a link to itself
                is_file, is_folder = True, False
            if is_folder:
                folders.append(Path(item.path))
            elif is_file or not is_special(item.path):
                files.append(Path(item.path))
    return sorted(folders, key=lambda path: natural(path.name)), files


def is_special(path: str) -> bool:
    """Return whether this is a pipe, a socket or a device, which reading would wait for, or never end."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)  # noqa: PTH110, PTH112, PTH113


def without_doubles(images: Sequence[Found]) -> tuple[list[Found], dict[str, Fault]]:
    """Return the first image of each name, and for a name that several have the fault that this is."""
    broken: dict[str, Fault] = {}
    first: dict[str, Found] = {}
    for image in images:
        other = first.setdefault(image.name, image)
        if other is not image:
            problem = f"has the same name as {other.path.name}, so it cannot be told which is the image"
            broken[image.name] = Fault(str(image.path), problem, "Keep one of the two, or rename one")
    return list(first.values()), broken


def best_pairs(images: Sequence[Found], spelled: Mapping[str, Sequence[Found]], plane: str) -> Pairs:
    """Pair images with the folder of a plane that most of them agree with, the first where several do."""
    candidates = [pair(images, found, plane, folder=spelling) for spelling, found in spelled.items()]
    nothing = Pairs("", [None] * len(images), [], {})
    return max(candidates, key=lambda pairs: len(images) - pairs.files.count(None), default=nothing)


def pair(images: Sequence[Found], found: Sequence[Found], plane: str, folder: str = "") -> Pairs:
    """Pair by name; then by name without what marks the plane (x_mask, depth_x), as far as that is unique."""
    by_name: dict[str, list[Found]] = defaultdict(list)
    by_core: dict[str, list[Found]] = defaultdict(list)
    for file in found:
        by_name[file.name].append(file)
        by_core[core_name(file.name, plane)].append(file)
    cores = [core_name(image.name, "image") for image in images]
    common = Counter(cores)
    files: list[Path | None] = []
    doubles: dict[str, Fault] = {}
    used: set[Path] = set()
    for image, core in zip(images, cores, strict=True):
        hits = by_name.get(image.name) or by_core.get(image.name.casefold())
        hits = hits or (by_core.get(core) if common[core] == 1 else None) or []
        used.update(hit.path for hit in hits)
        files.append(hits[0].path if hits else None)
        if len(hits) > 1:
            problem = f"has the same name as {hits[0].path.name}, so it cannot be told which is the {plane}"
            doubles[image.name] = Fault(str(hits[1].path), f"{problem} of {image.path.name}", "Keep one of the two")
    return Pairs(folder, files, [file for file in found if file.path not in used], doubles)


def background_by_prefix(image: Found, names: Mapping[str, Path]) -> Path | None:
    """Return the background whose name begins the image's: room1 for room1_003, not for room10_003.

    One in the same subfolder or split comes before one that all of them share.
    """
    folder, slash, stem = image.name.casefold().rpartition("/")
    ends = [len(stem), *(mark.start() for mark in reversed(list(re.finditer(r"[-_. ]", stem))))]
    for place in dict.fromkeys((folder + slash, "")):
        for end in ends:
            if path := names.get(place + stem[:end]):
                return path
    return None


def core_name(name: str, plane: str) -> str:
    """Return a name without what marks its plane, in lower case: sub/x for sub/X_mask."""
    folder, slash, stem = name.rpartition("/")
    return f"{folder}{slash}{_EDGE[plane].sub('', stem) or stem}".casefold()


def plain_name(name: str) -> str:
    """Return a name without marks, in lower case: depthmaps for Depth_Maps."""
    return re.sub(r"[-_. ]", "", name).lower()


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts frame-2 before frame-10."""
    if name.isascii() and name.isdigit():  # as most of many names are
        return ((0, int(name), name),)
    parts = re.split(r"(\d+)", name.casefold())
    return tuple((0, int(part), part) if part.isdigit() and part.isascii() else (1, 0, part) for part in parts if part)
