from __future__ import annotations

import contextlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from basrelief.errors import ExpressionError, UsageError
from basrelief.losses import LOSSES
from basrelief.losses.expression import Loss, parse_loss

TERMS = st.sampled_from([f"{name}({target})" for name, spec in LOSSES.items() for target in spec.targets])
WEIGHTS = st.floats(0.001, 1000).map(lambda x: f"{x:.4g}")


def tangle(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(WEIGHTS, inner).map(lambda x: f"{x[0]} * ({x[1]})"),
        st.tuples(inner, WEIGHTS).map(lambda x: f"({x[0]})/{x[1]}"),
        st.tuples(inner, inner).map(lambda x: f"{x[0]} + {x[1]}"),
        inner.map(lambda x: f"-(-({x}))"),
    )


expressions = st.recursive(TERMS, tangle, max_leaves=6)


@given(expressions)
def test_what_is_printed_reads_as_the_same_loss(text: str) -> None:
    loss = parse_loss(text)
    assert str(parse_loss(str(loss))) == str(loss)
    assert parse_loss(str(loss)).terms == loss.terms


@given(st.text(max_size=60))
def test_any_text_is_a_loss_or_an_error_for_the_user(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        assert isinstance(parse_loss(text), Loss)


@given(st.text(alphabet="bcediou mask()+-*/.0123456789=,'\"[]", max_size=40))
def test_texts_of_the_languages_own_letters_are_no_exception(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        parse_loss(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2*rmse(depth) + (bce(mask) + 2*dice(mask))", "2*rmse(depth) + bce(mask) + 2*dice(mask)"),
        ("(bce(mask) + 2*dice(mask)) / 2", "0.5*bce(mask) + dice(mask)"),
        ("bce + dice", "bce(mask) + dice(mask)"),
        ("- bce(mask) + 3*bce(mask)", "2*bce(mask)"),
        ("ssim( depth , window = 7)", "ssim(depth, window=7)"),
        ("bce(mask)*(1 + 2)", "3*bce(mask)"),
        ("bce(mask) - 0.5*dice(mask)", "bce(mask) - 0.5*dice(mask)"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert str(parse_loss(text)) == canonical


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("bce(mask) + 2*dise(mask)", "Did you mean 'dice'?", "dise"),
        ("bce(maks)", "Did you mean 'mask'?", "maks"),
        ("focal(depth)", "is not for depth", "focal"),
        ("bce(mask)*dice(mask)", "multiplies two losses", "bce(mask)*dice(mask)"),
        ("bce(mask) + dice(mask", "is never closed", "("),
        ("ssim(mask, windw=3)", "Did you mean 'window'?", "windw"),
        ("ssim(mask, window='a')", "should be a whole number", "'a'"),
        ("dice(mask, like=smp)", "write like='smp'", "smp"),
        ("iou(mask)", "Did you mean 'jaccard'?", "iou"),
        ("BCE(mask)", "Did you mean 'bce'?", "BCE"),
        ("bce(mask)/0", "a number other than 0", "0"),
        ("7 + bce(mask)", "a number alone", "7"),
        ("ssim", "needs its target: ssim(mask) or ssim(depth)", "ssim"),
        ("bce(mask, depth)", "should be one target", "depth"),
        ("é(mask) + bce(mask)", "is not a loss", "é"),
        ("bce(mask) + é(mask)", "is not a loss", "é"),
        ("__import__('os')", "is not a loss", "__import__"),
        ("bce(mask) ** 2", "is not part of the loss language", "bce(mask) ** 2"),
        ("bce(mask) + 2*tversky(mask, alpha=-0.3)", "cannot be the alpha of tversky: it must be a number", "-0.3"),
        ("ssim(mask, window=4)", "cannot be the window of ssim: it must be an odd", "4"),
        ("rmse(depth) + huber(depth, delta=0)", "cannot be the delta of huber: it must be above 0", "0"),
    ],
)
def test_errors_show_the_text_with_a_caret_below_the_fault(text: str, message: str, marked: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_loss(text)
    first, line, caret = str(caught.value).rsplit("\n", 2)
    assert message in first
    assert line.strip() == text
    start = caret.index("^")
    assert line[start : start + caret.count("^")] == marked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "bce(mask) - bce(mask)",
        "(" * 500 + "bce" + ")" * 500,
        "x" * 20_000,
        "bce(mask) +",
        "\0",
        "1e999*bce(mask)",
        "9" * 5000 + "*bce(mask)",
    ],
    ids=["empty", "blank", "nothing left", "deep", "long", "cut", "null", "infinite", "digits"],
)
def test_hopeless_texts_end_in_one_error(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_loss(text)


def test_terms_and_total_add_up() -> None:
    outputs = {"mask": torch.randn(2, 1, 16, 16), "depth": torch.randn(2, 1, 16, 16)}
    batch = {"mask": (torch.rand(2, 1, 16, 16) > 0.5).float(), "depth": torch.rand(2, 1, 16, 16)}
    value = parse_loss("2*rmse(depth) + bce(mask) + 0.5*dice(mask)")(outputs, batch)
    assert list(value.terms) == ["rmse(depth)", "bce(mask)", "dice(mask)"]
    by_hand = 2 * value.terms["rmse(depth)"] + value.terms["bce(mask)"] + 0.5 * value.terms["dice(mask)"]
    assert value.total.item() == pytest.approx(by_hand.item())


def test_a_function_of_ones_own_joins_by_name() -> None:
    def mine(pred: torch.Tensor, target: torch.Tensor, *, power: float = 2.0) -> torch.Tensor:
        """Some power of the error."""
        return (pred - target).abs().pow(power).mean()

    loss = parse_loss("3*mine(depth, power=1) + l1(depth)", losses={"mine": mine})
    batch = {"depth": torch.rand(2, 1, 8, 8)}
    value = loss({"depth": torch.zeros(2, 1, 8, 8)}, batch)
    assert value.terms["mine(depth, power=1)"].item() == pytest.approx((batch["depth"] - 0.5).abs().mean().item())
    with pytest.raises(ExpressionError, match="is not an option of mine"):
        parse_loss("mine(depth, powr=1)", losses={"mine": mine})


def test_ones_own_function_gets_validity_where_it_wants_it() -> None:
    seen = {}

    def mine(pred: torch.Tensor, target: torch.Tensor, *, valid: torch.Tensor | None = None) -> torch.Tensor:
        seen["valid"] = valid
        return (pred - target).mean()

    valid = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    planes = {"mask": torch.zeros(1, 1, 4, 4), "mask_valid": valid}
    parse_loss("mine(mask)", losses={"mine": mine})({"mask": torch.zeros(1, 1, 4, 4)}, planes)
    assert seen["valid"] is valid


def test_missing_planes_and_other_shapes_are_named() -> None:
    loss = parse_loss("bce(mask)")
    with pytest.raises(UsageError, match="not in the network's outputs: depth"):
        loss({"depth": torch.zeros(1, 1, 4, 4)}, {"mask": torch.zeros(1, 1, 4, 4)})
    with pytest.raises(UsageError, match="not in the batch: nothing"):
        loss({"mask": torch.zeros(1, 1, 4, 4)}, {})
    with pytest.raises(UsageError, match=r"\(1, 2, 4, 4\)"):
        loss({"mask": torch.zeros(1, 2, 4, 4)}, {"mask": torch.zeros(1, 1, 4, 4)})


def test_float64_stays_float64() -> None:
    planes = {"mask": torch.zeros(1, 1, 4, 4)}
    assert parse_loss("bce(mask)")({"mask": torch.zeros(1, 1, 4, 4).double()}, planes).total.dtype == torch.float64
