"""What the page keeps of a result, so that the threshold moves without the network: little, and not for long."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from basrelief.inference.planes import Planes
from basrelief.inference.spool import Spool
from basrelief.serving.page_pictures import shrink

DISPLAY = 1024  # the longer side of what the page shows, in pixels; files for download are full size
CAPACITY = 256 << 20  # bytes that all kept results together may take
KEEP = 1800  # seconds that files and results are kept


@dataclass(frozen=True)
class Visit:
    """What belongs to one visitor alone: the key of the result, if there is one, and the level of each class."""

    key: str | None
    levels: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """What the page shows of one image, and what it needs to compute the files once more at full size.

    Attributes
    ----------
    image
        uint8 (h, w, 3), made smaller for the page.
    probability
        float32 (K, h, w) at the same size; None without a mask.
    depth
        float32 (h, w) in the unit, at the same size; None without a depth.
    size
        (height, width) of the image itself.
    files
        What was uploaded: the image and, where the network takes one, the background.
    name
        The image's name without suffix, for the names of files.
    """

    image: np.ndarray
    probability: np.ndarray | None
    depth: np.ndarray | None
    size: tuple[int, int]
    files: tuple[Path, ...]
    name: str

    @property
    def nbytes(self) -> int:
        """Return the bytes of its arrays."""
        return sum(array.nbytes for array in (self.image, self.probability, self.depth) if array is not None)


def small_result(planes: Planes, files: tuple[Path, ...], name: str) -> Result:
    """Return what is kept of an image's ``probability`` and ``depth``."""
    probability, depth = planes.probability, planes.depth
    assert not isinstance(probability, Spool)  # arrays, since no folder was given to keep them in
    assert not isinstance(depth, Spool)
    return Result(
        image=shrink(planes.image, DISPLAY),
        probability=None if probability is None else np.stack([shrink(plane, DISPLAY) for plane in probability]),
        depth=None if depth is None else shrink(depth, DISPLAY),
        size=(planes.image.shape[0], planes.image.shape[1]),
        files=files,
        name=name,
    )


class Results:
    """The results of all visitors, each under a key that only its own session knows; the oldest make room."""

    def __init__(self, capacity: int = CAPACITY, now: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._now = now
        self._times: dict[str, float] = {}
        self._kept: OrderedDict[str, Result] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, result: Result) -> str:
        """Keep a result and return its key."""
        key = secrets.token_urlsafe()
        with self._lock:
            self._kept[key] = result
            self._times[key] = self._now()
            self._make_room()
        return key

    def get(self, key: str | None) -> Result | None:
        """Return a result; None where it had to make room, or nobody asked for it for long."""
        with self._lock:
            self._make_room()
            if key is None or key not in self._kept:
                return None
            self._kept.move_to_end(key)
            self._times[key] = self._now()
            return self._kept[key]

    def drop(self, key: str | None) -> None:
        """Forget a result."""
        with self._lock:
            self._forget(key or "")

    def _make_room(self) -> None:
        for key in [key for key, time_used in self._times.items() if self._now() - time_used > KEEP]:
            self._forget(key)
        while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > self._capacity:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: str) -> None:
        self._kept.pop(key, None)
        self._times.pop(key, None)
