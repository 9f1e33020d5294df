"""Texts of every kind given to the parsers of what a user types: refused in one message, or read and printed alike.

The long form gives a million texts to the loss language and as many to the others together. A seeded loop writes them,
since hypothesis would need hours for that; hypothesis, which shortens what it finds, adds texts of its own.
"""

# ruff: noqa: E501
from __future__ import annotations

import inspect
import resource
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from basrelief.augment import AUGMENTATIONS, parse_augment
from basrelief.data.mask_values import parse_mask_map
from basrelief.data.splits import _shares
from basrelief.errors import BasreliefError, UsageError
from basrelief.inference.cutout import parse_backdrop
from basrelief.inference.tiles import parse_tile
from basrelief.losses import LOSSES
from basrelief.losses.balance import WRAPPERS
from basrelief.losses.expression import parse_loss
from basrelief.models import parse_model
from basrelief.option_texts import _read_activations, _read_batch_size, _read_names, _read_numbers, _read_resolution
from basrelief.schedules import SCHEDULES, parse_schedule
from fuzz.grammar import call, noise, number, spoilt, sums

LOSS_OPTIONS = tuple(sorted({name for spec in LOSSES.values() for name in inspect.signature(spec.function).parameters}))
STEP_OPTIONS = tuple(sorted({name for spec in AUGMENTATIONS.values() for name in spec.options}))
LOSS_NAMES, TARGETS = (*LOSSES, "dice", "mine"), ("mask", "depth", "mask", "mack", "")


def term_text(random: Random) -> str:
    """Return what may be a term: half the time a loss with a target and options that it has."""
    if random.random() < 0.5:
        return call(random, LOSS_NAMES, (*LOSS_OPTIONS, "like"), TARGETS)
    name = random.choice(tuple(LOSSES))
    own = tuple(inspect.signature(LOSSES[name].function).parameters)[2:]
    return call(random, (name,), (*own, "like"), LOSSES[name].targets)


def loss_text(random: Random) -> str:
    """Return what may be a loss."""
    text = sums(random, [term_text(random) for _ in range(random.choice((1, 1, 2, 3)))])
    if random.random() < 0.2:
        text = f"{random.choice((*WRAPPERS, 'balance'))}({text})"
    return text


def step_text(random: Random) -> str:
    """Return what may be augmentation."""
    return " + ".join(call(random, (*AUGMENTATIONS, "none"), STEP_OPTIONS, ()) for _ in range(random.choice((1, 2, 3))))


def schedule_text(random: Random) -> str:
    """Return what may be a schedule."""
    return call(random, (*SCHEDULES,), ("every", "factor", "patience", "rise", "start", "final", "warmup"), ())


def model_text(random: Random) -> str:
    """Return what may be a network."""
    names = ("munet", "resunet", "masknet", "depthmasknet", "relief", "smp", "x/y:z")
    return call(random, names, ("upsample", "blocks", "dropout", "weights", "width"), ())


PARTS = ("255", "#ff0000", "0=background", "other=2", "mask=identity", "cat", "")


def option_text(random: Random) -> str:
    """Return what may be an option's value."""
    joint = random.choice(("/", "x", ",", "=", ",", "+"))
    return joint.join(random.choice((number(random), *PARTS)) for _ in range(random.randrange(1, 5)))


