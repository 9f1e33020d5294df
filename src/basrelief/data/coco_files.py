"""Which files make up a COCO dataset: the annotation files with their splits, and the images that they name.

::

    root/annotations/instances_train2017.json  root/train2017/*.jpg    as COCO comes
    root/trainval.json  root/images/*.jpg                              one file, images anywhere below
    root/train/_annotations.coco.json  root/train/*.jpg                a file in each split's folder
"""

from __future__ import annotations

import mmap
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from basrelief.data.decode import IMAGE_SUFFIXES
from basrelief.data.folder_layout import SPLIT_NAMES, composed, is_special, natural, plain_name
from basrelief.errors import DataError

_DEPTH = 2  # folders below the root in which annotation files are looked for
_ANNOTATION_FOLDERS = frozenset(("annotations", "annotation", "ann", "anns", "labels", "json", "jsons", "coco"))


def holds_annotations(path: Path, *, outlines: bool) -> bool:
    """Return whether a file looks like COCO's JSON, with outlines or at all, without parsing it."""
    words = [b'"images"', b'"annotations"', *([b'"segmentation"'] if outlines else [])]
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and all(
                content.find(word) >= 0 for word in words
            )
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


def annotation_files(root: Path, *, outlines: bool) -> list[Path]:
    """Return the files of a folder, or of folders up to two levels below, that look like COCO's JSON."""
    found = [path for path in walk(root, _DEPTH) if path.suffix.lower() == ".json"]
    return sorted(
        (path for path in found if holds_annotations(path, outlines=outlines)),
        key=lambda path: (len(path.parts), natural(str(path))),
    )


def choose_files(location: str, root: Path) -> tuple[list[tuple[Path, str | None]], list[str]]:
    """Return the annotation files to read, each with its split, and notes on what was left alone.

    Several files belong together where their names differ only in the split that they name. Beside other kinds
    (keypoints, captions), the files named instances are taken.

    Raises
    ------
    DataError
        When there is none, or it cannot be told which to take.
    """
    files = annotation_files(root, outlines=True) or annotation_files(root, outlines=False)
    if not files:
        raise DataError(
            f"{location} has no COCO annotations. Expected a JSON file with images, annotations and categories, in "
            "the folder or in annotations/ below it."
        )
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        kinds[_kind(path)].append(path)
    named = [kind for kind in kinds if kind.startswith("instances")]
    if len(kinds) > 1 and len(named) != 1:
        raise DataError(
            f"{location} holds several sets of annotations ({', '.join(path.name for path in files[:6])}). Name the "
            "file to read instead of the folder, or move the others away."
        )
    kind = named[0] if named else next(iter(kinds))
    chosen = [(path, split_of(path)) for path in kinds[kind]]
    splits = [split for _, split in chosen]
    if len(chosen) > 1 and (None in splits or len(set(splits)) < len(splits)):
        raise DataError(
            f"{location} holds several annotation files and it cannot be told which split each is "
            f"({', '.join(str(path.relative_to(root)) for path, _ in chosen[:6])}). Name one file instead of the "
            "folder, or put train, val or test into their names."
        )
    others = [path.name for path in files if _kind(path) != kind]
    notes = [f"Annotations: {', '.join(path.name for path, _ in chosen)}."]
    notes += [f"Left alone: {', '.join(others)}."] if others else []
    return (chosen if len(chosen) > 1 else [(chosen[0][0], None)]), notes


def split_of(path: Path) -> str | None:
    """Return the split that a file's name says, or else its folder's: train for instances_train2017.json."""
    for name in (path.stem, path.parent.name):
        said = {split for word in _words(name) if (split := SPLIT_NAMES.get(word))}
        if len(said) == 1:
            return said.pop()
    return None


