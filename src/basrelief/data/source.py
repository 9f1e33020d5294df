"""What every format gives: a list of entries, the facts about them, and a way to load one.

A format is one file with one function ``read_NAME(location, options) -> Source`` and one line in ``FORMATS``.
Listing is cheap (names, headers, a sample of the masks); decoding happens in ``Source.load``, one sample at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from basrelief.batch import Sample

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class DataOptions:
    """How to read data, where looking at it is not enough.

    Attributes
    ----------
    format
        Name of a format in ``FORMATS``; None: found by looking.
    background
        Whether backgrounds are used where there are any.
    depth_scale
        Multiplies stored depth values to give ``depth_unit``; None: 1, or the format's own knowledge.
    depth_unit, depth_kind
        For example "m"; "metric", "relative" or "disparity".
    depth_invalid
        Stored values (before scaling) that mean "unknown"; NaN and infinities always do.
    depth_max
        In ``depth_unit``. Depth beyond it counts as unknown; None: the largest value found.
    mask_map
        Stored value -> class name or index (0 is background, "unknown" leaves the pixel out); None: found by looking.
    invert_masks
        True: the figure is stored dark; False: bright; None: found by looking.
    categories
        For outlined instances: names or ids of the categories to segment, the others being background. Each member is
        a plane of the mask; several joined by "+" share one. None: all categories, in one plane.
    single_instance
        For outlined instances: keep images with exactly one instance of these categories.
    min_box
        For outlined instances: keep images where that instance, or one of several, has a box with both sides at least
        so many pixels long; smaller instances beside it are unknown pixels.
    group_blocks
        Number of blocks of neighbouring samples, each of which is kept in one split.
    group_file
        CSV file with the columns ``id`` and ``group``.
    resolution
        (height, width) at which generated data is made; files are read at their own size.
    seed
        For generated data.
    """

    format: str | None = None
    background: bool = True
    depth_scale: float | None = None
    depth_unit: str | None = None
    depth_kind: str | None = None
    depth_invalid: tuple[float, ...] = ()
    depth_max: float | None = None
    mask_map: Mapping[int, str] | None = None
    invert_masks: bool | None = None
    categories: tuple[str, ...] | None = None
    single_instance: bool = False
    min_box: int | None = None
    group_blocks: int | None = None
    group_file: Path | None = None
    resolution: tuple[int, int] | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample's place in a source, before anything is decoded.

    What loading needs of one sample alone belongs here (a format may add fields in a subclass), and what all samples
    share into ``Source.load``: that is sent to every worker once, and entries as they are needed. A plane that is
    taken out of ``planes`` is not read.

    Attributes
    ----------
    id
        Unique within the source.
    planes
        Plane name ("image", "background", "mask", "depth", and "valid" for a picture of where targets are known) ->
        file; empty for generated data. For a plane inside an archive, the archive. Two entries that name
        the same background file share one background.
    group
        Samples with the same group stay in one split: a background, a video, a person; None: a group of its own.
    foreground
        Name of the figure that was pasted in, where it recurs on several backgrounds; None: not known, or its own.
        A split keeps foregrounds apart as well as groups.
    split
        "train", "val" or "test" where the data comes divided already, else None.
    """

    id: str
    planes: Mapping[str, Path] = field(default_factory=dict)
    group: str | None = None
    foreground: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the data: the file, what is wrong with it, and what to do."""

    file: str
    problem: str
    remedy: str
    fatal: bool = True  # the sample cannot be used; False: worth knowing

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}. {self.remedy}".rstrip(". ") + "."


class Near(NamedTuple):
    """A sample loaded for use at a resolution: any of its planes may be at that already, as ``resize`` brings it there.

    ``sizes`` are the own sizes, (height, width), of the image and, where it has one, of the background; empty for what
    is generated.
    """

    sample: Sample
    sizes: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Source:
    """Data as a format found it.

    Attributes
    ----------
    format, location
        The format's name, and what the user called the data.
    entries
        In natural order of their names (frame-2 before frame-10).
    targets
        Those of "mask" and "depth" that at least one entry has.
    classes
        Names of the mask's K planes; ``("figure",)`` for a binary mask; empty without masks.
    background
        Whether every entry has a background.
    depth_unit, depth_kind
        None without depth. The unit is "" where it is not known.
    notes
        What was found or assumed, a sentence each ("Masks: value 0 is background, 255 is the figure.").
    faults
        What listing already found wrong.
    load
        Decodes one entry; raises DataError naming the file. A plane that is missing from ``entry.planes`` is not
        loaded, so that a background shared by many entries need be decoded once. It can be sent to other processes.
    load_near
        As ``load``, with the resolution wanted as a second argument: planes may come at that resolution where this
        saves time, and images decoded from a part of a file's frequencies. None where it would save none.
    reading
        How stored values are understood (mask values, depth scale, …), in any words that change when it does: a store
        is packed anew where they differ.
    resolution
        (height, width) that all samples have already; None for files of any size.
    in_memory
        Whether loading decodes nothing, so that other processes would not help.
    """

    format: str
    location: str
    entries: Sequence[Entry]
    targets: tuple[str, ...]
    load: Callable[[Entry], Sample]
    classes: tuple[str, ...] = ()
    background: bool = False
    depth_unit: str | None = None
    depth_kind: str | None = None
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    load_near: Callable[[Entry, tuple[int, int]], Near] | None = None
    reading: str = ""
    resolution: tuple[int, int] | None = None
    in_memory: bool = False
