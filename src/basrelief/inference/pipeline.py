"""Reading, computing and writing at the same time, in order and with little in memory.

Pillow and file systems let other threads work, so threads suffice: some read and shrink pictures ahead, the caller's
own thread runs the network on batches, others bring results to their size and write them.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from basrelief.errors import DataError
from basrelief.inference.backgrounds import Backgrounds
from basrelief.inference.inputs import Picture
from basrelief.inference.planes import Facts, Planes, collect, planes_of
from basrelief.inference.predictor import Predictor
from basrelief.parallel import cores

BATCH = 16
PIXELS = 100_000_000  # of all pictures in flight together; a larger one travels alone
_LARGE = 8_000_000  # pixels, from which on a result is made in bands
_FLYING = 5 * BATCH  # pictures at most that are read, computed and written at a time
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
class _Flight(Generic[Result]):
    """A picture on its way: first it is read, then written. One that needs neither is passed on."""

    picture: Picture
    pixels: int
    reading: Future[_Read] | None
    writing: Future[Result] | None = None
    failed: DataError | None = None


def predict_pictures(
    predictor: Predictor,
    pictures: Iterable[Picture],
    backgrounds: Backgrounds,
    facts: Facts,
    wanted: frozenset[str],
    write: Callable[[Picture, Planes], Result],
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

    Yields
    ------
    picture, result
        A DataError where a picture cannot be read. Whatever ``write`` raises ends all.
    """
    threads = max(2, min(8, cores()))
    readers, writers = ThreadPoolExecutor(threads), ThreadPoolExecutor(threads)
    shrink_background = _remembering(predictor.shrink)

    def read(picture: Picture) -> _Read:
        image, background = picture.read(), backgrounds(picture)
        size = (image.shape[0], image.shape[1])
        if predictor.tiled(size) or size[0] * size[1] > _LARGE:
            return _Read(image, background, None, None)
        return _Read(
            image, None, predictor.shrink(image), None if background is None else shrink_background(background)
        )

    def finish(picture: Picture, heads: dict[str, Tensor], image: np.ndarray) -> Result:
        return write(picture, planes_of(predictor.finish(heads, image), facts, wanted))

    unread: deque[_Flight[Result]] = deque()
    unwritten: deque[_Flight[Result]] = deque()
    listed = _ahead(((picture, picture.pixels()) for picture in pictures), _LISTED)
    try:
        coming = next(listed, None)
        while coming or unread or unwritten:
            held = sum(flight.pixels for flight in (*unread, *unwritten))
            count = len(unread) + len(unwritten)
            while coming and count < _FLYING and (held + coming[1] <= PIXELS or not count):
                picture, pixels = coming
                reading = None if picture.source is None else readers.submit(read, picture)
                unread.append(_Flight(picture, pixels, reading))
                held, count, coming = held + pixels, count + 1, next(listed, None)
            if unread:
                batch, images = _next_batch(unread)
                if images and images[0].small is None:
                    bands = predictor.bands(images[0].image, images[0].background)
                    planes = collect(bands, images[0].image, facts, wanted)
                    batch[-1].writing = writers.submit(write, batch[-1].picture, planes)
                    del planes
                elif images:
                    heads = _compute(predictor, images)
                    flights = [flight for flight in batch if flight.reading]
                    for number, (flight, found) in enumerate(zip(flights, images, strict=True)):
                        own = {head: values[number] for head, values in heads.items()}
                        flight.writing = writers.submit(finish, flight.picture, own, found.image)
                for flight in batch:
                    flight.reading = None
                del images
                unwritten += batch
            first = True
            while unwritten and (_is_done(unwritten[0]) or len(unwritten) > 2 * BATCH or (first and not unread)):
                flight = unwritten.popleft()
                first = False
                yield flight.picture, flight.failed or (flight.writing.result() if flight.writing else None)
    finally:
        for pool in (readers, writers):
            pool.shutdown(wait=True, cancel_futures=True)
        listed.close()


def _next_batch(unread: deque[_Flight[Result]]) -> tuple[list[_Flight[Result]], list[_Read]]:
    """Take a batch's flights from the queue, and what was read for them; one that is predicted in bands is alone."""
    batch: list[_Flight[Result]] = []
    images: list[_Read] = []
    while unread and len(images) < BATCH:
        flight = unread[0]
        if flight.reading:
            try:
                found = flight.reading.result()
            except DataError as error:
                flight.failed, flight.reading = error, None
            else:
                if found.small is None and images:
                    break
                images.append(found)
        batch.append(unread.popleft())
        if images and images[-1].small is None:
            break
    return batch, images


def _compute(predictor: Predictor, images: list[_Read]) -> dict[str, Tensor]:
    """Run the network on a batch. One picture alone is doubled: a batch of one is computed in other ways, whose last
    bits differ, and what is written should not depend on which pictures were there before.
    """
    pictures = images * 2 if len(images) == 1 else images
    behind = [found.small_background for found in pictures if found.small_background is not None]
    stack = torch.from_numpy(np.stack([found.small for found in pictures if found.small is not None]))
    return predictor.network(stack, torch.from_numpy(np.stack(behind)) if behind else None)


def _is_done(flight: _Flight[Result]) -> bool:
    return flight.writing is None or flight.writing.done()


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