OTHERS: dict[str, tuple[Callable[[Random], str], Callable[[str], Any]]] = {
    "augment": (step_text, parse_augment),
    "schedule": (schedule_text, parse_schedule),
    "network": (model_text, parse_model),
    "resolution": (option_text, _read_resolution),
    "split": (option_text, _shares),
    "mask-map": (option_text, parse_mask_map),
    "depth-invalid": (option_text, _read_numbers),
    "categories": (option_text, _read_names),
    "activation": (option_text, _read_activations),
    "batch-size": (option_text, _read_batch_size),
    "tile": (option_text, parse_tile),
    "backdrop": (option_text, parse_backdrop),
}


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """A text that asks for memory or for ages fails the test instead of the machine; a warning is an error."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 30), before[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def check_caret(message: str) -> None:
    """A caret stands below the text, and not beside it."""
    lines = message.split("\n")
    if len(lines) >= 3 and set(lines[-1].strip()) == {"^"}:
        begin = len(lines[-1]) - len(lines[-1].lstrip())
        assert 4 <= begin <= len(lines[-2]) + 1, message
        assert len(lines[-1]) <= 200, message


def check_loss(text: str) -> bool:
    """Return whether a text is a loss; it is refused properly, or prints as one that reads alike."""
    try:
        loss = parse_loss(text)
    except UsageError as error:
        check_caret(str(error))
        assert len(str(error)) < 4 * len(text) + 25_000, text[:100]  # noqa: PT017
        return False
    printed = str(loss)
    assert str(parse_loss(printed)) == printed, text
    return True


def check_other(parse: Callable[[str], Any], text: str) -> bool:
    """Return whether a text can be read."""
    try:
        found = parse(text)
    except BasreliefError as error:
        check_caret(str(error))
        assert len(str(error)) < 25_000 or len(text) > 10_000, text[:100]  # noqa: PT017
        assert len(str(error)) < 4 * len(text) + 25_000, text[:100]  # noqa: PT017
        return False
    if parse is parse_augment:
        assert str(parse_augment(str(found))) == str(found), text
    return True


def test_losses_written_spoilt_and_noise(rounds: Callable[[int, int], int], capsys: pytest.CaptureFixture[str]) -> None:
    random = Random(8)
    read = refused = 0
    for number_ in range(1, rounds(3_000, 1_000_000) + 1):
        text = noise(random) if random.random() < 0.2 else spoilt(random, loss_text(random))
        if check_loss(text):
            read += 1
        else:
            refused += 1
        if number_ % 100_000 == 0:
            with capsys.disabled():
                print(f"\n{number_:,} losses: {read:,} read, {refused:,} refused", end="", flush=True)
    assert min(read, refused) > 100  # both sides are tried


@pytest.mark.parametrize("name", OTHERS)
def test_other_languages_written_spoilt_and_noise(name: str, rounds: Callable[[int, int], int]) -> None:
    make, parse = OTHERS[name]
    random = Random(9)
    for _ in range(rounds(500, 1_000_000 // len(OTHERS))):
        check_other(parse, noise(random) if random.random() < 0.2 else spoilt(random, make(random)))


LONG = {
    "dashes": "-" * 9_000 + "bce", "parentheses": "(" * 9_000, "closed": "(" * 180 + "bce" + ")" * 180,
    "brackets": "ssim(mask, window=" + "[" * 4_000, "sum": "+".join(["bce"] * 2_400), "product": "2*" * 4_900 + "bce",
    "digits": "9" * 9_000 + "*bce", "hexadecimal weight": "0x" + "f" * 9_000 + "*bce",
    "hexadecimal option": "ssim(mask, window=0x" + "f" * 9_000 + ")", "infinite option": "tversky(mask, alpha=1e999)",
    "minus infinite": "tversky(mask, alpha=-1e999)", "power": "10**10**10*bce", "power option": "ssim(mask, window=10**10**10)",
    "wrappers": "balance(" * 900 + "bce" + ")" * 900, "name": "a" * 10_000, "too long": "a" * 3_000_000,
    "too long a call": "a(" + "b" * 3_000_000, "lambda": "lambda: " * 1_000 + "1", "not": "not " * 2_000 + "bce",
    "attributes": "a" + ".a" * 4_000, "subscripts": "a" + "[0]" * 3_000, "calls": "a" + "()" * 4_000, "strings": "'a'" * 3_000,
    "escape": r"ssim(mask, like='\d')", "a number that runs on": "1if(mask)", "if": "1 if 1 else " * 800 + "1",
    "comparisons": "1<" * 4_000 + "1", "keywords": "f(" + ", ".join(f"a{i}=1" for i in range(1_500)) + ")",
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_texts_made_to_break_a_parser(name: str) -> None:
    check_loss(LONG[name])
    for make, parse in OTHERS.values():
        check_other(parse, LONG[name])
        check_other(parse, make(Random(1)) + "(" + LONG[name] + ")")


@given(
    st.lists(st.sampled_from((*LOSS_NAMES, *TARGETS, *"()+-*/=,'[]. ", "window", "1", "0.5")), max_size=25).map("".join)
)
@settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
def test_losses_of_tokens(text: str) -> None:
    check_loss(text)


@given(st.text(max_size=60))
@settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text(text: str) -> None:
    check_loss(text)
    for _, parse in OTHERS.values():
        check_other(parse, text)
