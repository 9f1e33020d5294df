"""Reading, computing and writing at the same time, in order and with little in memory.

Pillow, torch and file systems let other threads work, so threads suffice: some read and shrink pictures ahead, some run
the network on batches, some bring results to their size and write them.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from basrelief.errors import DataError
from basrelief.inference.backgrounds import Backgrounds
from basrelief.inference.inputs import Picture
from basrelief.inference.memory import LARGE, give_back
from basrelief.inference.planes import Facts, Planes, collect, planes_of
from basrelief.inference.predictor import Predictor
from basrelief.parallel import cores

BATCH = 16
PIXELS = 100_000_000  # of all pictures in flight together; a larger one travels alone
_FLYING = 5 * BATCH  # pictures at most that are read, computed and written at a time
_COMPUTING = 4  # batches at most that are computed at a time
_LISTED = 8  # pictures that wait for that; frames of a video are decoded by then, so few
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Read:
    """A picture and what the network gets of it; the latter is None where it is predicted in bands."""

    image: np.ndarray
    background: np.ndarray | None
    small: np.ndarray | None
    small_background: np.ndarray | None


@dataclass
class _Flight:
    """A picture on its way to the network; one that need not be read is passed on."""

    picture: Picture
    pixels: int
    reading: Future[_Read] | None


@dataclass
class _Batch(Generic[Result]):
    """Pictures that go to the network together, and what becomes of each: a result to come, or why there is none."""

    flights: list[_Flight]
    work: Future[list[Future[Result] | DataError | None]]


def predict_pictures(
    predictor: Predictor,
    pictures: Iterable[Picture],
    backgrounds: Backgrounds,
    facts: Facts,
    wanted: frozenset[str],
    write: Callable[[Picture, Planes], Result],
    scratch: Path,
) -> Iterator[tuple[Picture, Result | DataError | None]]:
    """Predict pictures and write what is said of them; yield each, in order, with what ``write`` returned.

    Parameters
    ----------
    pictures
        Asked for in a thread of their own, a few ahead. One without a source is passed on with None.
    backgrounds
        Finds the background of a picture.
    facts, wanted
        See ``planes.collect``.
    write
        Called by several threads.
    scratch
        A folder for what of a very large picture is too much for memory.

    Yields
    ------
    picture, result
        A DataError where a picture cannot be read. Whatever ``write`` raises ends all.
    """
    own_threads = torch.get_num_threads()
    # Each batch has a thread or few: threads that share every layer wait for each other, by spinning, whenever readers
    # and writers need a core.
    computing = min(_COMPUTING, own_threads)
    readers = _pool(max(2, min(8, cores())))
    computers = _pool(computing, own_threads // computing)
    writers = _pool(2 * max(2, min(8, cores())))  # which wait for the disk most of the time
    shrink_background = _remembering(predictor.shrink)

    def read(picture: Picture) -> _Read:
        image = picture.read()
        size = (image.shape[0], image.shape[1])
        is_large = size[0] * size[1] > LARGE
        if is_large:
            give_back()
        background = backgrounds(picture)
        if is_large and background is not None:
            give_back()
        if predictor.tiled(size) or is_large:
            return _Read(image, background, None, None)
        return _Read(
            image, None, predictor.shrink(image), None if background is None else shrink_background(background)
        )

    def finish(picture: Picture, heads: dict[str, Tensor], image: np.ndarray) -> Result:
        return write(picture, planes_of(predictor.finish(heads, image), facts, wanted))

    def compute(flights: list[_Flight]) -> list[Future[Result] | DataError | None]:
        found = [_what_was_read(flight) for flight in flights]
        for flight in flights:
            flight.reading = None  # or it would hold the background of a very large picture until that is written
        images = [one for one in found if isinstance(one, _Read)]
        if not images:
            return [one for one in found if not isinstance(one, _Read)]
        if images[0].small is None:
            bands = predictor.bands(images[0].image, images[0].background)
            planes = collect(bands, images[0].image, facts, wanted, scratch)
            return [
                writers.submit(write, flight.picture, planes) if isinstance(one, _Read) else one
                for flight, one in zip(flights, found, strict=True)
            ]
        heads = _ask(predictor, images)
        parts = iter([{head: values[number] for head, values in heads.items()} for number in range(len(images))])
        return [
            writers.submit(finish, flight.picture, next(parts), one.image) if isinstance(one, _Read) else one
            for flight, one in zip(flights, found, strict=True)
        ]

    unread: deque[_Flight] = deque()
    batches: deque[_Batch[Result]] = deque()
    listed = _ahead(((picture, picture.pixels()) for picture in pictures), _LISTED)
    held = count = 0
    try:
        coming = next(listed, None)
        while coming or unread or batches:
            while coming and count < _FLYING and (held + coming[1] <= PIXELS or not count):
                picture, pixels = coming
                reading = None if picture.source is None else readers.submit(read, picture)
                unread.append(_Flight(picture, pixels, reading))
                held, count, coming = held + pixels, count + 1, next(listed, None)
            while unread and len(batches) < computing + 2:
                flights, is_alone = _next_batch(unread, computing)
                if is_alone and not unread and not batches:  # nobody else needs the cores
                    work: Future[list[Future[Result] | DataError | None]] = Future()
                    work.set_result(compute(flights))
                else:
                    work = computers.submit(compute, flights)
                batches.append(_Batch(flights, work))
                del flights
            batch = batches.popleft()
            for flight, result in zip(batch.flights, batch.work.result(), strict=True):
                held, count = held - flight.pixels, count - 1
                yield flight.picture, result.result() if isinstance(result, Future) else result
    finally:
        for pool in (readers, computers, writers):
            pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(own_threads)  # for threads that start from now on; this one never had another number
        listed.close()


def _pool(threads: int, each: int = 1) -> ThreadPoolExecutor:
    """Return threads of which each computes with so many of torch's own."""
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(each,))


