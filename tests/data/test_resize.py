from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.data import resize
from basrelief.data.resize import resize_image

SIDES = st.tuples(st.integers(1, 400), st.integers(1, 400))


@settings(max_examples=60, deadline=None)
@given(SIDES, st.tuples(st.integers(1, 60), st.integers(1, 60)), st.integers(1, 20_000), st.integers(0, 2**31))
def test_a_large_image_shrinks_in_strips_to_the_same_bits(
    size: tuple[int, int], resolution: tuple[int, int], large: int, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    whole = resize_image(image, resolution)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resize, "LARGE", large)
        assert np.array_equal(resize_image(image, resolution), whole)
