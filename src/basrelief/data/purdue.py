"""Format ``purdue-shapes``: PurdueShapes5MultiObject, five kinds of figures in pictures of 64 × 64 pixels.

A ``.gz`` file holds the pickle ``(dataset, label_map)`` as Python 2 wrote it: ``dataset[i] = [R, G, B, mask, boxes]``
with three lists of 4096 numbers, a uint8 array (5, 64, 64) and a dict from mask value to boxes [min_x, min_y, max_x,
max_y], both corners within the figure. Plane k of the mask holds one value of ``label_map`` (50, 100, … 250) where its
figures are. The pickle is read as plain data (``plain_pickle``): nothing that it names is run.

Samples have binary planes; the label values, which write-up D trains on, are kept beside them (``label_values``), and
so are the boxes (``boxes``).
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from basrelief.batch import Sample
from basrelief.data.decode import FileError
from basrelief.data.folder_layout import SPLIT_NAMES
from basrelief.data.purdue_file import PLANES, SIDE, Box, read_shapes_file
from basrelief.data.source import DataOptions, Entry, Fault, Source
from basrelief.errors import DataError, UsageError

FORMAT = "purdue-shapes"
_PICKLE = re.compile(rb"\x80[\x02-\x05]|[(\]]")

_SPLIT = re.compile(rf"[-_.]({'|'.join(SPLIT_NAMES)})(?:[-_.]|$)", re.IGNORECASE)


def _no_pixels() -> np.ndarray:
    return np.zeros(0, np.uint8)


@dataclass(frozen=True, slots=True)
class ShapesEntry(Entry):
    """A sample as its file has it, since files are read whole.

    Attributes
    ----------
    image
        uint8 (3, 64, 64), a row of what the file holds.
    mask
        uint8 (2560,), the five binary planes as bits, likewise.
    boxes
        (class name, box), a figure each.
    """

    image: np.ndarray = field(default_factory=_no_pixels, compare=False, repr=False)
    mask: np.ndarray = field(default_factory=_no_pixels, compare=False, repr=False)
    boxes: tuple[tuple[str, Box], ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Shapes:
    """Called with an entry, it gives the sample.

    Attributes
    ----------
    values
        Class name -> the value that its plane of the mask has in the file, ascending; plane k is the k-th.
    broken
        Entry id -> what is wrong with it.
    """

    values: Mapping[str, int]
    broken: Mapping[str, Fault]

    def __call__(self, entry: Entry) -> Sample:
        """Return a sample; raises FileError for one that is broken."""
        assert isinstance(entry, ShapesEntry)
        if fault := self.broken.get(entry.id):
            raise FileError(fault.file, fault.problem, fault.remedy)
        image = np.ascontiguousarray(np.moveaxis(entry.image, 0, -1))
        mask = np.unpackbits(entry.mask).reshape(PLANES, SIDE, SIDE) if "mask" in entry.planes else None
        return Sample(entry.id, image, mask=mask)


def boxes(source: Source, entry: Entry) -> tuple[tuple[str, Box], ...]:
    """Return the figures of an entry of this format as (class name, box), in the order of the file.

    Raises
    ------
    UsageError
        If the source is of another format.
    """
    _shapes(source)
    assert isinstance(entry, ShapesEntry)
    return entry.boxes


def label_values(source: Source) -> dict[str, int]:
    """Return class name -> the value that the class has in the file's masks: rectangle 50 … star 250.

    Raises
    ------
    UsageError
        If the source is of another format.
    """
    return dict(_shapes(source).values)


def detect_purdue_shapes(location: str) -> bool:
    """Return whether a file is gzip of a pickle, or a folder holds files of this format's name."""
    path = Path(location)
    if path.is_dir():
        return bool(_files_of(path)[0])
    if path.suffix.lower() != ".gz" or not path.is_file():
        return False
    if _is_named_so(path) or Path(path.stem).suffix.lower() in (".pkl", ".pickle", ".p"):
        return True
    # A damaged x.gz is nobody else's, and is named here as what it is.
    return _begins_as_pickle(path, damaged=not Path(path.stem).suffix)


