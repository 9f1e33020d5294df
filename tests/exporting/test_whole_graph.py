"""Resizing as a graph computes it, against Pillow and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.data.resize import resize_image
from basrelief.exporting.whole_graph import enlarge, shrink

SIDES = st.integers(1, 400)
RESOLUTIONS = st.integers(4, 48)


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def differences(image: np.ndarray, resolution: tuple[int, int]) -> np.ndarray:
    found = shrink(torch.from_numpy(image)[None], resolution)[0].permute(1, 2, 0).numpy()
    return np.abs(found - resize_image(image, resolution))


@settings(max_examples=40, deadline=None)
@given(size=st.tuples(SIDES, SIDES), resolution=st.tuples(RESOLUTIONS, RESOLUTIONS), seed=st.integers(0, 9))
def test_any_size_is_shrunk_to_pillows_own_bytes(size: tuple[int, int], resolution: tuple[int, int], seed: int) -> None:
    allowed = 1 if size[0] > 50 * size[1] else 0  # Pillow filters very high images along columns first
    assert differences(picture(size, seed), resolution).max() <= allowed


@pytest.mark.parametrize("size", [(96, 96), (95, 97), (193, 192), (191, 400), (1000, 1111), (700, 33), (64, 3000)])
def test_sizes_around_where_pillow_begins_to_average_blocks(size: tuple[int, int]) -> None:
    assert not differences(picture(size), (16, 32)).any()


def test_flat_and_extreme_images_keep_their_values() -> None:
    for level in (0, 1, 128, 254, 255):
        image = np.full((321, 123, 3), level, np.uint8)
        assert (shrink(torch.from_numpy(image)[None], (20, 24)) == level).all()


def test_an_image_of_the_resolution_stays_as_it_is() -> None:
    image = torch.from_numpy(picture((24, 40)))[None]
    assert torch.equal(shrink(image, (24, 40)), image.permute(0, 3, 1, 2).float())


@settings(max_examples=20, deadline=None)
@given(size=st.tuples(SIDES, SIDES), resolution=st.tuples(RESOLUTIONS, RESOLUTIONS))
def test_results_are_enlarged_as_predictions_are(size: tuple[int, int], resolution: tuple[int, int]) -> None:
    planes = torch.rand(2, 3, *resolution)
    wanted = F.interpolate(planes, size=size, mode="bilinear", align_corners=False)
    assert torch.allclose(enlarge(planes, *size), wanted, atol=1e-5)
