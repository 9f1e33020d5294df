"""A disk that fills, or files that may not grow: one message, nothing lost, and on it goes once there is room."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from faulting import Command, Ended, Starter, answers, digests, forms, none_is_half

NAMES = (
    "pack", "compose", "compose c", "train", "study", "predict", "evaluate", "export", "inspect", "report",
    "generate scenes", "generate shapes",
)  # fmt: skip


DISK = "basrelief-faults-"  # how a disk names itself among the mounts, before the process that mounted it


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 24 MB."""
    unmount_what_is_left()
    place = tmp_path / "disk"
    place.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=24m", f"{DISK}{os.getpid()}", place]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk needs the right to mount: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def unmount_what_is_left() -> None:
    """Unmount the disks of tests that were killed: nobody else would."""
    mounts = Path("/proc/mounts")
    for line in mounts.read_text().splitlines() if mounts.exists() else ():
        name, place = line.split()[:2]
        if name.startswith(DISK) and not psutil.pid_exists(int(name.removeprefix(DISK))):
            subprocess.run(["umount", "--lazy", place.encode().decode("unicode_escape")], check=False)


def fill(disk: Path, leave: int) -> Path:
    """Fill a disk up, but for so many bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb", 0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate(max(0, file.tell() - leave))
    return ballast


def says_why(ended: Ended, out: Path) -> None:
    """See that a command that could not write said where, and what to do."""
    answers(ended)
    if ended.code:
        assert str(out.parent) in ended.said or out.name in ended.message, ended.said
        assert "Free some" in ended.said or "ulimit -f" in ended.said, ended.said


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", forms(NAMES, "pack"))
def test_a_disk_that_is_full(
    name: str,
    small_disk: Path,
    commands: Callable[[str], Command],
    starter: Starter,
    in_full: bool,
    tried: Callable[[str], None],
) -> None:
    command = commands(name)
    chances = random.Random(name)
    sizes = (0, 12_288, 4096 * chances.randrange(4, 120)) if in_full else (8192,)
    for number, size in enumerate(sizes):
        out = command.place(small_disk / str(number))
        before = digests(out)
        ballast = fill(small_disk, size)
        ended = starter.run(command.line(out), out.parent)
        tried(f"full disk: {name}")
        ballast.unlink()
        says_why(ended, out)
        none_is_half(out) if out.exists() else None
        assert before.keys() <= digests(out).keys(), "what stood there is gone"
        if ended.code:
            answers(starter.run(command.line(out), out.parent), 0)
        command.is_right(out)
        subprocess.run(["rm", "-rf", out.parent], check=True)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", forms(NAMES, "pack"))
def test_files_that_may_not_grow(
    name: str,
    commands: Callable[[str], Command],
    starter: Starter,
    tmp_path: Path,
    in_full: bool,
    tried: Callable[[str], None],
) -> None:
    command = commands(name)
    chances = random.Random(name)
    for number in range(2 if in_full else 1):
        out = command.place(tmp_path / str(number))
        before = digests(out)
        size = chances.choice((0, 300, 1000, 4000, 20_000, 100_000))
        ended = starter.run(command.line(out), out.parent, file_size=size)
        tried(f"files that may not grow: {name}")
        if ended.code or ended.said:  # what it would say goes into a file as well, which may not grow either
            assert ended.code in (0, 1), ended
            assert "Traceback" not in ended.said, ended.said
        none_is_half(out) if out.exists() else None
        assert before.keys() <= digests(out).keys(), "what stood there is gone"
        if ended.code:
            answers(starter.run(command.line(out), out.parent), 0)
        command.is_right(out)


@pytest.mark.usefixtures("untouched")
def test_a_store_stays_until_the_next_one_is_whole(
    small_disk: Path, commands: Callable[[str], Command], starter: Starter, tried: Callable[[str], None]
) -> None:
    command = commands("pack")
    out = command.place(small_disk / "0")
    assert starter.run(command.line(out), out.parent).code == 0
    before = digests(out)
    larger = ["64" if word == "16" else word for word in command.line(out)]
    ballast = fill(small_disk, 65_536)
    says_why(starter.run(larger, out.parent), out)
    tried("full disk: pack over a store")
    assert digests(out) == before
    ballast.unlink()
    answers(starter.run(larger, out.parent), 0)
    assert digests(out) != before
    none_is_half(out)
