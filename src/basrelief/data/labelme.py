"""The format ``labelme``: a JSON file for each image, with its outlines, as LabelMe writes it.

Polygons, rectangles, circles and masks (a PNG in base64, whose place is its box) are drawn, polygons even-odd; shapes
of one label and group are one instance. Shapes labelled ``__ignore__`` are unknown pixels, ``_background_`` is
background. Lines and points mark nothing.
"""

from __future__ import annotations

import base64
import json
import math
from collections import defaultdict
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.data.coco_files import ImageFinder, name_below, walk
from basrelief.data.decode import Blob, FileError, read_mask_values
from basrelief.data.folder import detect_folder
from basrelief.data.folder_layout import writable
from basrelief.data.headers import image_size
from basrelief.data.instance_masks import draw, fill_even_odd
from basrelief.data.instance_source import Findings, add_without_outline, source_of
from basrelief.data.instances import Category, Instance, Picture, Planes, Runs, choose_planes
from basrelief.data.outlines import ShapeError, check_polygon, extent, extent_of_runs, runs_of
from basrelief.data.source import DataOptions, Fault, Source
from basrelief.errors import DataError

IGNORED, BACKGROUND = "__ignore__", "_background_"
_LOOKED_AT = 20
_CIRCLE = 64  # points that a circle is drawn with


def detect_labelme(location: str) -> bool:
    """Return whether a folder has JSON files such as LabelMe writes; masks as files come before them."""
    root = Path(location)
    if not root.is_dir():
        return False
    files = (path for path in walk(root, 2) if path.suffix.lower() == ".json")
    return any(_looks_right(path) for path in islice(files, _LOOKED_AT)) and not detect_folder(root)


