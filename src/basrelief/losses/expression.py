"""The loss language: ``2*rmse(depth) + bce(mask) + 2*dice(mask)``, read, printed and computed.

The text is parsed with Python's ``ast`` and never evaluated: numbers, + - * /, parentheses, and calls by name with a
target and keyword options. What is read is a sum of weighted terms, so that is what is kept: printing it gives the
canonical text, and reading that gives the same loss again.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from basrelief.batch import TARGETS
from basrelief.errors import ExpressionError, UsageError, suggest, unknown_name
from basrelief.losses import LOSSES, LossSpec

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda logits: torch.softmax(logits, dim=1),
    "identity": lambda logits: logits,
    "softplus": torch.nn.functional.softplus,
}
LONGEST = 10_000  # characters; beyond this a text is a mistake, and Python's parser may run out of stack
_SUMS = "A loss is a sum such as bce(mask) + 2*dice(mask)."


@dataclass(frozen=True)
class Term:
    """One summand without its weight: a loss, the target it looks at, and its options in the order given."""

    loss: str
    target: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options)
        return f"{self.loss}({self.target}{options})"


@dataclass(frozen=True)
class LossValue:
    """What a loss comes to on one batch.

    Attributes
    ----------
    total
        Scalar, connected to the logits.
    terms
        The terms' text -> its unweighted value, detached.
    """

    total: Tensor
    terms: dict[str, Tensor]


@dataclass(frozen=True)
class Loss:
    """A loss expression, ready to be called. Made by ``parse_loss``.

    Attributes
    ----------
    terms
        (weight, term) pairs in the order written; equal terms are merged.
    """

    terms: tuple[tuple[float, Term], ...]
    specs: Mapping[str, LossSpec]

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets it looks at, of "mask" and "depth"."""
        return tuple(target for target in TARGETS if any(term.target == target for _, term in self.terms))

    @property
    def pixelwise(self) -> frozenset[str]:
        """The targets that have a term which pushes every pixel, and so learns from empty masks too."""
        return frozenset(term.target for _, term in self.terms if self.specs[term.loss].pixelwise)

    def __str__(self) -> str:
        text = ""
        for weight, term in self.terms:
            sign = "-" if weight < 0 else "+"
            factor = "" if abs(weight) == 1 else f"{_number(abs(weight))}*"
            text += f" {sign} {factor}{term}" if text else f"{'-' if weight < 0 else ''}{factor}{term}"
        return text

    def __call__(
        self,
        outputs: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        *,
        activations: Mapping[str, str] | None = None,
    ) -> LossValue:
        """Compute the loss of a batch.

        Parameters
        ----------
        outputs
            The network's logits: "mask" (N, K, H, W), "depth" (N, 1, H, W). Computed in at least float32.
        targets
            "mask" and "depth" of the same shapes, and optionally "mask_valid" and "depth_valid", bool (N, 1, H, W);
            a ``Batch`` is such a mapping.
        activations
            Head -> one of ``ACTIVATIONS``; sigmoid where not given.

        Raises
        ------
        UsageError
            When a plane that a term needs is missing or has another shape.
        """
        values: dict[str, Tensor] = {}
        total: Tensor | None = None
        logits: dict[str, Tensor] = {}
        preds: dict[str, Tensor] = {}
        for head in self.targets:
            logits[head] = _at_least_float32(_plane(outputs, head, "the network's outputs"))
            preds[head] = ACTIVATIONS[(activations or {}).get(head, "sigmoid")](logits[head])
        for weight, term in self.terms:
            spec = self.specs[term.loss]
            target = _plane(targets, term.target, "the batch").to(logits[term.target].dtype)
            if target.shape != logits[term.target].shape:
                raise UsageError(
                    f"{term}: the network gives {tuple(logits[term.target].shape)}, the target has "
                    f"{tuple(target.shape)}; both must be (N, channels, height, width) alike."
                )
            valid = targets.get(f"{term.target}_valid")
            options = dict(term.options)
            if valid is not None and _takes_valid(spec.function):
                options["valid"] = valid
            given = logits if spec.takes == "logits" else preds
            value = spec.function(given[term.target], target, **options)
            if value.ndim:
                raise UsageError(f"{term} gives a tensor of shape {tuple(value.shape)}; a loss is a single number.")
            values[str(term)] = value.detach()
            total = weight * value if total is None else total + weight * value
        assert total is not None, "the parser admits no empty sum"
        return LossValue(total, values)


