"""Images with outlined instances: which categories become which planes of the mask, and which images are kept.

What formats with instances (COCO, YOLO, LabelMe) share. They turn their files into pictures with instances;
everything after that is here and in ``instance_masks``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from basrelief.data.source import SPLITS, DataOptions
from basrelief.errors import DataError, UsageError, suggest

Category = int | str
ENOUGH = len(SPLITS)  # train, val and test need an image each
_NAMES_SHOWN = 20


class Runs(NamedTuple):
    """A run-length mask: lengths of runs of 0 and 1 in turn, column by column, of an image of ``size``."""

    size: tuple[int, int]
    lengths: np.ndarray


@dataclass(frozen=True, slots=True)
class Instance:
    """One outlined object.

    Attributes
    ----------
    category
        Its category's id; None: one that the data does not name.
    polygons
        float (P, 2), x and y in pixels; the instance is their union.
    runs
        Its pixels, in place of polygons. With neither, the instance lies somewhere in its box.
    box
        x, y, width, height in pixels; None where unknown.
    crowd
        Whether it marks a group of objects that are not told apart.
    """

    category: Category | None
    polygons: tuple[np.ndarray, ...] = ()
    runs: Runs | None = None
    box: tuple[float, float, float, float] | None = None
    crowd: bool = False

    @property
    def is_drawn(self) -> bool:
        """Whether its pixels are known."""
        return (bool(self.polygons) or self.runs is not None) and not self.crowd

    @property
    def side(self) -> float:
        """The shorter side of its box."""
        return min(self.box[2:]) if self.box is not None else 0.0


@dataclass
class Picture:
    """An image with its instances; ``size`` (height, width) is that of the outlines' coordinates."""

    id: str
    image: Path
    labels: Path
    size: tuple[int, int] | None = None
    split: str | None = None
    instances: list[Instance] = field(default_factory=list)


@dataclass(frozen=True)
class Planes:
    """The planes of the mask: their names, which of them each category is drawn into, and that in words."""

    classes: tuple[str, ...]
    of: Mapping[Category | None, tuple[int, ...]]
    words: str


def choose_planes(names: Mapping[Category, str], options: DataOptions) -> Planes:
    """Return the mask's planes: one a member of ``options.categories``, or one of all categories together.

    A member is a category's name or id, or several joined by "+", which share a plane: "motorcycle+dog,cake". A
    single plane is called "figure", as in every binary mask.

    Raises
    ------
    UsageError
        For a category that the data does not have.
    """
    if options.categories is None:
        return Planes(("figure",), {None: (0,), **dict.fromkeys(names, (0,))}, "an instance")
    of: dict[Category | None, tuple[int, ...]] = {}
    classes: list[str] = []
    words: list[str] = []
    for member in dict.fromkeys(options.categories):
        found = [_find_category(word, names) for word in _words(member, names)]
        name = "+".join(dict.fromkeys(names[ids[0]] for ids in found))
        if name in classes:
            continue
        for category in {category for ids in found for category in ids}:
            of[category] = (*of.get(category, ()), len(classes))
        classes.append(name)
        words += name.split("+") if len(found) > 1 else [name]
    listed = list(dict.fromkeys(words))
    said = listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}"
    return Planes(tuple(classes) if len(classes) > 1 else ("figure",), of, said)


def _words(member: str, names: Mapping[Category, str]) -> list[str]:
    """Divide at "+", unless a category's own name has it."""
    return [member] if member in names.values() else [word.strip() for word in member.split("+")]


def _find_category(word: str, names: Mapping[Category, str]) -> list[Category]:
    """Return the ids that a name, in any case, or an id stands for."""
    if ids := [category for category, name in names.items() if name == word]:
        return ids
    if ids := [category for category, name in names.items() if name.casefold() == word.casefold()]:
        return ids
    if ids := [category for category in names if str(category) == word]:
        return ids
    known = sorted(set(names.values()), key=str.casefold)
    listed = ", ".join(known[:_NAMES_SHOWN]) + (f", … ({len(known)} in all)" if len(known) > _NAMES_SHOWN else "")
    raise UsageError(f"--categories: unknown category {word!r}.{suggest(word, known)} Known: {listed}.")


