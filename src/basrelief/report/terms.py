"""What each loss is made of, by epoch: the terms' values, weights and shares of the gradient, with small curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from basrelief.report.contents import StudyContents, TermCurve
from basrelief.report.tables import order_losses

WIDTH, HEIGHT = 96, 22  # of a small curve, in px


def format_terms(contents: StudyContents) -> list[dict[str, Any]]:
    """Return the losses in the order of their table, each with a line a term: its text, and cells of first and last."""
    losses: list[dict[str, Any]] = []
    for index, row in order_losses(contents):
        lines = [
            {
                "term": curve.term,
                "cells": [
                    _cell("value", curve.values, _first_last(curve.values)),
                    _cell("weight", curve.weights, _weights(curve)),
                    _cell("share", curve.shares, _first_last(curve.shares, percent=True)),
                ],
            }
            for curve in contents.terms
            if curve.loss == row.name
        ]
        if lines:
            losses.append({"index": index, "name": row.name, "lines": lines})
    return losses


def _cell(what: str, numbers: Sequence[float], text: str) -> dict[str, str]:
    return {"what": what, "text": text, "points": _points(numbers)}


def _weights(curve: TermCurve) -> str:
    steady = max(curve.weights) - min(curve.weights) <= 1e-6 * abs(curve.weights[0])
    return f"{curve.weights[0]:.3g}" if steady else _first_last(curve.weights)


def _first_last(numbers: Sequence[float], *, percent: bool = False) -> str:
    first, last = (f"{100 * number:.0f} %" if percent else f"{number:.3g}" for number in (numbers[0], numbers[-1]))
    return f"{first} → {last}" if len(numbers) > 1 else first


def _points(numbers: Sequence[float]) -> str:
    """Return the points of a polyline from 0 (or the lowest) at the foot to the highest at the top; "" where flat."""
    low, high = min(0.0, *numbers), max(numbers)
    if len(numbers) < 2 or max(numbers) - min(numbers) <= 1e-6 * max(abs(low), abs(high)):
        return ""
    step = (WIDTH - 4) / (len(numbers) - 1)
    return " ".join(
        f"{2 + i * step:.1f},{HEIGHT - 2 - (HEIGHT - 4) * (number - low) / (high - low):.1f}"
        for i, number in enumerate(numbers)
    )