def parse_loss(text: str, *, losses: Mapping[str, Callable[..., Tensor]] | None = None) -> Loss:
    """Read a loss expression.

    Parameters
    ----------
    text
        Such as ``"2*rmse(depth) + bce(mask) + ssim(mask, window=7)"``. A term may stand without its target where
        the loss is for one target only (``dice`` alone is ``dice(mask)``).
    losses
        Functions of your own by name, called as ``fn(pred, target, **options)``, with ``valid=`` too where they have
        such a parameter; they return a scalar. They may be used on either target.

    Raises
    ------
    ExpressionError
        Showing the text with a caret below the fault, and the nearest known word.

    Examples
    --------
    >>> str(parse_loss("(bce(mask) + 2*dice(mask)) / 2"))
    '0.5*bce(mask) + dice(mask)'
    """
    specs = dict(LOSSES)
    for name, function in (losses or {}).items():
        if not name.isidentifier():
            raise UsageError(f"A loss's name must be one word of letters, digits and _, not {name!r}.")
        specs[name] = LossSpec(function, "pred", TARGETS, "", (function.__doc__ or name).strip().split("\n")[0], True)
    return _Reader(text, specs).read()


class _Reader:
    """Walks the syntax tree once; every error knows which part of the text it is about."""

    def __init__(self, text: str, specs: Mapping[str, LossSpec]) -> None:
        self.text = " ".join(text.split())  # one line, so that a caret can stand below it
        self.specs = specs

    def read(self) -> Loss:
        if not self.text:
            raise ExpressionError(f"The loss is empty. {_SUMS}")
        if len(self.text) > LONGEST:
            raise ExpressionError(f"The loss has {len(self.text)} characters; at most {LONGEST} are read. {_SUMS}")
        try:
            tree = ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            at = min(max((error.offset or 1) - 1, 0), len(self.text))
            problem = "is never closed" if "never closed" in (error.msg or "") else "cannot be read here"
            self._fail(f"{problem}. {_SUMS}", at, at + 1)
        except (ValueError, RecursionError, MemoryError):
            raise ExpressionError(f"The loss {self.text[:80]!r} cannot be read. {_SUMS}") from None
        try:
            merged: dict[Term, float] = {}
            for weight, term in self._sum(tree):
                merged[term] = merged.get(term, 0.0) + weight
        except RecursionError:
            raise ExpressionError("The loss is nested too deeply to be read.") from None
        for term, weight in merged.items():
            if weight == 0 or not math.isfinite(weight):
                raise ExpressionError(f"{term} has the weight {weight:g} in {self.text!r}; leave it out or mend it.")
        return Loss(tuple((weight, term) for term, weight in merged.items()), self.specs)

    def _sum(self, node: ast.expr) -> list[tuple[float, Term]]:
        match node:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                sign = -1.0 if isinstance(op, ast.Sub) else 1.0
                return [*self._sum(left), *((sign * weight, term) for weight, term in self._sum(right))]
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                scale, rest = self._constant(left), right
                if scale is None:
                    scale, rest = self._constant(right), left
                if scale is None:
                    self._fail_at("multiplies two losses; one side of * must be a number", node)
                return [(scale * weight, term) for weight, term in self._sum(rest)]
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                scale = self._constant(right)
                if scale is None or scale == 0:
                    self._fail_at("must be a number other than 0, since a loss is divided by it", right)
                return [(weight / scale, term) for weight, term in self._sum(left)]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return [(-weight, term) for weight, term in self._sum(operand)]
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._sum(operand)
            case ast.Call(func=ast.Name(id=name)):
                return [(1.0, self._term(name, node))]
            case ast.Name(id=name):
                return [(1.0, self._bare_term(name, node))]
            case ast.Constant(value=int() | float()):
                self._fail_at(
                    "is a number alone, which teaches nothing; multiply a loss by it, as in 2*dice(mask)", node
                )
            case _:
                self._fail_at(f"is not part of the loss language: numbers, + - * /, parentheses, losses. {_SUMS}", node)

    def _constant(self, node: ast.expr) -> float | None:
        """Return the value of a part that holds numbers only, such as ``-(1/3)``; None for anything else."""
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                try:
                    return float(value)
                except OverflowError:
                    self._fail_at("is too large a number", node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                inner = self._constant(operand)
                return inner if inner is None or isinstance(op, ast.UAdd) else -inner
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as op, right=right):
                a, b = self._constant(left), self._constant(right)
                if a is None or b is None:
                    return None
                if isinstance(op, ast.Div) and b == 0:
                    self._fail_at("divides by 0", node)
                steps = {ast.Add: a + b, ast.Sub: a - b, ast.Mult: a * b}
                return a / b if isinstance(op, ast.Div) else steps[type(op)]
        return None

    def _bare_term(self, name: str, node: ast.expr) -> Term:
        spec = self._spec(name, node)
        if len(spec.targets) > 1:
            wanted = " or ".join(f"{name}({target})" for target in spec.targets)
            self._fail_at(f"needs its target: {wanted}", node)
        return Term(name, spec.targets[0])

    def _term(self, name: str, call: ast.Call) -> Term:
        spec = self._spec(name, call.func)
        if not call.args and not call.keywords:
            return self._bare_term(name, call.func)
        if len(call.args) != 1 or not isinstance(call.args[0], ast.Name):
            at = call.args[1] if len(call.args) > 1 else (call.args[0] if call.args else call)
            self._fail_at(f"should be one target, as in {name}({spec.targets[0]}); options follow by name", at)
        target = call.args[0].id
        if target not in TARGETS:
            self._fail_at(f"is not a target.{suggest(target, TARGETS)} Known: {', '.join(TARGETS)}", call.args[0])
        if target not in spec.targets:
            others = sorted(other for other, line in self.specs.items() if target in line.targets)
            self._fail_at(f"is not for {target}. Losses for {target}: {', '.join(others)}", call.func)
        return Term(name, target, tuple(self._option(name, spec, keyword) for keyword in call.keywords))

    def _option(self, name: str, spec: LossSpec, keyword: ast.keyword) -> tuple[str, Any]:
        known = _options(spec.function)
        if keyword.arg is None or keyword.arg not in known:
            word = keyword.arg or "**"
            listed = ", ".join(known) or "none"
            self._fail(
                f"is not an option of {name}.{suggest(word, known)} Its options: {listed}",
                self._column(keyword.col_offset),
                self._column(keyword.col_offset) + len(word),
            )
        try:
            value = ast.literal_eval(keyword.value)
            hash(value if not isinstance(value, list) else tuple(value))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            self._fail_at("should be a number, a text in quotes, True, False or a list of such", keyword.value)
        default = known[keyword.arg]
        wants_number = isinstance(default, int | float) and not isinstance(default, bool)
        if wants_number and (isinstance(value, bool) or not isinstance(value, int | float)):
            self._fail_at(f"should be a number, such as {default!r}", keyword.value)
        return keyword.arg, tuple(value) if isinstance(value, list) else value

    def _spec(self, name: str, node: ast.expr) -> LossSpec:
        if name not in self.specs:
            self._fail_at(f"is not a loss.{suggest(name, self.specs)} Known: {', '.join(sorted(self.specs))}", node)
        return self.specs[name]

    def _fail_at(self, problem: str, node: ast.expr) -> NoReturn:
        start = self._column(node.col_offset)
        end = self._column(node.end_col_offset or node.col_offset)
        self._fail(problem, start, max(end, start + 1))

    def _column(self, offset: int) -> int:
        return len(self.text.encode()[:offset].decode(errors="ignore"))  # ast counts bytes, a reader characters

    def _fail(self, problem: str, start: int, end: int) -> NoReturn:
        part = self.text[start:end] or "the end of the text"
        shown = part if len(part) <= 40 else f"{part[:37]}…"
        window = max(0, start - 60)
        line = ("…" if window else "") + self.text[window : window + 110]
        caret = " " * (start - window + (1 if window else 0)) + "^" * max(1, min(end - start, 50))
        raise ExpressionError(f"In the loss expression, {shown!r} {problem.rstrip('.')}.\n    {line}\n    {caret}")


def check_activation(head: str, name: str) -> None:
    """Raise UsageError unless ``head`` is a target and ``name`` one of ``ACTIVATIONS``."""
    if head not in TARGETS:
        raise unknown_name("head", head, TARGETS)
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)


def _options(function: Callable[..., Tensor]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in list(parameters)[2:] if p.name != "valid" and p.kind != p.VAR_KEYWORD}


def _takes_valid(function: Callable[..., Tensor]) -> bool:
    return "valid" in inspect.signature(function).parameters


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def _plane(planes: Mapping[str, Tensor], name: str, where: str) -> Tensor:
    if name not in planes:
        raise UsageError(
            f"The loss needs {name!r}, which {where} do not have; there are: {', '.join(planes) or 'none'}."
        )
    return planes[name]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
