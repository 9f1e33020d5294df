from __future__ import annotations

import pytest

from basrelief.augment import AUGMENTATIONS
from basrelief.listing import KINDS, table
from basrelief.losses import LOSSES
from basrelief.losses.balance import WRAPPERS
from basrelief.metrics import METRICS
from basrelief.models import MODELS, options_of
from basrelief.schedules import parse_schedule


def test_every_loss_and_wrapper_is_listed_with_all_there_is_to_say() -> None:
    lines = {line["name"]: line for line in table("losses")}
    assert set(lines) == {*LOSSES, *WRAPPERS}
    for line in lines.values():
        assert line["formula"]
        assert line["definition"]
        assert line["source"]
        for option, facts in line["options"].items():
            assert facts["meaning"], f"{line['name']}: the docstring does not say what {option} means"


def test_every_metric_is_listed_with_its_direction() -> None:
    lines = {line["name"]: line for line in table("metrics")}
    assert set(lines) == set(METRICS)
    assert all(line["better"] in ("higher", "lower") and line["summary"] for line in lines.values())
    assert all(line["formula"] for line in lines.values())


def test_every_augmentation_is_listed_with_all_there_is_to_say() -> None:
    lines = {line["name"]: line for line in table("augmentations")}
    assert set(lines) == set(AUGMENTATIONS)
    for line in lines.values():
        assert line["definition"]
        assert line["formula"]
        for option, facts in line["options"].items():
            assert facts["meaning"], f"{line['name']}: the docstring does not say what {option} means"


def test_every_network_is_listed_with_all_there_is_to_say_and_one_line_stands_for_the_encoders() -> None:
    lines = {line["name"]: line for line in table("models")}
    assert list(lines) == [*MODELS, "smp/ARCH:ENCODER"]
    for name, spec in MODELS.items():
        assert lines[name]["parameters"] == spec.parameters
        assert lines[name]["stride"] >= 1
        assert {option: facts["default"] for option, facts in lines[name]["options"].items()} == options_of(name)
    for line in lines.values():
        assert line["definition"]
        assert line["targets"]
        for option, facts in line["options"].items():
            assert facts["meaning"], f"{line['name']}: the docstring does not say what {option} means"
            assert facts["takes"]
    assert lines["munet"]["call"] == "munet(blocks=16)"
    assert set(lines["smp/ARCH:ENCODER"]["options"]) == {"weights", "depth"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_lines_of_a_table_have_the_columns_that_a_terminal_shows(kind: str) -> None:
    lines = table(kind)
    assert lines
    assert all("name" in line and "summary" in line for line in lines)


def test_schedules_are_listed_with_options_that_can_be_typed() -> None:
    for line in table("schedules"):
        assert line["call"].startswith(line["name"])
        typed = {name: value for name, value in line["options"].items() if value is not None}
        call = f"{line['name']}({', '.join(f'{name}={value!r}' for name, value in typed.items())})"
        parse_schedule(call if typed else line["name"])
