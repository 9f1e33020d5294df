"""A data file, on disk or in memory: what opens it, how large it may be, and what to say when it cannot be used."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from basrelief.data.source import Fault
from basrelief.errors import BasreliefError, DataError

MAX_PIXELS = 178_956_970  # where Pillow, too, takes a file for a decompression bomb


class FileError(DataError):
    """A data file that cannot be used. ``fault`` holds the file, the problem and the remedy."""

    def __init__(self, file: str, problem: str, remedy: str) -> None:
        super().__init__(file, problem, remedy)  # all three in args, so that it crosses processes
        self.fault = Fault(file, problem, remedy)

    def __str__(self) -> str:
        return str(self.fault)


@dataclass(frozen=True)
class Blob:
    """A file's content in memory, such as that of an archive's member; ``where`` names it in messages."""

    where: str
    data: bytes

    @property
    def name(self) -> str:
        """The last part of ``where``, as of a path."""
        return PurePosixPath(self.where).name

    @property
    def suffix(self) -> str:
        """The file type, as of a path."""
        return PurePosixPath(self.where).suffix

    def __str__(self) -> str:
        return self.where


File = Path | Blob


def open_file(path: File) -> Path | BytesIO:
    """Return what decoders open."""
    return BytesIO(path.data) if isinstance(path, Blob) else path


def first_bytes(path: File, count: int) -> bytes:
    """Return the bytes that a file begins with, at most ``count``."""
    if isinstance(path, Blob):
        return path.data[:count]
    with path.open("rb") as file:
        return file.read(count)


@contextmanager
def decoding(path: File, what: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a FileError."""
    try:
        yield
    except Exception as error:
        fault = _what_is_wrong(path, what, error)
        if fault is error:
            raise
        raise fault from error


def _what_is_wrong(path: File, what: str, error: Exception) -> BasreliefError:
    if _is_empty(path):  # known from here alone: asking every file would take a tenth of a small picture's time
        return FileError(str(path), "is empty (zero bytes)", "Copy the file again, or remove it")
    match error:
        case BasreliefError():
            return error
        case MemoryError():
            problem, remedy = "does not fit into memory", "Make it smaller"
        case FileNotFoundError():
            problem, remedy = f"is not there; {what} was expected", "Check the path"
        case IsADirectoryError():
            problem, remedy = f"is a folder; {what} was expected", "Name a file"
        case PermissionError():
            problem, remedy = "may not be read", "Give yourself permission to read it"
        case UnidentifiedImageError():
            problem, remedy = f"is not in a known file format; {what} was expected", "Save it as PNG, or remove it"
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return _too_large(path)
        case OSError() if error.errno not in (None, errno.EINVAL):
            problem, remedy = f"cannot be read: {error.strerror}", "Copy the file again"
        case _:  # decoders raise anything on a broken file, from SyntaxError to struct.error
            problem = f"is truncated or damaged; {what} was expected ({error})"
            remedy = "Copy the file again, or remove it"
    return FileError(str(path), problem, remedy)


def _is_empty(path: File) -> bool:
    try:
        return (len(path.data) if isinstance(path, Blob) else path.stat().st_size) == 0
    except OSError:
        return False


def check_pixels(count: int, path: File) -> None:
    """Raise FileError for more than ``MAX_PIXELS``."""
    if count > MAX_PIXELS:
        raise _too_large(path)


def _too_large(path: File) -> FileError:
    return FileError(str(path), f"has more than {MAX_PIXELS:,} pixels, the limit", "Make it smaller, or cut it up")