def _looks_right(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return b'"shapes"' in content and b'"imagePath"' in content


def read_labelme(location: str, options: DataOptions) -> Source:
    """List LabelMe data. Categories (its labels), planes and filters are as for COCO.

    Raises
    ------
    DataError
        When there is nothing to read, or too few images are left.
    UsageError
        For a category that is not there.
    """
    root = Path(location)
    if not root.is_dir():
        raise DataError(f"{location} is no folder. Expected images with a JSON file of LabelMe for each.")
    files = sorted(path for path in walk(root, None) if path.suffix.lower() == ".json" and _looks_right(path))
    if not files:
        raise DataError(f"{location} has no JSON file with shapes and imagePath. Expected one for each image.")
    found = Findings()
    documents = [(path, content) for path in files if (content := _read(path, found)) is not None]
    labels = sorted({_label(shape) for _, content in documents for shape in content["shapes"]} - {BACKGROUND, IGNORED})
    names: dict[Category, str] = {label: label for label in labels}
    planes = choose_planes(names, options)
    finder = ImageFinder(root, (content["imagePath"] for _, content in documents))
    pictures: list[Picture] = []
    for path, content in documents:
        images = finder.beside(content["imagePath"], path) or finder.find(content["imagePath"], path)
        name, split = name_below(root, path)
        if len(images) != 1:
            problem = f"names the image {content['imagePath']!r}, of which there are {len(images)} below {root}"
            found.faults.append(Fault(str(path), problem, "Put the image beside its JSON file, once"))
            continue
        picture = Picture(name, images[0], path, split=split)
        pictures.append(picture)
        _add_instances(picture, content, planes, found)
    return source_of("labelme", location, pictures, planes, options, fill_even_odd, names, found)


def _read(path: Path, found: Findings) -> dict[str, Any] | None:
    """Parse a file; one that is damaged becomes a fault, and the others can still be used."""
    problem = "is no file of LabelMe: shapes must be a list of objects with label and points, imagePath a name"
    try:
        content = json.loads(path.read_bytes())
        shapes = content["shapes"]
        named = isinstance(content["imagePath"], str) and content["imagePath"].strip("\\/. \0")
        if named and isinstance(shapes, list) and all(isinstance(shape, dict) for shape in shapes):
            kept = {key: content.get(key) for key in ("shapes", "imageHeight", "imageWidth")}  # not the image itself
            return {**kept, "imagePath": writable(content["imagePath"])}
    except (KeyError, TypeError):
        pass
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        problem = f"cannot be read as JSON ({str(error)[:200]})"
    found.faults.append(Fault(str(path), problem, "Save it again, or remove it"))
    return None


def _label(shape: Mapping[str, Any]) -> str:
    return writable(str(shape.get("label") or "unlabelled"))


def _add_instances(picture: Picture, content: Mapping[str, Any], planes: Planes, found: Findings) -> None:
    try:
        picture.size = image_size(picture.image)
    except FileError as error:
        found.wrong[picture.id] = error.fault
        return
    stated = (content.get("imageHeight"), content.get("imageWidth"))
    if all(isinstance(side, int) and 1 <= side < 2**31 for side in stated):
        picture.size = stated  # type: ignore[assignment]
    found.images_with.update({_label(shape) for shape in content["shapes"]} - {BACKGROUND, IGNORED})
    groups: dict[tuple[str, str], list[np.ndarray | Runs]] = defaultdict(list)
    assert picture.size is not None
    for number, shape in enumerate(content["shapes"], start=1):
        label = _label(shape)
        if label == BACKGROUND or (label != IGNORED and label not in planes.of):
            continue
        try:
            if shape.get("shape_type") == "mask":
                part: np.ndarray | Runs = _pixels(shape, picture.size)
            else:
                part = check_polygon(_points(shape), picture.size)
        except ShapeError as error:
            add_without_outline(picture, Instance(label), error, f"shape {number}", found)
            continue
        group = shape.get("group_id")
        groups[label, f"shape {number}" if group is None else f"group {group}"].append(part)
    for (label, _), parts in groups.items():
        crowd = label == IGNORED
        polygons = [part for part in parts if not isinstance(part, Runs)]
        if len(polygons) == len(parts):
            instance = Instance(label, tuple(polygons), box=extent(polygons), crowd=crowd)
        else:
            drawn = [
                draw(Instance(label, runs=part), picture.size, fill_even_odd)
                for part in parts
                if isinstance(part, Runs)
            ]
            runs = runs_of(np.logical_or.reduce([fill_even_odd(polygons, picture.size), *drawn]))
            instance = Instance(label, runs=runs, box=extent_of_runs(runs), crowd=crowd)
        picture.instances.append(instance)


def _pixels(shape: Mapping[str, Any], size: tuple[int, int]) -> Runs:
    """Return a shape of the kind "mask": a picture as PNG in base64, whose top left is its first point."""
    try:
        left, top = (int(value) for value in shape["points"][0])
        marked = read_mask_values(Blob("mask", base64.b64decode(shape["mask"], validate=True))) > 0
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, FileError):
        raise ShapeError("have a mask that is no PNG in base64, with the points of its box") from None
    height, width = marked.shape[:2]
    if marked.ndim != 2 or left < 0 or top < 0 or left + width > size[1] or top + height > size[0]:
        raise ShapeError("reaches out of the image with a mask", misplaced=True)
    pixels = np.zeros(size, bool)
    pixels[top : top + height, left : left + width] = marked
    if not pixels.any():
        raise ShapeError("have an empty mask", nothing=True)
    return runs_of(pixels)


def _points(shape: Mapping[str, Any]) -> list[float]:
    """Return a shape as the flat list of a polygon's points."""
    kind = writable(str(shape.get("shape_type") or "polygon"))
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ShapeError("have points that are no pairs of numbers") from None
    if kind in ("line", "linestrip", "point", "points"):
        raise ShapeError(f"have no area ({kind})", nothing=True)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    elif kind == "circle" and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        angles = [2 * math.pi * i / _CIRCLE for i in range(_CIRCLE)]
        points = [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]
    elif kind not in ("polygon", "rectangle"):
        raise ShapeError(f"have a shape that is not read ({kind})")
    return [value for point in points for value in point]
