"""The empty scene behind each picture: one for all, or found by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from basrelief.data.decode import IMAGE_SUFFIXES, read_image
from basrelief.errors import DataError, UsageError
from basrelief.inference.inputs import Picture
from basrelief.inference.predictor import Predictor

Backgrounds = Callable[[Picture], np.ndarray | None]


def find_backgrounds(predictor: Predictor, background: str | Path | None) -> Backgrounds:
    """Return what finds the background of a picture, uint8 (H, W, 3); None for a network that takes none.

    Parameters
    ----------
    background
        An image, the same for all; or a folder with images named as the pictures (in the same folders, or anywhere in
        it where the name is there once). All frames of a video have the video's.

    Raises
    ------
    UsageError
        When the network takes none and one is given, or needs one and none is.
    DataError
        When it is not there; for one picture, raised by what is returned.
    """
    if not predictor.takes_background:
        if background is not None:
            raise UsageError("This network was trained on images alone; leave --background out.")
        return lambda _picture: None
    if background is None:
        raise UsageError("This network was trained with backgrounds: give --background FILE, or a folder of them.")
    path = Path(background)
    if path.is_file():
        array = read_image(path)
        return lambda _picture: array
    if not path.is_dir():
        raise DataError(
            f"--background {path} is not there. Expected an image, or a folder of them named as the inputs."
        )
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    by_name = {file.relative_to(path).with_suffix("").as_posix(): file for file in files}
    by_stem: dict[str, list[Path]] = {}
    for file in files:
        by_stem.setdefault(file.stem, []).append(file)

    def find(picture: Picture) -> np.ndarray:
        name = picture.name.rpartition("/")[0] if isinstance(picture.source, np.ndarray) else picture.name
        stem = name.rpartition("/")[2]
        if name in by_name:
            return read_image(by_name[name])
        same = by_stem.get(stem, [])
        if len(same) > 1:
            raise DataError(f"{picture.label}: {same[0]} and {same[1]} are both backgrounds named {stem}. Remove one.")
        if not same:
            raise DataError(f"{picture.label}: {path} has no background named {stem}. Add it.")
        return read_image(same[0])

    return find
