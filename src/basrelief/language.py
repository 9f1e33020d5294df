"""What the small languages share: a user's text, parsed but never evaluated, and errors that point at it."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any, NoReturn

from basrelief.errors import UsageError

LONGEST = 10_000  # characters; beyond this a text is a mistake, and Python's parser may run out of stack
LARGEST = 1e300  # of an option's numbers


class UserText:
    """A text in one of the small languages.

    Parameters
    ----------
    text
        As the user wrote it; line ends count as spaces.
    name, language
        What messages call it, such as "loss", and its language, such as "loss expression".
    example
        A sentence that shows how it is written.
    error
        The exception to raise.
    shown
        What messages show in its place, character by character; None: the text itself.
    """

    def __init__(
        self, text: str, name: str, language: str, example: str, error: type[UsageError], shown: str | None = None
    ) -> None:
        self.text = " ".join(text.split())  # one line, so that a caret can stand below it
        self.shown = shown or self.text
        self.name, self.language, self.example, self.error = name, language, example, error
        if len(self.text) > LONGEST:
            raise error(f"The {name} has {len(self.text)} characters; at most {LONGEST} are read. {example}.")

    def parse(self) -> ast.expr:
        """Return the syntax tree.

        Raises
        ------
        UsageError
            Showing the text with a caret below what cannot be read.
        """
        for found in re.finditer(r"'[^']*'|\"[^\"]*\"|#", self.text):
            if found[0] == "#":  # Python would take the rest for a comment, and drop it
                self.fail(f"is not part of this language. {self.example}", found.start(), found.end())
        try:
            with warnings.catch_warnings():  # what Python would say of an odd number or backslash names no user's text
                warnings.simplefilter("ignore")
                return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            at = min(max((error.offset or 1) - 1, 0), len(self.text))
            problem = "is never closed" if "never closed" in (error.msg or "") else "cannot be read here"
            self.fail(f"{problem}. {self.example}", at, at + 1)
        except (ValueError, RecursionError, MemoryError):
            raise self.error(f"The {self.name} {self.text[:80]!r} cannot be read. {self.example}.") from None

    def fail_at(self, problem: str, node: ast.expr) -> NoReturn:
        """Raise, pointing at a part of the tree; ``problem`` goes on after that part's text."""
        start = self.column(node.col_offset)
        self.fail(problem, start, max(self.column(node.end_col_offset or node.col_offset), start + 1))

    def fail_at_word(self, problem: str, keyword: ast.keyword) -> NoReturn:
        """Raise, pointing at the name of an option."""
        start = self.column(keyword.col_offset)
        self.fail(problem, start, start + len(keyword.arg or "**"))

    def column(self, offset: int) -> int:
        """Return the character at an offset of the tree's, which counts bytes."""
        return len(self.text.encode()[:offset].decode(errors="ignore"))

    def fail(self, problem: str, start: int, end: int) -> NoReturn:
        """Raise, pointing at the characters from ``start`` to ``end``."""
        part = self.shown[start:end] or "the end of the text"
        shown = part if len(part) <= 40 else f"{part[:37]}…"
        window = max(0, start - 60)
        line = ("…" if window else "") + self.shown[window : window + 110]
        caret = " " * (start - window + (1 if window else 0)) + "^" * max(1, min(end - start, 50))
        mark = "" if problem.endswith("?") else "."
        raise self.error(f"In the {self.language}, {shown!r} {problem.rstrip('.')}{mark}\n    {line}\n    {caret}")


def read_value(node: ast.expr) -> Any:
    """Return the value that a part of the tree writes out: numbers, quoted texts, True, False, None, and lists of them.

    Raises
    ------
    ValueError, TypeError, SyntaxError, RecursionError, MemoryError
        For anything else, and for numbers that are infinite or so large that they could not be printed again.
    """
    value = ast.literal_eval(node)
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, int | float) and not abs(part.value) < LARGEST:
            raise ValueError("too large a number")
    return value


def read_call(text: str, what: str) -> tuple[str, dict[str, Any]]:
    """Split ``"name(option=value, other=2)"`` into name and options; a name alone has none.

    The name may hold what no Python name may, as in ``"smp/unet:resnet18"`` or ``"one-cycle(rise=0.3)"``. Values are
    numbers, quoted texts, True, False or None; nothing is evaluated. ``what`` is the thing's kind, for messages.

    Raises
    ------
    UsageError
        Showing the text with a caret below what cannot be read.
    """
    example = f"A {what} is written name or name(option=value)"
    user = UserText(text, what, what, example, UsageError)
    name, opening, rest = (part.strip() for part in user.text.partition("("))
    if not opening:
        return name, {}
    # A stand-in of equal length, so that carets stand where the user's own text is wrong.
    shift = user.text.index("(")
    call = UserText("f" * shift + "(" + rest, what, what, example, UsageError, user.text)
    if not name:
        user.fail(f"has no name. {example}", 0, 1)
    tree = call.parse()
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        call.fail(f"cannot be read here. {example}", shift, len(user.text))
    if tree.args:
        call.fail_at(f"stands without its option's name. {example}", tree.args[0])
    options: dict[str, Any] = {}
    for keyword in tree.keywords:
        if keyword.arg is None:
            call.fail_at_word(f"cannot be read here. {example}", keyword)
        if keyword.arg in options:
            call.fail_at_word("is given twice", keyword)
        try:
            options[keyword.arg] = read_value(keyword.value)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            call.fail_at("is no plain value: write a number, a quoted text, True, False or None", keyword.value)
    return name, options
