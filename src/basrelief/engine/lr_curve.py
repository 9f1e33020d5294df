"""The curve of a learning-rate range test: made smooth, watched for the point where it breaks, and read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 20  # steps of a test that can be read
MEMORY = 0.06  # of a test's steps: over so many a loss is averaged
START = 0.05  # of a test's steps: their mean is the loss before training
CLEAR = 2.5  # a fall by so many deviations of single batches is training
APART = 10.0  # suggestions of equal tests that differ by more are a guess
# How much of the way down is left at a good rate; measured, see docs/lr-range.md. A step of Adam is as long as the rate
# says, whatever the gradient: what a network bears after a gentle beginning is too much for the first steps of a
# training. A step of SGD is as long as the gradient says, and most of the way lies at rates that are merely too small.
LEVELS = {"adamw": 0.5, "adam": 0.5, "sgd": 0.2}
NAMES = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}
RISE = 0.9  # of its fall, which even a loss that cannot exceed its start makes again
NOISE = 6.0  # a rise by so many deviations of single batches is no accident


@dataclass(frozen=True)
class Suggestion:
    """What a curve says: ``rate`` (None: nothing), why, and the rates where it was lowest and where it diverged."""

    rate: float | None
    reason: str
    lowest_at: float | None
    diverged_at: float | None


class LrCurve:
    """Losses of steps whose learning rate grows, smoothed as they come.

    Smoothed is an exponential mean with the correction of its bias (D. P. Kingma and J. Ba, "Adam", 2015, section 3).
    Such a mean lags behind, so the rates are averaged likewise, along their logarithm: a smoothed loss belongs to the
    mean rate of the very steps that it averages.

    A loss may be negative or of any scale, so a multiple of its lowest value would say nothing. Everything is measured
    against how far it fell: it has **diverged** once the smoothed loss has risen from its lowest point by ``RISE`` of
    all it had fallen before, and by ``NOISE`` times what neighbouring batches differ by; or when it is not finite.

    Parameters
    ----------
    steps
        How many steps there will be at most.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float | None] = []
        self.smoothed_rates: list[float] = []
        self.diverged = False
        self._first = max(3, round(START * steps))
        self._keep = 1 - 1 / max(2.0, MEMORY * steps)
        self._sums = np.zeros(3)  # of losses, of logarithms of rates, and of their weights

    def add(self, rate: float, loss: float) -> None:
        """Take notice of a step."""
        self.rates.append(rate)
        self.losses.append(loss)
        finite = math.isfinite(loss)
        self._sums = self._keep * self._sums + (1 - self._keep) * np.array([loss if finite else 0, math.log(rate), 1])
        self.smoothed.append(float(self._sums[0] / self._sums[2]) if finite else None)
        self.smoothed_rates.append(math.exp(self._sums[1] / self._sums[2]))
        self.diverged = self.diverged or not finite or self._has_risen()

    @property
    def start(self) -> float:
        """The loss before training: the mean of the first steps, whose rates are too small to matter."""
        return float(np.mean(self._finite()[: self._first]))

    @property
    def noise(self) -> float:
        """What batches differ by, as a standard deviation: from the median step between neighbours."""
        steps = np.abs(np.diff(self._finite()))
        return float(np.median(steps) / 0.6745 / math.sqrt(2)) if len(steps) else 0.0

    def _finite(self) -> np.ndarray:
        return np.array([loss for loss in self.losses if math.isfinite(loss)])

    def _has_risen(self) -> bool:
        known = [value for value in self.smoothed if value is not None]
        if len(known) < FEWEST // 2:
            return False
        start, lowest = self.start, min(known[self._first :])
        return known[-1] - lowest > max(RISE * (start - lowest), NOISE * self.noise, 1e-6 * abs(start))

    def suggest(self, optimizer: str) -> Suggestion:
        """Read the curve of a test that has ended.

        The rate is that at which the smoothed loss, on its way from the start down to its lowest point, was last above
        a level that depends on the optimizer: see ``LEVELS``.
        """
        rates = [rate for rate, value in zip(self.smoothed_rates, self.smoothed, strict=True) if value is not None]
        known = np.array([value for value in self.smoothed if value is not None])
        diverged_at = self.rates[-1] if self.diverged else None
        if len(known) < FEWEST // 2:
            why = f"The loss diverged at once, at {self.rates[-1]:.2g}. Begin lower, with --lr-min."
            return Suggestion(None, why, None, diverged_at)
        place = self._first + int(known[self._first :].argmin())  # the first ones are their batches' luck
        start, lowest, lowest_at = self.start, float(known[place]), rates[place]
        drop = start - lowest
        if not drop > max(CLEAR * self.noise, 1e-6 * abs(start)):
            why = (
                f"The loss never fell clearly: from {start:.3g} to {lowest:.3g} at best, where single batches differ "
                f"by {self.noise:.2g}."
            )
            more = "Begin lower, with --lr-min." if self.diverged else "Go higher, with --lr-max, or make more --steps."
            return Suggestion(None, f"{why} {more}", lowest_at, diverged_at)
        left = LEVELS.get(optimizer, 0.5)
        level = lowest + left * drop
        above = np.flatnonzero(known[: place + 1] > level)
        last = int(above[-1]) if len(above) else 0
        share = 0.0 if known[last] <= level else float((known[last] - level) / (known[last] - known[last + 1]))
        rate = rates[last] * (rates[last + 1] / rates[last]) ** share if last < place else rates[last]
        rate = float(f"{rate:.2g}")
        why = (
            f"At this rate the loss had made {1 - left:.0%} of its way down from {start:.3g} to "
            f"{lowest:.3g} (lowest at {lowest_at:.2g}{f', diverged at {diverged_at:.2g}' if diverged_at else ''}), "
            f"which is where {NAMES.get(optimizer, optimizer)} trains well."
        )
        if not self.diverged and place == len(known) - 1:
            why += f" It was still falling at the end, {self.rates[-1]:.2g}: a higher --lr-max may find more."
        elif last == 0:
            why += " That is the beginning of the test: a lower --lr-min may find less."
        return Suggestion(rate, why, lowest_at, diverged_at)


def agree(found: Sequence[Suggestion]) -> tuple[float | None, str]:
    """Return the rate that several tests suggest together, and why: the median along a logarithmic scale.

    Where fewer than half of the tests suggest any, there is none.
    """
    if len(found) == 1:
        return found[0].rate, found[0].reason
    rates = [one.rate for one in found if one.rate is not None]
    if 2 * len(rates) < len(found):
        first = next(one.reason for one in found if one.rate is None)
        return None, f"{len(found) - len(rates)} of {len(found)} tests found none. The first said: {first}"
    rate = float(f"{np.exp(np.median(np.log(rates))):.2g}")
    none = f"; {len(found) - len(rates)} found none" if len(rates) < len(found) else ""
    why = f"The median of {len(rates)} tests, which lie between {min(rates):.2g} and {max(rates):.2g}{none}."
    told = next(one for one in found if one.rate is not None)
    why += f" The first, {told.rate:g}: {told.reason[0].lower()}{told.reason[1:]}"
    if max(rates) > APART * min(rates):
        why += " They lie far apart, so it is a rough guess: longer tests (--steps) say more."
    return rate, why
