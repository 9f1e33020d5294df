"""Training trials in several processes of this machine.

loky starts them, as for ``ordered_map``: no guard in the user's script, and word of a process that was killed. They are
kept for a while, since a study may hand its trials over in parts, and starting one takes some seconds.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import loky
from loky.process_executor import TerminatedWorkerError

from basrelief.config import WatchSettings
from basrelief.engine.watcher import Silent
from basrelief.errors import OutOfMemoryError, TrainingError
from basrelief.parallel import begin_process
from basrelief.studies.cards import Card
from basrelief.studies.plan import Trial
from basrelief.studies.progress import Account
from basrelief.studies.stored import Prepared, reopen
from basrelief.studies.stores import PLAN
from basrelief.studies.trials import train_trial

LOOK = 1.0  # seconds between looks at how far trials are
IDLE = 30  # seconds that a process waits for another trial before it ends


def train_in_processes(jobs: int, cards: Sequence[Card], watch: WatchSettings, account: Account) -> None:
    """Train every trial that is left, ``jobs`` at once, in processes of this machine.

    Where memory runs out, or a process is killed, as systems do then, what is left goes on with half as many at once.

    Parameters
    ----------
    jobs
        How many at once.
    cards
        What the processes see of the machine's GPUs, in turn; a single empty one on a CPU.
    watch, account
        How the trials are watched, and which they are.

    Raises
    ------
    OutOfMemoryError
        When memory runs out for a trial that trains alone.
    TrainingError
        When a process that trains alone is killed.
    """
    while account.left():
        why = _round(min(jobs, len(account.left())), cards, watch, account)
        if why is None:
            continue
        _stop()  # so that nothing keeps memory
        if jobs == 1:
            raise why
        jobs //= 2
        account.watcher.say(f"{why} Going on with {jobs} at once from what was saved.")


def _round(jobs: int, cards: Sequence[Card], watch: WatchSettings, account: Account) -> TrainingError | None:
    """Train what is left, until all is done or memory gave out; then return that error."""
    waiting = deque(account.left())
    running: dict[Future[str], tuple[Trial, _Pool]] = {}
    why: TrainingError | None = None
    pools = _started(jobs, cards)
    folder, stamp = account.folder.absolute(), (account.folder / PLAN).stat().st_mtime_ns
    try:
        while waiting or running:
            free = [pool for pool in pools if pool.busy < pool.size]
            while waiting and free and why is None:
                pool = min(free, key=lambda pool: pool.busy)
                trial = waiting.popleft()
                with _uninterrupted():  # for what is started here; what is pending reaches this process after it
                    running[pool.executor.submit(_train, folder, stamp, trial, watch)] = trial, pool
                pool.busy += 1
                account.start(trial)
                free = [pool for pool in pools if pool.busy < pool.size]
            account.show(trial for trial, _ in running.values())
            for future in wait(running, LOOK, FIRST_COMPLETED).done:
                trial, pool = running.pop(future)
                pool.busy -= 1
                try:
                    future.result()
                except OutOfMemoryError as error:
                    why = error
                    continue
                account.end(trial)
            if why is not None and not running:
                return why
        return None
    except TerminatedWorkerError:
        for trial in account.left():
            account.end(trial)  # of those that ended just before
        which = f"The process that trained {_named(trial)}" if jobs == 1 else f"One of {jobs} processes"
        return TrainingError(
            f"{which} was killed, most likely for lack of memory."
            + (" Free some, and run the same command again: it goes on from what was saved." if jobs == 1 else "")
        )
    except BaseException:
        _stop()
        raise
    finally:
        account.show(())


def _named(trial: Trial) -> str:
    return f"{trial.name}, seed {trial.seed}" if trial.judged else trial.name


@dataclass
class _Pool:
    """Processes that see one card."""

    executor: Any
    size: int
    busy: int = 0


@dataclass
class _Started:
    """The processes that this one has started."""

    asked: tuple[int, tuple[Card, ...]] = (0, ())
    pools: list[_Pool] = field(default_factory=list)


_started_here = _Started()


def _started(jobs: int, cards: Sequence[Card]) -> list[_Pool]:
    """Return ``jobs`` processes, divided among the cards: those of before, if they are as many."""
    asked = jobs, tuple(cards)
    if _started_here.asked != asked:
        _stop()
        sizes = [len(range(number, jobs, len(cards))) for number in range(len(cards))]
        for card, size in zip(cards, sizes, strict=True):
            if size:
                executor = loky.ProcessPoolExecutor(
                    size, timeout=IDLE, initializer=_begin, initargs=(os.getpid(),), env=dict(card) or None
                )
                _started_here.pools.append(_Pool(executor, size))
        _started_here.asked = asked
    for pool in _started_here.pools:
        pool.busy = 0
    return _started_here.pools


def _stop() -> None:
    """End the processes at once; a training loses what it did since its last checkpoint."""
    pools = _started_here.pools
    _started_here.asked, _started_here.pools = (0, ()), []
    for pool in pools:
        pool.executor.shutdown(wait=True, kill_workers=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach, from their first moment on: this one answers it, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # pragma: no cover - Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_opened: dict[tuple[Path, int], Prepared] = {}


def _begin(parent: int) -> None:
    """Prepare a process for trainings."""
    begin_process(parent)
    os.dup2(2, 1)  # what libraries print; standard output is the user's


def _train(folder: Path, stamp: int, trial: Trial, watch: WatchSettings) -> str:
    """Train a trial in a process that was started for it, which opens a study once."""
    if (folder, stamp) not in _opened:
        _opened.clear()
        _opened[folder, stamp] = reopen(folder)
    return train_trial(folder, _opened[folder, stamp], trial, watch, Silent())
