"""One COCO annotation file, parsed once and checked: images by id, and annotations by image."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basrelief.data.folder_layout import writable
from basrelief.data.instance_source import Odd
from basrelief.data.instances import Category
from basrelief.data.source import Fault
from basrelief.errors import DataError

_KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Document:
    """One annotation file: its images by id, and its annotations by image id."""

    path: Path
    split: str | None
    images: Mapping[Category, Mapping[str, Any]]
    annotations: dict[Category, list[Mapping[str, Any]]]


def read_document(path: Path, split: str | None, names: dict[Category, str], faults: list[Fault], odd: Odd) -> Document:
    """Parse a file and check that it is COCO's.

    Its categories are added to ``names``, what is wrong with single images to ``faults``, and annotations without an
    image to ``odd``.

    Raises
    ------
    DataError
        When the file is not what it should be.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(
            f"{path} cannot be read as JSON{where} ({str(error)[:200]}). It may be cut short; copy it again."
        ) from None
    except MemoryError:
        raise DataError(f"{path} does not fit into memory. Divide it into smaller files, one a split.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Check the file and its permissions.") from None
    lists = content if isinstance(content, dict) else {}
    wrong = [key for key in _KEYS if not isinstance(lists.get(key), list)]
    if wrong:
        there = ", ".join(str(key) for key in list(lists)[:8]) if lists else f"a {type(content).__name__}"
        raise DataError(
            f"{path} is not COCO's: it lacks {', '.join(wrong)} (found: {there}). Expected lists of images, "
            "annotations and categories; a list of detections alone is no training data."
        )
    _add_categories(path, lists["categories"], names)
    images, twice = _images_by_id(path, lists["images"], faults)
    annotations: dict[Category, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in lists["annotations"]:
        number = id_of(annotation, "image_id")
        if number in images:
            annotations[number].append(annotation)
        elif number not in twice:
            name = writable(str(annotation.get("id", "none"))) if isinstance(annotation, dict) else "none"
            remedy = "Add these images to the file, or take the annotations out"
            odd[str(path), "belong to images that it does not list", remedy].append(name)
    if not annotations:
        count = len(lists["annotations"])
        orphans = f": all {count} belong to images that it does not list" if count else ""
        raise DataError(f"{path} has no annotation of its {len(images)} images{orphans}. Export it again.")
    if not any("segmentation" in annotation for together in annotations.values() for annotation in together):
        raise DataError(
            f"{path} has annotations without outlines (captions, keypoints or boxes alone). Masks need polygons or "
            "run-length masks under segmentation: take the file of instances."
        )
    return Document(path, split, images, annotations)


def _add_categories(path: Path, categories: Sequence[Any], names: dict[Category, str]) -> None:
    for category in categories:
        number = id_of(category, "id")
        if number is None:
            raise DataError(f"{path}: the category {str(category)[:80]} has no id. Expected an id and a name.")
        name = writable(str(category.get("name") or number))
        if names.setdefault(number, name) != name:
            raise DataError(
                f"{path}: category {number} is {name!r} here and {names[number]!r} in another place. Ids must mean the "
                "same in all files; correct them, or name one file."
            )


def _images_by_id(
    path: Path, listed: Sequence[Any], faults: list[Fault]
) -> tuple[dict[Category, dict[str, Any]], set[Category]]:
    """Return the images by id, and the ids that several images have."""
    images: dict[Category, dict[str, Any]] = {}
    twice: set[Category] = set()
    nameless = 0
    for image in listed:
        number = id_of(image, "id")
        if number is None or not isinstance(image.get("file_name"), str) or not image["file_name"].strip("\\/. \0"):
            nameless += 1
        else:
            image["file_name"] = writable(image["file_name"])
            if images.setdefault(number, image)["file_name"] != image["file_name"]:
                twice.add(number)
    if nameless:
        problem, remedy = f"{nameless} image(s) have no id or no file_name and are left out", "Add what is missing"
        faults.append(Fault(str(path), problem, remedy, fatal=False))
    for number in twice:
        problem = f"the image id {number} stands for several images, so its annotations cannot be told apart"
        faults.append(Fault(str(path), problem, "Give each image its own id; these are left out", fatal=False))
        del images[number]
    return images, twice


def id_of(record: Any, key: str) -> Category | None:
    """Return an id; 7 and "7" are the same, since tools write either."""
    value = record.get(key) if isinstance(record, dict) else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else writable(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
