"""A study's outcome as a badge for a README: one line of text, 20 px high, drawn at twice that size."""

from __future__ import annotations

import io
import re

from basrelief.report.contents import LossRow, StudyContents
from basrelief.report.tables import (
    decimals_for,
    describe_outcome,
    finite,
    format_number,
    order_losses,
    primary_facts,
    shorten,
)
from basrelief.report.words import factor_word

SCALE = 2  # drawn pixels for each of the design's
HEIGHT, PAD, SIZE, ROUND = 20, 6, 11, 3  # of the design, in px
LONGEST = 40  # characters of a name
LEFT = "#4a4f55"
# White text on each has a contrast of at least 4.5.
COLOURS = {"winner": "#00694d", "equal": "#004e80", "undecided": "#8a4b00", "single": "#5f656b"}
SPOKEN = {"iou": "IoU", "dice": "Dice", "ssim": "SSIM", "rmse": "RMSE", "mae": "MAE"}


def render_badge(contents: StudyContents) -> bytes:
    """Return a PNG, 40 px high: what was varied, and on a coloured ground which one won, by what, on how many seeds.

    Green is a winner, blue practically equal, brown undecided, grey nothing to compare. In a README it looks crisp
    with ``<img src="badge.png" height="20">``.
    """
    from PIL import Image, ImageDraw, ImageFont

    kind, _ = describe_outcome(contents)
    texts = (factor_word(contents.verdict), say_outcome(contents))
    font = ImageFont.load_default(SIZE * SCALE)
    widths = [round(font.getlength(text)) + 2 * PAD * SCALE for text in texts]
    size = (sum(widths), HEIGHT * SCALE)
    badge = Image.new("RGBA", size)
    draw = ImageDraw.Draw(badge)
    draw.rectangle((0, 0, widths[0], size[1]), LEFT)
    draw.rectangle((widths[0], 0, *size), COLOURS[kind])
    for left, text in zip((0, widths[0]), texts, strict=True):
        draw.text((left + PAD * SCALE, size[1] / 2), text, "white", font, anchor="lm")
    corners = Image.new("L", size)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), ROUND * SCALE, 255)
    badge.putalpha(corners)
    buffer = io.BytesIO()
    badge.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def say_outcome(contents: StudyContents) -> str:
    """Return the badge's text: "bce + 2*dice, IoU 0.81 ± 0.01, 10 seeds"."""
    primary = primary_facts(contents)
    ranked = [row for _, row in order_losses(contents) if finite(row.scores.get(primary.name, (None,))[0]) is not None]
    if not ranked:
        return "no result"
    kind, words = describe_outcome(contents)
    winner = next((row for row in ranked if row.name == contents.verdict.get("winner")), ranked[0])
    name = words.lower() if kind in ("equal", "undecided") else short_name(winner)
    seeds = f"{winner.seeds} seed{'' if winner.seeds == 1 else 's'}"
    return ", ".join([name, _score(contents, winner), seeds])


def short_name(row: LossRow) -> str:
    """Return a name as short as it can be understood: of a loss with one target, without it."""
    targets = set(re.findall(r"\b(mask|depth)\b", row.name))
    name = row.name
    if len(targets) == 1 and row.name == row.expression:
        name = re.sub(r"\((?:mask|depth)\)", "", name)
        name = re.sub(r"\((?:mask|depth), ", "(", name)
    return shorten(name, LONGEST)


def _score(contents: StudyContents, row: LossRow) -> str:
    primary = primary_facts(contents)
    mean, low, high = (finite(value) for value in row.scores[primary.name])
    assert mean is not None
    decimals = max(decimals_for([mean]) - 2, 0)
    last = primary.name.rpartition("/")[2]
    spoken = SPOKEN.get(last, primary.name)
    unit = f" {primary.unit}" if primary.unit else ""
    if low is None or high is None:
        return f"{spoken} {format_number(mean, decimals)}{unit}"
    half = (high - low) / 2
    while half and not round(half, decimals) and decimals < 4:
        decimals += 1
    return f"{spoken} {format_number(mean, decimals)} ± {format_number(half, decimals)}{unit}"
