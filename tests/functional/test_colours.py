"""How planes become colours: scales and unknown pixels."""

from __future__ import annotations

import numpy as np

from basrelief.functional.colours import colour_depth, depth_palette


def test_depth_takes_the_ends_of_the_scale_and_hatches_what_is_unknown() -> None:
    places = colour_depth(np.array([[1.0, 2.0, 3.0, 9.0], [np.nan, np.inf, -5.0, np.nan]]), 1.0, 3.0)
    assert places[0].tolist() == [0, 126, 253, 253]
    assert (places[1][[0, 1, 3]] >= 254).all()
    assert places[1][2] == 0
    palette = depth_palette()
    assert palette.shape == (256, 3)
    assert palette[0].tolist() == [0x44, 0x01, 0x54]
    assert palette[253].tolist() == [0xFD, 0xE7, 0x25]


def test_the_scale_of_depth_grows_brighter_all_the_way() -> None:
    luminance = depth_palette()[:254] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) > -0.5).all()
