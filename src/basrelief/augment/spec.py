"""What a step of augmentation is: a function with checked options, and the random numbers it is given."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

Kind = Literal["geometry", "colour", "cover"]


class Between(NamedTuple):
    """The values an option may have, both ends included."""

    low: float
    high: float


Share = Annotated[float, Between(0, 1)]


class Option(NamedTuple):
    """An option: its default, its type, and either the limits of a number or the words it may be."""

    default: Any
    kind: type
    limits: Between | None = None
    words: tuple[str, ...] = ()

    def takes(self, value: object) -> bool:
        """Tell whether ``value`` may stand here; whole numbers are numbers, truths are not."""
        if self.words:
            return value in self.words
        if self.kind is bool or isinstance(value, bool):
            return self.kind is bool and isinstance(value, bool)
        if not isinstance(value, int if self.kind is int else int | float) or not math.isfinite(value):
            return False
        return self.limits is None or self.limits.low <= value <= self.limits.high

    def __str__(self) -> str:
        """Say in words what it takes, such as "a number from 0 to 1"."""
        if self.words:
            return " or ".join(map(repr, self.words))
        if self.kind is bool:
            return "True or False"
        limits = f" from {self.limits.low:g} to {self.limits.high:g}" if self.limits else ""
        return ("a whole number" if self.kind is int else "a number") + limits


@dataclass(frozen=True)
class AugmentationSpec:
    """A line of the table.

    Attributes
    ----------
    function
        Called with ``Draws`` and the options; returns what the ``kind`` wants: a ``Move`` or ``Bend`` (geometry), a
        function of the picture (colour), a ``Cover`` (cover).
    kind
        "geometry" moves all planes, "colour" changes image and background, "cover" hides part of them.
    p
        The default probability with which a sample gets it.
    formula, summary, source
        One line each, for the documentation; ``source`` is empty where there is no more to cite than the formula.
    """

    function: Callable[..., Any]
    kind: Kind
    p: float
    formula: str
    summary: str
    source: str = ""

    @property
    def options(self) -> Mapping[str, Option]:
        """The options by name, the step's own before those that every step has."""
        hints = typing.get_type_hints(self.function, include_extras=True)
        own = list(inspect.signature(self.function).parameters.values())[1:]
        options = {parameter.name: _option(parameter.default, hints[parameter.name]) for parameter in own}
        options["p"] = Option(self.p, float, Between(0, 1))
        if self.kind == "colour":
            options["apart"] = Option(False, bool)
        return options


class Draws:
    """The random numbers of one step for one batch, drawn on the CPU, in an order that no option changes.

    Attributes
    ----------
    count, height, width
        Of the batch.
    applied
        bool (count,), whether each sample gets the step.
    """

    def __init__(self, rng: np.random.Generator, count: int, height: int, width: int, p: float) -> None:
        self.rng = rng
        self.count, self.height, self.width = count, height, width
        self.p = p
        self.applied = self.chance()

    def chance(self) -> np.ndarray:
        """Return bool (count,), True with the step's probability."""
        return self.rng.random(self.count) < self.p

    def between(self, low: float, high: float, otherwise: float) -> np.ndarray:
        """Return float64 (count,), even in [low, high], and ``otherwise`` for samples that do not get the step."""
        return np.where(self.applied, self.rng.uniform(low, high, self.count), otherwise)

    def seed(self) -> int:
        """Return a seed for numbers drawn on the device."""
        return int(self.rng.integers(2**63 - 1))


def _option(default: Any, hint: Any) -> Option:
    if typing.get_origin(hint) is Literal:
        return Option(default, str, words=typing.get_args(hint))
    if typing.get_origin(hint) is Annotated:
        kind, limits = typing.get_args(hint)
        return Option(default, kind, limits)
    return Option(default, hint)
