"""Mapping a function over many items in several processes, in order and with little in flight.

The calling process is one of them: it works while the others start, and whenever they have enough to do.
loky starts the processes: they need no guard in the user's own script, are told when a worker dies, and do not copy a
process that already runs threads.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import loky
from loky.process_executor import TerminatedWorkerError

from basrelief.cut_short import answer_cuts
from basrelief.errors import BasreliefError

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 3  # items in flight for each process: enough to keep it busy, and little memory
_WAITING = 16  # results for each process that may wait for an earlier one, as while the others start
_function: Any = None


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], *, jobs: int) -> Iterator[Result]:
    """Yield ``function(item)`` for every item, in the order of the items.

    Parameters
    ----------
    function
        Sent once to each process; it must not rely on state of this one. It may keep state of its own between items,
        which each process gets in ascending order.
    items
        Taken as they are needed.
    jobs
        Number of processes, this one included; 1 starts nothing.

    Raises
    ------
    BasreliefError
        If a process was killed, as systems do when memory runs out.
    """
    if jobs <= 1:
        yield from map(function, items)
        return
    others = jobs - 1
    executor = loky.ProcessPoolExecutor(others, initializer=_receive, initargs=(function, os.getpid()))
    ahead: deque[Future[Result]] = deque()
    finished = False
    try:
        for item in items:
            if sum(not future.done() for future in ahead) < _AHEAD * others:
                ahead.append(executor.submit(_work, item))
            else:
                ahead.append(_done(function, item))
            while ahead and (ahead[0].done() or len(ahead) > _WAITING * jobs):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
        finished = True
    except TerminatedWorkerError:
        raise BasreliefError(
            f"One of {jobs} worker processes was killed, most likely for lack of memory. Free some, or use fewer with "
            "--jobs 1, and run the same command again."
        ) from None
    finally:
        executor.shutdown(wait=not finished, kill_workers=not finished)  # those with nothing to do end by themselves


def _done(function: Callable[[Item], Result], item: Item) -> Future[Result]:
    future: Future[Result] = Future()
    try:
        future.set_result(function(item))
    except Exception as error:  # raised in its turn, so that it is the same one whatever the number of processes
        future.set_exception(error)
    return future


def _receive(function: Callable[[Any], Any], parent: int) -> None:
    global _function
    _function = function
    begin_process(parent)


def begin_process(parent: int) -> None:
    """Prepare a process that one of ours started: it ends with its parent, which alone answers Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer_cuts()
    end_with(parent)


def end_with(parent: int) -> None:
    """End this process when its parent was killed: it would wait for work for ever, or work for nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(item: Any) -> Any:
    return _function(item)
