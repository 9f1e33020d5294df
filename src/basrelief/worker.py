"""One of several processes that train a network together, started by ``launch``: its arguments are SPEC and ANSWER."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from basrelief import app, errors
from basrelief.files import write_json
from basrelief.launch import LOST, is_neighbour_lost
from basrelief.parallel import begin_process
from basrelief.terminal_study import StudyProgress


def _train_as_one(spec: Path, answer: Path) -> None:
    """Train as one of the processes, and leave the outcome where ``launch`` looks for it."""
    asked = json.loads(spec.read_text(encoding="utf-8"))
    first = os.environ["RANK"] == "0"
    try:
        with StudyProgress() if first else contextlib.nullcontext() as watcher:
            run = app.train(asked["data"], out=asked["out"], watcher=watcher, **asked["options"])
    except errors.BasreliefError as error:
        if first or not answer.exists():
            write_json(answer, {"kind": type(error).__name__, "error": str(error)})
        sys.exit(1)
    except RuntimeError as error:
        if not is_neighbour_lost(error):
            raise
        sys.exit(LOST)
    if first:
        write_json(answer, {"run": run})


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begin_process(os.getppid())
    _train_as_one(Path(sys.argv[1]), Path(sys.argv[2]))
