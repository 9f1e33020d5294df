"""Formulas of the site: every one of the tables is drawn as mathematics, and means what its text means."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from basrelief.losses import LOSSES
from basrelief.metrics import METRICS

FORMULAS = sorted(
    {spec.formula for spec in LOSSES.values()} | {spec.formula for spec in METRICS.values() if not spec.pooled}
)
WORDS_ALONE = {"sum over scales of mean(|difference of p - t between neighbours|)"}


@pytest.fixture(scope="module")
def draw() -> Callable[[str], str]:
    spec = importlib.util.spec_from_file_location("formulas", Path(__file__).parents[2] / "docs" / "formulas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[[str], str] = module.draw_formula
    return function


def read(drawn: str) -> str:
    """Return what a formula says: letters in their order, (a)/(b) for a fraction, ^ for a power, √ for a root."""

    def say(node: ElementTree.Element) -> str:
        inner = [say(child) for child in node]
        if node.tag == "mfrac":
            return f"({inner[0]})/({inner[1]})"
        if node.tag == "msup":
            return f"{inner[0]}^{inner[1]}"
        if node.tag == "msqrt":
            return f"√({''.join(inner)})"
        return (node.text or "") + "".join(one + (child.tail or "") for one, child in zip(inner, node, strict=True))

    return say(ElementTree.fromstring(f"<p>{drawn}</p>")).replace("\u2062", "·").replace("\xa0", " ")


@pytest.mark.parametrize("formula", FORMULAS)
def test_every_formula_is_well_formed_and_none_has_become_words_alone(formula: str, draw: Callable[[str], str]) -> None:
    drawn = draw(formula)
    assert ElementTree.fromstring(f"<p>{drawn}</p>").tag == "p"
    begins_as_words = not drawn.startswith("<math")
    assert begins_as_words == (formula in WORDS_ALONE or " of " in formula.split("(")[0])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1 - (2*sum(p*t) + s) / (sum(p) + sum(t) + s)", "1−(2·∑p·t+s)/(∑p+∑t+s)"),
        ("a - (b - c)", "a−(b−c)"),
        ("a * (b + c)", "a·(b+c)"),
        ("sum(a + b)", "∑(a+b)"),
        ("(a + b)^2 / c", "((a+b)^2)/(c)"),
        ("mean(g)^2", "(mean(g))^2"),
        ("(a / b)^2", "((a)/(b))^2"),
        ("sqrt(mean((p - t)^2) + epsilon)", "√(mean((p−t)^2)+ε)"),
        ("mean(e where e <= c, else 2*c), c = max(e)", "mean{ewhere e≤c2·celse, c=max(e)"),
    ],
)
def test_what_binds_more_stays_bound(text: str, meant: str, draw: Callable[[str], str]) -> None:
    assert read(draw(text)) == meant
