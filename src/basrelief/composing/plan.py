"""Which background, foreground, mirroring and position each composite has, without a list of them all.

Backgrounds and foregrounds are divided into train, val and test first, and combined within each, so that no test
composite shows anything that training has seen. Every background gets the same number of composites, since layout B
pairs composites with backgrounds by counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from basrelief.data.source import SPLITS
from basrelief.errors import DataError, UsageError
from basrelief.seeding import stream

RANDOM = "random"


class Cell(NamedTuple):
    """One composite: numbers of its background and foreground, and how the figure is put there."""

    background: int
    foreground: int
    mirror: bool
    position: int
    split: str | None


@dataclass(frozen=True)
class Part:
    """The backgrounds used in one split, in order, and its foregrounds, shuffled. ``split`` None: not divided."""

    split: str | None
    backgrounds: tuple[int, ...]
    foregrounds: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """All composites, as numbers.

    Attributes
    ----------
    parts
        What is combined with what.
    each
        Composites of each background.
    mirrors, positions
        2 where figures are mirrored as well, else 1; positions asked for of each pair.
    """

    parts: tuple[Part, ...]
    each: int
    mirrors: int
    positions: int

    @property
    def count(self) -> int:
        """Number of composites."""
        return self.each * len(self.backgrounds)

    @property
    def backgrounds(self) -> list[int]:
        """Numbers of the backgrounds used, in order."""
        return sorted(number for part in self.parts for number in part.backgrounds)

    def places(self) -> dict[int, tuple[Part, int]]:
        """Return a background's number -> its part, and its rank there."""
        return {number: (part, rank) for part in self.parts for rank, number in enumerate(part.backgrounds)}

    def cell(self, background: int, place: tuple[Part, int], number: int) -> Cell:
        """Return composite ``number`` (below ``each``) of a background; ``place`` is that of ``places``.

        Neighbours show different figures, mirrored in turn, and backgrounds go on where the one before has ended, so
        that any part of the plan is spread over all figures, positions and both directions.
        """
        part, rank = place
        figures = len(part.foregrounds)
        ways = self.mirrors * max(self.positions, -(-self.each // (figures * self.mirrors)))
        turn, figure = divmod((rank * self.each + number) % (figures * ways), figures)
        position, mirror = divmod((turn + figure) % ways, self.mirrors)
        return Cell(background, part.foregrounds[figure], bool(mirror), position, part.split)


def make_plan(
    backgrounds: int,
    foregrounds: int,
    *,
    shares: Sequence[float] | None,
    mirror: bool = False,
    positions: int = 1,
    group_blocks: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[Plan, list[str]]:
    """Plan composites of so many backgrounds and foregrounds, and say what was decided.

    Parameters
    ----------
    backgrounds, foregrounds
        How many there are.
    shares
        Of train, val and test, adding up to 1; None: not divided.
    mirror
        Whether each figure is pasted mirrored as well.
    positions
        Of each pair, in the split that has most foregrounds. Splits with fewer get as many more positions as give
        every background the same number of composites.
    group_blocks
        Keep each of so many blocks of neighbouring backgrounds in one split, and leave out those within a tenth of a
        block from a border between splits.
    limit
        Composites at most: a part spread over backgrounds, foregrounds, positions and both directions.
    seed
        Of the division.

    Raises
    ------
    DataError
        If there are too few backgrounds or foregrounds to divide.
    UsageError
        If ``limit`` cannot give every split a composite.
    """
    notes: list[str] = []
    names: list[str | None] = [None]
    if shares is None:
        divided = [list(range(backgrounds))], [list(range(foregrounds))]
        notes.append(
            "Backgrounds and foregrounds are not divided (--split random), so every one of them may stand in train, "
            "val and test: scores are then flattered."
        )
    else:
        names = [name for name, share in zip(SPLITS, shares, strict=True) if share > 0]
        wanted = [share for share in shares if share > 0]
        blocks = min(group_blocks or backgrounds, backgrounds)
        units = _divide(blocks, wanted, names, "blocks of backgrounds" if group_blocks else "backgrounds", seed)
        block = np.arange(backgrounds) * blocks // backgrounds
        rows = [np.flatnonzero(np.isin(block, unit)).tolist() for unit in units]
        if group_blocks:
            rows, left = _without_borders(rows, backgrounds, blocks)
            notes.append(
                f"{blocks} blocks of neighbouring backgrounds are kept whole; {left} at their borders left out."
            )
        divided = rows, _divide(foregrounds, wanted, names, "foregrounds", seed)
    order = stream(seed, "compose foregrounds").permutation(foregrounds)
    place = np.argsort(order)
    parts = tuple(
        Part(name, tuple(back), tuple(sorted(front, key=lambda number: int(place[number]))))
        for name, back, front in zip(names, *divided, strict=True)
    )
    mirrors = 2 if mirror else 1
    each = max(len(part.foregrounds) for part in parts) * mirrors * positions
    total = sum(len(part.backgrounds) for part in parts)
    if limit is not None:
        if limit < len(parts):
            raise UsageError(
                f"--limit {limit} is too few: expected {len(parts)} or more, one for each of train, val, test."
            )
        there, total, each = total * each, *_fit(total, each, limit, len(parts))
        if total * each < min(limit, there):
            notes.append(
                f"{total * each} composites rather than {min(limit, there)}: {total} backgrounds with {each} "
                "each, since every background gets the same number."
            )
    used = _apportion(total, [len(part.backgrounds) for part in parts])
    parts = tuple(
        Part(
            part.split,
            tuple(part.backgrounds[i * len(part.backgrounds) // count] for i in range(count)),
            part.foregrounds,
        )
        for part, count in zip(parts, used, strict=True)
    )
    fewer = [part.split for part in parts if len(part.foregrounds) * mirrors * positions < each]
    if fewer:
        notes.append(
            f"Every background gets {each} composites. {' and '.join(map(str, fewer))} have fewer foregrounds than "
            f"train, so figures take more than {positions} position{'s' * (positions > 1)} there."
        )
    return Plan(parts, each, mirrors, positions), notes


def read_shares(text: str) -> tuple[float, float, float] | None:
    """Return "70/15/15" as shares that add up to 1, and None for "random".

    Raises
    ------
    UsageError
        If it is neither.
    """
    if text == RANDOM:
        return None
    try:
        train, val, test = (float(part) for part in text.split("/"))
    except ValueError:
        train = val = test = -1.0
    total = train + val + test
    if min(train, val, test) < 0 or not 0 < total < float("inf"):
        raise UsageError(f"--split {text!r}: expected shares of train/val/test, such as 70/15/15, or random.")
    return train / total, val / total, test / total


def _divide(count: int, shares: Sequence[float], names: Sequence[object], what: str, seed: int) -> list[list[int]]:
    """Divide numbers at random by shares, one at least for each."""
    if count < len(shares):
        listed = " and ".join(map(str, names)).replace(" and ", ", ", len(names) - 2)
        raise DataError(
            f"Number of {what}: {count}; {listed} need at least one each, so {len(shares)} or more are needed. Add "
            "some, leave a split out (--split 80/0/20), or do not divide (--split random; scores are then flattered)."
        )
    order = stream(seed, f"compose {what.rpartition(' ')[2]} split").permutation(count).tolist()
    ends = np.cumsum(_apportion(count, shares)).tolist()
    return [sorted(order[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def _apportion(count: int, weights: Sequence[float]) -> list[int]:
    """Share out ``count`` by weights, largest remainders first, one at least for each (Hamilton's method)."""
    exact = np.asarray(weights, np.float64) * count / np.sum(weights)
    result = np.maximum(np.floor(exact + 1e-9), 1)
    while result.sum() != count:
        step = 1 if result.sum() < count else -1
        result[np.argmax(step * (exact - result) - 1e9 * (result + step < 1))] += step
    return [int(part) for part in result]


def _fit(backgrounds: int, each: int, limit: int, parts: int) -> tuple[int, int]:
    """Return how many backgrounds, and composites of each, make most of a limit with two thirds of the backgrounds."""
    if backgrounds * each <= limit:
        return backgrounds, each
    fewest = max(parts, -(-2 * backgrounds // 3))
    if limit < backgrounds:
        return limit, 1
    candidates = [(used * min(each, limit // used), used) for used in range(fewest, backgrounds + 1)]
    most, used = max(candidates)
    return used, most // used


def _without_borders(rows: list[list[int]], count: int, blocks: int) -> tuple[list[list[int]], int]:
    """Leave out what lies within a tenth of a block (at least one) of a border between splits, if something is left."""
    split_of = {number: split for split, numbers in enumerate(rows) for number in numbers}
    margin = max(1, round(count / blocks / 10))
    borders = [number for number in range(1, count) if split_of[number] != split_of[number - 1]]
    near = {number for border in borders for number in range(border - margin, border + margin)}
    kept = [[number for number in numbers if number not in near] for numbers in rows]
    return (kept, count - sum(map(len, kept))) if all(kept) else (rows, 0)
