"""The words of a report that depend on what a study varied: the loss, or one of the other factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORDS = {
    "loss": ("loss", "losses"),
    "network": ("network", "networks"),
    "augmentation": ("augmentation", "augmentations"),
    "lr": ("learning rate", "learning rates"),
}


def factor_word(verdict: Mapping[str, Any]) -> str:
    """Return what the study varied, in the singular: loss where the verdict names no factor."""
    return WORDS.get(str(verdict.get("factor") or "loss"), WORDS["loss"])[0]


def factor_words(verdict: Mapping[str, Any]) -> str:
    """Return what the study varied, in the plural."""
    return WORDS.get(str(verdict.get("factor") or "loss"), WORDS["loss"])[1]
