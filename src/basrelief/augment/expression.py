"""The language of augmentation, ``flip + rotate(degrees=10) + cutout(0.3)``, read.

The text is parsed with Python's ``ast`` and never evaluated: names of steps, options in call form, and + between them.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

from basrelief.augment.spec import AugmentationSpec, Option
from basrelief.errors import UsageError, suggest
from basrelief.language import UserText, read_value

_STEPS = "Steps stand with + between them, as in flip + rotate(degrees=10)"
NONE = "none"
# What other packages call these.
OTHER_NAMES = {
    "hflip": "flip",
    "vflip": "flip(axis='vertical')",
    "mirror": "flip",
    "rot90": "turn",
    "translate": "shift",
    "zoom": "scale",
    "affine": "rotate + scale + shift",
    "resized_crop": "crop",
    "random_resized_crop": "crop",
    "color_jitter": "brightness + contrast + saturation + hue",
    "jitter": "brightness + contrast + saturation + hue",
    "grayscale": "grey",
    "gray": "grey",
    "gaussian_blur": "blur",
    "gaussian_noise": "noise",
    "erase": "cutout",
    "erasing": "cutout",
    "random_erasing": "cutout",
}


class Step(NamedTuple):
    """A step and its options, in the table's order; those at their default left out."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options)
        return f"{self.name}({options})" if options else self.name


def read_steps(text: str, specs: Mapping[str, AugmentationSpec]) -> tuple[Step, ...]:
    """Return the steps of ``text`` in the order written; none for an empty text and for "none".

    Raises
    ------
    UsageError
        Showing the text with a caret below the fault, and the nearest known word.
    """
    if not isinstance(text, str):
        raise UsageError(f"Augmentation is written as a text, such as 'flip + rotate(degrees=10)', not {text!r}.")
    return _Reader(text, specs).read()


class _Reader:
    """Walks the syntax tree once; every error knows which part of the text it is about."""

    def __init__(self, text: str, specs: Mapping[str, AugmentationSpec]) -> None:
        self.said = UserText(text, "augmentation", "augmentation", _STEPS, UsageError)
        self.specs = specs

    def read(self) -> tuple[Step, ...]:
        if self.said.text in ("", NONE):
            return ()
        nodes = _summands(self.said.parse())
        steps: list[Step] = []
        for node in nodes:
            match node:
                case ast.Name(id=name):
                    step = Step(name) if self._spec(name, node) else None
                case ast.Call(func=ast.Name(id=name)):
                    step = self._called(name, node)
                case _:
                    self.said.fail_at(f"is not a step. {_STEPS}", node)
            assert step is not None
            if step.name in [other.name for other in steps]:
                self.said.fail_at("is there a second time; every step may stand once", node)
            steps.append(step)
        return tuple(steps)

    def _called(self, name: str, call: ast.Call) -> Step:
        known = self._spec(name, call.func).options
        given: dict[str, Any] = {}
        if len(call.args) > len(known):
            self.said.fail_at(f"is one too many: {name} takes {', '.join(known)}", call.args[len(known)])
        for option, node in zip(known, call.args, strict=False):  # without names they follow the table's order
            given[option] = self._value(name, option, known[option], node)
        for keyword in call.keywords:
            word = keyword.arg or "**"
            if word not in known:
                listed = ", ".join(known)
                self.said.fail_at_word(
                    f"is not an option of {name}.{suggest(word, known)} Its options: {listed}", keyword
                )
            if word in given:
                self.said.fail_at(f"gives {word} a second time", keyword.value)
            given[word] = self._value(name, word, known[word], keyword.value)
        whole = {option: given.get(option, line.default) for option, line in known.items()}
        if "low" in whole and whole["low"] > whole["high"]:
            self.said.fail_at(
                f"has low={whole['low']:g} above high={whole['high']:g}; low must not be above high", call
            )
        return Step(name, tuple((option, whole[option]) for option in known if whole[option] != known[option].default))

    def _value(self, name: str, option: str, line: Option, node: ast.expr) -> Any:
        value: Any
        if isinstance(node, ast.Name):  # a shell takes quotes away, and other languages write true
            value = {"true": True, "false": False}.get(node.id, node.id)
        else:
            try:
                value = read_value(node)
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                value = None
        if not line.takes(value):
            near = suggest(str(value), line.words) if line.words else ""
            self.said.fail_at(f"is not what {name} takes as {option}, which should be {line}.{near}", node)
        return float(value) if line.kind is float else value

    def _spec(self, name: str, node: ast.expr) -> AugmentationSpec:
        if name == NONE:
            self.said.fail_at("stands alone, or not at all", node)
        if name not in self.specs:
            meant = OTHER_NAMES.get(name.lower().replace("-", "_"))
            near = f" Did you mean {meant}?" if meant else suggest(name, self.specs)
            self.said.fail_at(f"is not a step.{near} Known: {', '.join(self.specs)}", node)
        return self.specs[name]


def _summands(node: ast.expr) -> list[ast.expr]:
    """Return the parts between the + signs, in order."""
    parts: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts.append(node.right)
        node = node.left
    return [node, *reversed(parts)]
