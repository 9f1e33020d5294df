"""The format ``quartets-b``: four folders whose files belong together by their order.

::

    root/bg/*.jpg  root/bg_fg/*.jpg  root/mask/*.jpg  root/depth/*.jpg

Files are paired by the natural order of their names (x-2 before x-10), and composite i has background
i // (composites for each background). Pairing by order goes wrong silently where a file is missing, so counts must fit,
numbers in the names must agree where they do so elsewhere, and some composites are compared with their backgrounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from basrelief.batch import TARGETS
from basrelief.data.archive import fetched
from basrelief.data.decode import ARRAY_SUFFIXES, IMAGE_SUFFIXES, FileError, read_image
from basrelief.data.folder_facts import spread
from basrelief.data.folder_layout import composed, natural, plain_name, scan
from basrelief.data.quartets import Findings, Row, find_root, source_of
from basrelief.data.source import DataOptions, Fault, Source
from basrelief.errors import DataError

FOLDERS = {"background": "bg", "image": "bg_fg", "mask": "mask", "depth": "depth"}
LOOKED_AT = 12
UNLIKE = 24  # grey levels; a composite differs from its own background by less, in the median over its pixels
_BY_NAME = "If the files are named alike, --format folder pairs them by name"


def detect_quartets_b(location: str) -> bool:
    """Return whether a folder holds ``bg`` and ``bg_fg`` beside ``mask`` or ``depth``."""
    try:
        there = {plain_name(folder.name) for folder in scan(find_root(location))[0]}
    except (DataError, OSError):
        return False
    return {"bg", "bgfg"} <= there and any(target in there for target in TARGETS)


def read_quartets_b(location: str, options: DataOptions) -> Source:
    """List a folder in layout B.

    Raises
    ------
    DataError
        If a folder is missing, counts do not fit together, or nothing can be used.
    UsageError
        If an option has a value that makes no sense.
    """
    root, found = find_root(location), Findings()
    files = _files(root)
    missing = [FOLDERS[plane] for plane in ("background", "image") if not files.get(plane)]
    if missing or not any(files.get(target) for target in TARGETS):
        raise DataError(
            f"{location} has no images in {' and '.join(missing or ['mask and depth'])}. Expected the folders bg, "
            "bg_fg, mask and depth, paired by the order of their files."
        )
    _demand_equal_counts(location, files)
    for target in TARGETS:
        if target in files:
            _demand_agreeing_numbers(location, target, files["image"], files[target])
    images, backgrounds = files["image"], files["background"]
    share = len(images) // len(backgrounds)
    stems, rooms = ([composed(path.stem) for path in paths] for paths in (images, backgrounds))
    if len(set(stems)) < len(stems):
        double = next(stem for stem, after in pairwise(stems) if stem == after)
        raise DataError(f"{location}: bg_fg/ has several files named {double!r}. Expected one; remove the others.")
    rows = []
    for i, stem in enumerate(stems):
        background = backgrounds[i // share]
        planes = {plane: files[plane][i] for plane in ("image", *TARGETS) if plane in files}
        if options.background:
            planes["background"] = background
        rows.append(Row(stem, rooms[i // share], planes))
    found.notes.append(
        f"Files are paired by order; each background serves {share} composites ({len(images)} composites, "
        f"{len(backgrounds)} backgrounds)."
    )
    found.notes.append("The layout does not name the foregrounds, which may recur in train, val and test.")
    if not options.background:
        found.notes.append("Backgrounds are there and are not used, as asked for.")
    _compare_with_backgrounds(rows, options, found)
    return source_of("quartets-b", location, root, rows, options, found)


def _files(root: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for folder in scan(root)[0]:
        for plane, name in FOLDERS.items():
            if plain_name(folder.name) == plain_name(name):
                wanted = IMAGE_SUFFIXES | (ARRAY_SUFFIXES if plane == "depth" else frozenset())
                here = [path for path in scan(folder)[1] if path.suffix.lower() in wanted]
                if here and plane in files:
                    raise DataError(
                        f"{root} has two folders that could be {name}/: {files[plane][0].parent.name}/ and "
                        f"{folder.name}/. Expected one; move the other away."
                    )
                if here:
                    files[plane] = sorted(here, key=lambda path: (natural(path.stem), path.name))
    return files


def _demand_equal_counts(location: str, files: Mapping[str, Sequence[Path]]) -> None:
    counts = ", ".join(f"{FOLDERS[plane]}/ {len(files[plane])}" for plane in FOLDERS if plane in files)
    images, backgrounds = len(files["image"]), len(files["background"])
    if any(len(files[target]) != images for target in TARGETS if target in files):
        raise DataError(
            f"{location}: its folders do not fit together, so pairing by order would be wrong ({counts}). Expected as "
            f"many files in each as in bg_fg/. Add or remove what differs. {_BY_NAME}."
        )
    if images % backgrounds:
        raise DataError(
            f"{location}: {images} composites do not divide among {backgrounds} backgrounds ({counts}). Expected the "
            f"same number for each, in order. Add or remove what differs. {_BY_NAME}."
        )


def _demand_agreeing_numbers(location: str, target: str, images: Sequence[Path], others: Sequence[Path]) -> None:
    """Refuse an order in which names with numbers stand beside names with other numbers, though most have a partner."""
    if [path.stem for path in images] == [path.stem for path in others]:
        return
    left, right = ([tuple(map(int, re.findall(r"[0-9]+", path.stem))) for path in paths] for paths in (images, others))
    if len(set(left)) < len(left) or len(set(right)) < len(right) or 2 * len(set(left) & set(right)) < len(left):
        return
    for image, other, a, b in zip(images, others, left, right, strict=True):
        if a != b:
            raise DataError(
                f"{location}: by order, {image.parent.name}/{image.name} would belong to {other.parent.name}/"
                f"{other.name}, whose number differs, while most numbers of the two folders agree: a file is missing "
                f"in each. Expected a {target} for each composite. Add or remove what differs. {_BY_NAME}."
            )


def _compare_with_backgrounds(rows: Sequence[Row], options: DataOptions, found: Findings) -> None:
    """Point out composites that do not look like the background that order gives them."""
    if not options.background:
        return
    looked = spread(rows, LOOKED_AT)
    unlike = [(row, found_by) for row in looked if (found_by := _difference(row)) > UNLIKE]
    if unlike:
        row, levels = unlike[0]
        problem = (
            f"differs from its background by order, {row.files['background'].name}, by {levels:.0f} grey levels in the "
            f"median; so do {len(unlike)} of {len(looked)} composites looked at, so backgrounds may be in another order"
        )
        remedy = "Look at the two, and name the files so that they sort in one order, or use --no-background"
        found.faults.append(Fault(str(row.files["image"]), problem, remedy, fatal=False))


def _difference(row: Row) -> float:
    """Return by how many grey levels a composite differs from its background, in the median; 0 if it cannot be told."""
    try:
        image, background = (read_image(fetched(row.files[plane])) for plane in ("image", "background"))
    except FileError:  # counted when the entry is loaded
        return 0.0
    if image.shape != background.shape:
        return 0.0
    return float(np.median(np.abs(image.astype(np.int16) - background)))
