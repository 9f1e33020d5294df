"""Which GPUs the trials of a study are spread over."""

from __future__ import annotations

import os

from basrelief.engine import processes

VISIBLE = "CUDA_VISIBLE_DEVICES"
Card = tuple[tuple[str, str], ...]  # environment variables of the processes that train on it


def cards_of(device: str) -> tuple[Card, ...]:
    """Return what each GPU's processes see, for what ``--device`` says; one empty card where there is one choice.

    A process sees its card alone, under the name ``cuda:0``, so that every trial's plan is the same. A number that
    was asked for (``cuda:1``) is that card and no other.
    """
    count = processes.gpus(device)
    if count < 2 or ":" in device:
        return ((),)
    named = os.environ.get(VISIBLE)
    names = [name.strip() for name in named.split(",")][:count] if named else [str(i) for i in range(count)]
    return tuple(((VISIBLE, name),) for name in names)