def _next_batch(unread: deque[_Flight], computing: int) -> tuple[list[_Flight], bool]:
    """Take a batch from the queue, and tell whether it is one picture; what is predicted in bands is alone.

    What is left at the end is shared among those who compute.
    """
    most = min(BATCH, -(-len(unread) // computing))
    flights: list[_Flight] = []
    count = 0
    while unread and count < most:
        found = _what_was_read(unread[0])
        in_bands = isinstance(found, _Read) and found.small is None
        if in_bands and count:
            break
        flights.append(unread.popleft())
        count += isinstance(found, _Read)
        if in_bands:
            break
    return flights, count == 1


def _what_was_read(flight: _Flight) -> _Read | DataError | None:
    if flight.reading is None:
        return None
    try:
        return flight.reading.result()
    except DataError as error:
        return error


def _ask(predictor: Predictor, images: list[_Read]) -> dict[str, Tensor]:
    behind = [found.small_background for found in images if found.small_background is not None]
    stack = torch.from_numpy(np.stack([found.small for found in images if found.small is not None]))
    return predictor.network(stack, torch.from_numpy(np.stack(behind)) if behind else None)


def _remembering(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function, which need not be called again for the array that it was called with last."""
    last: tuple[np.ndarray, np.ndarray] | None = None

    def called(array: np.ndarray) -> np.ndarray:
        nonlocal last
        known = last
        if known is None or known[0] is not array:
            last = known = (array, function(array))
        return known[1]

    return called


def _ahead(items: Iterable[Item], count: int) -> Generator[Item]:
    """Yield the items, which a thread asks for, at most ``count`` ahead."""
    waiting: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(count)
    stop = threading.Event()

    def put(item: tuple[Item] | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def ask() -> None:
        try:
            for item in items:
                put((item,))
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        while (found := waiting.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found[0]
    finally:
        stop.set()
        thread.join()
