"""Data: the formats as one table. A new format is a file and a line here; contract tests over the table do the rest."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from basrelief.data.beside import with_facts, with_samples
from basrelief.data.coco import detect_coco, read_coco
from basrelief.data.folder import detect_folder, read_folder
from basrelief.data.labelme import detect_labelme, read_labelme
from basrelief.data.manifest import detect_manifest, read_manifest
from basrelief.data.purdue import detect_purdue_shapes, read_purdue_shapes
from basrelief.data.quartets_a import detect_quartets_a, read_quartets_a
from basrelief.data.quartets_b import detect_quartets_b, read_quartets_b
from basrelief.data.quartets_c import detect_quartets_c, read_quartets_c
from basrelief.data.scenes import read_scenes
from basrelief.data.source import DataOptions, Source
from basrelief.data.store import detect_store, read_store
from basrelief.data.yolo import detect_yolo, read_yolo
from basrelief.errors import DataError, UsageError, unknown_name


class FormatSpec(NamedTuple):
    """A line of the table: whether a location is of this format, how to read it, and what it looks like."""

    detect: Callable[[str], bool]
    read: Callable[[str, DataOptions], Source]
    summary: str


FORMATS: dict[str, FormatSpec] = {
    "scenes": FormatSpec(
        lambda location: location.startswith("scenes:"), read_scenes, "scenes:N, generated rooms with exact depth"
    ),
    "store": FormatSpec(detect_store, read_store, "a packed store, as basrelief pack makes it"),
    "coco": FormatSpec(detect_coco, read_coco, "COCO's JSON with outlined instances, its images beside or below it"),
    "yolo": FormatSpec(detect_yolo, read_yolo, "images/ beside labels/ with text files of polygons"),
    "labelme": FormatSpec(detect_labelme, read_labelme, "images with a JSON file of LabelMe for each"),
    "purdue-shapes": FormatSpec(
        detect_purdue_shapes, read_purdue_shapes, "PurdueShapes5MultiObject-…-train.gz, or a folder with train and test"
    ),
    "manifest": FormatSpec(
        detect_manifest, read_manifest, "a CSV, TSV or Parquet file with a column image, and mask, depth, background, …"
    ),
    "quartets-a": FormatSpec(
        detect_quartets_a, read_quartets_a, "bg/, bg_fg/, bg_fg_mask/, bg_fg_depth_map/, and file_map.txt pairs them"
    ),
    "quartets-b": FormatSpec(
        detect_quartets_b, read_quartets_b, "bg/, bg_fg/, mask/, depth/, paired by the order of their files"
    ),
    "quartets-c": FormatSpec(
        detect_quartets_c, read_quartets_c, "zip archives with Fg-Bg, Fg-Bg-Mask and Depth, Background and labels.txt"
    ),
    "folder": FormatSpec(
        lambda location: detect_folder(Path(location)),
        read_folder,
        "images/ with any of masks/, depths/, backgrounds/, paired by name",
    ),
}

INSTANCE_FORMATS = ("coco", "yolo", "labelme")  # to which --categories, --single-instance and --min-box apply


def open_source(location: str, options: DataOptions | None = None) -> Source:
    """List the data at ``location``, in the format asked for or the one found by looking.

    Raises
    ------
    UsageError
        For an unknown format, or an option that the format does not have.
    DataError
        When there is nothing there, or nothing that a format knows.
    """
    with _system_errors(location), _no_collecting():
        return _open_source(location, options or DataOptions())


@contextlib.contextmanager
def _system_errors(location: str) -> Iterator[None]:
    """Name the file that the system does not let anyone read."""
    try:
        yield
    except OSError as error:
        closed = os.path.isdir(location) and not os.access(location, os.R_OK | os.X_OK)  # noqa: PTH112
        what = location if closed else error.filename or location
        raise DataError(
            f"{what} cannot be read: {error.strerror or error}. Check it and its permissions, or move it away."
        ) from None


@contextlib.contextmanager
def _no_collecting() -> Iterator[None]:
    """Put off Python's search for cycles: a list of files is many small objects and no cycle, and a third of the time.

    Whoever had it off already keeps it off.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _open_source(location: str, options: DataOptions) -> Source:
    options = with_facts(location, options)
    name = find_format(location, options)
    wrong = [option for option, given in instance_options(options).items() if given]
    if wrong and name not in INSTANCE_FORMATS:
        raise UsageError(
            f"{', '.join(wrong)}: {location} is read as {name!r}, which has no outlined instances. These options are "
            f"for {', '.join(INSTANCE_FORMATS)}; leave them out, or say --format."
        )
    return with_samples(location, FORMATS[name].read(location, options))


def find_format(location: str, options: DataOptions) -> str:
    """Return the name of the format asked for, or the one found by looking."""
    if options.format is not None:
        if options.format not in FORMATS:
            raise unknown_name("format", options.format, FORMATS)
        return options.format
    for name, spec in FORMATS.items():
        if spec.detect(location):
            return name
    if not Path(location).exists():
        raise DataError(f"{location} is not there. Expected a folder of images, or scenes:N for generated scenes.")
    return "folder"  # it knows best what it misses


def instance_options(options: DataOptions) -> dict[str, bool]:
    """Return which of the options for outlined instances are set."""
    return {
        "--categories": options.categories is not None,
        "--single-instance": options.single_instance,
        "--min-box": options.min_box is not None,
    }
