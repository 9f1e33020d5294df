"""What is to be predicted: pictures from files, folders, patterns, videos and standard input, each with its name."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from basrelief.data.decode import IMAGE_SUFFIXES, Blob, FileError, read_image
from basrelief.data.headers import image_size
from basrelief.errors import DataError, UsageError
from basrelief.inference.video import VIDEO_SUFFIXES, count_frames, read_frames, require_reader

STANDARD_INPUT = "-"
_VIDEOS = tuple(VIDEO_SUFFIXES)


@dataclass(frozen=True)
class Picture:
    """One picture to predict.

    Attributes
    ----------
    name
        Where its results go, below the output folder and without a suffix: ``sub/cat``, ``clip/000000``.
    file_name
        What it is called in tables: the name with the file's own suffix.
    label
        What messages call it.
    source
        The file, the decoded frame, what is wrong with it, or None where it need not be read.
    """

    name: str
    file_name: str
    label: str
    source: Path | Blob | np.ndarray | FileError | None

    def pixels(self) -> int:
        """Return height times width, from the file's header; 0 where reading will fail."""
        if isinstance(self.source, np.ndarray):
            return int(self.source.shape[0] * self.source.shape[1])
        if self.source is None or isinstance(self.source, FileError):
            return 0
        try:
            height, width = image_size(self.source)
        except DataError:
            return 0
        return height * width

    def read(self) -> np.ndarray:
        """Return the picture, uint8 (H, W, 3).

        Raises
        ------
        FileError
            When it cannot be read.
        """
        if isinstance(self.source, FileError):
            raise self.source
        if isinstance(self.source, np.ndarray):
            return self.source
        assert self.source is not None
        return read_image(self.source)


@dataclass
class Inputs:
    """All that is to be predicted, in order.

    Attributes
    ----------
    files
        (file, name below the output folder) of every picture and video; a ``Blob`` is standard input.
    every
        Of videos, take one frame of so many.
    total
        How many pictures there are; of videos as their files note it, until they are read.
    """

    files: list[tuple[Path | Blob, str]]
    every: int = 1
    total: int = field(init=False)
    _frames: dict[Path, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for file, _ in self.files:
            if is_video(file):
                assert isinstance(file, Path)
                self._frames[file] = -(-count_frames(file) // self.every)
        self.total = len(self.files) - len(self._frames) + sum(self._frames.values())

    def pictures(self, is_done: Callable[[str], bool]) -> Iterator[Picture]:
        """Yield the pictures; those whose name ``is_done`` have no source. Videos are decoded as they are asked for."""
        for file, name in self.files:
            if is_video(file):
                assert isinstance(file, Path)
                yield from self._of_video(file, name, is_done)
            else:
                yield Picture(name, name + Path(file.name).suffix, str(file), None if is_done(name) else file)

    def _of_video(self, file: Path, name: str, is_done: Callable[[str], bool]) -> Iterator[Picture]:
        count = 0
        try:
            for number, frame in read_frames(file, self.every, lambda number: is_done(f"{name}/{number:06d}")):
                own = f"{name}/{number:06d}"
                count += 1
                yield Picture(own, own, f"{file}, frame {number}", frame)
        except FileError as error:
            count += 1
            yield Picture(name, name, str(file), error)
        self.total += count - self._frames[file]
        self._frames[file] = count


def is_video(file: Path | Blob) -> bool:
    """Return whether a file is a video, as its name says."""
    return isinstance(file, Path) and str(file).lower().endswith(_VIDEOS)


def list_inputs(inputs: Iterable[str | Path], *, leave_out: Path, every: int = 1) -> Inputs:
    """Find the pictures of files, folders (with those inside), patterns, videos and standard input.

    Parameters
    ----------
    inputs
        Paths; patterns such as ``photos/*.jpg`` or ``photos/**/*.jpg``; ``-`` for one picture on standard input, which
        is named ``stdin``. Of a folder pictures alone are taken; videos are named themselves, or by a pattern.
    leave_out
        The folder where results go. What lies in it is found by no folder and no pattern.
    every
        Of videos, take one frame of so many.

    Raises
    ------
    DataError
        When something is not there, or nothing is found.
    UsageError
        When two pictures would be written under one name, or the folder of results is an input.
    """
    if every < 1:
        raise UsageError(f"--every {every}: expected 1 or more; 10 takes one frame of ten.")
    out = leave_out.resolve()
    found: list[tuple[Path | Blob, str]] = []
    for text in dict.fromkeys(map(str, inputs)):
        item = Path(text)
        if text == STANDARD_INPUT:
            found.append((_standard_input(), "stdin"))
        elif item.is_dir():
            found += _in_folder(item, out)
        elif item.exists():
            found.append((item, item.stem))
        elif glob.has_magic(text):
            found += _by_pattern(text, out)
        else:
            raise DataError(f"{item} is not there. Expected an image, a folder of images, a pattern or a video.")
    if any(is_video(file) for file, _ in found):
        require_reader()
    return Inputs(_without_clashes(found), every)


def _standard_input() -> Blob:
    stream = sys.stdin
    if stream is None or stream.isatty():
        raise UsageError("- reads one picture from standard input, but nothing is piped in: basrelief … - < photo.jpg")
    return Blob("standard input", stream.buffer.read())


def _in_folder(folder: Path, out: Path) -> list[tuple[Path | Blob, str]]:
    if folder.resolve() == out:
        raise UsageError(f"--out {out} is the folder of the images; choose another, or one inside it.")
    found: list[tuple[Path | Blob, str]] = []
    videos = 0
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if here.resolve() == out:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        above = "".join(f"{part}/" for part in here.relative_to(folder).parts)
        for name in sorted(files):
            stem, kind = os.path.splitext(name)  # noqa: PTH122 - quick, for there may be a hundred thousand
            if kind.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                found.append((here / name, above + stem))
            videos += kind.lower() in VIDEO_SUFFIXES
    if not found:
        also = f" Its {videos} videos are taken when named themselves: '{folder}/*'." if videos else ""
        raise DataError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}).{also}")
    return found


def _by_pattern(pattern: str, out: Path) -> list[tuple[Path | Blob, str]]:
    fixed = Path(*_before_magic(Path(pattern)))
    files = [
        file
        for file in map(Path, sorted(glob.glob(pattern, recursive=True)))  # noqa: PTH207 - as shells read it
        if file.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and file.is_file() and out not in _parents(file)
    ]
    if not files:
        raise DataError(f"{pattern} matches no image and no video. Check the pattern.")
    return [(file, file.relative_to(fixed).with_suffix("").as_posix()) for file in files]


def _before_magic(path: Path) -> Iterator[str]:
    for part in path.parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _parents(file: Path) -> Iterable[Path]:
    return file.resolve().parents


def _without_clashes(found: list[tuple[Path | Blob, str]]) -> list[tuple[Path | Blob, str]]:
    """Return each file once; raise UsageError where two would be written under one name."""
    names: dict[str, Path | Blob] = {}
    kept: dict[tuple[Path | Blob, str], None] = dict.fromkeys(found)
    for file, name in kept:
        # A video's frames stand in a folder of its name: they meet no picture of that name, but those in such a folder.
        key = f"{name}/" if is_video(file) else name
        other = names.setdefault(key, file)
        if other is not file:
            raise UsageError(f"{other} and {file} would both be written as {name}. Predict them apart.")
    for video in [key for key in names if key.endswith("/")]:
        for name, file in names.items():
            if name.startswith(video) and name != video and not name.endswith("/"):
                raise UsageError(
                    f"{names[video]} and {file} would both be written into {video[:-1]}. Predict them apart."
                )
    return list(kept)
