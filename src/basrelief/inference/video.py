"""Frames of a video file, decoded one after the other as they are needed."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.data.data_file import FileError
from basrelief.errors import MissingExtraError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".mts", ".ts"}
)
_SHORT = 0.02  # share of frames that may be missing: what containers note is an estimate in some of them


def require_reader() -> None:
    """Raise MissingExtraError where the package that decodes videos is not installed."""
    if importlib.util.find_spec("cv2") is None:
        raise MissingExtraError("opencv-python-headless", "video", "Reading videos")


def count_frames(path: Path) -> int:
    """Return the number of frames as the file notes it; 0 where it does not, or cannot be opened."""
    video = _open(path)
    try:
        return _noted(video)
    finally:
        video.release()


def read_frames(
    path: Path, every: int = 1, leave_out: Callable[[int], bool] = lambda _number: False
) -> Iterator[tuple[int, np.ndarray | None]]:
    """Yield (number, frame) of every ``every``-th frame from 0 on, uint8 (H, W, 3), turned as the file says.

    A frame that is to be left out is None: it is passed without being converted.

    Raises
    ------
    FileError
        After the last frame that can be decoded, when the file is no video or is cut short.
    """
    video = _open(path)
    try:
        if not video.isOpened():
            raise FileError(str(path), "is no video, or is truncated or damaged", "Copy the file again, or remove it")
        number = 0
        while video.grab():
            if number % every == 0:
                if leave_out(number):
                    yield number, None
                else:
                    whole, frame = video.retrieve()
                    if not whole:
                        break
                    yield number, np.ascontiguousarray(frame[..., ::-1])  # it comes as blue, green, red
            number += 1
        noted = _noted(video)
        if number == 0 or number < noted - max(2, int(_SHORT * noted)):
            raise FileError(
                str(path), f"is truncated or damaged: it ends after {number} of {noted} frames", "Copy the file again"
            )
    finally:
        video.release()


def _open(path: Path) -> Any:
    # OpenCV and FFmpeg print what they stumble over; our own message names the file.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2 = importlib.import_module("cv2")
    cv2.setLogLevel(0)
    return cv2.VideoCapture(str(path))


def _noted(video: Any) -> int:
    count = video.get(importlib.import_module("cv2").CAP_PROP_FRAME_COUNT) if video.isOpened() else 0
    return int(count) if 0 < count < 1e9 else 0  # a stream's is negative or absurd
