"""Random texts for the small languages: written by their grammar, then spoilt, and noise."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

# ruff: noqa: E501
# Each is at most a few characters, and may stand anywhere.
PIECES = (
    "(", ")", "[", "]", "{", "}", "+", "-", "*", "/", "**", "//", "%", "@", ",", "=", "==", ":=", ":", ";", "#", "'", '"',
    "\\", "\\d", "\\N{x}", "\\u12", "\\x0", "b'", "f'{", "u'", "\0", "\n", "\r\n", "\t", "\x0c", " ", "\u2028", "\u00a0",
    "\u200b", "\u202e", "\ufeff", "\ud800", "\udfff", "🙂", "е", "ｂ", "１", "²", "½", "ß", "İ", "é", "e\u0301", "...", ".",
    "0", "1", "2", "1_0", "007", "0x", "0xff", "0o7", "0b1", "1e999", "-1e999", "1e-999", "1e308", "9" * 30, "9" * 4301,
    "0x" + "f" * 400, "1j", "nan", "inf", "True", "None", "10**10**10", "lambda", "if", "else", "for", "in", "not", "or",
    "await", "yield", "import", "__import__('os')", "print", "*x", "**x", "(" * 250, "-" * 300, "not " * 100, "[" * 300,
    "1if", "0or", "1_", "x" * 300, "((mask))", "mask=mask", "<", "!", "?", "`", "$", "&", "|", "~", "^", "//1", "/0",
)  # fmt: skip


def number(random: Random) -> str:
    """Return a number that a language may take."""
    return random.choice(
        ("1", "2", "0.5", "3", "7", "11", "1e-3", "0.25", "100", ".3", "1_0", "-1", "0", "1e5", "(1/3)")
    )


def value(random: Random) -> str:
    """Return what may stand behind an option."""
    kind = random.randrange(6)
    if kind < 3:
        return number(random)
    if kind == 3:
        return random.choice(("True", "False", "None", "'monai'", "'mean'", '"resize"', "'vertical'", "true"))
    return f"[{', '.join(number(random) for _ in range(random.randrange(4)))}]" if kind == 4 else random.choice(PIECES)


def call(random: Random, names: Sequence[str], options: Sequence[str], first: Sequence[str]) -> str:
    """Return a name with options, and often with what stands first in its parentheses."""
    inside = [random.choice(first)] if first and random.random() < 0.9 else []
    inside += [f"{random.choice(options)}={value(random)}" for _ in range(random.choice((0, 0, 0, 0, 1, 1, 2)))]
    return random.choice(names) + (f"({', '.join(inside)})" if inside or random.random() < 0.5 else "")


def spoilt(random: Random, text: str) -> str:
    """Return a text with pieces put in, taken out, doubled or moved; unchanged one time in four."""
    for _ in range(random.choice((0, 1, 1, 2))):
        start = random.randrange(len(text) + 1)
        end = min(len(text), start + random.choice((0, 0, 1, 1, 3, 8)))
        middle = random.choice((random.choice(PIECES), "", text[start:end] * 2, random.choice(PIECES)))
        text = text[:start] + middle + text[end:]
    return text


def noise(random: Random) -> str:
    """Return pieces in no order."""
    return "".join(random.choice(PIECES) for _ in range(random.choice((0, 1, 2, 3, 5, 9))))


def sums(random: Random, terms: Sequence[str]) -> str:
    """Return terms with weights, signs and parentheses."""
    text = ""
    for term in terms:
        scaled = random.choice(
            (term, term, f"{number(random)}*{term}", f"{term}*{number(random)}", f"{term}/2", f"({term})")
        )
        text = f"{text}{random.choice((' + ', ' + ', '+', ' - '))}{scaled}" if text else scaled
    return text
