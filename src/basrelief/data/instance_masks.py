"""Masks out of outlines: drawing a picture's instances into planes, and loading it with its image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from basrelief.batch import Sample
from basrelief.data.decode import FileError, read_image
from basrelief.data.instances import Instance, Picture, Planes
from basrelief.data.source import Entry, Fault

Fill = Callable[[Sequence[np.ndarray], tuple[int, int]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture's instances, each with the planes it is drawn into; none: its pixels are unknown."""

    size: tuple[int, int] | None
    labels: str
    parts: tuple[tuple[Instance, tuple[int, ...]], ...]


_NOTHING = Drawing(None, "", ())


@dataclass(frozen=True, slots=True)
class DrawnEntry(Entry):
    """An image with what is drawn into its mask."""

    drawing: Drawing = field(default=_NOTHING, compare=False, repr=False)


@dataclass(frozen=True)
class Reading:
    """All that loading an entry needs besides the entry; it can be sent to another process."""

    planes: int
    fill: Fill
    broken: Mapping[str, Fault] = field(default_factory=dict)


def plan_drawing(picture: Picture, planes: Planes, min_box: int | None) -> Drawing:
    """Say where each instance goes.

    Unknown are the pixels of crowd regions, of boxes whose outline is not known, of instances of a category that the
    data does not name, and of instances smaller than ``min_box``: none of them is background, and none is a figure.
    """
    parts = []
    for instance in picture.instances:
        clear = instance.is_drawn and (not min_box or instance.side >= min_box)
        parts.append((instance, planes.of.get(instance.category, ()) if clear else ()))
    return Drawing(picture.size, picture.labels.name, tuple(parts))


def load_entry(reading: Reading, entry: Entry) -> Sample:
    """Decode an entry's image and draw its mask, unless that plane was taken out.

    Raises
    ------
    FileError
        Naming the image that cannot be used.
    """
    assert isinstance(entry, DrawnEntry)
    if fault := reading.broken.get(entry.id):
        raise FileError(fault.file, fault.problem, fault.remedy)
    drawing = entry.drawing
    path = entry.planes["image"]
    image = read_image(path)
    if "mask" not in entry.planes:
        return Sample(entry.id, image)
    height, width = image.shape[:2]
    if drawing.size is not None and drawing.size != (height, width):
        stated = f"{drawing.size[1]} × {drawing.size[0]}"
        remedy = "Take the image that was annotated, or scale the annotations with it"
        if drawing.size == (width, height):
            remedy = "Turn one of them; the image may be stored turned, with its orientation noted in EXIF"
        raise FileError(
            str(path), f"is {width} × {height} pixels, and {drawing.labels} describes it with {stated}", remedy
        )
    mask = np.zeros((reading.planes, height, width), dtype=bool)
    unknown = np.zeros((height, width), dtype=bool)
    for instance, planes in drawing.parts:
        pixels = draw(instance, (height, width), reading.fill)
        for plane in planes:
            mask[plane] |= pixels
        if not planes:
            unknown |= pixels
    unknown &= ~mask.all(axis=0)  # where every plane has an instance, nothing is left to be unknown
    return Sample(entry.id, image, mask=mask.astype(np.uint8), mask_valid=~unknown if unknown.any() else None)


def draw(instance: Instance, size: tuple[int, int], fill: Fill) -> np.ndarray:
    """Return an instance's pixels, bool (H, W); of one that has a box alone, all pixels that the box touches."""
    if instance.runs is not None:
        height, width = size
        values = np.arange(len(instance.runs.lengths)) % 2 == 1
        return np.repeat(values, instance.runs.lengths).reshape(width, height).T
    if instance.polygons:
        return fill(instance.polygons, size)
    pixels = np.zeros(size, dtype=bool)
    if instance.box is not None:
        left, top, wide, high = instance.box
        pixels[max(0, math.floor(top)) : math.ceil(top + high), max(0, math.floor(left)) : math.ceil(left + wide)] = 1
    return pixels


def fill_as_coco(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Return the union of polygons as pycocotools' ``annToMask`` draws it, bool (H, W)."""
    from pycocotools import mask as coco

    runs = coco.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *size)
    return np.asarray(coco.decode(coco.merge(runs))).astype(bool)


def fill_even_odd(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Return the union of polygons, bool (H, W), by Pillow; where one crosses itself, its overlap is outside."""
    height, width = size
    pixels = Image.new("1", (width, height))
    for polygon in polygons:
        one = Image.new("1", (width, height))
        ImageDraw.Draw(one).polygon([(float(x), float(y)) for x, y in polygon], fill=1)
        pixels = ImageChops.logical_or(pixels, one)
    return np.asarray(pixels)
