"""The options of a loss, as its function's signature tells them: names, defaults, and which values they take."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Union

from torch import nn

PLANES = ("valid",)  # handed over by the expression, not options of the user's


class Option(NamedTuple):
    """An option: its default, and the type that its annotation names (``Any`` where there is none)."""

    default: Any
    kind: Any


def options_of(function: Callable[..., Any], *, skip: int = 2) -> dict[str, Option]:
    """Return the options of ``function`` by name; its first ``skip`` parameters are what it computes on."""
    parameters = _parameters(function)[skip:]
    try:
        kinds = typing.get_type_hints(function.__init__ if inspect.isclass(function) else _called(function))
    except Exception:  # a user's function may name anything as a type
        kinds = {}
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in PLANES]
    return {p.name: Option(p.default, kinds.get(p.name) or _kind_of(p.default)) for p in named}


def takes_valid(function: Callable[..., Any]) -> bool:
    """Tell whether ``function`` leaves unknown pixels out by itself."""
    return any(parameter.name == "valid" for parameter in _parameters(function))


def accepts(kind: Any, value: Any) -> bool:
    """Tell whether ``value``, as read from an expression, is of ``kind``; whole numbers are numbers, truths are not."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(accepts(one, value) for one in inner)
    if origin is Literal:
        return value in inner
    if origin in (tuple, list, Sequence):
        items = inner[0] if inner else Any
        exact = len(inner) if origin is tuple and inner and inner[-1] is not Ellipsis else None
        fits = isinstance(value, tuple) and len(value) > 0 and exact in (None, len(value))
        return fits and all(accepts(items, item) for item in value)
    if kind in (int, float):
        return not isinstance(value, bool) and isinstance(value, int if kind is int else int | float)
    if kind is type(None):
        return value is None
    return isinstance(value, kind) if isinstance(kind, type) and origin is None else True


def describe(kind: Any) -> str:
    """Return in words what ``accepts`` would take, such as "a number, or a list of numbers"."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return ", or ".join(describe(one) for one in inner)
    if origin is Literal:
        return " or ".join(repr(word) for word in inner)
    if origin in (tuple, list, Sequence):
        two = " of two" if origin is tuple and len(inner) == 2 and inner[1] is not Ellipsis else ""
        return f"a list{two} such as [{'5, 11' if inner and inner[0] is int else '0.5, 2'}]"
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "a text in quotes"}
    return "None" if kind is type(None) else words.get(kind, "another value")


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.forward if isinstance(function, nn.Module) else function  # a module's own signature says nothing


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(_called(function)).parameters.values())
    except ValueError:  # one written in C has none
        return []


def _kind_of(default: Any) -> Any:
    """Return what an unannotated option takes: numbers where the default is one, else anything."""
    return float if isinstance(default, int | float) and not isinstance(default, bool) else Any