def name_below(root: Path, path: Path, left_out: str = "") -> tuple[str, str | None]:
    """Return a sample's name, its path below a folder without suffix, and the split that a folder in it says.

    The split's folder goes to the front in our spelling; a folder named ``left_out`` is not part of the name.
    """
    *folders, stem = path.relative_to(root).with_suffix("").parts
    split = next((SPLIT_NAMES[folder.lower()] for folder in folders if folder.lower() in SPLIT_NAMES), None)
    kept = [folder for folder in folders if folder != left_out and not (split and folder.lower() in SPLIT_NAMES)]
    return composed("/".join([*([split] if split else []), *kept, stem])), split


def _words(name: str) -> list[str]:
    return [re.sub(r"\d+$", "", word) for word in re.split(r"[-_. ]+", name.lower()) if word]


def _kind(path: Path) -> str:
    return "_".join(word for word in _words(path.stem) if word not in SPLIT_NAMES)


def image_root(path: Path) -> Path:
    """Return the folder below which a file's images lie: its own, or the one above a folder of annotations."""
    folder = path if path.is_dir() else path.parent
    return folder.resolve().parent if plain_name(folder.resolve().name) in _ANNOTATION_FOLDERS else folder


class ImageFinder:
    """Finds images by the names that annotations give them, anywhere below a folder and nowhere else."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self.root = root
        wanted = {_key(_parts(name)[-1]) for name in names}
        self._paths: dict[str, list[Path]] = defaultdict(list)
        self._in_folder: dict[tuple[str, str], list[Path]] = defaultdict(list)
        self._found: dict[tuple[str, Path], Sequence[Path]] = {}
        for path in walk(root, None):
            if (key := _key(path.name)) in wanted and path.suffix.lower() in IMAGE_SUFFIXES:
                self._paths[key].append(path)
                self._in_folder[_key(path.parent.name), key].append(path)

    def find(self, name: str, labels: Path) -> Sequence[Path]:
        """Return the files that fit best: by the folders in the name, those that share words or folders with the JSON.

        None: it is not there. Several: it cannot be told which it is.
        """
        if (name, labels) not in self._found:
            self._found[name, labels] = self._best(name, labels)
        return self._found[name, labels]

    def beside(self, name: str, labels: Path) -> Sequence[Path]:
        """Return the file of exactly this name in the folder of ``labels``, if it is there."""
        path = labels.parent / name
        return [path] if path in self._in_folder.get((_key(labels.parent.name), _key(name)), []) else []

    def _best(self, name: str, labels: Path) -> Sequence[Path]:
        parts = [_key(part) for part in _parts(name)]
        paths = self._paths.get(parts[-1], [])
        if len(paths) < 2:
            return paths
        if len(parts) > 1:  # one in the folder that the name states beats all others, which may be very many
            paths = self._in_folder.get((parts[-2], parts[-1]), paths)
        scores = [self._score(path, parts, name, labels) for path in paths]
        return [path for path, score in zip(paths, scores, strict=True) if score == max(scores)]

    def _score(self, path: Path, parts: Sequence[str], name: str, labels: Path) -> tuple[int, int, int, int]:
        folders = [_key(part) for part in path.relative_to(self.root).parts]
        same = 0
        for a, b in zip(reversed(folders), reversed(parts), strict=False):
            if a != b:
                break
            same += 1
        shared = len(set(folders[:-1]) & set(re.split(r"[-_. ]+", labels.stem.lower())))
        near = len(os.path.commonpath([path.parent.resolve(), labels.parent.resolve()]))
        return same, shared, near, int(path.name == _parts(name)[-1])


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"[\\/]+", name) if part] or [name]


def _key(name: str) -> str:
    return composed(name).casefold()


def walk(root: Path, depth: int | None) -> Iterator[Path]:
    """Yield the files below a folder; links to folders are followed once, so that loops end."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        level = len(Path(folder).relative_to(root).parts)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        deep = depth is not None and level >= depth
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        named = (os.path.join(folder, name) for name in files if not name.startswith("."))  # noqa: PTH118
        yield from (Path(path) for path in named if not is_special(path))
