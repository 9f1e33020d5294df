"""How a verdict names what it compares, and writes numbers and lists."""

from __future__ import annotations

from collections.abc import Sequence

from basrelief.metrics import is_in_unit
from basrelief.studies.results import StudyResults

NAMED = 4  # names that a sentence lists, before it counts the rest
FACTORS = {"loss": "loss", "network": "network", "augmentation": "augmentation", "lr": "learning rate"}


def factor_of(results: StudyResults) -> str:
    """Return what the study varies: "loss", "network", "augmentation" or "lr"."""
    return str(getattr(results.plan, "factor", "loss"))


def noun(results: StudyResults) -> str:
    """Return what the study varies, as a word for one of them."""
    return FACTORS[factor_of(results)]


def nouns(results: StudyResults) -> str:
    """Return what the study varies, as a word for several of them."""
    word = noun(results)
    return f"{word}es" if word.endswith("s") else f"{word}s"


def value(results: StudyResults, number: float, metric: str) -> str:
    """Return a score as it is written, with its unit."""
    first = next(iter(results.runs.values()), {})
    unit = first.get("depth_unit") if is_in_unit(metric) else ""
    return f"{number:.3g} {unit}".strip() if unit else f"{number:.3f}"


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
