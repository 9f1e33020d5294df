"""The largest batch that fits: tried on a GPU, counted on a CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from basrelief.data.store import Store
from basrelief.engine.bare_step import BareSteps, as_found
from basrelief.engine.memory import available_bytes, count_needs, is_out_of_memory
from basrelief.engine.run_plan import RunPlan
from basrelief.errors import TrainingError, UsageError

MARGIN = 0.9  # of what fits, as evaluation, other losses and other programs want memory too


def largest_batch(plan: RunPlan, store: Store, rows: np.ndarray) -> int:
    """Return the largest batch that can be trained on the plan's device, at most all of ``rows``.

    On a GPU real steps are made, of twice as many samples until memory runs out, then between. On a CPU, which would
    be driven to its end by that, the need is counted and compared with the free memory.

    Raises
    ------
    TrainingError
        When not even one sample fits.
    UsageError
        When the network's memory cannot be counted.
    """
    if plan.machine.device.startswith("cuda"):
        fits = _by_trial(plan, store, rows)
    else:
        needs = count_needs(plan, store)
        if needs is None:
            raise UsageError(f"--batch-size max: {plan.settings.network} cannot be counted. Give a number.")
        fits = needs.largest(round(MARGIN * available_bytes(plan.machine.device)))
    if fits < 1:
        raise TrainingError(
            f"--batch-size max: not even one sample fits {plan.machine.device}. Use a smaller --resolution or network."
        )
    return min(fits, len(rows))


def largest_that(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to ``most`` for which ``fits`` is true, 0 for none; above it, it must be false."""
    low, high = 0, 1
    while high < most and fits(high):
        low, high = high, min(2 * high, most)
    if high == most and fits(most):
        return most
    while high - low > max(1, low // 16):  # nearer than the margin is of no use
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _by_trial(plan: RunPlan, store: Store, rows: np.ndarray) -> int:  # pragma: no cover - needs a GPU
    with as_found(plan.machine.device):
        bare = BareSteps(plan, store, rows)

        def fits(samples: int) -> bool:
            try:
                bare.seconds(plan.machine, samples)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                return False
            finally:
                bare.forget_batches()
                torch.cuda.empty_cache()
            return True

        found = largest_that(fits, len(rows))
        return found if found == len(rows) else int(MARGIN * found)
