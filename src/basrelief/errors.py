"""What can go wrong for a user, as one tree of exceptions.

Every message is written for the person at the keyboard: it names the file or the word, says what was expected,
and what to do. The command line prints the message alone and ends with the exception's exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BasreliefError(Exception):
    """Something the user can mend. ``exit_code`` 1: it could not be done."""

    exit_code = 1


class UsageError(BasreliefError):
    """A word, option or combination of options that Basrelief does not know. Exit code 2."""

    exit_code = 2


class ExpressionError(UsageError):
    """A loss expression that cannot be read; the message shows the text with a caret below the fault."""


class DataError(BasreliefError):
    """A file or folder of data that cannot be used as it is."""


class OutputError(BasreliefError):
    """A result that cannot be written, or would overwrite another one."""


class TrainingError(BasreliefError):
    """A training that cannot go on, for example because its loss is no longer finite."""


class OutOfMemoryError(TrainingError):
    """A training that memory did not suffice for, which says nothing against its loss."""


class DeviceError(BasreliefError):
    """A device or precision that was asked for and is not there."""


class MissingExtraError(BasreliefError):
    """A command needs a package that belongs to an extra which is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(package, extra, purpose)  # all three in args, so that it crosses processes

    def __str__(self) -> str:
        package, extra, purpose = self.args
        return f'{purpose} needs the package {package!r}: pip install "basrelief[{extra}]"'


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known word, or an empty string."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.5)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def unknown_name(kind: str, word: str, known: Iterable[str]) -> UsageError:
    """Return the error for a word that is in no table: it names the word, the nearest known one, and all of them."""
    names = sorted(known)
    return UsageError(f"Unknown {kind} {word!r}.{suggest(word, names)} Known: {', '.join(names)}.")
