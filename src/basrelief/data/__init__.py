"""Data: the formats as one table. A new format is a file and a line here; contract tests over the table do the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from basrelief.data.folder import detect_folder, read_folder
from basrelief.data.scenes import read_scenes
from basrelief.data.source import DataOptions, Source
from basrelief.errors import DataError, unknown_name


class FormatSpec(NamedTuple):
    """A line of the table: whether a location is of this format, how to read it, and what it looks like."""

    detect: Callable[[str], bool]
    read: Callable[[str, DataOptions], Source]
    summary: str


FORMATS: dict[str, FormatSpec] = {
    "scenes": FormatSpec(
        lambda location: location.startswith("scenes:"), read_scenes, "scenes:N, generated rooms with exact depth"
    ),
    "folder": FormatSpec(
        lambda location: detect_folder(Path(location)),
        read_folder,
        "images/ with any of masks/, depths/, backgrounds/, paired by name",
    ),
}


def open_source(location: str, options: DataOptions | None = None) -> Source:
    """List the data at ``location``, in the format asked for or the one found by looking.

    Raises
    ------
    UsageError
        For an unknown format.
    DataError
        When there is nothing there, or nothing that a format knows.
    """
    options = options or DataOptions()
    if options.format is not None:
        if options.format not in FORMATS:
            raise unknown_name("format", options.format, FORMATS)
        return FORMATS[options.format].read(location, options)
    for spec in FORMATS.values():
        if spec.detect(location):
            return spec.read(location, options)
    if not Path(location).exists():
        raise DataError(f"{location} is not there. Expected a folder of images, or scenes:N for generated scenes.")
    # The folder format knows best what it misses.
    return FORMATS["folder"].read(location, options)