def read_purdue_shapes(location: str, options: DataOptions) -> Source:
    """Read one ``.gz`` file, or a folder with one for each split, completely; 10,000 samples take seconds and 150 MB.

    A file whose name holds ``-train``, ``-val`` or ``-test`` gives samples of that split.

    Raises
    ------
    DataError
        Naming the file that is damaged, or holds anything but plain data of this layout.
    """
    path = Path(location)
    notes: list[str] = []
    files = [path]
    if path.is_dir():
        files, others = _files_of(path)
        if not files:
            raise DataError(
                f"{location} holds no file of PurdueShapes5MultiObject. Expected files such as "
                "PurdueShapes5MultiObject-10000-train.gz; name the file itself if it is called otherwise."
            )
        if others:
            notes.append(f"Left alone, since a larger file has that split: {', '.join(file.name for file in others)}.")
    gathered = [read_shapes_file(file) for file in files]
    values = gathered[0].values
    for file, found in zip(files[1:], gathered[1:], strict=True):
        if found.values != values:
            problem = f"has other labels ({_listed(found.values)}) than {files[0].name} ({_listed(values)})"
            raise FileError(str(file), problem, "Read them one at a time")
    entries: list[ShapesEntry] = []
    broken: dict[str, Fault] = {}
    faults: list[Fault] = []
    for file, found in zip(files, gathered, strict=True):
        split = split_of(file)
        files_of_planes = {"image": file, "mask": file}
        for row, key in enumerate(found.keys):
            name = f"{split or _stem(file)}/{key:05d}"
            pixels = {"image": found.images[row], "mask": found.masks[row]}
            entries.append(ShapesEntry(name, files_of_planes, split=split, boxes=found.boxes[row], **pixels))
            if fault := found.broken.get(row):
                broken[name] = fault
        faults += [*found.broken.values(), *found.faults]
    notes.append(f"Masks: a binary plane for each class, whose value in the file is {_listed(values)}.")
    if options.mask_map is not None or options.invert_masks is not None:
        notes.append("The format says what its masks mean: --mask-map and --invert-masks change nothing.")
    return Source(
        format=FORMAT,
        location=location,
        entries=tuple(entries),
        targets=("mask",),
        load=Shapes(values, broken),
        classes=tuple(values),
        notes=tuple(notes),
        faults=tuple(faults),
        in_memory=True,
    )


def _files_of(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return a folder's files of this format, the largest for each split, and those left alone."""
    try:
        packed = [file for file in folder.iterdir() if file.suffix.lower() == ".gz" and file.is_file()]
        named = [file for file in packed if _is_named_so(file)]
        named = named or [file for file in packed if split_of(file) and _begins_as_pickle(file)]
        sized = sorted(named, key=lambda file: (-file.stat().st_size, file.name))
    except OSError:
        return [], []
    chosen: dict[str, Path] = {}
    for file in sized:
        chosen.setdefault(split_of(file) or _stem(file), file)
    order = [*dict.fromkeys(SPLIT_NAMES.values())]
    kept = sorted(chosen, key=lambda split: (order.index(split) if split in order else len(order), split))
    return [chosen[split] for split in kept], sorted(set(named) - set(chosen.values()))


def _is_named_so(file: Path) -> bool:
    name = file.name.lower()
    return name.endswith(".gz") and "purdueshapes5multiobject" in re.sub(r"[-_ ]", "", name)


def _begins_as_pickle(file: Path, *, damaged: bool = False) -> bool:
    try:
        with gzip.open(file) as stream:
            return _PICKLE.match(stream.read(2)) is not None
    except (OSError, EOFError, zlib.error):
        return damaged


def split_of(file: Path) -> str | None:
    """Return the split that a file's name holds: train for PurdueShapes5MultiObject-10000-train.gz."""
    found = _SPLIT.findall(_stem(file))
    return SPLIT_NAMES[found[-1].lower()] if found else None


def _stem(file: Path) -> str:
    return re.sub(r"(\.(pkl|pickle|p))?\.gz$", "", file.name, flags=re.IGNORECASE)


def _listed(values: Mapping[str, int]) -> str:
    return ", ".join(f"{value} {name}" for name, value in values.items())


def _shapes(source: Source) -> Shapes:
    if not isinstance(source.load, Shapes):
        raise UsageError(f"{source.location} is of the format {source.format}; only {FORMAT} keeps boxes and labels.")
    return source.load
