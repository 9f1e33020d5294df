from __future__ import annotations

import ast

import pytest

from basrelief.errors import UsageError
from basrelief.language import LONGEST, UserText


def text(words: str) -> UserText:
    return UserText(words, "thing", "thing's language", "It is a sum such as a + b", UsageError)


def test_a_caret_stands_below_the_fault_also_behind_wide_characters_and_line_ends() -> None:
    said = text("ä +\n  wrong")
    node = said.parse()
    assert isinstance(node, ast.BinOp)
    with pytest.raises(UsageError) as caught:
        said.fail_at("is wrong", node.right)
    assert str(caught.value).split("\n") == [
        "In the thing's language, 'wrong' is wrong.",
        "    ä + wrong",
        "        ^^^^^",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("a + (b", "is never closed"),
        ("a b", "cannot be read here"),
        ("a # b", "'#' is not part of this language"),
        ("a + " * LONGEST, f"has {4 * LONGEST - 1} characters"),
        ("a\0b", "thing"),
        ("(" * 5000 + ")" * 5000, "thing"),
    ],
)
def test_what_cannot_be_read_is_shown_with_an_example(words: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        text(words).parse()
    assert told in str(caught.value)
    assert "a + b" in str(caught.value)


def test_a_hash_in_quotes_belongs_to_the_text() -> None:
    assert isinstance(text("a('#')").parse(), ast.Call)
