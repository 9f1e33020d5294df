"""Starting several processes that train one network together, and hearing how it went.

Each runs ``basrelief.worker``. ``torchrun`` and ``accelerate launch`` do the same with the command line itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from basrelief import errors

_KILLED = getattr(signal, "SIGKILL", 9)  # which Windows does not name
LOST = 3  # exit code of a process whose neighbours have gone
_GRACE = 10.0  # seconds that processes have to end by themselves, once one has failed
_LOOK = 0.1  # seconds between looks at whether one has ended


def launch(data: str, out: str, options: Mapping[str, Any], processes: int) -> dict[str, Any]:
    """Train with ``basrelief.train(data, out=out, **options)`` in so many processes on this machine.

    Progress is shown by the first of them. Options must be what JSON can say.

    Raises
    ------
    BasreliefError
        What one of them raised, or that one was killed.
    """
    with tempfile.TemporaryDirectory(prefix="basrelief-") as folder:
        spec, answer = Path(folder) / "spec.json", Path(folder) / "answer.json"
        spec.write_text(json.dumps({"data": data, "out": out, "options": dict(options)}), encoding="utf-8")
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(processes)}
        command = [sys.executable, "-m", "basrelief.worker", str(spec), str(answer)]
        started = [
            subprocess.Popen(command, env={**os.environ, **shared, "RANK": str(number), "LOCAL_RANK": str(number)})
            for number in range(processes)
        ]
        with _ended_with_us(started):
            failed = _wait(started)
        found = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}
    if "error" in found:
        raise getattr(errors, found["kind"], errors.BasreliefError)(found["error"])
    if failed is not None:
        number, code = failed
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        why = ", most likely for lack of memory" if code == -_KILLED else ""
        raise errors.TrainingError(
            f"Process {number + 1} of {processes} {how}{why}. The same command goes on from the last checkpoint."
        )
    return dict(found["run"])


def is_neighbour_lost(error: BaseException) -> bool:
    """Tell whether, of several processes, another has ended, which is the one to speak of."""
    words = ("onnection", "peer", "NCCL")  # gloo and nccl have no class of their own for this
    several = int(os.environ.get("WORLD_SIZE", "1") or 1) > 1
    return several and isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> tuple[int, int] | None:
    """Return when all have ended, or soon after one has failed; then return which, and its exit code."""
    until = float("inf")
    while any(process.poll() is None for process in started) and time.monotonic() < until:
        if any(process.poll() for process in started):
            until = min(until, time.monotonic() + _GRACE)
        time.sleep(_LOOK)
    failed = [(number, process.returncode) for number, process in enumerate(started) if process.poll()]
    return min(failed, key=lambda found: (found[1] == LOST, found[1] > 0), default=None)  # a cause before its effects


@contextlib.contextmanager
def _ended_with_us(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """End what still runs when the block ends, however it ends."""
    try:
        yield
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
        for process in started:
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
