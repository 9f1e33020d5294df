"""What the small languages share: a user's text, parsed but never evaluated, and errors that point at it."""

from __future__ import annotations

import ast
import re
from typing import NoReturn

from basrelief.errors import UsageError

LONGEST = 10_000  # characters; beyond this a text is a mistake, and Python's parser may run out of stack


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
    """

    def __init__(self, text: str, name: str, language: str, example: str, error: type[UsageError]) -> None:
        self.text = " ".join(text.split())  # one line, so that a caret can stand below it
        self.name, self.language, self.example, self.error = name, language, example, error

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
        if len(self.text) > LONGEST:
            raise self.error(
                f"The {self.name} has {len(self.text)} characters; at most {LONGEST} are read. {self.example}."
            )
        try:
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
        part = self.text[start:end] or "the end of the text"
        shown = part if len(part) <= 40 else f"{part[:37]}…"
        window = max(0, start - 60)
        line = ("…" if window else "") + self.text[window : window + 110]
        caret = " " * (start - window + (1 if window else 0)) + "^" * max(1, min(end - start, 50))
        mark = "" if problem.endswith("?") else "."
        raise self.error(f"In the {self.language}, {shown!r} {problem.rstrip('.')}{mark}\n    {line}\n    {caret}")