def keep_pictures(
    pictures: Sequence[Picture], planes: Planes, options: DataOptions, location: str, common: Counter[str]
) -> tuple[list[Picture], list[str]]:
    """Return the pictures that pass the filters, and notes on them.

    Kept are pictures with at least one instance of the chosen categories whose pixels are known; with
    ``single_instance`` those with exactly one (a crowd region is never one); with ``min_box`` those where that
    instance, or one of several, has a box with both sides at least so long.

    Parameters
    ----------
    common
        Category name -> number of images that have it, to say what else could be chosen.

    Raises
    ------
    DataError
        When too few are left: with the count after each filter, and what would leave enough.
    """
    some = [picture for picture in pictures if any(_counts(i, planes) and i.is_drawn for i in picture.instances)]
    passes: dict[str, Callable[[Picture], bool]] = {}
    steps = [f"{len(pictures)} listed", f"{len(some)} with {planes.words}"]
    kept = some
    if options.single_instance:
        passes["--single-instance"] = lambda picture: _is_single(picture, planes)
        kept = [picture for picture in kept if passes["--single-instance"](picture)]
        steps.append(f"{len(kept)} with exactly one (--single-instance)")
    if least := options.min_box:
        passes[f"--min-box {least}"] = lambda picture: _largest(picture, planes) >= least
        kept = [picture for picture in kept if passes[f"--min-box {least}"](picture)]
        which = "whose box is" if options.single_instance else "with a box of"
        steps.append(f"{len(kept)} {which} at least {least} × {least} px (--min-box {least})")
    if not some or (len(kept) < ENOUGH and (passes or options.categories)):
        raise _too_few(location, kept, some, steps, passes, planes, options, common)
    notes = [f"Images: {'; '.join(steps)}."] if len(kept) < len(pictures) or passes else []
    return kept, notes


def _counts(instance: Instance, planes: Planes) -> bool:
    return instance.category in planes.of


def _is_single(picture: Picture, planes: Planes) -> bool:
    found = [instance for instance in picture.instances if _counts(instance, planes)]
    return len(found) == 1 and not found[0].crowd


def _largest(picture: Picture, planes: Planes) -> float:
    return max((i.side for i in picture.instances if _counts(i, planes) and i.is_drawn), default=0.0)


def _too_few(
    location: str,
    kept: Sequence[Picture],
    some: Sequence[Picture],
    steps: Sequence[str],
    passes: Mapping[str, Callable[[Picture], bool]],
    planes: Planes,
    options: DataOptions,
    common: Counter[str],
) -> DataError:
    ways: list[str] = []
    if options.min_box:
        before = [p for p in some if not options.single_instance or _is_single(p, planes)]
        sides = sorted((_largest(picture, planes) for picture in before), reverse=True)
        if len(sides) >= ENOUGH and (least := int(sides[ENOUGH - 1])):
            ways.append(f"--min-box {least} ({sum(side >= least for side in sides)} images)")
    for option in passes:
        others = [test for name, test in passes.items() if name != option]
        left = sum(all(test(picture) for test in others) for picture in some)
        ways += [f"no {option.split()[0]} ({left} images)"] * (left >= ENOUGH)
    if len(passes) > 1 and len(some) >= ENOUGH:
        ways.append(f"neither of the two ({len(some)} images)")
    chosen = {name for text in planes.classes for name in text.split("+")} | set(options.categories or ())
    if others_ := [f"{name} ({count})" for name, count in common.most_common(8) if name not in chosen][:5]:
        ways.append(f"other --categories; most images have {', '.join(others_)}")
    remaining = "1 image is left" if len(kept) == 1 else f"{len(kept)} images are left"
    return DataError(
        f"{location}: {remaining}, and train, val and test need one each, so at least {ENOUGH} (a verdict worth having "
        f"needs some dozens). Images left after each filter: {'; '.join(steps)}. "
        f"{'Enough would be: ' + '; '.join(ways) if ways else 'Add annotated images'}."
    )
