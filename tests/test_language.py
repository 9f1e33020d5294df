from __future__ import annotations

import ast

import pytest

from basrelief.errors import UsageError
from basrelief.language import LONGEST, UserText, read_call


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


def test_a_call_is_split_into_its_name_and_its_options() -> None:
    assert read_call("smp/unet:resnet18(depth=4, weights='x')", "network") == (
        "smp/unet:resnet18",
        {"depth": 4, "weights": "x"},
    )
    assert read_call(" one-cycle ( rise = 0.3 ) ", "schedule") == ("one-cycle", {"rise": 0.3})
    assert read_call("munet", "network") == ("munet", {})


@pytest.mark.parametrize(
    ("text", "part", "problem"),
    [
        ("one-cycle(0.3)", "0.3", "stands without its option's name"),
        ("one-cycle(rise", "(", "is never closed"),
        ("a(x=os.name)", "os.name", "is no plain value"),
        ("a(**x)", "**", "cannot be read here"),
        ("(x=1)", "(", "has no name"),
        ("a(x=1)(y=2)", "(x=1)(y=2)", "cannot be read here"),
        ("a(x=1, x=2)", "x", "is given twice"),
    ],
)
def test_a_call_that_cannot_be_read_is_shown_with_a_caret(text: str, part: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_call(text, "thing")
    message, line, caret = str(caught.value).split("\n")
    assert f"{part!r} {problem}" in message
    assert line.strip() == text
    assert line[caret.index("^") :].startswith(part[:1])


@pytest.mark.parametrize("value", ["1e999", "-1e999", "[1, 1e999]", "0x" + "f" * 5000])
def test_numbers_that_could_not_be_printed_again_are_no_values(value: str) -> None:
    with pytest.raises(UsageError, match="is no plain value"):
        read_call(f"f(x={value})", "thing")


def test_a_name_of_a_million_letters_is_refused_by_its_length() -> None:
    with pytest.raises(UsageError, match="has 1000000 characters"):
        read_call("a" * 1_000_000, "thing")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [r"'\d'", "1if"])
def test_python_does_not_warn_of_a_users_text(value: str) -> None:
    with pytest.raises(UsageError):
        text(f"f(x={value}) +").parse()
