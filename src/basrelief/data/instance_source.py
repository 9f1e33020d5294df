"""From pictures with instances to a source: what COCO, YOLO and LabelMe share once their files are read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from basrelief.data.folder_layout import natural
from basrelief.data.instance_masks import DrawnEntry, Fill, Reading, load_entry, plan_drawing
from basrelief.data.instances import Category, Instance, Picture, Planes, keep_pictures
from basrelief.data.outlines import ShapeError
from basrelief.data.source import DataOptions, Fault, Source

Odd = dict[tuple[str, str, str], list[str]]  # file, problem and remedy -> ids of the annotations that have it
_CATEGORIES_SHOWN = 8


@dataclass
class Findings:
    """What reading has to say.

    Attributes
    ----------
    notes, faults
        As in a source.
    lost, wrong
        Id of a picture -> why its file, or its outlines, cannot be used.
    odd
        What is wrong with single annotations -> their ids.
    images_with
        Category -> number of images that have it.
    """

    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lost: dict[str, Fault] = field(default_factory=dict)
    wrong: dict[str, Fault] = field(default_factory=dict)
    odd: Odd = field(default_factory=lambda: defaultdict(list))
    images_with: Counter[str] = field(default_factory=Counter)


def source_of(
    name: str,
    location: str,
    pictures: Sequence[Picture],
    planes: Planes,
    options: DataOptions,
    fill: Fill,
    names: Mapping[Category, str],
    found: Findings,
) -> Source:
    """Filter the pictures, and return them as a source.

    Raises
    ------
    DataError
        When too few are left.
    """
    kept, notes = keep_pictures(pictures, planes, options, location, found.images_with)
    found.notes += [_say_masks(planes, options, names, found.images_with), *notes]
    if any(not instance.is_drawn for picture in kept for instance in picture.instances):
        found.notes.append("Crowd regions, and boxes without an outline, count as unknown.")
    kept.sort(key=lambda picture: natural(picture.id))
    broken = {picture.id: found.lost[picture.id] for picture in kept if picture.id in found.lost} | found.wrong
    for (file, problem, remedy), which in found.odd.items():
        listed = ", ".join(which[:5]) + (", …" if len(which) > 5 else "")
        found.faults.append(Fault(file, f"{len(which)} annotation(s) {problem} (id {listed})", remedy, fatal=False))
    return Source(
        format=name,
        location=location,
        entries=tuple(
            DrawnEntry(
                picture.id,
                {"image": picture.image, "mask": picture.labels},
                split=picture.split,
                drawing=plan_drawing(picture, planes, options.min_box),
            )
            for picture in kept
        ),
        targets=("mask",),
        load=partial(load_entry, Reading(len(planes.classes), fill, broken)),
        classes=planes.classes,
        notes=tuple(found.notes),
        faults=(*found.faults, *broken.values()),
        reading=repr((options.categories, options.single_instance, options.min_box)),
    )


def _say_masks(planes: Planes, options: DataOptions, names: Mapping[Category, str], common: Counter[str]) -> str:
    if options.categories is not None:
        if len(planes.classes) == 1:
            return f"Masks: the figure is {planes.words}; other categories are background."
        return f"Masks: a plane each for {', '.join(planes.classes)}; other categories are background."
    listed = ", ".join(f"{name} ({count})" for name, count in common.most_common(_CATEGORIES_SHOWN))
    more = ", …" if len(common) > _CATEGORIES_SHOWN else ""
    several = " --categories a,b takes these alone and gives each a plane, a+b one plane." if len(names) > 1 else ""
    return f"Masks: the figure is every instance of any category. Images with each: {listed}{more}.{several}"


def add_without_outline(picture: Picture, instance: Instance, error: ShapeError, number: str, found: Findings) -> None:
    """Make the best of annotation ``number``, whose outline cannot be used.

    With a box, its pixels are unknown. An outline that marks nothing is left out. Any other makes the picture's mask
    wrong, and so does one that shows that the image has another size.
    """
    labels = picture.labels
    if error.misplaced or (instance.box is None and not error.nothing):
        problem = f"has an annotation (id {number}) in {labels.name} that {str(error).replace('have ', 'has ', 1)}"
        remedy = "Outline it again, or take the image out"
        if error.misplaced:
            remedy = "Check that width and height are those of the image that was annotated"
        found.wrong.setdefault(picture.id, Fault(str(picture.image), problem, remedy))
    elif instance.box is not None:
        remedy = "Outline them again if these pixels should be known"
        found.odd[str(labels), f"{error}, so their boxes count as unknown", remedy].append(number)
        picture.instances.append(instance)
    else:
        found.odd[str(labels), f"{error} and mark nothing", "Take them out, or outline them again"].append(number)
