"""What very large pictures need besides: memory that is really given back."""

from __future__ import annotations

import ctypes
import sys

LARGE = 8_000_000  # pixels, from which on a result is made in bands


def give_back() -> None:
    """Have the C library return what was freed: it would keep what Pillow held of a very large picture."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
        if trim is not None:
            trim(0)
