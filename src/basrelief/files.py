"""Writing results so that a reader never sees half a file, and one folder has one writer."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from basrelief.errors import DataError, OutputError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; two writers at once are then not noticed
    fcntl = None  # type: ignore[assignment]

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY)
_IMPOSSIBLE = (errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP)  # of a folder that was to be made
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_LOCK = ".lock"
_HERE, _SWAP = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2
_MOMENT = 2.0  # seconds to wait for whoever begins another folder beside

_LARGEST_YAML = 1_000_000  # bytes
_MOST_MERGED = 10_000
_DEEPEST_YAML = 100
PARTIAL = ".partial-"  # how a file or folder begins its name until it is whole


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in ``path``'s place in one step.

    Raises
    ------
    OutputError
        When the disk is full or the folder cannot be written; what stood at ``path`` is still there.
    """
    with output_errors(path):
        _make(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL, suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` atomically, as UTF-8; bytes of file names that are none are spelt out."""
    write_atomic(path, lambda temporary: temporary.write_text(text, "utf-8", "backslashreplace"))


def write_json(path: Path, document: Any) -> None:
    """Write ``document`` atomically; NaN and infinities are refused, since JSON has none."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that Basrelief wrote.

    Raises
    ------
    DataError
        Naming the file, when it is missing or is not JSON.
    """
    try:
        document = json.loads(_read_text(path), parse_constant=_not_json)
        if not isinstance(document, dict):
            raise ValueError("expected an object")
        return document
    except FileNotFoundError:
        raise DataError(f"{path} is not there; expected a file that Basrelief wrote.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}). It was changed or cut short; remove it.") from None


def read_yaml(path: Path) -> Any:
    """Read a YAML file that somebody wrote, as plain data.

    Numbers in base 60 (``12:30``) stay texts, and merge keys (``<<``) may not make the document many times larger.

    Raises
    ------
    DataError
        Naming the file, when it cannot be read, is larger than a megabyte, or is not YAML.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        merged = 0

        def fetch_flow_collection_start(self, kind: type[yaml.Token]) -> None:
            if self.flow_level > _DEEPEST_YAML:
                raise ValueError("it is nested too deeply")
            super().fetch_flow_collection_start(kind)

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            for key, value in node.value:
                if key.tag == "tag:yaml.org,2002:merge":
                    for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                        if isinstance(part, yaml.MappingNode):
                            self.flatten_mapping(part)
                            self.merged += 1 + len(part.value)
                        if self.merged > _MOST_MERGED:
                            raise ValueError("its merge keys make it many times larger")
            super().flatten_mapping(node)

    for kind, make in (("int", Loader.construct_yaml_int), ("float", Loader.construct_yaml_float)):
        Loader.add_constructor(
            f"tag:yaml.org,2002:{kind}",
            lambda loader, node, make=make: node.value if ":" in str(node.value) else make(loader, node),
        )
    try:
        if path.stat().st_size > _LARGEST_YAML:
            raise ValueError(f"it is larger than {_LARGEST_YAML:,} bytes")
        return yaml.load(_read_text(path), Loader)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. Expected a YAML file.") from None
    # A tag that does not fit its value, as in "!!int x", makes the library fail in ways of its own.
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as YAML ({said}). Correct it, or remove it.") from None


def _read_text(path: Path) -> str:
    """Return a file's text; a pipe is refused, since reading one may never end."""
    if path.exists() and not path.is_file():
        raise OSError("it is no file" if not path.is_dir() else "it is a folder")
    return path.read_text(encoding="utf-8")


def _not_json(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk or a read-only folder into one message about ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(path) from None
        if error.errno == errno.EFBIG:
            raise OutputError(
                f"{path} cannot be written: a file would be larger than the system allows. Raise that limit "
                "(ulimit -f), or choose another disk."
            ) from None
        if error.errno in _REFUSED:
            raise OutputError(
                f"{path} cannot be written: {error.strerror}. Choose another folder, or change its permissions."
            ) from None
        raise
    except Exception as error:
        # safetensors and polars write from Rust, whose errors carry the system's number in their text alone.
        if f"os error {errno.ENOSPC}" in str(error) or f"os error {errno.EDQUOT}" in str(error):
            raise _full(path) from None
        raise


def _make(folder: Path) -> None:
    """Make a folder and those above it, where the system has such a place at all (below /proc it has not)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in _IMPOSSIBLE:
            raise OutputError(f"{folder} cannot be made: {error.strerror}. Choose another folder.") from None
        raise


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
        _make(folder)
        lock = (folder / _LOCK).open("a")
    with lock:
        until = time.monotonic() + wait
        while not _taken(lock):
            if time.monotonic() >= until:
                raise OutputError(
                    f"Another basrelief command is at work in {folder}. Wait for it, or choose another --out."
                )
            time.sleep(min(0.1, wait))
        hidden = list(folder.rglob(".*"))
        held = [path.parent for path in hidden if path.name == _LOCK and path.parent != folder and _is_held(path)]
        for left in hidden:
            if left.name.startswith(PARTIAL) and not any(left.is_relative_to(place) for place in held):
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
        yield


def _taken(lock: IO[str]) -> bool:
    """Take a lock, unless another process has it; a file system that knows no locks refuses nobody."""
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    return True


def _is_held(path: Path) -> bool:
    try:
        with path.open("a") as lock:
            return not _taken(lock)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def new_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``folder`` when the block ends without an error.

    With ``replace``, what stands at ``folder`` stays until then, and is removed. What a command that was killed left
    of the same folder is removed first; one that is still at work on it is an error.
    """
    with output_errors(folder):
        _make(folder.parent)
        with contextlib.ExitStack() as held:
            with _one_at_a_time(folder.parent):  # of two that begin at once, one sees the other's temporary folder
                _remove_left(folder)
                temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_partial(folder)))
                held.enter_context(_held(temporary, folder))
            try:
                yield temporary
                temporary.chmod(0o777 & ~_umask())
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


def _full(path: Path) -> OutputError:
    return OutputError(
        f"No space left to write {path}. Free some and run the same command again: what was finished is kept, and it "
        "goes on from there."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
