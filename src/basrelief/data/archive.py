"""Members of zip archives, read where they lie: nothing is ever written to disk.

Listing goes by the archive's own directory and turns away what no honest data set holds: members that point outside,
links, passwords, and bombs. A member is then read by its place, with as much memory as its stated size and no more, so
that an archive that lies about it is found out. No file stays open, so members can be read by many threads and sent to
other processes.
"""

from __future__ import annotations

import posixpath
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from basrelief.data.decode import Blob, File, FileError
from basrelief.data.folder_layout import JUNK
from basrelief.data.source import Fault
from basrelief.errors import DataError

MAX_MEMBER = 1 << 28  # bytes unpacked; an image of 80 million pixels fits
MAX_RATIO = 200  # unpacked to packed size; flat masks without compression of their own reach about this
SMALL = 1 << 20  # members below this may have any ratio: they do no harm
SMALL_TOTAL = 1 << 30  # the same for archives
_HEADER = struct.Struct("<4s22xHH")  # of a member in the file: signature, …, length of the name and of the extra field
_PLACE = struct.Struct("<QQQI?")
_BY_PASSWORD = 0x1 | 0x40 | 0x2000  # flag bits: encrypted, strongly encrypted, directory encrypted


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip archive.

    Attributes
    ----------
    archive
        The archive's path.
    inside
        The member's name in it, with forward slashes.
    place
        ``_PLACE``: where it begins, its bytes in the archive and unpacked, its checksum, and whether it is compressed.
        Packed, since an archive may have a million members.
    """

    archive: Path
    inside: str
    place: bytes

    @property
    def name(self) -> str:
        """The last part of its name, as of a path."""
        return self.inside.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The file type, as of a path."""
        return posixpath.splitext(self.inside)[1]

    @property
    def parent(self) -> Path:
        """The folder it lies in, as messages name it."""
        return Path(str(self)).parent

    def __str__(self) -> str:
        return f"{self.archive}/{self.inside}"

    def fetch(self) -> Blob:
        """Read and unpack it.

        Raises
        ------
        FileError
            If the archive changed, is truncated, or does not hold what its directory says.
        """
        offset, packed, size, crc, deflated = _PLACE.unpack(self.place)
        try:
            with self.archive.open("rb") as file:
                file.seek(offset)
                signature, name, extra = _HEADER.unpack(file.read(_HEADER.size))
                file.seek(name + extra, 1)
                data = file.read(packed)
        except (OSError, struct.error) as error:
            raise self._damaged(f"cannot be read from its archive ({error})") from None
        if signature != b"PK\x03\x04":
            raise self._damaged("is not where the archive's directory says")
        if len(data) != packed:
            raise self._damaged("is cut off: the archive is truncated")
        if deflated:
            unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = unpacker.decompress(data, size + 1)
            except zlib.error as error:
                raise self._damaged(f"cannot be unpacked ({error})") from None
        if len(data) != size or zlib.crc32(data) != crc:
            raise self._damaged("does not have the size and checksum that the archive states")
        return Blob(str(self), data)

    def _damaged(self, problem: str) -> FileError:
        return FileError(str(self), problem, f"Copy or download {self.archive.name} again")


Stored = Path | Member


def fetched(file: Stored) -> File:
    """Return what decoders read: a file on disk as it is, a member with its content."""
    return file.fetch() if isinstance(file, Member) else file


def list_archive(path: Path, faults: list[Fault]) -> list[Member]:
    """Return the files in a zip archive by its directory, in its order; add those turned away to ``faults``.

    Raises
    ------
    DataError
        If it is no zip archive, is damaged or truncated, or is a decompression bomb as a whole.
    """
    again = "Copy or download it again, or move it away to use the data without it."
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
        del archive  # which holds every member a second time
        length = path.stat().st_size
    except FileNotFoundError:
        raise DataError(f"{path} is not there. Expected a zip archive; check the path.") from None
    # What zipfile raises on a damaged directory goes from its own errors to those of struct and of text decoding.
    except (zipfile.BadZipFile, OSError, ValueError, ArithmeticError, LookupError, EOFError, struct.error) as error:
        raise DataError(f"{path} is no zip archive, or is truncated or damaged ({error}). {again}") from None
    except NotImplementedError as error:
        raise DataError(f"{path} is a zip archive of a kind that cannot be read ({error}). Zip it again.") from None
    infos = [info for info in found if not info.filename.endswith("/") and not _is_junk(info.filename)]
    unpacked = sum(info.file_size for info in infos)
    if unpacked > SMALL_TOTAL and unpacked > MAX_RATIO * length:
        raise DataError(
            f"{path} has {length:,} bytes and claims to hold {unpacked:,}, more than {MAX_RATIO} times as many: that "
            "is a decompression bomb. It is not read; zip the images as they are."
        )
    if _overlap(infos):
        raise DataError(f"{path} has members that overlap, as in a decompression bomb. It is not read. {again}")
    del found
    infos.reverse()
    members = []
    while infos:  # each is let go when its member is made, since they take more memory
        info = infos.pop()
        if reason := _reason_against(info, length):
            faults.append(Fault(f"{path}/{info.orig_filename!a}", *reason))
        else:
            members.append(
                Member(
                    path,
                    info.filename,
                    _PLACE.pack(
                        info.header_offset,
                        info.compress_size,
                        info.file_size,
                        info.CRC,
                        info.compress_type == zipfile.ZIP_DEFLATED,
                    ),
                )
            )
    return members


def _reason_against(info: zipfile.ZipInfo, length: int) -> tuple[str, str] | None:
    """Return (problem, remedy) of a member that is turned away."""
    name = info.orig_filename  # ``filename`` ends at a NUL byte and hides the rest
    plain = "Zip the images again, with plain names below one folder"
    if not info.filename:
        return "has no name", plain
    if "\\" in name:
        return "has a backslash in its name, where forward slashes are expected", plain
    if "\0" in name or name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        return "has a name that points outside the archive", plain
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a device, not a file", "Zip the files themselves"
    if info.flag_bits & _BY_PASSWORD:
        return "is encrypted", "Unpack it with its password, and zip it without one"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = f"is compressed by method {info.compress_type} of the zip format, and only deflate is read"
        return problem, "Zip it again without special settings"
    if info.file_size > MAX_MEMBER or (info.file_size > SMALL and info.file_size > MAX_RATIO * info.compress_size):
        problem = f"would grow from {info.compress_size:,} to {info.file_size:,} bytes, as a decompression bomb does"
        return f"{problem} (limits: {MAX_MEMBER:,} bytes, {MAX_RATIO} times)", "Save it in an image format"
    if info.header_offset < 0 or info.header_offset + _HEADER.size + info.compress_size > length:
        return "lies beyond the end of the archive, which is truncated", "Copy or download the archive again"
    return None


def _overlap(infos: list[zipfile.ZipInfo]) -> bool:
    starts = np.array([info.header_offset for info in infos], np.int64)
    ends = starts + np.array([info.compress_size for info in infos], np.int64) + _HEADER.size
    order = np.argsort(starts, kind="stable")
    return bool((ends[order][:-1] > starts[order][1:]).any())


def _is_junk(name: str) -> bool:
    """Return whether an operating system put it there."""
    parts = name.replace("\\", "/").split("/")
    return any(part.lower() in JUNK or (part.startswith(".") and part != "..") for part in parts)
