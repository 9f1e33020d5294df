from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from basrelief.data.mask_looks import COLOUR, look_at, palettes_differ

RED = (200, 0, 0)


def save(path: Path, array, palette=None):
    picture = Image.fromarray(array)
    if palette is not None:
        picture.putpalette([part for colour in palette for part in colour])
    picture.save(path)
    return path


def square(value=1):
    """A square of 4 × 4 pixels that touches the upper border of 8 × 8."""
    result = np.zeros((8, 8), np.uint8)
    result[:4, 2:6] = value
    return result


def test_values_are_counted_in_all_on_the_border_and_inside_areas(tmp_path):
    look = look_at(save(tmp_path / "m.png", square(7)))
    assert look.counts == {0: 48, 7: 16}
    assert sum(look.border.values()) == 32  # corners twice
    assert look.border[7] == 4
    assert look.solid[7] == 4  # rows 1 and 2, the border left out
    assert not look.lossy
    assert not look.colour


def test_colours_are_counted_by_their_code(tmp_path):
    colours = np.array([(0, 0, 0), RED], np.uint8)
    look = look_at(save(tmp_path / "m.png", colours[square()]))
    assert look.colour
    assert look.counts == {COLOUR: 48, COLOUR | 0xC80000: 16}


def test_palettes_in_different_order_differ(tmp_path):
    one = look_at(save(tmp_path / "a.png", square(), [(0, 0, 0), RED]))
    other = look_at(save(tmp_path / "b.png", 1 - square(), [RED, (0, 0, 1)]))
    assert palettes_differ([one, other])
    assert not palettes_differ([one, one])
    assert not palettes_differ([one, look_at(save(tmp_path / "c.png", square()))])
