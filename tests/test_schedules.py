from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.errors import UsageError
from basrelief.schedules import SCHEDULES, Progress, parse_schedule


def factor(text: str, step: int, steps: int = 100, *, epoch: int = 0, scores: tuple[float | None, ...] = ()) -> float:
    return parse_schedule(text)(Progress(step, steps, epoch, 10, (scores,)))


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=30, deadline=None)
@given(steps=st.integers(1, 200), share=st.floats(0, 1, exclude_max=True))
def test_every_factor_lies_between_0_and_1(name: str, steps: int, share: float) -> None:
    assert 0 < factor(name, int(share * steps), steps) <= 1


@pytest.mark.parametrize("name", ["constant", "one-cycle", "cosine", "step", "plateau"])
def test_the_top_is_the_rate_that_was_asked_for(name: str) -> None:
    assert max(factor(name, step) for step in range(100)) == pytest.approx(1, rel=0.01)


def test_step_takes_thirds_or_epochs() -> None:
    assert [factor("step", s, 30) for s in (0, 9, 10, 29)] == pytest.approx([1, 1, 0.1, 0.01])
    # torch.optim.lr_scheduler.StepLR(step_size=2, gamma=0.5) at epochs 0 to 4.
    assert [factor("step(every=2, factor=0.5)", 0, epoch=e) for e in range(5)] == [1, 1, 0.5, 0.5, 0.25]


def test_one_cycle_rises_and_falls() -> None:
    assert factor("one-cycle", 0) == pytest.approx(1 / 25)
    assert factor("one-cycle", 30) == pytest.approx(1)
    assert factor("one-cycle", 99) < 0.01
    assert factor("one-cycle(rise=0.5, start=10)", 0) == pytest.approx(0.1)


def test_cosine_warms_up_and_reaches_its_end() -> None:
    assert factor("cosine(warmup=0.1)", 0) == pytest.approx(1 / 11)
    assert factor("cosine(warmup=0)", 0) == 1
    assert factor("cosine(warmup=0)", 50) == pytest.approx(0.5)
    assert factor("cosine(warmup=0, final=0.2)", 50) == pytest.approx(0.6)


def test_plateau_waits_as_torchs_does() -> None:
    # torch 2.8's ReduceLROnPlateau(mode="max", factor=0.1, patience=2, threshold=0), after each of these values.
    values = (0.5, 0.6, 0.6, 0.6, 0.6, 0.7, 0.1, 0.1, 0.1, 0.1)
    expected = (1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01)
    found = [factor("plateau(patience=2)", 0, scores=values[: n + 1]) for n in range(len(values))]
    assert found == pytest.approx(expected)


def test_plateau_keeps_the_rate_and_forgets_the_scores_of_a_stage_at_another_resolution() -> None:
    schedule = parse_schedule("plateau(patience=0)")
    assert schedule(Progress(0, 1, 0, 1, ((0.9, 0.5), ()))) == pytest.approx(0.1)
    assert schedule(Progress(0, 1, 0, 1, ((0.9, 0.5), (0.3,)))) == pytest.approx(0.1)


def test_an_epoch_without_a_score_is_no_better_one() -> None:
    assert factor("plateau(patience=0)", 0, scores=(0.5, None)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosinus", "Did you mean 'cosine'?"),
        ("step(each=2)", "Its options: every=None, factor=0.1"),
        ("constant(x=1)", "Its options: none"),
        ("step(every=0)", "a whole number, 1 or more"),
        ("step(every=1.5)", "a whole number"),
        ("step(factor='a')", "a number"),
        ("cosine(warmup=2)", "0 to 1"),
        ("one-cycle(0.3)", "without its option's name"),
    ],
)
def test_a_wrong_name_or_option_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_schedule(text)
    assert message in str(caught.value)
