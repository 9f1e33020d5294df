"""The format ``coco``: images with instances outlined in COCO's JSON, as polygons or run-length masks.

The location is the JSON file, or a folder with one such file, or with one a split (``instances_train2017.json`` beside
``instances_val2017.json``). Each file is parsed once. Crowd regions, and boxes without an outline, are unknown pixels.
What is wrong with single annotations is gathered by file; what makes an image's mask wrong breaks that image.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basrelief.data.coco_document import Document, id_of, read_document
from basrelief.data.coco_files import ImageFinder, annotation_files, choose_files, holds_annotations, image_root
from basrelief.data.decode import FileError
from basrelief.data.folder import detect_folder
from basrelief.data.folder_layout import composed, writable
from basrelief.data.headers import image_size
from basrelief.data.instance_masks import fill_as_coco
from basrelief.data.instance_source import Findings, add_without_outline, source_of
from basrelief.data.instances import Category, Instance, Picture, Planes, choose_planes
from basrelief.data.outlines import ShapeError, extent, extent_of_runs, read_box, read_shape
from basrelief.data.source import DataOptions, Fault, Source
from basrelief.errors import DataError, MissingExtraError


def detect_coco(location: str) -> bool:
    """Return whether a location is COCO's JSON or a folder with it; masks as files come before boxes alone."""
    path = Path(location)
    if path.is_file():
        return path.suffix.lower() == ".json" and holds_annotations(path, outlines=False)
    if not path.is_dir():
        return False
    if annotation_files(path, outlines=True):
        return True
    return bool(annotation_files(path, outlines=False)) and not detect_folder(path)


def read_coco(location: str, options: DataOptions) -> Source:
    """List COCO data.

    The mask is binary (one plane, "figure") without ``options.categories``, where every instance is drawn into it, and
    with a single member. Several members make a plane each: "motorcycle,dog". Joined by "+", categories share a
    plane: "motorcycle+dog+cake" is binary again. Categories that are not chosen are background. ``single_instance``
    keeps images with exactly one instance of all chosen categories, ``min_box`` those where that instance (or, of
    several, at least one) has a box with both sides at least so long; smaller ones beside it are unknown pixels.
    Images without an instance of the chosen categories are left out.

    Raises
    ------
    DataError
        When a file is not COCO's, or too few images are left.
    UsageError
        For a category that is not there.
    MissingExtraError
        Without pycocotools.
    """
    if importlib.util.find_spec("pycocotools") is None:
        raise MissingExtraError("pycocotools", "coco", "Reading COCO data")
    root = Path(location)
    if not root.is_dir() and not root.is_file():
        there = "is no file" if root.exists() else "is not there"
        raise DataError(f"{location} {there}. Expected COCO's JSON file, or a folder with it and its images.")
    found = Findings()
    files: list[tuple[Path, str | None]] = [(root, None)]
    if root.is_dir():
        files, found.notes = choose_files(location, root)
    names: dict[Category, str] = {}
    documents = [read_document(path, split, names, found.faults, found.odd) for path, split in files]
    planes = choose_planes(names, options)
    pictures = _pictures(documents, image_root(root), location, names, planes, found)
    return source_of("coco", location, pictures, planes, options, fill_as_coco, names, found)


