"""A study kept at a URL: what machines that share no file system exchange through it. Any URL that fsspec knows.

The study's own folder is a local one; its file ``.url`` says where the rest of the world finds it. There lie the packed
data, the split and the plan, each pushed before what counts on it, and the finished trials. Of a trial ``run.json`` or
``failed.json`` is pushed last, so that it is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from basrelief.data.store import FACTS
from basrelief.engine.probe_cache import cache_file
from basrelief.errors import BasreliefError, DataError, OutputError, UsageError
from basrelief.files import PARTIAL, read_json, write_text
from basrelief.folders import new_folder, only_writer
from basrelief.studies.stores import PLAN, SMALLER, SPLITS_FILE, STORE
from basrelief.studies.trials import outcome_of

URL = ".url"  # in a study's local folder
ID = "study-id"  # at the URL: tells a study from another one that stood there before
MARKERS = ("failed.json", "run.json")  # of a trial, pushed last, in this order
PATIENCE = 3600.0  # seconds to wait for another task of the same node that fetches the data


def is_url(place: Any) -> bool:
    """Tell whether an output place is a URL."""
    return isinstance(place, str) and "://" in place


def local_folder(url: str) -> Path:
    """Return the local folder of the study at a URL: ``runs/NAME``, or the next one that is free."""
    stem = url.rstrip("/").rpartition("/")[2] or "study"
    for number in itertools.count(1):
        folder = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        note = folder / URL
        if note.exists() and note.read_text("utf-8") == url.rstrip("/"):
            break
        if not folder.exists():
            break
    return folder


def is_kept_elsewhere(folder: Path) -> bool:
    """Tell whether a folder is the local one of a study at a URL; it belongs to that URL."""
    return (folder / URL).exists()


def is_unplanned(folder: Path) -> bool:
    """Tell whether a folder is free for a study: not there, or with what one left that was never planned."""
    if not folder.exists():
        return True
    names = {item.name for item in folder.iterdir()}
    ours = {STORE, SPLITS_FILE, SMALLER} if (folder / STORE / FACTS).exists() else set()
    return not is_kept_elsewhere(folder) and all(name in ours or name.startswith(".") for name in names)


def open_shared(folder: Path) -> Shared | None:
    """Return the URL that a study's folder is kept at; None where it is an ordinary folder."""
    note = folder / URL
    return Shared(note.read_text("utf-8")) if note.exists() else None


def begin_shared(url: str) -> Path:
    """Return the local folder of the study at a URL, with what is there already.

    Raises
    ------
    UsageError
        Where the URL's kind is not known, or needs a package.
    """
    shared = Shared(url)
    shared.claim()  # a URL that cannot be read or written is an error before there is a folder
    folder = local_folder(url)
    with only_writer(folder):
        write_text(folder / URL, shared.url)
        shared.fetch_study(folder)
    return folder


