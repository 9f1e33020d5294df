"""How the learning rate goes over a training: functions of the progress made, so that nothing has to be restored."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from basrelief.errors import UsageError, suggest, unknown_name
from basrelief.language import read_call


@dataclass(frozen=True)
class Progress:
    """Where a training is.

    Attributes
    ----------
    step, steps
        Steps behind, and all that are planned.
    epoch, epochs
        The same in epochs.
    scores
        What the finished epochs scored on validation, higher being better, a sequence for each stage of the training;
        None where an epoch gave no score.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    scores: Sequence[Sequence[float | None]] = ()


def constant(progress: Progress) -> float:  # noqa: ARG001
    """Return 1: the rate stays."""
    return 1.0


def step(progress: Progress, *, every: int | None = None, factor: float = 0.1) -> float:
    """Multiply by ``factor`` after each ``every`` epochs, or after each third of the steps where that is not given."""
    if every is None:
        return float(factor ** (3 * progress.step // progress.steps))
    return float(factor ** (progress.epoch // every))


def plateau(progress: Progress, *, patience: int = 2, factor: float = 0.1) -> float:
    """Multiply by ``factor`` when the validation score has not risen for more than ``patience`` epochs.

    A stage at another resolution has other scores, so there the counting begins anew; the rate stays.
    """
    rate = 1.0
    for stage in progress.scores:
        best, waited = -math.inf, 0
        for score in stage:
            if score is not None and score > best:
                best, waited = score, 0
                continue
            waited += 1
            if waited > patience:
                rate, waited = rate * factor, 0
    return rate


def one_cycle(progress: Progress, *, rise: float = 0.3, start: float = 25, final: float = 10_000) -> float:
    """Rise from 1/start over the share ``rise`` of the steps, then fall to 1/final, both along a cosine.

    L. N. Smith and N. Topin, "Super-convergence: very fast training of neural networks using large learning rates",
    2019. The rate asked for is the top.
    """
    top = max(1, round(rise * progress.steps))
    if progress.step < top:
        low, share = 1 / start, progress.step / top
    else:
        low, share = 1 / final, 1 - (progress.step - top) / max(1, progress.steps - top)
    return low + (1 - low) * (1 - math.cos(math.pi * share)) / 2


def cosine(progress: Progress, *, warmup: float = 0.05, final: float = 0.0) -> float:
    """Rise in a line over the share ``warmup`` of the steps, then fall to ``final`` along half a cosine.

    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without restarts.
    """
    rising = round(warmup * progress.steps)
    if progress.step < rising:
        return (progress.step + 1) / (rising + 1)
    share = (progress.step - rising) / max(1, progress.steps - rising)
    return final + (1 - final) * (1 + math.cos(math.pi * share)) / 2


class ScheduleSpec(NamedTuple):
    """A line of the table: the function, the smallest and largest value of each option, what it does."""

    function: Callable[..., float]
    ranges: dict[str, tuple[float, float]]
    summary: str


SCHEDULES: dict[str, ScheduleSpec] = {
    "constant": ScheduleSpec(constant, {}, "the rate stays"),
    "step": ScheduleSpec(
        step, {"every": (1, math.inf), "factor": (1e-9, 1)}, "times factor every so many epochs, or after each third"
    ),
    "plateau": ScheduleSpec(
        plateau, {"patience": (0, math.inf), "factor": (1e-9, 1)}, "times factor when validation stops improving"
    ),
    "one-cycle": ScheduleSpec(
        one_cycle, {"rise": (0, 1), "start": (1, math.inf), "final": (1, math.inf)}, "up to the rate and down again"
    ),
    "cosine": ScheduleSpec(cosine, {"warmup": (0, 1), "final": (0, 1)}, "a warm-up, then down along a cosine"),
}


def parse_schedule(text: str) -> Callable[[Progress], float]:
    """Return the function that a text such as ``"cosine(warmup=0.1)"`` names: from progress to a factor of the rate.

    Raises
    ------
    UsageError
        For an unknown name or option, or a value out of range.
    """
    name, options = read_call(text, "schedule")
    if name not in SCHEDULES:
        raise unknown_name("schedule", name, SCHEDULES)
    function, ranges, _ = SCHEDULES[name]
    for option, value in options.items():
        if option not in ranges:
            listed = ", ".join(f"{known}={default}" for known, default in schedule_options(name).items()) or "none"
            raise UsageError(
                f"The schedule {name} has no option {option!r}.{suggest(option, ranges)} Its options: {listed}."
            )
        low, high = ranges[option]
        whole = option in ("every", "patience")
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            limits = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
            raise UsageError(
                f"The schedule {name}: {option} is {value!r}; expected {'a whole' if whole else 'a'} number, {limits}."
            )
    return lambda progress: function(progress, **options)


def schedule_options(name: str) -> dict[str, Any]:
    """Return the options of a schedule with their defaults."""
    parameters = list(inspect.signature(SCHEDULES[name].function).parameters.values())[1:]
    return {parameter.name: parameter.default for parameter in parameters}
