from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.augment import AUGMENTATIONS, Augment, parse_augment
from basrelief.errors import UsageError


def message(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_augment(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", "none"),
        (" none ", "none"),
        ("flip", "flip"),
        ("flip()+\nrotate ( degrees = 10 )", "flip + rotate"),
        ("brightness(.3)", "brightness(amount=0.3)"),
        ("(noise(p=1, sigma=0.1) + flip(vertical))", "noise(sigma=0.1, p=1.0) + flip(axis='vertical')"),
        ("hue(apart=true) + grey(0.5)", "hue(apart=True) + grey(p=0.5)"),
        ("scale(0.5, 2)", "scale(low=0.5, high=2.0)"),
        ("scale(high=2, low=0.5)", "scale(low=0.5, high=2.0)"),
        ("jpeg(50, subsample=False)", "jpeg(low=50, subsample=False)"),
    ],
)
def test_the_text_is_read_and_printed_in_one_canonical_way(text: str, canonical: str) -> None:
    augment = parse_augment(text)
    assert str(augment) == canonical
    assert parse_augment(canonical) == augment
    assert isinstance(augment, Augment)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_options_round_trip(data: st.DataObject) -> None:
    parts = []
    for name in data.draw(st.lists(st.sampled_from(sorted(AUGMENTATIONS)), unique=True)):
        options = {}
        for option, line in AUGMENTATIONS[name].options.items():
            if option in ("low", "high") or not data.draw(st.booleans()):
                continue
            if line.words:
                options[option] = data.draw(st.sampled_from(line.words))
            elif line.kind is bool:
                options[option] = data.draw(st.booleans())
            else:
                assert line.limits is not None
                numbers = st.integers if line.kind is int else st.floats
                options[option] = data.draw(numbers(line.limits.low, line.limits.high))  # type: ignore[operator]
        parts.append(f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})")
    augment = parse_augment(" + ".join(parts))
    assert [step.name for step in augment.steps] == [part.split("(")[0] for part in parts]
    assert parse_augment(str(augment)) == augment


def test_a_misspelt_step_shows_the_text_with_a_caret_and_the_nearest_name() -> None:
    text = message("flip + rotatte(degrees=10)")
    first, line, caret = text.split("\n")
    assert first.startswith("In the augmentation, 'rotatte' is not a step. Did you mean 'rotate'? Known: flip, ")
    assert line == "    flip + rotatte(degrees=10)"
    assert caret == "           ^^^^^^^"


def test_names_of_other_packages_are_known() -> None:
    assert "Did you mean cutout?" in message("random_erasing")
    assert "Did you mean shift?" in message("Translate(0.1)")
    assert "Did you mean grey?" in message("gray")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rotate(degree=10)", "'degree' is not an option of rotate. Did you mean 'degrees'? Its options: degrees, p"),
        ("rotate(degrees=200)", "'200' is not what rotate takes as degrees, which should be a number from 0 to 180."),
        ("rotate(-1)", "'-1' is not what rotate takes as degrees, which should be a number from 0 to 180."),
        ("rotate(1e999)", "a number from 0 to 180"),
        ("rotate(True)", "a number from 0 to 180"),
        ("flip(p=1.5)", "'1.5' is not what flip takes as p, which should be a number from 0 to 1."),
        ("flip(axis=verticle)", "should be 'horizontal' or 'vertical' or 'both'. Did you mean 'vertical'?"),
        ("cutout(holes=1.5)", "should be a whole number from 1 to 100."),
        ("cutout(targets=1)", "should be True or False."),
        ("scale(low=2, high=1)", "has low=2 above high=1; low must not be above high."),
        ("crop(low=0)", "should be a number from 0.05 to 1."),
        ("rotate(10, 1, 20)", "'20' is one too many: rotate takes degrees, p."),
        ("rotate(10, degrees=20)", "'20' gives degrees a second time."),
        ("flip + flip(p=1)", "'flip(p=1)' is there a second time; every step may stand once."),
        ("flip(apart=true)", "'apart' is not an option of flip."),
        ("flip - rotate", "'flip - rotate' is not a step. Steps stand with + between them"),
        ("2*flip", "'2*flip' is not a step."),
        ("flip + none", "'none' stands alone, or not at all."),
        ("flip + (rotate", "is never closed."),
        ("flip rotate", "cannot be read here."),
        ("flip +", "cannot be read here."),
        ("flip # rotate", "'#' is not part of this language."),
        ("noise(sigma=__import__('os'))", "should be a number from 0 to 1."),
        ("a.flip()", "'a.flip()' is not a step."),
        ("rotate(**{'degrees': 5})", "'**' is not an option of rotate."),
        ("flip\0", "cannot be read"),
        ("+".join(["flip"] * 5000), "at most 10000 are read"),
        ("(" * 3000 + "flip" + ")" * 3000, "cannot be read"),
    ],
)
def test_a_mistake_is_named_with_what_is_expected(text: str, said: str) -> None:
    assert said in message(text)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="written as a text"):
        parse_augment(None)  # type: ignore[arg-type]


def test_carets_stand_right_below_text_with_wide_letters() -> None:
    _, line, caret = message("flip(axis='größe') + rotat").split("\n")
    assert line[caret.index("^") : caret.rindex("^") + 1] in ("'größe'", "rotat")


@pytest.mark.parametrize(("name", "spec"), AUGMENTATIONS.items(), ids=list(AUGMENTATIONS))
def test_every_default_is_a_value_its_option_takes(name: str, spec) -> None:  # type: ignore[no-untyped-def]
    for option, line in spec.options.items():
        assert line.takes(line.default), (name, option)
    assert {"p"} <= set(spec.options)
    assert ("apart" in spec.options) == (spec.kind == "colour")
