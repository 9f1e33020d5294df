"""A pickle's bytes, read from a stream in pieces, within limits."""

from __future__ import annotations

import struct
from typing import BinaryIO

from basrelief.data.plain_values import MAX_LENGTH, PickleRefused

MAX_READ = 4 * 1024**3
_CHUNK = 1024**2


class PickleInput:
    """What is left to read begins at ``buffer[at]``; there may be more in the stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.buffer, self.at, self.read = b"", 0, 0

    def fill(self, wanted: int) -> None:
        """Have at least so many bytes in the buffer, unless the stream ends before."""
        parts = [self.buffer[self.at :]]
        have = len(parts[0])
        while have < wanted and (part := self.stream.read(_CHUNK)):
            parts.append(part)
            have += len(part)
            self.read += len(part)
            if self.read > MAX_READ:
                raise PickleRefused(f"unpacks to more than {MAX_READ / 1024**3:g} GiB, the limit")
        self.buffer, self.at = b"".join(parts), 0

    def take(self, count: int) -> bytes:
        """Return the next bytes; raises EOFError if there are fewer."""
        if count > MAX_LENGTH or count < 0:
            raise PickleRefused(f"claims a string of {count:,} bytes; {MAX_LENGTH:,} is the limit")
        if len(self.buffer) - self.at < count:
            self.fill(count)
        data = self.buffer[self.at : self.at + count]
        if len(data) < count:
            raise EOFError
        self.at += count
        return data

    def line(self) -> bytes:
        """Return the bytes before the next line end, and go behind it."""
        end = self.buffer.find(b"\n", self.at)
        if end < 0:
            self.fill(4 * MAX_LENGTH)
            end = self.buffer.find(b"\n")
        if end < 0 and len(self.buffer) >= 4 * MAX_LENGTH:
            raise PickleRefused(f"claims a line of more than {4 * MAX_LENGTH:,} bytes, the limit")
        if end < 0:
            raise EOFError
        line, self.at = self.buffer[self.at : end], end + 1
        return line

    def number(self, layout: str) -> int:
        """Return the next whole number, in a layout of ``struct``."""
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])
