"""What plain data is made of: compact lists, uint8 arrays, and the five names that pickles of them hold.

Each name stands for itself, as a word. ``call`` and ``set_state`` do what Python would have the named functions do,
for exactly the arguments that NumPy writes; everything else is refused.
"""

from __future__ import annotations

import re
from typing import Any, Literal

MAX_LENGTH = 1024**2  # bytes of a string, items of a list, a side of an array

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
ALLOWED: dict[tuple[str, str], str] = {
    **{(module, "_reconstruct"): "reconstruct" for module in _ARRAY_MODULES},
    **{(module, "scalar"): "scalar" for module in _ARRAY_MODULES},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",  # how protocol 2 of Python 3 writes bytes
}


class PickleRefused(Exception):  # noqa: N818 - said as a sentence: the pickle is refused
    """What in a pickle is not plain data, or is damaged; the text continues a sentence about the file."""


class PlainList:
    """A list: ``numbers`` while it holds nothing but whole numbers from 0 to 255, else ``items``."""

    __slots__ = ("items", "numbers")

    def __init__(self) -> None:
        self.numbers = bytearray()
        self.items: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.numbers) if self.items is None else len(self.items)

    def append(self, item: Any) -> None:
        """Append, and leave the compact form where that is needed."""
        if self.items is None:
            if type(item) is int and 0 <= item <= 255:
                self.numbers.append(item)
                return
            self.items, self.numbers = list(self.numbers), bytearray()
        self.items.append(item)

    def to_list(self) -> list[Any]:
        """Return a new list."""
        return list(self.numbers) if self.items is None else list(self.items)


class PlainArray:
    """A uint8 array as bytes; ``fortran`` where the first index runs fastest."""

    __slots__ = ("data", "fortran", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = (0,)
        self.data = b""
        self.fortran = False


class _Name:
    """One of the five allowed names."""

    __slots__ = ("meaning",)

    def __init__(self, meaning: str) -> None:
        self.meaning = meaning


class _Type:
    """An array's type: "u1", or that of a whole number; ``order`` comes after its code."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order: Literal["little", "big"] = "big" if code.startswith(">") else "little"


def find_name(module: object, name: object) -> _Name:
    """Return an allowed name; everything else is refused."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise PickleRefused("is damaged: it names something with what is no text")
    meaning = ALLOWED.get((module, name))
    if meaning is None:
        full = f"{module[:80]}.{name[:80]}"
        raise PickleRefused(f"names {full!a}, which is no plain data and is not loaded")
    return _Name(meaning)


def call(called: Any, arguments: Any) -> tuple[Any, int]:
    """Return what calling an allowed name would give, with exactly the arguments that NumPy writes, and its size."""
    if type(called) is not _Name or type(arguments) is not tuple:
        raise PickleRefused("calls what is no plain data; nothing was run")
    match called.meaning, arguments:
        case "reconstruct", (_Name(meaning="ndarray"), (0,), b"b" | "b"):
            return PlainArray(), 0
        case "dtype", (str() | bytes() as code, *rest) if all(type(value) in (int, bool) for value in rest):
            name = code.decode("latin1") if isinstance(code, bytes) else code
            if not re.fullmatch(r"[|<>=]?[ui][1248]", name):
                raise PickleRefused(f"holds an array of type {name[:20]!r}; uint8 was expected")
            return _Type(name), 0
        case "scalar", (_Type() as kind, bytes() as data) if len(data) == int(kind.code[-1]):
            return int.from_bytes(data, kind.order, signed="i" in kind.code), 0
        case "encode", (str() as text, "latin1" | b"latin1" | "latin-1"):
            try:
                return text.encode("latin1"), len(text)
            except UnicodeEncodeError:
                raise PickleRefused("is damaged: it holds bytes beyond 255") from None
        case _:
            raise PickleRefused(f"calls {called.meaning} with other arguments than arrays have; nothing was run")


def set_state(target: Any, state: Any) -> None:
    """Fill an array, or complete its type, from the state that NumPy writes."""
    match target, state:
        case PlainArray() as array, (1, tuple() as shape, _Type() as kind, int() as fortran, bytes() as data):
            if kind.code.lstrip("|<>=") != "u1":
                raise PickleRefused(f"holds an array of type {kind.code!r}; uint8 was expected")
            if len(shape) > 4 or not all(type(side) is int and 0 <= side <= MAX_LENGTH for side in shape):
                raise PickleRefused("holds an array of a shape that no image has")
            size = 1
            for side in shape:
                size *= side
            if size != len(data):
                raise PickleRefused(f"holds an array that claims {size:,} values and has {len(data):,}")
            array.shape, array.data, array.fortran = shape, data, bool(fortran)
        case _Type() as kind, (int(), str() | bytes() as order, None, None, None, *rest) if all(
            type(value) is int for value in rest
        ):
            kind.order = "big" if order in (">", b">") else "little"
        case _:
            raise PickleRefused("sets the state of what is no array of numbers; nothing was run")
