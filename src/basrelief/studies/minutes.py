"""``--minutes``: which plan fits a time, and what it gives up or adds. Choices alone; nothing is measured here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

FILL = 0.97  # of the time is planned for, since something always comes in between
OVER = 1.1  # times the time asked for: what a study may take before it gives something up
FEWEST_SEEDS, MOST_SEEDS = 3, 10  # of a plan; the interval of fewer says nothing
MOST_EPOCHS = 3  # times those that plan_study chooses
SMALLEST = 64  # pixels of the longer side, below which the resolution is not lowered
FEWEST_LOSSES = 2
FREE = ("losses", "seeds", "epochs", "resolution")  # what may be planned where it was left open


@dataclass(frozen=True)
class Choice:
    """The size of a study: numbers of losses (or levels), seeds and epochs, and (height, width) in pixels."""

    losses: int
    seeds: int
    epochs: int
    resolution: tuple[int, int]

    def __str__(self) -> str:
        height, width = self.resolution
        counted = (_count(self.losses, "loss", "losses"), _count(self.seeds, "seed"), _count(self.epochs, "epoch"))
        return f"{' x '.join(counted)} at {height}x{width}"


def list_choices(
    ideal: Choice, free: Collection[str], smaller: Sequence[tuple[int, int]] = (), *, grows: bool = True
) -> list[Choice]:
    """Return the sizes that a study may have, the most wanted first.

    Above the ideal are more epochs, up to three times as many, and then more seeds. Below it are, in this order, fewer
    epochs down to half; lower resolutions; epochs down to a quarter; 4 and 3 seeds; two losses. What is not ``free``
    stays as it is in all of them.

    Parameters
    ----------
    ideal
        What is planned where time does not matter.
    free
        Names of ``FREE``.
    smaller
        The lower resolutions that may be used, the highest first.
    grows
        Whether seeds may be added.
    """
    seeds_free, epochs_free = "seeds" in free, "epochs" in free
    most = MOST_EPOCHS * ideal.epochs if epochs_free else ideal.epochs
    half, quarter = (max(1, math.ceil(ideal.epochs / part)) if epochs_free else ideal.epochs for part in (2, 4))
    at = dataclasses.replace
    found: list[Choice] = []
    if seeds_free and grows:
        for seeds in range(MOST_SEEDS, ideal.seeds, -1):
            # Fewer epochs than with a seed less would fit would be a poor exchange.
            fewest = math.ceil(most * (seeds - 1) / seeds) if epochs_free else most
            found += [at(ideal, seeds=seeds, epochs=epochs) for epochs in range(most, fewest - 1, -1)]
    found += [at(ideal, epochs=epochs) for epochs in range(most, half - 1, -1)]
    last = ideal
    for resolution in smaller if "resolution" in free else ():
        last = at(ideal, resolution=resolution)
        # A quarter of the pixels may leave time for more epochs than the ideal.
        longest = 2 * ideal.epochs if epochs_free else ideal.epochs
        found += [at(last, epochs=epochs) for epochs in range(longest, half - 1, -1)]
    found += [at(last, epochs=epochs) for epochs in range(half - 1, quarter - 1, -1)]
    if seeds_free:
        for seeds in range(ideal.seeds - 1, FEWEST_SEEDS - 1, -1):
            last = at(last, seeds=seeds)
            found += [at(last, epochs=epochs) for epochs in range(half, quarter - 1, -1)]
    if "losses" in free and ideal.losses > FEWEST_LOSSES:
        last = at(last, losses=FEWEST_LOSSES)
        found += [at(last, epochs=epochs) for epochs in range(half, quarter - 1, -1)]
    return found


def choose_size(choices: Sequence[Choice], estimate: Callable[[Choice], float], seconds: float) -> Choice | None:
    """Return the most wanted choice that fits, or None.

    So with more time the plan never is a lesser one, nor one that takes less.
    """
    return next((choice for choice in choices if estimate(choice) <= FILL * seconds), None)


def halves(resolution: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the resolutions of half, a quarter, … the sides, in multiples of 16, down to 64 px on the longer side."""
    found: list[tuple[int, int]] = []
    height, width = resolution
    while max(height, width) >= 2 * SMALLEST:
        height, width = height / 2, width / 2  # type: ignore[assignment]
        found.append((_sixteens(height), _sixteens(width)))
    return found


def describe_choice(choice: Choice, ideal: Choice, asked: float, takes: float, levels: str = "losses") -> list[str]:
    """Return the plan in sentences: what it is, and what it gave up or has more of than one without a time.

    ``asked`` and ``takes`` are minutes.
    """
    named = str(choice).replace("losses", levels) if choice.losses > 1 else str(choice)
    over = f", a little more than the {asked:g} asked for" if takes > asked else f" of {asked:g}"
    said = [f"Time: {named}, some {takes:.2g} minutes{over}, with packing, searches and report."]
    lost, won = [], []
    for name in ("epochs", "seeds", "losses"):
        before, now = getattr(ideal, name), getattr(choice, name)
        if now < before:
            lost.append(f"{before - now} of {before} {levels if name == 'losses' else name}")
        elif now > before:
            won.append(f"{now} {name} in place of {before}")
    if choice.resolution != ideal.resolution:
        lost.insert(1 if lost else 0, "the resolution {}x{}".format(*ideal.resolution))
    if lost:
        said.append(f"Given up for that: {', '.join(lost)}.")
    if won:
        said.append(f"Time was left for more: {', '.join(won)}.")
    return said


def refusal(asked: float, choice: Choice, takes: float, given: Sequence[str], levels: str = "losses") -> str:
    """Return why no plan fits, and what would; ``asked`` and ``takes`` are minutes, ``given`` what was not free."""
    named = str(choice).replace("losses", levels) if choice.losses > 1 else str(choice)
    enough = math.ceil(10 * takes / FILL) / 10 if takes < 10 else math.ceil(takes / FILL)
    what = "What was asked for" if given else "The smallest study that says anything"
    options = " or ".join(f"--{name}" for name in given)
    instead = f"; or give less with {options}, or leave it open" if given else ""
    return (
        f"--minutes {asked:g}: {what} ({named}) takes some {takes:.2g} minutes here. Give --minutes {enough:g}"
        f"{instead}; fewer images (--limit) or a smaller network take less, too."
    )


def seeds_in_time(planned: int, begun: int, seconds: Callable[[int], float], limit: float, *, grows: bool) -> int:
    """Return how many seeds a study that is under way should have: dropped where it is late, added where it is early.

    Parameters
    ----------
    planned
        As of now.
    begun
        Those of which a trial has begun, which are not dropped.
    seconds
        Of the whole study with so many seeds, what is behind included.
    limit
        Seconds asked for.
    grows
        Whether seeds may be added.
    """
    # This looks at the clock alone and never at a score: a study that stops where its scores please would be biased.
    seeds = planned
    while seeds > max(begun, FEWEST_SEEDS) and seconds(seeds) > OVER * limit:
        seeds -= 1
    if seeds < planned or not grows:
        return seeds
    while seeds < MOST_SEEDS:
        without, with_one = seconds(seeds), seconds(seeds + 1)
        if with_one > OVER * limit or with_one - limit > limit - without:  # further from the time than without it
            break
        seeds += 1
    return seeds


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def _sixteens(side: float) -> int:
    return max(16, round(side / 16) * 16)
