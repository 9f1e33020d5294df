"""What the server lets one request take, and how it refuses: one sentence and a status code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from basrelief.errors import BasreliefError, UsageError


class RequestError(BasreliefError):
    """A request that is refused.

    Attributes
    ----------
    status
        The HTTP status code.
    message
        A sentence for the person who asked.
    headers
        Further headers of the answer, such as ``Retry-After``.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


@dataclass(frozen=True)
class Limits:
    """What one request may take.

    Attributes
    ----------
    max_bytes
        Of one uploaded file.
    max_pixels
        Of one picture; known from its header, before anything is decoded.
    queue
        Requests that are taken in at once, at work or waiting; the next one is asked to come back.
    seconds
        From the upload's end to the answer.
    """

    max_bytes: int = 32 << 20
    max_pixels: int = 40_000_000
    queue: int = 256
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for value, option in (
            (self.max_bytes, "--max-file"),
            (self.max_pixels, "--max-pixels"),
            (self.queue, "--queue"),
            (self.seconds, "--timeout"),
        ):
            if not 0 < value < float("inf"):
                raise UsageError(f"{option} {value}: expected a number above 0.")

    @property
    def memory(self) -> int:
        """Bytes of all uploads that are held at once, whoever sent them."""
        return 8 * self.max_bytes
