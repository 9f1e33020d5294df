"""The server's work: a bounded queue, few threads, a time limit, and memory given back when nothing is left to do."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from basrelief.serving.limits import Limits, RequestError

T = TypeVar("T")

THREADS = 2  # so that one picture is read while the network sees another; each holds one picture at a time
QUIET = 0.5  # seconds without work after which memory is given back
AGAIN = 2  # seconds after which a request that found the queue full is asked to come back
_ARENAS = -8  # glibc's M_ARENA_MAX


class Work:
    """What runs jobs for requests; every picture that the server decodes is decoded in one of its threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="work")
        self._lock = threading.Lock()
        self._places = 0
        self._jobs = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._quiet: asyncio.TimerHandle | None = None
        _few_arenas()

    @property
    def busy(self) -> bool:
        """Whether a request is being taken in, waits or is at work."""
        return self._places > 0 or self._jobs > 0

    def begin(self) -> None:
        """Tell the running event loop, by which other threads hand in their jobs."""
        self._loop = asyncio.get_running_loop()
        gc.collect()
        gc.freeze()  # what was loaded stays; collecting garbage need not look at it each time

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold one place in the queue.

        Raises
        ------
        RequestError
            503 when there is none.
        """
        with self._lock:
            if self._places >= self.limits.queue:
                raise RequestError(
                    503, f"{self._places} requests wait already. Try again in a moment.", {"Retry-After": str(AGAIN)}
                )
            self._places += 1
        try:
            yield
        finally:
            with self._lock:
                self._places -= 1

    async def run(self, job: Callable[[], T]) -> T:
        """Run a job in a thread, when one is free; cancelled, it is dropped if it has not begun.

        Raises
        ------
        RequestError
            504 when it takes longer than it may; 413 when memory does not suffice. Else whatever the job raises.
        """
        held = [job]  # let go at once when nobody waits any more, though the thread pool still lists it
        future = self._submit(held)
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise self._late() from None
        finally:
            held.clear()

    def close(self) -> None:
        """Take no more jobs; those that have not begun are dropped."""
        if self._quiet is not None:
            self._quiet.cancel()
        gc.unfreeze()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _submit(self, held: list[Callable[[], T]]) -> Future[T]:
        def begin() -> T:
            try:
                job = held.pop()
            except IndexError:
                raise asyncio.CancelledError from None
            try:
                return job()
            except MemoryError:
                raise RequestError(413, "The image is too large for this server's memory. Make it smaller.") from None

        with self._lock:
            self._jobs += 1
        try:
            future = self._threads.submit(begin)
        except RuntimeError:
            with self._lock:
                self._jobs -= 1
            raise RequestError(503, "The server is being stopped.") from None
        future.add_done_callback(self._done)
        return future

    def _done(self, _future: Future[Any]) -> None:
        with self._lock:
            self._jobs -= 1
            idle = self._jobs == 0
        if idle and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._be_quiet)

    def _be_quiet(self) -> None:
        """Give memory back a little later, unless there is work again: it takes time that a request would wait for."""
        assert self._loop is not None
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = self._loop.call_later(QUIET, self._threads.submit, self._give_back)

    def _give_back(self) -> None:
        """Give free memory back to the system, which C's allocator keeps otherwise; where it can be asked to."""
        if self._jobs == 0:
            gc.collect()
            with contextlib.suppress(AttributeError, OSError, TypeError):
                ctypes.CDLL(None).malloc_trim(0)

    def _late(self) -> RequestError:
        return RequestError(504, f"It took longer than {self.limits.seconds:g} seconds, the limit. Try again later.")


def _few_arenas() -> None:
    """Have glibc serve all threads from few heaps: each keeps what was freed in it. Other systems do not know this."""
    if os.environ.get("MALLOC_ARENA_MAX") is None:
        with contextlib.suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).mallopt(_ARENAS, 2)
