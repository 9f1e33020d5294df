"""Writing files so that a reader never sees half of one, and reading them back."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
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
_PLAIN = {ord(letter): "?" for letter in "[]*"}  # letters of names that mean something in patterns
_LARGEST_YAML = 1_000_000  # bytes
_MOST_MERGED = 10_000
_DEEPEST_YAML = 100

PARTIAL = ".partial-"  # how a file or folder begins its name until it is whole


def write_atomic(path: Path, write: Callable[[Path], object], *, sweep: bool = False) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in ``path``'s place in one step.

    With ``sweep``, what commands that were killed left of the same file is removed first.

    Raises
    ------
    OutputError
        When the disk is full or the folder cannot be written; what stood at ``path`` is still there.
    """
    write_together({path: write}, sweep=sweep)


def write_together(files: Mapping[Path, Callable[[Path], object]], *, sweep: bool = False) -> None:
    """Write several files as ``write_atomic`` does one; none is put in its place before all are written.

    Raises
    ------
    OutputError
        When the disk is full or a folder cannot be written; what stood there is still there.
    """
    temporaries: dict[Path, Path] = {}
    with contextlib.ExitStack() as held:
        try:
            for path, write in files.items():
                with output_errors(path):
                    make_folder(path.parent)
                    begin = f"{PARTIAL}{path.name[:60]}-"
                    if sweep:
                        _sweep(path.parent, begin)
                    handle, name = tempfile.mkstemp(dir=path.parent, prefix=begin, suffix=path.suffix[:20])
                    temporaries[path] = temporary = Path(name)
                    if os.name == "nt":  # pragma: no cover - where an open file cannot be moved
                        os.close(handle)
                    else:
                        lock = held.enter_context(os.fdopen(handle))
                        take(lock)  # so that nobody sweeps it
                    write(temporary)
                    with temporary.open("rb") as written:
                        os.fsync(written.fileno())
                    temporary.chmod(0o666 & ~umask())
            for path, temporary in temporaries.items():
                with output_errors(path):
                    temporary.replace(path)
        except BaseException:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)
            raise


def _sweep(folder: Path, begin: str) -> None:
    """Remove what killed commands left of a file; what a living one writes is held."""
    for left in list(folder.glob(f"{begin.translate(_PLAIN)}*")):
        if left.is_file() and not is_held(left):
            left.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, sweep: bool = False) -> None:
    """Write ``text`` atomically, as UTF-8; bytes of file names that are none are spelt out."""
    write_atomic(path, text_writer(text), sweep=sweep)


def text_writer(text: str) -> Callable[[Path], object]:
    """Return what writes ``text`` as ``write_text`` does, for ``write_together``."""
    return lambda temporary: temporary.write_text(text, "utf-8", "backslashreplace")


def write_json(path: Path, document: Any) -> None:
    """Write ``document`` atomically; NaN and infinities are refused, since JSON has none."""
    write_text(path, json_text(document))


def json_text(document: Any) -> str:
    """Return ``document`` as ``write_json`` writes it."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where the system has such a place at all (below /proc it has not)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in _IMPOSSIBLE:
            raise OutputError(f"{folder} cannot be made: {error.strerror}. Choose another folder.") from None
        raise


def take(lock: IO[str]) -> bool:
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


def is_held(path: Path) -> bool:
    """Tell whether another process has the lock of a file."""
    try:
        with path.open("a") as lock:
            return not take(lock)
    except FileNotFoundError:
        return False


def _full(path: Path) -> OutputError:
    return OutputError(
        f"No space left to write {path}. Free some and run the same command again: what was finished is kept, and it "
        "goes on from there."
    )


def umask() -> int:
    """Return the permissions that what is made here shall not have."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
