"""What is said about a value that an option does not take."""

from __future__ import annotations

import pytest

from basrelief.config import DataSettings, StudySettings, TrainSettings, checked
from basrelief.errors import UsageError

DATA = {"data": {"location": "here"}}


@pytest.mark.parametrize(
    ("settings", "values", "said"),
    [
        (TrainSettings, {"resolution": "7"}, "--resolution 7: expected 8 or more."),
        (TrainSettings, {"resolution": "48x9000"}, "--resolution 9000: expected 8192 or less."),
        (TrainSettings, {"momentum": 1.0}, "--momentum 1.0: expected less than 1."),
        (TrainSettings, {"lr": 0.0}, "--lr 0.0: expected a number above 0, such as 1e-3, or the word search."),
        (TrainSettings, {"epochs": "many"}, "--epochs 'many': expected a valid integer."),
        (TrainSettings, {"optimizer": "adamx"}, "--optimizer 'adamx': expected 'adamw', 'adam' or 'sgd'."),
        (
            DataSettings,
            {"location": "here", "depth_scale": float("inf")},
            "--depth-scale inf: expected a finite number.",
        ),
        (DataSettings, {"location": "here", "depth_kind": "metres"}, "expected 'metric', 'relative' or 'disparity'."),
        (StudySettings, {**DATA, "folds": 2}, "--folds 2: expected 3 or more."),
    ],
)
def test_a_wrong_value_is_named_with_its_option_and_with_what_was_expected(settings, values, said) -> None:
    with pytest.raises(UsageError) as caught:
        checked(settings, values)
    assert str(caught.value).endswith(said)
