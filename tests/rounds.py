"""How often an attack is repeated: a few times within the whole suite, very often with ``pytest -m faults``."""

from __future__ import annotations

import pytest


def is_long(config: pytest.Config) -> bool:
    """Return whether the attacks were asked for by themselves, as ``pytest -m faults`` does."""
    return bool(config.option.markexpr == "faults")


def rounds(config: pytest.Config, short: int, long: int) -> int:
    """Return how often to repeat an attack."""
    return long if is_long(config) else short