def _pictures(
    documents: Sequence[Document],
    root: Path,
    location: str,
    names: Mapping[Category, str],
    planes: Planes,
    found: Findings,
) -> list[Picture]:
    """Return every listed image with its instances of the chosen categories."""
    finder = ImageFinder(root, (image["file_name"] for d in documents for image in d.images.values()))
    pictures: list[Picture] = []
    used: dict[str, Picture] = {}
    places: dict[Path, Picture] = {}
    missing = 0
    for document in documents:
        for number, image in document.images.items():
            paths = finder.find(image["file_name"], document.path)
            missing += not paths
            path = paths[0] if paths else root / re.split(r"[\\/]+", image["file_name"])[-1]
            picture = Picture(_name(image, number, document, used), path, document.path, split=document.split)
            used[picture.id] = picture
            pictures.append(picture)
            _place(picture, paths, places, found)
            described = document.annotations.pop(number, [])  # what is read is let go: outlines as lists are large
            numbers = {id_of(annotation, "category_id") for annotation in described}
            found.images_with.update({names[n] for n in numbers if n is not None and n in names})
            if described and (fault := _set_size(picture, image)):
                found.wrong[picture.id] = fault
                continue
            for annotation in described:
                _add_instance(picture, annotation, names, planes, found)
    if pictures and missing == len(pictures):
        raise DataError(
            f"{location}: none of the {missing} images is below {root}, where {pictures[0].image.name} and the others "
            "were expected. Put the folder of images beside the annotations."
        )
    return pictures


def _name(image: Mapping[str, Any], number: Category, document: Document, used: Mapping[str, Picture]) -> str:
    """Return the entry's id: split and file name without suffix; with the image's id where that is not unique."""
    parts = [part for part in re.split(r"[\\/]+", image["file_name"]) if part.strip(".")]
    stem = parts[-1].rpartition(".")[0] or parts[-1]
    full = "/".join([document.split, stem] if document.split else [*parts[:-1], stem])
    full = composed(full)
    return full if full not in used else f"{full}#{number}"


def _place(picture: Picture, paths: Sequence[Path], places: dict[Path, Picture], found: Findings) -> None:
    """Note what is wrong with where an image is."""
    labels = picture.labels.name
    if not paths:
        problem, remedy = f"is not there; {labels} lists it", "Add the image, or take it out of the annotations"
        found.lost[picture.id] = Fault(str(picture.image), problem, remedy)
    elif len(paths) > 1:
        problem = f"has the same name as {paths[1]}, so it cannot be told which one {labels} means"
        remedy = "Keep one of them, or put the folder into file_name"
        found.lost[picture.id] = Fault(str(picture.image), problem, remedy)
    elif (other := places.setdefault(picture.image, picture)) is not picture:
        problem = f"is listed twice ({other.id} in {other.labels.name}, {picture.id} in {labels}), each with a part of "
        fault = Fault(str(picture.image), f"{problem}its annotations", "List it once")
        found.lost[picture.id] = found.lost[other.id] = fault


def _set_size(picture: Picture, image: Mapping[str, Any]) -> Fault | None:
    """Set the size that the file states, or else that of the image itself; return why there is none, if so."""
    height, width = image.get("height"), image.get("width")
    if all(isinstance(side, int | float) and 1 <= side < 2**31 for side in (height, width)):
        picture.size = (int(height), int(width))  # type: ignore[arg-type]
        return None
    try:
        picture.size = image_size(picture.image)
    except FileError as error:
        return error.fault
    return None


def _add_instance(
    picture: Picture,
    annotation: Mapping[str, Any],
    names: Mapping[Category, str],
    planes: Planes,
    found: Findings,
) -> None:
    """Add an annotation's instance, if its category is chosen or cannot be known."""
    category = id_of(annotation, "category_id")
    number = writable(str(annotation.get("id", "none")))
    if category not in names:
        category = None
        remedy = "Complete its categories; with --categories these pixels are unknown"
        found.odd[str(picture.labels), "have a category that it does not name", remedy].append(number)
    if category is not None and category not in planes.of:
        return
    assert picture.size is not None
    box = read_box(annotation.get("bbox"), picture.size)
    crowd = str(annotation.get("iscrowd", 0)).lower() in ("1", "true", "1.0")
    try:
        polygons, runs = read_shape(annotation.get("segmentation"), picture.size)
    except ShapeError as error:
        add_without_outline(picture, Instance(category, box=box, crowd=crowd), error, number, found)
        return
    if box is None:
        box = extent(polygons) if runs is None else extent_of_runs(runs)
    picture.instances.append(Instance(category, polygons, runs, box, crowd))
