"""Reading a pickle as plain data: lists, tuples, dicts, numbers, strings, uint8 arrays, and nothing else.

A pickle is a program for a small stack machine. Python's own machine calls whatever the file names; this one knows
five names by heart, calls nothing and imports nothing, so a hostile file has nothing to work with. What the five
names would build is checked and becomes a :class:`PlainArray` or an integer here. It also reads in a stream, and keeps
a list of small numbers as bytes, so that ten thousand images need their own size in memory and not eight times that.

Limits, so that a small file cannot ask for a large machine: ``MAX_READ`` bytes of pickle, ``MAX_KEPT`` bytes of
objects (estimated), ``MAX_STEPS`` steps outside runs of small numbers, ``MAX_LENGTH`` bytes a string and items a list.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from basrelief.data.plain_input import PickleInput
from basrelief.data.plain_values import MAX_LENGTH, PickleRefused, PlainList, call, find_name, set_state

MAX_KEPT = 2 * 1024**3
MAX_STEPS = 50_000_000
_RUN = 4096  # at most so many numbers at once; the usual writers put 1000 between a mark and APPENDS
_OBJECT = 100  # what an object is taken to cost, besides its content

_TEXT_RUN = re.compile(rb"(?:I(?:0|[1-9]\d{0,2})\na)+")  # protocol 0 appends one number at a time
_NUMBER = re.compile(rb"\d+")
_MARK, _STOP = ord("("), ord(".")


def read_plain_pickle(stream: BinaryIO) -> Any:
    """Return the object that a pickle holds.

    Parameters
    ----------
    stream
        At the first byte of a pickle of protocol 0 to 5.

    Returns
    -------
    object
        Of int, float, bool, None, bytes (also for Python 2's strings), str, tuple, dict, :class:`PlainList` and
        :class:`PlainArray`. It may contain itself.

    Raises
    ------
    PickleRefused
        For anything else, and beyond the limits.
    EOFError
        If the stream ends too early.
    """
    return _Machine(stream).run()


class _Machine(PickleInput):
    """The stack machine. Every step of ``_STEPS`` is a method; what is not in that table is refused."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.kept = 0

    def run(self) -> Any:
        steps = 0
        while True:
            if len(self.buffer) - self.at < 2 * _RUN + 2:
                self.fill(2 * _RUN + 2)
            if self.at >= len(self.buffer):
                raise EOFError
            code = self.buffer[self.at]
            if (code == _MARK or code == ord("I")) and self._take_run(code):
                continue
            self.at += 1
            if code == _STOP:
                if len(self.stack) != 1 or self.marks:
                    raise PickleRefused("is damaged: its pickle leaves no single object")
                return self.stack[0]
            step = _STEPS.get(code)
            if step is None:
                raise PickleRefused(f"holds a pickle with {_REFUSED.get(code, f'an unknown step (byte {code})')}")
            step(self)
            steps += 1
            if steps > MAX_STEPS:
                raise PickleRefused(f"holds a pickle of more than {MAX_STEPS:,} steps, the limit")
            if len(self.stack) + len(self.marks) > MAX_LENGTH:
                raise PickleRefused(f"piles up more than {MAX_LENGTH:,} objects, the limit")

    def _take_run(self, code: int) -> bool:
        """Append many small numbers to the list on top in one go; False where there is no such run."""
        if not self.stack or type(self.stack[-1]) is not PlainList or self.stack[-1].items is not None:
            return False
        if code != _MARK:
            found = _TEXT_RUN.match(self.buffer, self.at, self.at + 2 * _RUN)
            numbers = [int(number) for number in _NUMBER.findall(found[0])] if found else [256]
            if found is None or max(numbers) > 255:
                return False
            self._extend(self.stack[-1], bytes(numbers))
            self.at = found.end()
            return True
        codes = self.buffer[self.at + 1 : self.at + 1 + 2 * _RUN : 2]
        end = self.at + 1 + 2 * (len(codes) - len(codes.lstrip(b"K")))
        if self.buffer[end : end + 1] != b"e":
            return False
        self._extend(self.stack[-1], self.buffer[self.at + 2 : end : 2])
        self.at = end + 1
        return True

    def _extend(self, target: PlainList, numbers: bytes) -> None:
        self._keep(len(numbers))
        target.numbers += numbers
        if len(target) > MAX_LENGTH:
            raise PickleRefused(f"holds a list of more than {MAX_LENGTH:,} items, the limit")

    def _keep(self, size: int) -> None:
        self.kept += size
        if self.kept > MAX_KEPT:
            raise PickleRefused(f"holds objects of more than {MAX_KEPT / 1024**3:g} GiB, the limit")

    def _push(self, item: Any, size: int = 0) -> None:
        self._keep(_OBJECT + size)
        self.stack.append(item)

    def _pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleRefused("is damaged: its pickle takes more from the stack than is there")
        return self.stack.pop()

    def _top(self, kind: type) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise PickleRefused("is damaged: its pickle fills what is no list or dict")
        return self.stack[-1]

    def _pop_mark(self) -> list[Any]:
        if not self.marks:
            raise PickleRefused("is damaged: its pickle looks for a mark that is not there")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _integer(self, text: bytes) -> Any:
        if text in (b"00", b"01"):
            return text == b"01"
        if not re.fullmatch(rb"\s*[-+]?\d{1,20}\s*", text):
            raise PickleRefused("is damaged: it holds a number that is none, or of more than 20 digits")
        return int(text)

    def _long(self, count: int) -> int:
        if not 0 <= count <= 16:
            raise PickleRefused(f"holds a number of {count} bytes; 16 is the limit")
        return int.from_bytes(self.take(count), "little", signed=True)

    def _append_all(self) -> None:
        self._append(self._pop_mark())

    def _append_one(self) -> None:
        self._append([self._pop()])

    def _append(self, items: list[Any]) -> None:
        target: PlainList = self._top(PlainList)
        was_compact = target.items is None
        self._keep(8 * len(items))
        for item in items:
            target.append(item)
        if was_compact and target.items is not None:
            self._keep(8 * len(target))
        if len(target) > MAX_LENGTH:
            raise PickleRefused(f"holds a list of more than {MAX_LENGTH:,} items, the limit")

    def _set_items(self, items: list[Any]) -> None:
        target = self._top(dict)
        if len(items) % 2:
            raise PickleRefused("is damaged: it holds a dict with a key and no value")
        self._keep(_OBJECT * len(items) // 2)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (int, str, bytes):
                raise PickleRefused("holds a dict whose keys are neither numbers nor strings")
            target[key] = value

    def _list(self) -> None:
        items = self._pop_mark()
        made = PlainList()
        for item in items:
            made.append(item)
        self._push(made, 8 * len(items))

    def _dict(self) -> None:
        items = self._pop_mark()
        self._push({})
        self._set_items(items)

    def _tuple(self, count: int | None) -> None:
        items = self._pop_mark() if count is None else [self._pop() for _ in range(count)][::-1]
        self._push(tuple(items), 8 * len(items))

    def _put(self, place: int) -> None:
        if not self.stack:
            raise PickleRefused("is damaged: its pickle remembers what is not there")
        self._keep(_OBJECT)
        self.memo[place] = self.stack[-1]

    def _get(self, place: int) -> None:
        if place not in self.memo:
            raise PickleRefused("is damaged: its pickle recalls what it never remembered")
        self.stack.append(self.memo[place])

    def _text(self, data: bytes, encoding: str) -> None:
        try:
            self._push(data.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict"), len(data))
        except UnicodeDecodeError:
            raise PickleRefused("is damaged: it holds text that cannot be decoded") from None

    def _quoted(self, text: bytes) -> None:
        if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
            raise PickleRefused("is damaged: it holds a string without quotes")
        try:
            data = codecs.escape_decode(text[1:-1])[0]
        except ValueError:
            raise PickleRefused("is damaged: it holds a string that cannot be decoded") from None
        self._push(data, len(data))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._push(find_name(module, name))

    def _call(self) -> None:
        arguments, called = self._pop(), self._pop()
        self._push(*call(called, arguments))

    def _build(self) -> None:
        state = self._pop()
        set_state(self.stack[-1] if self.stack else None, state)


def _constant(value: object) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(value)


def _push_number(layout: str) -> Callable[[_Machine], None]:
    return lambda machine: machine._push(machine.number(layout))


def _push_bytes(layout: str) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        data = machine.take(machine.number(layout))
        machine._push(data, len(data))

    return step


def _push_text(layout: str) -> Callable[[_Machine], None]:
    return lambda machine: machine._text(machine.take(machine.number(layout)), "utf-8")


def _float(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        raise PickleRefused("is damaged: it holds a number that is none") from None


def _place(text: bytes) -> int:
    if not re.fullmatch(rb"\d{1,12}", text):
        raise PickleRefused("is damaged: its memory has no such place")
    return int(text)


_STEPS: dict[int, Callable[[_Machine], object]] = {
    ord(code): step
    for code, step in {
        "\x80": lambda m: m.take(1),  # PROTO
        "\x95": lambda m: m.take(8),  # FRAME
        "(": lambda m: m.marks.append(len(m.stack)),
        "0": lambda m: m._pop(),
        "1": lambda m: m._pop_mark(),
        "N": _constant(None),
        "\x88": _constant(True),
        "\x89": _constant(False),
        "K": lambda m: m.stack.append(m.take(1)[0]),
        "M": _push_number("<H"),
        "J": _push_number("<i"),
        "I": lambda m: m._push(m._integer(m.line())),
        "L": lambda m: m._push(m._integer(m.line().rstrip(b"L"))),
        "\x8a": lambda m: m._push(m._long(m.number("<B"))),
        "\x8b": lambda m: m._push(m._long(m.number("<i"))),
        "F": lambda m: m._push(_float(m.line())),
        "G": lambda m: m._push(struct.unpack(">d", m.take(8))[0]),
        "S": lambda m: m._quoted(m.line()),
        "T": _push_bytes("<i"),
        "U": _push_bytes("<B"),
        "B": _push_bytes("<I"),
        "C": _push_bytes("<B"),
        "\x8e": _push_bytes("<Q"),
        "V": lambda m: m._text(m.line(), "raw-unicode-escape"),
        "X": _push_text("<I"),
        "\x8c": _push_text("<B"),
        "\x8d": _push_text("<Q"),
        "]": lambda m: m._push(PlainList()),
        "l": _Machine._list,
        "a": _Machine._append_one,
        "e": _Machine._append_all,
        ")": lambda m: m.stack.append(()),
        "t": lambda m: m._tuple(None),
        "\x85": lambda m: m._tuple(1),
        "\x86": lambda m: m._tuple(2),
        "\x87": lambda m: m._tuple(3),
        "}": lambda m: m._push({}),
        "d": _Machine._dict,
        "s": lambda m: m._set_items([m._pop(), m._pop()][::-1]),
        "u": lambda m: m._set_items(m._pop_mark()),
        "p": lambda m: m._put(_place(m.line())),
        "q": lambda m: m._put(m.number("<B")),
        "r": lambda m: m._put(m.number("<I")),
        "\x94": lambda m: m._put(len(m.memo)),
        "g": lambda m: m._get(_place(m.line())),
        "h": lambda m: m._get(m.number("<B")),
        "j": lambda m: m._get(m.number("<I")),
        "c": lambda m: m._push(find_name(m.line().decode("latin1"), m.line().decode("latin1"))),
        "\x93": _Machine._stack_global,
        "R": _Machine._call,
        "b": _Machine._build,
    }.items()
}

_REFUSED = {
    ord(code): f"{what}, which is no plain data; nothing was run"
    for code, what in {
        "P": "a persistent id",
        "Q": "a persistent id",
        "\x82": "an entry of the extension registry",
        "\x83": "an entry of the extension registry",
        "\x84": "an entry of the extension registry",
        "i": "an instance of a class",
        "o": "an instance of a class",
        "\x81": "an instance of a class",
        "\x92": "an instance of a class",
        "2": "a copied reference",
        "\x8f": "a set",
        "\x90": "a set",
        "\x91": "a set",
        "\x96": "a byte array",
        "\x97": "a buffer from outside",
        "\x98": "a buffer from outside",
    }.items()
}
