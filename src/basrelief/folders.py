"""Folders that appear whole, and that one command at a time writes into."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from basrelief.errors import OutputError
from basrelief.files import PARTIAL, is_held, make_folder, output_errors, take, umask

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; two writers at once are then not noticed
    fcntl = None  # type: ignore[assignment]

_LOCK = ".lock"
_HERE, _SWAP = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2
_MOMENT = 2.0  # seconds to wait for whoever begins another folder beside


@contextlib.contextmanager
def only_writer(folder: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold ``folder`` (made if needed) against a second command; the lock goes when the process does.

    What a killed command left half written is removed, but not in a folder inside that somebody else holds. Where
    another is at work, it is waited for, at most ``wait`` seconds.

    Raises
    ------
    OutputError
        When another command is still at work in it.
    """
    with output_errors(folder):
        make_folder(folder)
        lock = (folder / _LOCK).open("a")
    with lock:
        until = time.monotonic() + wait
        while not take(lock):
            if time.monotonic() >= until:
                raise OutputError(
                    f"Another basrelief command is at work in {folder}. Wait for it, or choose another --out."
                )
            time.sleep(min(0.1, wait))
        hidden = list(folder.rglob(".*"))
        held = [path.parent for path in hidden if path.name == _LOCK and path.parent != folder and is_held(path)]
        for left in hidden:
            if left.name.startswith(PARTIAL) and not any(left.is_relative_to(place) for place in held):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                elif not is_held(left):  # as the page of a report is, which is written when the folder is free again
                    left.unlink(missing_ok=True)
        yield


@contextlib.contextmanager
def new_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``folder`` when the block ends without an error.

    With ``replace``, what stands at ``folder`` stays until then, and is removed. What a command that was killed left
    of the same folder is removed first; one that is still at work on it is an error.
    """
    with output_errors(folder):
        make_folder(folder.parent)
        with contextlib.ExitStack() as held:
            with _one_at_a_time(folder.parent):  # of two that begin at once, one sees the other's temporary folder
                _remove_left(folder)
                temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_partial(folder)))
                held.enter_context(_held(temporary, folder))
            try:
                yield temporary
                temporary.chmod(0o777 & ~umask())
                if replace and folder.exists():
                    _exchange(temporary, folder)
                else:
                    temporary.replace(folder)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise


@contextlib.contextmanager
def _one_at_a_time(parent: Path) -> Iterator[None]:
    """Hold a folder for the moment in which another is begun in it, or go on without where somebody keeps it."""
    if os.name == "nt":  # pragma: no cover - which opens no folders
        yield
        return
    descriptor = os.open(parent, os.O_RDONLY)
    try:
        until = time.monotonic() + _MOMENT
        while time.monotonic() < until:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # some network file systems hold no folders
                break
        yield
    finally:
        os.close(descriptor)


def _partial(folder: Path) -> str:
    return f"{PARTIAL}{folder.name}-"


def _exchange(temporary: Path, folder: Path) -> None:
    """Put one folder in another's place, in one step where the system can, so that whoever looks finds one of them.

    Elsewhere the other is out of its place for a moment; where the second step fails, it is back.
    """
    if folder.is_dir() and not folder.is_symlink() and _swap(temporary, folder):
        shutil.rmtree(temporary, ignore_errors=True)
        return
    before = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_partial(folder)))
    folder.replace(before)
    try:
        temporary.replace(folder)
    except BaseException:
        before.replace(folder)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _swap(one: Path, other: Path) -> bool:
    """Exchange two folders' names, and tell whether that was possible: on Linux, where the file system knows it."""
    try:
        swap = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return swap(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _SWAP) == 0  # type: ignore[no-any-return]


def _remove_left(folder: Path) -> None:
    for left in list(folder.parent.iterdir()):
        if left.name.startswith(_partial(folder)) and left.is_dir():
            with contextlib.suppress(FileNotFoundError), _held(left, folder) as ours:
                if ours:
                    shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _held(temporary: Path, folder: Path) -> Iterator[bool]:
    """Hold a temporary folder against a second command, and tell whether the file system can; a killed one lets go."""
    if os.name == "nt":  # pragma: no cover - which opens no folders
        yield False
        return
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = True
        except BlockingIOError:
            raise OutputError(
                f"Another basrelief command is at work on {folder}. Wait for it, or choose another --out."
            ) from None
        except OSError:  # some network file systems hold no folders
            ours = False
        yield ours
    finally:
        os.close(descriptor)
