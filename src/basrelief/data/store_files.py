"""The files of a store: checked against what ``store.json`` states of them, and mapped."""

from __future__ import annotations

import errno
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.cut_short import watch_file
from basrelief.errors import DataError


def check_file(path: Path, stated: Mapping[str, Any]) -> None:
    """Raise DataError where a file is missing, or is not the one that was packed."""
    again = f"Remove {path.parent} to have it made again, or copy it anew."
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DataError(f"{path} is missing. {again}") from None
    if status.st_size != stated["bytes"]:
        raise DataError(f"{path} is cut short or changed: {status.st_size} bytes, not {stated['bytes']}. {again}")
    same = status.st_mtime_ns == stated["mtime_ns"] or (
        digest(path, status.st_size, status.st_mtime_ns, status.st_ino) == stated["sha256"]
    )
    if not same:
        raise DataError(f"{path} was changed after it was packed: its hash is another. {again}")


@functools.lru_cache(maxsize=1 << 16)
def digest(path: Path, size: int, mtime_ns: int, inode: int) -> str:  # noqa: ARG001 - what it is remembered by
    """Return the SHA-256 of a file as it is at this size and time: a copied store is read through once a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def map_file(path: Path) -> np.ndarray:
    """Return an array file, mapped.

    Raises
    ------
    DataError
        When it is no array, or more files are open than the system allows.
    """
    # Copy-on-write, never written to: torch warns of read-only arrays, and a private mapping costs no memory.
    try:
        array: np.ndarray = np.load(path, mmap_mode="c")
        watch_file(path)
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise DataError(
                f"{path} cannot be opened beside so many others: every shard stays open. Allow more files with "
                "ulimit -n, or pack at a lower --resolution."
            ) from None
        raise DataError(f"{path} is damaged ({error}). Remove {path.parent} to have it made again.") from None
    return array


def allow_open_files(count: int) -> None:
    """Raise this process's limit of open files, as far as it may, so that ``count`` more can be mapped."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + 512  # what else is open, and another store like this
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
