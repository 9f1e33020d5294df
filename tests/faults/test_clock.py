"""A clock that jumps by hours, or to 1970, changes nothing: neither results, nor minutes, nor what is done again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from faulting import IN_FULL, PATIENCE, Command, Starter, answers

HOUR = 3600.0
TO_1970 = -1.7e9
JUMPS = (TO_1970, -5 * HOUR, 5 * HOUR, 2e9)


def date(root: Path, moments: random.Random) -> None:
    """Give files any dates, from 1970 to 2100, as after a clock that jumped while they were written."""
    for path in sorted(root.rglob("*")):
        when = moments.choice((0.0, 1e9, 4.1e9, moments.uniform(0, 4.1e9)))
        os.utime(path, (when, when))


@IN_FULL
@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", ["train", "study", "pack", "predict", "report"])
def test_a_clock_that_jumps_while_a_command_works(
    name: str,
    commands: Callable[[str], Command],
    starter: Starter,
    tmp_path: Path,
    tried: Callable[[str], None],
) -> None:
    command = commands(name)
    moments = random.Random(name)
    clock = tmp_path / "clock"
    for number in range(2):
        out = command.place(tmp_path / str(number))
        clock.write_text(str(moments.choice(JUMPS)))
        process = starter.start(command.line(out), out.parent, clock=clock)
        for _ in range(3):
            process.after(moments.uniform(0, command.seconds / 3))
            clock.with_suffix(".next").write_text(str(moments.choice(JUMPS)))
            clock.with_suffix(".next").replace(clock)
        process.send(signal.SIGTERM if number % 2 and name != "report" else signal.Signals(signal.SIGCONT))
        answers(process.wait())
        tried(f"clock that jumps: {name}")
        if out.exists():
            date(out, moments)
        clock.write_text(str(moments.choice(JUMPS)))
        answers(starter.run(command.line(out), out.parent, clock=clock), 0)
        command.is_right(out)


@IN_FULL
def test_minutes_are_counted_by_a_clock_that_cannot_jump(
    inputs: Path, starter: Starter, tmp_path: Path, tried: Callable[[str], None]
) -> None:
    clock = tmp_path / "clock"
    for number, jump in enumerate(JUMPS[::3]):
        out = tmp_path / str(number)
        clock.write_text("0")
        line = ["study", inputs / "data", "--out", out, "--network", "masknet", "--resolution", "16", "--epochs", "1"]
        line += ["--batch-size", "4", "--precision", "fp32", "--lr", "1e-3", "--threads", "1", "--tracker", "none"]
        line += ["--loss", "bce(mask)", "--loss", "dice(mask)", "--minutes", "0.5"]
        process = starter.start(line, tmp_path, clock=clock)
        process.until(lambda out=out: (out / "plan.json").exists())
        clock.with_suffix(".next").write_text(str(jump))
        clock.with_suffix(".next").replace(clock)
        answers(process.wait(), 0)
        tried("clock that jumps: study --minutes")
        spent = json.loads((out / "plan.json").read_text())["clock"]["seconds"]
        assert 0 < spent < PATIENCE, spent


@pytest.mark.usefixtures("untouched")
def test_a_file_dated_in_the_future_is_packed_again_when_it_changes(
    inputs: Path, starter: Starter, tmp_path: Path, in_full: bool, tried: Callable[[str], None]
) -> None:
    data = shutil.copytree(inputs / "data", tmp_path / "data")
    pictures = sorted((data / "images").iterdir())
    line = ["pack", data, "--out", tmp_path / "store", "--resolution", "16", "--json"]
    for when in (4.1e9, 0.0, 1e9) if in_full else (4.1e9,):
        for path in pictures[:3]:
            os.utime(path, (when, when))
        answers(starter.run(line, tmp_path), 0)
        assert json.loads(starter.run(line, tmp_path).out)["copied"] == len(pictures), "nothing changed"
        pictures[0].write_bytes(pictures[1].read_bytes())
        os.utime(pictures[0], (when - 1 if when else 1, when - 1 if when else 1))  # older than what was packed
        assert json.loads(starter.run(line, tmp_path).out)["copied"] == len(pictures) - 1
        tried("files dated 1970, 2001 or 2099: pack")
