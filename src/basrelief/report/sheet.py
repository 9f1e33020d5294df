"""One picture of a study, for a README or a slide: some images, the truth, and each loss's prediction."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from basrelief.errors import DataError
from basrelief.report.contents import StudyContents
from basrelief.report.pictures import build_wall

if TYPE_CHECKING:
    from PIL import Image

CELL, GAP, HEAD, FOOT = 144, 8, 30, 22  # pixels


def render_sheet(contents: StudyContents, *, rows: int = 4) -> bytes:
    """Return a PNG with ``rows`` of the report's validation pictures, spread over all, and their primary scores.

    Raises
    ------
    DataError
        When the study kept no pictures.
    """
    from PIL import Image, ImageDraw, ImageFont

    if contents.pictures is None:
        raise DataError("The study kept no pictures: it has no validation images, or no training has finished.")
    wall = build_wall(contents.pictures, [(place, row.name) for place, row in enumerate(contents.losses)])
    target = wall.targets[0]
    chosen = [wall.rows[i * len(wall.rows) // rows] for i in range(min(rows, len(wall.rows)))]
    heads = ["image", *(["background"] if wall.has_background else []), "truth", *(name for _, name in wall.losses)]
    width = GAP + len(heads) * (CELL + GAP)
    tall = round(CELL * wall.height / wall.width)
    sheet = Image.new("RGB", (width, HEAD + len(chosen) * (tall + FOOT) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for column, head in enumerate(heads):
        draw.text((GAP + column * (CELL + GAP), 8), _fit(head, CELL, font), "black", font)
    for place, row in enumerate(chosen):
        shown = [row.truth, *row.predictions]
        cells = [row.image, row.background if wall.has_background else None, *(getattr(one, target) for one in shown)]
        notes = ["", *([""] if wall.has_background else []), *(one.score for one in shown)]
        top = HEAD + place * (tall + FOOT)
        for column, (cell, note) in enumerate(zip([cell for cell in cells if cell], notes, strict=True)):
            left = GAP + column * (CELL + GAP)
            sheet.paste(_decode(cell).resize((CELL, tall), Image.Resampling.NEAREST), (left, top))
            draw.text((left, top + tall + 2), note, "#444444", font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _decode(address: str) -> Image.Image:
    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))).convert("RGB")


def _fit(text: str, width: int, font: object) -> str:
    while font.getlength(text) > width and len(text) > 2:  # type: ignore[attr-defined]
        text = text[:-2] + "…"
    return text
