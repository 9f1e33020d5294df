"""The loss language: ``2*rmse(depth) + balance(bce(mask) + dice(mask))``, read.

The text is parsed with Python's ``ast`` and never evaluated: numbers, + - * /, parentheses, and calls by name: of a
loss with a target and keyword options, or of a wrapper with a sum and keyword options. What is read is a sum of
weighted terms, so that is what is kept: printing it gives the canonical text, and reading that gives the same loss.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from basrelief.batch import TARGETS
from basrelief.errors import ExpressionError, UsageError, suggest
from basrelief.language import UserText, read_value
from basrelief.losses import LOSSES
from basrelief.losses.balance import WRAPPERS, Fixed
from basrelief.losses.loss import Group, Loss, Term
from basrelief.losses.options import Option, accepts, describe, options_of
from basrelief.losses.spec import OTHER_NAMES, PACKAGES, LossSpec

_SUMS = "A loss is a sum such as bce(mask) + 2*dice(mask)"


def parse_loss(text: str, *, losses: Mapping[str, Callable[..., Tensor]] | None = None) -> Loss:
    """Read a loss expression.

    Parameters
    ----------
    text
        Such as ``"2*rmse(depth) + bce(mask) + ssim(mask, window=7)"``. A term may stand without its target where
        the loss is for one target only (``dice`` alone is ``dice(mask)``). ``like="monai"`` as an option takes that
        package's definition. ``balance(…)``, ``uncertainty(…)`` and ``dwa(…)`` around a sum set its weights.
    losses
        Functions of your own by name, called as ``fn(pred, target, **options)``, with ``valid=`` too where they have
        such a parameter; they return a scalar. They may be used on either target. A function without ``valid`` is
        given a target that equals the prediction where it is unknown. The parameters of a module become the loss's.

    Raises
    ------
    ExpressionError
        Showing the text with a caret below the fault, and the nearest known word.

    Examples
    --------
    >>> str(parse_loss("(bce(mask) + 2*dice(mask)) / 2"))
    '0.5*bce(mask) + dice(mask)'
    """
    if not isinstance(text, str):
        raise UsageError(f"A loss is written as a text, such as 'bce(mask) + dice(mask)', not {text!r}.")
    specs = dict(LOSSES)
    for name, function in (losses or {}).items():
        if not name.isidentifier():
            raise UsageError(f"A loss's name must be one word of letters, digits and _, not {name!r}.")
        if not callable(function) or inspect.isclass(function):
            raise UsageError(
                f"The loss {name!r} is {function!r}; give a function fn(pred, target, **options), or an object."
            )
        if name in WRAPPERS:
            raise UsageError(f"A loss cannot be called {name!r}, which is a wrapper of the loss language.")
        summary = (function.__doc__ or name).strip().split("\n")[0]
        specs[name] = LossSpec(function, "pred", TARGETS, "", summary, "", True)
    return _Reader(text, specs).read()


class _Reader:
    """Walks the syntax tree once; every error knows which part of the text it is about."""

    def __init__(self, text: str, specs: Mapping[str, LossSpec]) -> None:
        self.said = UserText(text, "loss", "loss expression", _SUMS, ExpressionError)
        self.specs = specs

    def read(self) -> Loss:
        if not self.said.text:
            raise ExpressionError(f"The loss is empty. {_SUMS}.")
        tree = self.said.parse()
        try:
            groups = self._groups(tree)
        except RecursionError:
            raise ExpressionError("The loss is nested too deeply to be read. Write it as a plain sum.") from None
        weightings = []
        for group in groups:
            weights = [weight for weight, _ in group.terms]
            if group.wrapper is None:
                weightings.append(Fixed(weights))
            else:
                weightings.append(WRAPPERS[group.wrapper].weighting(weights, **dict(group.options)))
        return Loss(groups, self.specs, weightings)

    def _groups(self, tree: ast.expr) -> list[Group]:
        """Return the sum with equal terms merged, the unwrapped ones in one group where the first of them stood."""
        plain: dict[Term, float] = {}
        scales: dict[Group | None, float] = {}
        for weight, part in self._sum(tree):
            if isinstance(part, Term):
                plain[part] = plain.get(part, 0.0) + weight
                scales.setdefault(None, 1.0)
            else:
                scales[part] = scales.get(part, 0.0) + weight
        groups = []
        for group, scale in scales.items():
            if group is None:
                self._check_weights(plain)
                groups.append(Group(tuple((weight, term) for term, weight in plain.items())))
            else:
                self._check_weights({group: scale})
                groups.append(Group(group.terms, group.wrapper, group.options, scale))
        return groups

    def _check_weights(self, weights: Mapping[Any, float]) -> None:
        for part, weight in weights.items():
            if weight == 0 or not math.isfinite(weight):
                raise ExpressionError(
                    f"{part} has the weight {weight:g} in {self.said.text!r}; leave it out or mend it."
                )

    def _sum(self, node: ast.expr) -> list[tuple[float, Term | Group]]:
        match node:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                sign = -1.0 if isinstance(op, ast.Sub) else 1.0
                return [*self._sum(left), *((sign * weight, term) for weight, term in self._sum(right))]
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                scale, rest = self._constant(left), right
                if scale is None:
                    scale, rest = self._constant(right), left
                if scale is None:
                    self.said.fail_at("multiplies two losses; one side of * must be a number", node)
                return [(scale * weight, term) for weight, term in self._sum(rest)]
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                scale = self._constant(right)
                if scale is None or scale == 0:
                    self.said.fail_at("must be a number other than 0, since a loss is divided by it", right)
                return [(weight / scale, term) for weight, term in self._sum(left)]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return [(-weight, term) for weight, term in self._sum(operand)]
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._sum(operand)
            case ast.Call(func=ast.Name(id=name)) if name in WRAPPERS:
                return [(1.0, self._wrapped(name, node))]
            case ast.Call(func=ast.Name(id=name)):
                return [(1.0, self._term(name, node))]
            case ast.Name(id=name):
                return [(1.0, self._bare_term(name, node))]
            case ast.Constant(value=int() | float()):
                self.said.fail_at(
                    "is a number alone, which teaches nothing; multiply a loss by it, as in 2*dice(mask)", node
                )
            case _:
                self.said.fail_at(
                    f"is not part of the loss language: numbers, + - * /, parentheses, losses. {_SUMS}", node
                )

    def _constant(self, node: ast.expr) -> float | None:
        """Return the value of a part that holds numbers only, such as ``-(1/3)``; None for anything else."""
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                try:
                    return float(value)
                except OverflowError:
                    self.said.fail_at("is too large a number", node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                inner = self._constant(operand)
                return inner if inner is None or isinstance(op, ast.UAdd) else -inner
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as op, right=right):
                a, b = self._constant(left), self._constant(right)
                if a is None or b is None:
                    return None
                if isinstance(op, ast.Div) and b == 0:
                    self.said.fail_at("divides by 0", node)
                steps = {ast.Add: a + b, ast.Sub: a - b, ast.Mult: a * b}
                return a / b if isinstance(op, ast.Div) else steps[type(op)]
        return None

    def _wrapped(self, name: str, call: ast.Call) -> Group:
        if len(call.args) != 1:
            self.said.fail_at(
                f"should hold one sum, as in {name}(bce(mask) + dice(mask)); options follow by name", call
            )
        merged: dict[Term, float] = {}
        for weight, part in self._sum(call.args[0]):
            if isinstance(part, Group):
                self.said.fail_at(f"holds {part.wrapper}(…); wrappers stand beside each other, not inside", call)
            merged[part] = merged.get(part, 0.0) + weight
        for term, weight in merged.items():
            if not (weight > 0 and math.isfinite(weight)):
                self.said.fail_at(f"gives {term} the weight {weight:g}; inside {name} weights must be above 0", call)
        if len(merged) < 2:
            self.said.fail_at("weighs terms against each other, so it needs at least two", call)
        known = options_of(WRAPPERS[name].weighting, skip=1)
        options = self._options(name, known, call.keywords)
        terms = tuple((weight, term) for term, weight in merged.items())
        try:
            WRAPPERS[name].weighting([weight for weight, _ in terms], **dict(options))
        except UsageError as error:
            self.said.fail_at(f"cannot be: {str(error).removeprefix(f'{name}: ')}", call)
        return Group(terms, name, options)

    def _bare_term(self, name: str, node: ast.expr) -> Term:
        spec = self._spec(name, node)
        if spec.alone is None and len(spec.targets) > 1:
            wanted = " or ".join(f"{name}({target})" for target in spec.targets)
            self.said.fail_at(f"needs its target: {wanted}", node)
        return Term(name, spec.alone or spec.targets[0])

    def _term(self, name: str, call: ast.Call) -> Term:
        spec = self._spec(name, call.func)
        if not call.args and not call.keywords:
            return self._bare_term(name, call.func)
        if len(call.args) != 1 or not isinstance(call.args[0], ast.Name):
            at = call.args[1] if len(call.args) > 1 else (call.args[0] if call.args else call)
            self.said.fail_at(f"should be one target, as in {name}({spec.targets[0]}); options follow by name", at)
        target = call.args[0].id
        if target not in TARGETS:
            self.said.fail_at(f"is not a target.{suggest(target, TARGETS)} Known: {', '.join(TARGETS)}", call.args[0])
        if target not in spec.targets:
            others = sorted(other for other, line in self.specs.items() if target in line.targets)
            self.said.fail_at(f"is not for {target}. Losses for {target}: {', '.join(others)}", call.func)
        known = options_of(spec.function)
        if spec.like:
            known["like"] = Option(None, str)
        options = self._options(name, known, call.keywords)
        missing = [option for option, line in known.items() if line.default is inspect.Parameter.empty]
        for option in missing:
            if option not in dict(options):
                self.said.fail_at(f"needs its option {option}, as in {name}({target}, {option}=…)", call)
        if spec is LOSSES.get(name):
            self._check_ranges(name, target, {option: value for option, value in options if option != "like"}, call)
        return Term(name, target, options)

    def _check_ranges(self, name: str, target: str, options: Mapping[str, Any], call: ast.Call) -> None:
        """Point at a value that the loss itself refuses, which it says as "name: option is value; it must be …"."""
        if not options:
            return
        planes = torch.full((1, 2 if target == "mask" else 1, 16, 16), 0.5)
        try:
            with torch.no_grad():
                LOSSES[name].function(planes, planes.round(), **options)
        except UsageError as error:
            found = re.match(r"\w+: (\w+) is .*; (it must be .*|give .*)", str(error))
            for keyword in call.keywords:
                if found and keyword.arg == found[1]:
                    self.said.fail_at(f"cannot be the {keyword.arg} of {name}: {found[2]}", keyword.value)
        except Exception:  # of so small a picture, or of classes it does not have; the real ones are judged in training
            return

    def _options(
        self, name: str, known: Mapping[str, Option], keywords: list[ast.keyword]
    ) -> tuple[tuple[str, Any], ...]:
        read: dict[str, Any] = {}
        for keyword in keywords:
            option, value = self._option(name, known, keyword)
            if option in read:
                self.said.fail_at(f"gives {option} a second time", keyword.value)
            read[option] = value
        return tuple(read.items())

    def _option(self, name: str, known: Mapping[str, Option], keyword: ast.keyword) -> tuple[str, Any]:
        if keyword.arg is None or keyword.arg not in known:
            word = keyword.arg or "**"
            listed = ", ".join(known) or "none"
            self.said.fail_at_word(f"is not an option of {name}.{suggest(word, known)} Its options: {listed}", keyword)
        try:
            value = read_value(keyword.value)
            value = tuple(value) if isinstance(value, list) else value
            hash(value)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            if isinstance(keyword.value, ast.Name):
                self.said.fail_at(
                    f"stands without quotes; write {keyword.arg}='{keyword.value.id}', and the whole loss in double "
                    "quotes where a shell would take the single ones away",
                    keyword.value,
                )
            self.said.fail_at("should be a number, a text in quotes, True, False or a list of such", keyword.value)
        if keyword.arg == "like" and name in self.specs and self.specs[name].like:
            return keyword.arg, self._definition(name, value, keyword.value)
        if value is not known[keyword.arg].default and not accepts(known[keyword.arg].kind, value):
            self.said.fail_at(f"should be {describe(known[keyword.arg].kind)}", keyword.value)
        return keyword.arg, value

    def _definition(self, name: str, value: Any, node: ast.expr) -> str:
        likes = self.specs[name].like
        word = PACKAGES.get(value, value) if isinstance(value, str) else value
        if word not in likes:
            near = suggest(str(value), likes)
            self.said.fail_at(
                f"is no definition of {name} that is known.{near} Known: {', '.join(sorted(likes))}", node
            )
        return str(word)

    def _spec(self, name: str, node: ast.expr) -> LossSpec:
        if name not in self.specs:
            if name in WRAPPERS:
                self.said.fail_at(f"wraps a sum, as in {name}(bce(mask) + dice(mask))", node)
            meant = OTHER_NAMES.get(name.lower())
            near = f" Did you mean {meant!r}?" if meant in self.specs else suggest(name, [*self.specs, *WRAPPERS])
            known = ", ".join(sorted([*self.specs, *WRAPPERS]))
            self.said.fail_at(f"is not a loss.{near} Known: {known}", node)
        return self.specs[name]
