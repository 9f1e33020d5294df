"""Commands that are ended at any moment leave nothing half, and the same command ends as if nobody had disturbed it."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from faulting import IN_FULL, Command, Starter, answers, forms, none_is_half, pick

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FULL = {
    "pack": 16, "compose": 12, "compose c": 8, "train": 6, "study": 4, "predict": 6, "evaluate": 4, "export": 4,
    "inspect": 6, "report": 4, "generate scenes": 8, "generate shapes": 8,
}  # fmt: skip


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("name", forms(FULL, "pack", "compose", "train", "predict"))
def test_a_command_ended_at_any_moment(
    name: str,
    commands: Callable[[str], Command],
    starter: Starter,
    tmp_path: Path,
    in_full: bool,
    tried: Callable[[str], None],
) -> None:
    command = commands(name)
    moments = random.Random(name)
    number = 0
    for attempt in range(FULL[name] // 2 if in_full else 1):
        out = command.place(tmp_path / str(attempt))
        for _ in range(2):
            number += 1
            process = starter.start(command.line(out), out.parent)
            process.until_guarded()
            process.after(pick(moments, command.seconds))
            how = SIGNALS[number % 3]
            process.send(how)
            ended = process.wait()
            tried(f"kill: {name}")
            if ended.code != -signal.SIGKILL and ended.code != -how:  # the latter: all was done, and Python ends
                answers(ended)
            none_is_half(out) if out.exists() else None
        ended = starter.run(command.line(out), out.parent)
        if name in ("evaluate", "export", "generate scenes", "generate shapes") and "already" in ended.said:
            assert ended.code == 1, ended.said  # it was done before the signal came, and is kept
        else:
            answers(ended, 0)
        command.is_right(out)


@IN_FULL
@pytest.mark.parametrize("name", ["pack", "compose", "study"])
def test_a_worker_ended_at_any_moment(
    name: str, inputs: Path, starter: Starter, home: Path, tmp_path: Path, tried: Callable[[str], None]
) -> None:
    command = working(name, inputs, starter, tmp_path)
    command.learn(starter, tmp_path / "undisturbed")
    moments = random.Random(name)
    for attempt in range(3):
        out = command.place(tmp_path / str(attempt))
        process = starter.start(command.line(out), out.parent)
        process.until(lambda process=process: bool(workers(process.pid)))
        process.after(moments.uniform(0, 1.5))
        for worker in workers(process.pid)[:1]:
            worker.send_signal(signal.SIGKILL)
            tried(f"kill of a worker: {name}")
        answers(process.wait())
        none_is_half(out) if out.exists() else None
        answers(starter.run(command.line(out), out.parent), 0)
        command.is_right(out)


def working(name: str, inputs: Path, starter: Starter, folder: Path) -> Command:
    """Return a command with several processes, and enough work that they have some."""
    if name == "study":
        words = [word for word in STUDY_LINE if word != "DATA"]
        return Command("study", ["study", str(inputs / "data"), *words], "out", bound=("verdict.json",))
    if name == "compose":
        line = ["compose", str(inputs / "rooms"), str(inputs / "cutouts"), "--out", "OUT", "--resolution", "96"]
        return Command("compose", [*line, "--min-size", "0.3", "--positions", "60", "--jobs", "3"], "out")
    made = folder / "made"
    assert starter.run(["generate", "scenes", "--count", "300", "--resolution", "128", "--out", made]).code == 0
    return Command("pack", ["pack", str(made), "--out", "OUT", "--resolution", "96", "--jobs", "3"], "out")


STUDY_LINE = [
    "--out", "OUT", "--network", "masknet", "--resolution", "16", "--epochs", "3", "--batch-size", "2", "--precision",
    "fp32", "--lr", "1e-3", "--threads", "1", "--tracker", "none", "--seeds", "2", "--loss", "bce(mask)", "--loss",
    "dice(mask)", "--jobs", "2",
]  # fmt: skip


def workers(pid: int) -> list[psutil.Process]:
    """Return the worker processes of a command, without loky's own keeper of resources."""
    try:
        found = psutil.Process(pid).children(recursive=True)
        return [one for one in found if "resource_tracker" not in " ".join(one.cmdline())]
    except psutil.Error:
        return []