class Shared:
    """A study at a URL.

    Raises
    ------
    UsageError
        Where the URL's kind is not known, or needs a package.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        try:
            self.fs, root = fsspec.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"--out {url}: {error}. Expected a URL such as s3://bucket/study.") from None
        self.root = root.rstrip("/")

    def claim(self) -> None:
        """Write what tells this study from another one there, if that is not there yet."""
        with self._errors():
            if not self.fs.exists(f"{self.root}/{ID}"):
                self._put_text(ID, uuid.uuid4().hex)

    def push_study(self, folder: Path) -> None:
        """Push packed data that is not there yet, then the files of the folder, the plan last."""
        self.claim()
        with self._errors():
            document = read_json(folder / PLAN)
            self._push_store(folder / document["store"]["path"], STORE)
            for place in sorted((folder / SMALLER).glob("*")):
                self._push_store(place, f"{SMALLER}/{place.name}")
            for path in sorted(folder.iterdir()):
                if path.is_file() and not path.name.startswith(".") and path.name != PLAN:
                    self._put(path, path.name)
            document["store"]["path"] = STORE  # also of a store that lies elsewhere here
            text = json.dumps(document, indent=2, ensure_ascii=False)
            if text != self.plan():
                self._put_text(PLAN, text)

    def plan(self) -> str | None:
        """Return the text of the plan there, None where there is no study."""
        with self._errors():
            path = f"{self.root}/{PLAN}"
            return str(self.fs.cat_file(path).decode("utf-8")) if self.fs.exists(path) else None

    def id(self) -> str:
        """Return what tells this study from another one at the same URL."""
        with self._errors():
            return str(self.fs.cat_file(f"{self.root}/{ID}").decode("utf-8"))

    def fetch_study(self, folder: Path) -> None:
        """Fetch data, split and plan, where ``folder`` lacks them or the plan there has been extended since."""
        text = self.plan()
        if text is None:
            return
        plan = json.loads(text)
        if (folder / PLAN).exists():
            here = read_json(folder / PLAN)
            if len(here.get("extended", ())) >= len(plan.get("extended", ())):
                return
        with self._errors():
            self._fetch_store(folder, STORE)
            for place in sorted({name.split("/")[1] for name in self._names(SMALLER)}):
                self._fetch_store(folder, f"{SMALLER}/{place}")
            for path in self.fs.ls(self.root, detail=False):
                name = str(path).rstrip("/").rpartition("/")[2]
                if name not in (PLAN, ID) and not name.startswith(".") and self.fs.isfile(path):
                    self._get(name, folder / name)
        write_text(folder / PLAN, text)

    def sync_trial(self, folder: Path, trial: str) -> None:
        """Push a trial that is over in ``folder``, and fetch one that is over at the URL alone."""
        here = outcome_of(folder / trial) is not None
        with self._errors():
            there = any(self.fs.exists(f"{self.root}/{trial}/{name}") for name in MARKERS)
            if here and not there:
                place = folder / trial
                names = [str(p.relative_to(place)) for p in sorted(place.rglob("*")) if p.is_file()]
                names = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
                for name in (*(n for n in names if n not in MARKERS), *(n for n in MARKERS if n in names)):
                    self._put(place / name, f"{trial}/{name}")
            elif there and not here:
                with new_folder(folder / trial, replace=True) as temporary:
                    for name in self._names(trial):
                        self._get(name, temporary / name[len(trial) + 1 :])

    def _push_store(self, place: Path, name: str) -> None:
        if self.fs.exists(f"{self.root}/{name}/{FACTS}"):
            if self.fs.cat_file(f"{self.root}/{name}/{FACTS}") != (place / FACTS).read_bytes():
                raise OutputError(f"{self.url}/{name} holds other data than {place}. Choose another --out.")
            return
        for path in sorted(place.iterdir(), key=lambda path: path.name == FACTS):  # which says that the rest is there
            if path.is_file() and not path.name.startswith("."):
                self._put(path, f"{name}/{path.name}")

    def _fetch_store(self, folder: Path, name: str) -> None:
        place = folder / name
        facts = self.fs.cat_file(f"{self.root}/{name}/{FACTS}")
        if (place / FACTS).exists() and (place / FACTS).read_bytes() == facts:
            return
        with new_folder(place, replace=True) as temporary:
            for file in self._names(name):
                self._get(file, temporary / file[len(name) + 1 :])

    def _names(self, folder: str) -> list[str]:
        """Return the whole files below a folder there, by their names from the study on."""
        if not self.fs.exists(f"{self.root}/{folder}"):
            return []
        found = [str(path).partition(self.root)[2].lstrip("/") for path in self.fs.find(f"{self.root}/{folder}")]
        return [name for name in found if not name.rpartition("/")[2].startswith(PARTIAL)]

    def _put(self, path: Path, name: str) -> None:
        self._push(name, lambda there: self.fs.put_file(str(path), there))

    def _put_text(self, name: str, text: str) -> None:
        self._push(name, lambda there: self.fs.pipe_file(there, text.encode("utf-8")))

    def _push(self, name: str, write: Callable[[str], object]) -> None:
        """Push a file under another name, and give it its own when it is whole."""
        parent, _, last = f"{self.root}/{name}".rpartition("/")
        self.fs.makedirs(parent, exist_ok=True)
        temporary = f"{parent}/{PARTIAL}{uuid.uuid4().hex[:8]}-{last}"
        try:
            write(temporary)
            self.fs.mv(temporary, f"{parent}/{last}")
        except BaseException:
            with contextlib.suppress(Exception):
                self.fs.rm_file(temporary)
            raise

    def _get(self, name: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.fs.get_file(f"{self.root}/{name}", str(path))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Say which URL it was: what goes wrong on the way has as many classes as there are kinds of storage."""
        try:
            yield
        except BasreliefError:
            raise
        except Exception as error:
            raise OutputError(
                f"{self.url} cannot be read or written: {error or type(error).__name__}. Check the address, the "
                "network and the permissions, and run the same command again: what was finished is kept."
            ) from None


def fetched(url: str, identity: str, plan: str) -> Path:
    """Return a folder of this machine with the data, split and plan of the study at a URL, fetched once.

    Parameters
    ----------
    url, identity
        Which study.
    plan
        SHA-256 of its plan.

    Raises
    ------
    DataError
        Where another plan is there.
    """
    cache = cache_file()
    base = cache.parent if cache is not None else Path(tempfile.gettempdir()) / "basrelief"
    folder = base / "studies" / hashlib.sha256(f"{url} {identity}".encode()).hexdigest()[:16]
    with only_writer(folder, wait=PATIENCE):
        if _digest(folder / PLAN) != plan:
            (folder / PLAN).unlink(missing_ok=True)
            Shared(url).fetch_study(folder)
            if _digest(folder / PLAN) != plan:
                (folder / PLAN).unlink(missing_ok=True)
                raise DataError(f"{url} holds another plan than that of the command that started this training.")
    return folder


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
