"""A study as the command line runs it, in a process of its own that tests end at any moment."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from basrelief.config import WatchSettings
from basrelief.errors import MissingExtraError, OutOfMemoryError
from basrelief.studies import local
from basrelief.studies.plan import Trial
from basrelief.studies.trials import outcome_of

OPTIONS = [
    "--network", "masknet", "--resolution", "16", "--epochs", "4", "--batch-size", "2", "--precision", "fp32",
    "--lr", "1e-3", "--threads", "1", "--seeds", "2", "--loss", "bce(mask)", "--loss", "dice(mask)",
    "--checkpoint-every", "0", "--tracker", "none",
]  # fmt: skip
SETTINGS: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "epochs": 4, "batch_size": 2, "precision": "fp32", "lr": 1e-3, "threads": 1,
    "seeds": 2, "losses": ("bce(mask)", "dice(mask)"), "tracker": "none",
}  # fmt: skip
SECONDS = 120  # that an undisturbed start may take; far more than it does

RAYS_OWN = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")  # which notice only after a minute that their node is gone


def start(data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """Start the command in a group of its own, as a shell does."""
    command = [sys.executable, "-m", "basrelief.cli", "study", str(data), "--out", str(out), *OPTIONS, *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )


def run(data: Path, out: Path, *more: str) -> str:
    """Run the command to its end, and return what it said."""
    process = start(data, out, *more)
    said = process.communicate(timeout=SECONDS)[1]
    assert process.returncode == 0, said
    return said


def finished(out: Path) -> dict[str, int]:
    """Return each finished trial, with the moment that its result was written."""
    places = sorted(out.glob("trials/*/seed-*"))
    return {
        str(place.relative_to(out)): (place / "run.json").stat().st_mtime_ns for place in places if outcome_of(place)
    }


def wait_until_begun(process: subprocess.Popen[str], out: Path, trials: int = 1) -> None:
    """Return when the command has the study's folder, and so many trials a record; or when it has ended.

    Before that Python itself starts, and answers Ctrl-C with a traceback of its own.
    """
    until = time.monotonic() + SECONDS
    while process.poll() is None and not (
        (out / ".lock").exists() and len(list(out.glob("trials/*/seed-*/run.json"))) >= trials
    ):
        assert time.monotonic() < until
        time.sleep(0.02)


def end(process: subprocess.Popen[str], how: signal.Signals) -> str:
    """Send a signal, to the whole group where Ctrl-C would be; see that nothing of it is left, return what it said."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    family = [member for member in family if member.is_running() and member.name() not in RAYS_OWN]
    if how == signal.SIGINT:
        with contextlib.suppress(ProcessLookupError):  # it was done meanwhile
            os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    said = process.communicate(timeout=SECONDS)[1]
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, f"left behind: {alive}"
    return said


def interrupt(data: Path, out: Path, how: Sequence[signal.Signals], seed: int, *more: str) -> list[str]:
    """Start the command and end it at a random moment, once for each signal; then let it finish.

    No finished trial is ever trained again.
    """
    moments = random.Random(seed)
    said, before = [], finished(out)
    for number in how:
        process = start(data, out, *more)
        wait_until_begun(process, out, int(moments.random() < 0.8))
        until = time.monotonic() + moments.uniform(0, 3)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        said.append(end(process, number))
        now = finished(out)
        assert now | before == now, "a finished trial was trained again, or is lost"
        before = now
    said.append(run(data, out, *more))
    assert finished(out) | before == finished(out)
    return said


def interrupted(data: Path, out: Path, undisturbed: Path, times: int, seed: int, *more: str) -> None:
    """Interrupt a study so many times, by a signal each; it ends as the one that nobody disturbed."""
    kinds = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM]
    how = [kinds[(seed + number) % 3] for number in range(times)]
    said = interrupt(data, out, how, seed, *more)
    for number, text in zip(how, said, strict=False):
        assert "Traceback" not in text, text
        assert number == signal.SIGKILL or not text or "Stopped. The same command goes on" in text or "4/4" in text
    assert (out / "verdict.json").read_bytes() == (undisturbed / "verdict.json").read_bytes()
    assert digests(out) == digests(undisturbed)


def digests(out: Path) -> dict[str, str]:
    """Return the digest of each trial's weights."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.glob("trials/*/*/best.safetensors"))
    }


def hungry(folder: Path, stamp: int, trial: Trial, watch: WatchSettings) -> str:
    """Train in a process, but run out of memory the first time that one of the trials is tried."""
    tried = folder / trial.folder / "tried"
    if (trial.name, trial.seed) == ("bce(mask)", 1) and not tried.exists():
        tried.parent.mkdir(parents=True, exist_ok=True)
        tried.touch()
        raise OutOfMemoryError("Out of memory on cpu.")
    return local._train(folder, stamp, trial, watch)


def starving(folder: Path, stamp: int, trial: Trial, watch: WatchSettings) -> str:
    """Run out of memory whenever a trial is tried."""
    raise OutOfMemoryError("Out of memory on cpu: masknet at 16x16.")


def refused(folder: Path, stamp: int, trial: Trial, watch: WatchSettings) -> str:
    """Meet a fault that the user can mend, of another kind than the common ones."""
    raise MissingExtraError("nothing", "nothing", "This training")
