"""Commands as processes that an attack disturbs, and what must be true of them and of their files afterwards."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest
from PIL import Image
from safetensors import safe_open

PATIENCE = 180  # seconds that a command may take, far more than any does; longer is a hang
TRAINING = [
    "--network", "masknet", "--resolution", "16", "--epochs", "3", "--batch-size", "4", "--precision", "fp32",
    "--lr", "1e-3", "--threads", "1", "--tracker", "none", "--checkpoint-every", "0",
]  # fmt: skip
# Of a test that only the full form runs: before its fixtures are made, which would cost more than to skip it.
IN_FULL = pytest.mark.skipif(
    "config.option.markexpr != 'faults' and os.environ.get('BASRELIEF_FAULTS') != 'full'", reason="in the full form"
)
STUDY = [*TRAINING, "--seeds", "2", "--loss", "bce(mask)", "--loss", "dice(mask)"]


def forms(names: Iterable[Any], *short: object) -> list[Any]:
    """Return the cases of an attack; the short form runs those that are named."""
    return [
        name if name in short else pytest.param(*(name if isinstance(name, tuple) else (name,)), marks=IN_FULL)
        for name in names
    ]


@dataclass
class Ended:
    """How a process ended, and what it said on standard error."""

    code: int
    said: str
    out: str = ""
    command: str = ""

    @property
    def message(self) -> str:
        """The message of a command that could not do it."""
        return self.said[self.said.rfind("basrelief: ") :] if "basrelief: " in self.said else ""


class Process:
    """A command under way."""

    def __init__(self, starter: Starter, pid: int, said: Path, command: str) -> None:
        self.starter, self.pid, self.said, self.command = starter, pid, said, command
        self.code: int | None = None

    def poll(self) -> int | None:
        if self.code is None:
            self.code = self.starter.ask({"poll": self.pid})
        return self.code

    def wait(self) -> Ended:
        """Return when it has ended; nothing of it may be left."""
        until = time.monotonic() + PATIENCE
        while self.poll() is None:
            if time.monotonic() > until:
                os.killpg(self.pid, signal.SIGKILL)
                raise AssertionError(f"hung; it said: {self._read('err')}")
            time.sleep(0.005)
        while left := self.family():
            assert time.monotonic() < until, f"left behind: {left}"
            time.sleep(0.02)
        assert self.code is not None
        return Ended(self.code, self._read("err"), self._read("out"), self.command)

    def until(self, met: Callable[[], bool]) -> None:
        """Return when something is so, or when it has ended."""
        while self.poll() is None and not met():
            time.sleep(0.002)

    def until_guarded(self) -> None:
        """Return when it answers signals itself; before that Python starts, whose own answer is a traceback."""
        self.until(lambda: self._catches(signal.SIGTERM))

    def after(self, seconds: float) -> None:
        """Return after so long, or when it has ended."""
        until = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= until)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; Ctrl-C reaches the whole group."""
        if self.poll() is None:
            (os.killpg if number == signal.SIGINT else os.kill)(self.pid, number)

    def family(self) -> list[psutil.Process]:
        """Return what runs in its session beside itself."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, ProcessLookupError):
                continue
        return [process for process in found if process.pid != self.pid]

    def _read(self, suffix: str) -> str:
        return self.said.with_name(f"{self.said.name}.{suffix}").read_text(errors="replace")

    def _catches(self, number: int) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return True
        line = next((line for line in status.splitlines() if line.startswith("SigCgt")), "SigCgt: 0")
        return bool(int(line.split()[1], 16) >> (number - 1) & 1)


class Starter:
    """Starts commands from a process that has imported everything."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        script = Path(__file__).with_name("warm_start.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"},
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None  # noqa: PT018
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(
        self,
        words: Sequence[object],
        folder: Path | None = None,
        *,
        file_size: int | None = None,
        user: int | None = None,
        clock: Path | None = None,
        memory: int | None = None,
    ) -> Process:
        """Start a command: in a folder, with limits of files and further memory in bytes, as a user, by a clock."""
        self.count += 1
        said = self.folder / f"said-{self.count}"
        asked = {"words": [str(word) for word in words], "folder": str(folder or self.folder), "said": str(said)}
        limits = {
            "file_size": file_size,
            "memory": memory,
            "user": user,
            "clock": None if clock is None else str(clock),
        }
        return Process(self, self.ask(asked | limits), said, str(words[0]))

    def run(self, words: Sequence[object], folder: Path | None = None, **limits: Any) -> Ended:
        return self.start(words, folder, **limits).wait()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE)


def answers(ended: Ended, *codes: int) -> None:
    """See that a command did its work or ended in one message, and by no signal and in no traceback."""
    assert "Traceback" not in ended.said, ended.said
    assert "Exception ignored" not in ended.said, ended.said
    assert ended.code in (codes or (0, 1)), (ended.code, ended.said)
    messages = ended.said.count("basrelief: ")
    if ended.command == "inspect" and ended.code == 1 and not messages:
        lists_faults(ended)
    else:
        assert messages == (ended.code != 0), ended.said


