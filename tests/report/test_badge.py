"""The badge: one line that says the outcome, as short as it can."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from basrelief.report import LossRow, StudyContents, render_badge
from basrelief.report.badge import COLOURS, HEIGHT, SCALE, say_outcome, short_name

Study = Callable[..., StudyContents]


def row(name: str) -> LossRow:
    return LossRow(name, name, {}, 1, 0)


def test_it_names_the_winner_its_score_half_its_interval_and_the_seeds(study: Study) -> None:
    assert say_outcome(study(3)) == "bce + 2*dice, IoU 0.87 ± 0.01, 3 seeds"
    made = study(3, classes=0)
    assert say_outcome(made) == "bce(mask) + 2*dice(mask), RMSE 0.31 ± 0.01 m, 3 seeds".replace("(mask)", "")


def test_a_narrow_interval_is_not_rounded_to_nothing(study: Study) -> None:
    made = study(2)
    rows = [replace(one, scores={"mask/iou": (0.8123, 0.8113, 0.8133)}) for one in made.losses]
    assert "IoU 0.812 ± 0.001" in say_outcome(replace(made, losses=rows))


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("bce(mask) + 2*dice(mask)", "bce + 2*dice"),
        ("tversky(mask, alpha=0.3)", "tversky(alpha=0.3)"),
        ("2*rmse(depth) + bce(mask)", "2*rmse(depth) + bce(mask)"),
    ],
)
def test_the_target_goes_where_there_is_but_one(name: str, short: str) -> None:
    assert short_name(row(name)) == short


def test_a_long_name_is_shortened(study: Study) -> None:
    assert len(short_name(row("boundary(mask) + 0.5*bce(mask) + 2*rmse(depth) + ssim(depth, window=11)"))) == 40


def test_what_is_not_decided_is_not_called_won(study: Study) -> None:
    assert say_outcome(study(3, seeds=1)) == "undecided, IoU 0.87, 1 seed"
    made = study(2)
    equal = {**made.verdict, "winner": None, "pairs": [dict(made.verdict["pairs"][0], decision="equal")]}
    assert say_outcome(replace(made, verdict=equal)).startswith("practically equal, IoU")
    failed = [replace(one, scores={}) for one in made.losses]
    assert say_outcome(replace(made, losses=failed, verdict={"primary": "mask/iou"})) == "no result"


@pytest.mark.parametrize("seeds", [1, 3])
def test_it_is_a_png_of_twice_a_badges_height_in_the_colour_of_the_outcome(study: Study, seeds: int) -> None:
    badge = np.asarray(Image.open(io.BytesIO(render_badge(study(3, seeds=seeds)))))
    assert badge.shape[0] == SCALE * HEIGHT
    assert badge.shape[1] > 6 * badge.shape[0]
    assert badge[0, 0, 3] == 0  # round corners
    ground = badge[2, badge.shape[1] // 2, :3].tobytes().hex()
    assert f"#{ground}" == COLOURS["winner" if seeds > 1 else "undecided"]


def test_white_text_can_be_read_on_every_ground() -> None:
    # Contrast by WCAG 2.2: (1 + 0.05) / (luminance + 0.05), at least 4.5 for small text.
    for colour in COLOURS.values():
        parts = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 4.5
