"""Starts commands of the command line, each as a process forked from this one, in which all is imported already.

Importing torch takes seconds, and an attack needs hundreds of processes. Each is a real one: a session, signals, limits
and a user of its own. Requests come as lines of JSON on standard input; ``faulting`` writes them.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

HEAVY = (
    "basrelief.app", "basrelief.app_data", "basrelief.app_scores", "basrelief.app_share", "basrelief.app_use",
    "basrelief.cli", "basrelief.listing", "basrelief.terminal", "basrelief.terminal_scores", "basrelief.terminal_study",
    "basrelief.studies.report", "loky", "polars", "torch",
)  # fmt: skip


def serve() -> None:
    for name in HEAVY:
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "poll" in asked:
            pid, status = os.waitpid(asked["poll"], os.WNOHANG)
            print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
            continue
        child = os.fork()
        if child == 0:
            become(**asked)
        print(child, flush=True)


def become(
    words: list[str],
    folder: str,
    said: str,
    file_size: int | None,
    memory: int | None,
    user: int | None,
    clock: str | None,
) -> None:
    """Turn this process into a command that runs in a folder and says into files; never returns."""
    os.setsid()
    os.chdir(folder)
    for descriptor, suffix in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{said}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    if memory is not None:
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        os.environ["HOME"] = "/nonexistent"
    if clock is not None:
        shift_clock(Path(clock))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["basrelief", *words]
    code: Any = 70
    try:
        importlib.import_module("basrelief.cli").main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # As at the end of any Python process; what is registered to be done then matters (loky, tempfile).
        importlib.import_module("atexit")._run_exitfuncs()
        os._exit(code)


def shift_clock(offset: Path) -> None:
    """Let ``time.time`` be wrong by as many seconds as a file says at that moment; ``time.monotonic`` is right."""
    right, right_ns = time.time, time.time_ns

    def seconds() -> float:
        return float(offset.read_text() or 0)

    time.time = lambda: right() + seconds()
    time.time_ns = lambda: right_ns() + int(seconds() * 1e9)


if __name__ == "__main__":
    serve()