def lists_faults(ended: Ended) -> None:
    """See that an inspection that ended with code 1 and no message listed, as its result, what must be mended."""
    totals = re.findall(r"^(\d+) fault\(s\) that must be mended, \d+ worth knowing\.$", ended.out, re.MULTILINE)
    assert len(totals) == 1, ended
    assert len(re.findall(r"^x \S", ended.out, re.MULTILINE)) == int(totals[0]) > 0, ended


def whole(path: Path) -> None:
    """Fail where a file is only half there."""
    kind = path.suffix.lower()
    if kind == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif kind == ".parquet":
        pl.read_parquet(path)
    elif kind == ".png":
        with Image.open(path) as picture:
            picture.load()
    elif kind in (".npy", ".npz"):
        found = np.load(path)
        if kind == ".npz":
            assert all(found[name].size >= 0 for name in found)
    elif kind == ".safetensors":
        with safe_open(path, "pt") as file:
            assert all(file.get_tensor(name).numel() >= 0 for name in file.keys())  # noqa: SIM118
    elif kind == ".zip":
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
    elif kind == ".gz":
        with gzip.open(path) as stream:
            stream.read()
    elif kind == ".html":
        assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), path
    elif kind == ".csv":
        assert path.read_bytes().endswith(b"\n"), path


def visible(root: Path) -> Iterator[Path]:
    """Yield the files of a folder that have their final names, or the file itself."""
    for path in [root] if root.is_file() else sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root.parent).parts)
        if path.is_file() and not hidden:
            yield path


def none_is_half(root: Path) -> None:
    """See that every file that has its final name is whole."""
    for path in visible(root):
        whole(path)


def digests(root: Path) -> dict[str, str]:
    """Return the digest of every visible file."""
    root = root if root.exists() else root.with_name("nothing")
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in visible(root)
        if not path.name.startswith("said-")
    }


def leftovers(root: Path) -> list[Path]:
    """Return temporary files in a folder and beside it."""
    found = [*root.rglob(".partial-*"), *root.rglob("next-*"), *root.parent.glob(".partial-*")]
    return [path for path in found if path.exists()]


@dataclass
class Command:
    """A command under attack, and what it leaves when nobody disturbs it.

    Attributes
    ----------
    words
        Of the command line; OUT stands for what it writes.
    begin
        What OUT holds before, copied from there; None: nothing.
    bound
        Files of OUT that must come out the same, bit for bit; those that two undisturbed runs agree on are added.
    """

    name: str
    words: list[str]
    out: str
    begin: Path | None = None
    bound: tuple[str, ...] = ()
    seconds: float = 0.0
    expected: dict[str, str] | None = None
    names: tuple[str, ...] = ()

    def place(self, folder: Path) -> Path:
        """Return a fresh OUT in a folder of its own."""
        folder.mkdir(parents=True)
        out = folder / self.out
        if self.begin is not None:
            shutil.copytree(self.begin, out)
        return out

    def line(self, out: Path) -> list[str]:
        return [str(out) if word == "OUT" else word for word in self.words]

    def learn(self, starter: Starter, folder: Path, times: int = 2) -> None:
        """Run undisturbed, twice: what both agree on is what it must leave. Once: what is bound is."""
        found, seconds = [], []
        for number in range(times):
            out = self.place(folder / f"{self.name.replace(' ', '-')}-{number}")
            begun = time.monotonic()
            ended = starter.run(self.line(out), out.parent)
            seconds.append(time.monotonic() - begun)
            assert ended.code == 0, ended.said
            found.append(digests(out))
        self.seconds, self.names = min(seconds), tuple(found[0])
        assert found[0].keys() == found[-1].keys()
        agreed = found[0] if times > 1 else self.bound
        self.expected = {name: found[0][name] for name in agreed if found[0][name] == found[-1][name]}
        assert set(self.bound) <= set(self.expected), (self.name, set(self.bound) - set(self.expected))

    def is_right(self, out: Path) -> None:
        """See that what it left is what an undisturbed one leaves, and nothing beside it."""
        assert self.expected is not None
        found = digests(out)
        other = [name for name, digest in self.expected.items() if found.get(name) != digest]
        assert not other, f"{self.name}: not as undisturbed: {other}"
        assert set(found) == set(self.names), set(found) ^ set(self.names)
        none_is_half(out)
        assert not leftovers(out), leftovers(out)


def pick(moments: random.Random, top: float) -> float:
    """Return a moment between 0 and ``top`` seconds, a little after it now and then."""
    return moments.uniform(0, 1.1 * top)
