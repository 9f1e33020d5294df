"""How a verdict names what it compares, and writes numbers and lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from basrelief.metrics import is_in_unit
from basrelief.studies.factors import PLURALS, WORDS
from basrelief.studies.results import StudyResults

NAMED = 4  # names that a sentence lists, before it counts the rest


def noun(results: StudyResults) -> str:
    """Return what the study varies, as a word for one of them."""
    return WORDS[results.plan.factor]


def nouns(results: StudyResults) -> str:
    """Return what the study varies, as a word for several of them."""
    return PLURALS[results.plan.factor]


def epochs(results: StudyResults) -> str:
    """Return how many epochs the trainings had: "20 epochs", or "12 to 20 epochs" where each had the same time."""
    plan = results.plan
    own = [plan.changes.get(name, {}).get("epochs", plan.train.epochs) or 0 for name in plan.losses]
    return count(max(own), "epoch") if min(own) == max(own) else f"{min(own):,} to {count(max(own), 'epoch')}"


def value(results: StudyResults, number: float, metric: str) -> str:
    """Return a score as it is written, with its unit."""
    first = next(iter(results.runs.values()), {})
    unit = first.get("depth_unit") if is_in_unit(metric) else ""
    return f"{number:.3g} {unit}".strip() if unit else f"{number:.3f}"


def unit_of(results: StudyResults) -> str:
    """Return what a test image counts as: "image", or "group" where some belong together."""
    return "image" if results.scores.units(np.ones(len(results.scores.rows()), bool)) is None else "group"


def count(number: int, word: str) -> str:
    """Return a number with its word, "1 seed" or "3 seeds"."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def listed(names: Sequence[str]) -> str:
    """Return "a", or "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def some(names: Sequence[str], word: str) -> str:
    """Return the first names, and how many of the word there are besides."""
    shown = list(names[:NAMED]) if len(names) > NAMED + 1 else list(names)
    return listed(shown if len(shown) == len(names) else [*shown, f"{len(names) - len(shown)} more {word}"])
