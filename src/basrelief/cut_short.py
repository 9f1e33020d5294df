"""Mapped files that are cut short while they are read: a message, where the system would end the process without one.

Reading a mapping beyond the end of its file is the signal SIGBUS. Python's own handlers run between two steps of
Python, which never come: the read would be tried again for ever. So C's is set, and it ends the process at once.

That is for processes of our own alone, those of the command line and those we start: a program or a notebook that uses
Basrelief keeps the system's answer, or its own.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

_SIZES: dict[str, int] = {}  # of files that are mapped, when they were
_kept: list[Any] = []  # what C calls must not be collected
_ours = False  # whether this process is one of our own


def answer_cuts() -> None:
    """Say that this process is one of our own: a file that is cut short ends it with a message."""
    global _ours
    _ours = sys.platform.startswith("linux")


def watch_file(path: Path) -> None:
    """Note the size of a file that was mapped; the first one sets the handler, unless somebody has set another."""
    if not _ours:
        return
    _SIZES[os.fspath(path)] = path.stat().st_size
    if _kept:
        return
    import ctypes

    kind = ctypes.CFUNCTYPE(None, ctypes.c_int)
    handler = kind(_answer)
    _kept.append(handler)
    set_handler = ctypes.CDLL(None).signal
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    before = set_handler(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    if before not in (None, 0):  # 0 is the system's default
        set_handler(signal.SIGBUS, before)


def find_cut() -> str | None:
    """Return the first mapped file that is no longer as large as it was; None where all are."""
    for name, size in _SIZES.items():
        try:
            now = os.stat(name).st_size  # noqa: PTH116 - little may be done here
        except OSError:  # removed, which hurts no mapping; or what was a folder
            continue
        if now < size:
            return name
    return None


def _answer(_number: int) -> None:
    name = find_cut()
    what = f"{name} was cut short while it was read" if name else "A mapped file was cut short while it was read"
    where = os.path.dirname(os.path.abspath(name)) if name else "the store"  # noqa: PTH100, PTH120
    message = f"{what}. Remove {where} to have it made again, or copy it anew; then start the same command again."
    if "--json" in sys.argv:
        os.write(1, (json.dumps({"error": message}) + "\n").encode())
    os.write(2, f"basrelief: {message}\n".encode("utf-8", "backslashreplace"))
    os._exit(1)
