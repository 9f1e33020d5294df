"""The format ``yolo``: images beside text files with one polygon a line, in shares of the image's size.

::

    root/images/train/x.jpg  root/labels/train/x.txt  root/data.yaml     splits below images/ and labels/
    root/train/images/x.jpg  root/train/labels/x.txt                     or above them

A line is a class number and x and y of at least three points. A line with four numbers is a box: its pixels are
unknown. ``data.yaml`` is read for names alone; splits are those of the folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from basrelief.data.coco_files import name_below, walk
from basrelief.data.decode import IMAGE_SUFFIXES, FileError
from basrelief.data.folder import detect_folder
from basrelief.data.folder_layout import SPLIT_NAMES, writable
from basrelief.data.headers import image_size
from basrelief.data.instance_masks import fill_even_odd
from basrelief.data.instance_source import Findings, add_without_outline, source_of
from basrelief.data.instances import Category, Instance, Picture, Planes, choose_planes
from basrelief.data.outlines import ShapeError, check_polygon, extent, read_box
from basrelief.data.source import DataOptions, Fault, Source
from basrelief.errors import DataError
from basrelief.files import read_yaml

_LOOKED_AT = 20


def detect_yolo(location: str) -> bool:
    """Return whether a folder has ``labels`` beside ``images``, with text files of polygons or boxes, and no masks."""
    root = Path(location)
    try:
        if not root.is_dir():
            return False
        places = [root, *(item for item in root.iterdir() if item.name.lower() in SPLIT_NAMES)]
        pairs = [(place / "images", place / "labels") for place in places]
        for images, labels in pairs:
            if images.is_dir() and labels.is_dir():
                texts = (path for path in walk(labels, 2) if path.suffix.lower() == ".txt")
                if any(_looks_right(path) for path in islice(texts, _LOOKED_AT)):
                    return not detect_folder(root)
    except OSError:
        return False
    return False


def _looks_right(path: Path) -> bool:
    lines = _lines(path)[:1]
    return bool(lines) and _parse(lines[0][1]) is not None


def read_yolo(location: str, options: DataOptions) -> Source:
    """List YOLO segmentation data. Categories, planes and filters as for COCO; polygons are filled even-odd.

    Raises
    ------
    DataError
        When there is nothing to read, or too few images are left.
    UsageError
        For a category that is not there.
    """
    root = Path(location)
    if not root.is_dir():
        raise DataError(f"{location} is no folder. Expected images/ and labels/ with a text file for each image.")
    images = [path for path in walk(root, None) if path.suffix.lower() in IMAGE_SUFFIXES]
    found = Findings()
    names = _read_names(root, found)
    parsed: list[tuple[Picture, list[tuple[int, str]]]] = []
    for path in images:
        labels = _labels(path, root)
        if labels is not None and (lines := _lines(labels)):
            name, split = name_below(root, path, left_out="images")
            parsed.append((Picture(name, path, labels, split=split), lines))
    if parsed and (without := len(images) - len(parsed)):
        found.notes.append(f"{without} image(s) without a label file, or with an empty one, are left out.")
    if not parsed:
        raise DataError(
            f"{location} has no labels for its images ({len(images)} looked at). Expected a text file of the image's "
            "name in labels/ beside images/, each line a class number and x and y of a polygon's points, from 0 to 1."
        )
    numbers = {int(row[0]) for _, lines in parsed for _, line in lines if (row := _parse(line))}
    names = names or {number: str(number) for number in sorted(numbers)}
    planes = choose_planes(names, options)
    seen: dict[str, Picture] = {}
    for picture, lines in parsed:
        if (other := seen.setdefault(picture.id, picture)) is not picture:
            problem = f"has the same name as {other.image.name}, so it cannot be told which image the labels mean"
            found.lost[picture.id] = Fault(str(picture.image), problem, "Keep one of the two")
            continue
        _add_instances(picture, lines, names, planes, found)
    return source_of("yolo", location, list(seen.values()), planes, options, fill_even_odd, names, found)


def _labels(image: Path, root: Path) -> Path | None:
    """Return the label file of an image: the last folder images becomes labels, as YOLO's own reader has it."""
    parts = list(image.relative_to(root).parts)
    for i in reversed(range(len(parts) - 1)):
        if parts[i].lower() == "images":
            for suffix in (".txt", ".TXT"):
                path = root.joinpath(*parts[:i], "labels", *parts[i + 1 :]).with_suffix(suffix)
                if path.is_file():
                    return path
            return None
    return None


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines that are not empty, with their numbers; a file that is no text has one that is not YOLO's."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        return [(0, f"cannot be read: {error.strerror}")]
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _parse(line: str) -> list[float] | None:
    try:
        row = [float(word) for word in line.split()]
    except ValueError:
        return None
    whole = len(row) >= 5 and row[0] >= 0 and row[0] == row[0] // 1 and row[0] < 2**31
    return row if whole and len(row) % 2 else None


def _read_names(root: Path, found: Findings) -> dict[Category, str]:
    """Return the names in ``data.yaml``, or in the one other YAML file that has names."""
    files = sorted((p for p in root.iterdir() if p.suffix.lower() in (".yaml", ".yml")), key=lambda p: p.stem != "data")
    for path in files:
        content = read_yaml(path)
        if not isinstance(content, dict) or not isinstance(content.get("names"), list | dict):
            continue
        if content.get("kpt_shape"):
            raise DataError(f"{path} describes key points, not outlines. Masks need the labels for segmentation.")
        names = content["names"]
        listed = dict(names.items() if isinstance(names, dict) else enumerate(names))
        if not all(_is_number(number) and isinstance(name, str | int | float) for number, name in listed.items()):
            raise DataError(
                f"{path}: its names are no list of names, nor names by number. Expected lines such as 0: cat; correct "
                "it, or remove it."
            )
        found.notes.append(f"Names of categories: {path.name}.")
        return {int(number): writable(str(name)) for number, name in listed.items()}
    return {}


def _is_number(key: Any) -> bool:
    return (isinstance(key, int) and key >= 0) or (isinstance(key, str) and key.isascii() and key.isdigit())


def _add_instances(
    picture: Picture,
    lines: Sequence[tuple[int, str]],
    names: Mapping[Category, str],
    planes: Planes,
    found: Findings,
) -> None:
    try:
        height, width = picture.size = image_size(picture.image)
    except FileError as error:
        found.wrong[picture.id] = error.fault
        return
    present: set[str] = set()
    for number, line in lines:
        row = _parse(line)
        if row is None:
            problem = f"line {number} is {line.strip()[:60]!r}; a class number and x and y in turn were expected"
            found.wrong[picture.id] = Fault(str(picture.labels), problem, "Correct it, or export the labels again")
            return
        category: Category | None = int(row[0])
        if name := names.get(int(row[0])):
            present.add(name)
        else:
            category = None
            remedy = "Complete the names in data.yaml; with --categories these pixels are unknown"
            found.odd[str(picture.labels), "have a class number without a name", remedy].append(f"line {number}")
        if category is not None and category not in planes.of:
            continue
        points = [value * (height if i % 2 else width) for i, value in enumerate(row[1:])]
        if len(points) == 4:
            x, y, wide, high = points
            box = read_box([x - wide / 2, y - high / 2, wide, high], (height, width))
            why = ShapeError("are boxes" if box else "are boxes without area in their image", nothing=box is None)
            add_without_outline(picture, Instance(category, box=box), why, f"line {number}", found)
            continue
        try:
            polygon = check_polygon(points, (height, width))
        except ShapeError as error:
            add_without_outline(picture, Instance(category), error, f"line {number}", found)
            continue
        picture.instances.append(Instance(category, (polygon,), box=extent([polygon])))
    found.images_with.update(present)
