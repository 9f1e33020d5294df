"""The steps of augmentation beside kornia's functions with the parameters that ours drew."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kornia import color, enhance, filters
from kornia.geometry import transform
from torch import Tensor

from basrelief.augment import colour, geometry
from basrelief.augment.filter import blurred
from basrelief.augment.geometry import Move, compose
from basrelief.augment.jpeg import compressed
from basrelief.augment.resample import move_batch
from basrelief.augment.spec import Draws
from basrelief.batch import Batch

SIZES = [(32, 32), (23, 40)]


def draws(size: tuple[int, int], count: int = 6, seed: int = 0) -> Draws:
    return Draws(np.random.default_rng(seed), count, *size, 1.0)


def pictures(size: tuple[int, int], count: int = 6) -> Tensor:
    torch.manual_seed(0)
    return torch.rand(count, 3, *size)


def matrices(rotation: Move, zoom: Move, shift: Move, size: tuple[int, int]) -> Tensor:
    """Kornia's matrices, from the angle, the factor and the pixels that our maps hold."""
    angle = np.degrees(np.arctan2(rotation.inverse[:, 0, 1], rotation.inverse[:, 0, 0]))  # both clockwise
    factor = 1 / zoom.inverse[:, 0, 0]
    return transform.get_affine_matrix2d(
        torch.from_numpy(-shift.inverse[:, :2, 2]).float(),
        torch.tensor([[(size[1] - 1) / 2, (size[0] - 1) / 2]]).repeat(len(angle), 1),
        torch.from_numpy(np.stack([factor, factor], 1)).float(),
        torch.from_numpy(angle).float(),
    )[:, :2]


@pytest.mark.parametrize("size", SIZES)
def test_rotation_zoom_and_shift(size: tuple[int, int]) -> None:
    image, mask = pictures(size), (pictures(size)[:, :2] > 0.5).float()
    steps = [geometry.rotate(draws(size), 180), geometry.scale(draws(size), 0.7, 2), geometry.shift(draws(size))]
    found = move_batch(Batch(image, mask=mask), compose([(draws(size), step) for step in steps]), None)
    matrix = matrices(*steps, size)
    theirs = transform.warp_affine(image, matrix, size)
    known = transform.warp_affine(torch.ones_like(image), matrix, size) > 0.999  # outside, theirs is black
    assert known.float().mean() > 0.3
    assert torch.allclose(found.image[known], theirs[known], atol=1e-3)
    assert found.mask is not None
    same = found.mask == transform.warp_affine(mask, matrix, size, mode="nearest")
    assert same[known[:, :2]].float().mean() > 0.999  # a position may fall right between two pixels


@pytest.mark.parametrize("size", SIZES)
def test_crop(size: tuple[int, int]) -> None:
    image = pictures(size)
    step = geometry.crop(draws(size), 0.4)
    found = move_batch(Batch(image), compose([(draws(size), step)]), None).image
    side, place = step.inverse[:, 0, 0], step.inverse[:, :2, 2]
    middle = np.array([size[1] - 1, size[0] - 1]) / 2
    # Kornia's boxes go from the first pixel's centre to the last one's.
    low, high = place + middle - side[:, None] * middle, place + middle + side[:, None] * middle
    boxes = np.stack([low, np.stack([high[:, 0], low[:, 1]], 1), high, np.stack([low[:, 0], high[:, 1]], 1)], 1)
    theirs = transform.crop_and_resize(image, torch.from_numpy(boxes).float(), size)
    assert torch.allclose(found, theirs, atol=1e-3)


def test_flips() -> None:
    image = pictures((9, 14))
    for axis, theirs in (("horizontal", transform.hflip), ("vertical", transform.vflip)):
        step = geometry.flip(draws((9, 14)), axis)  # type: ignore[arg-type]
        found = move_batch(Batch(image), compose([(draws((9, 14)), step)]), None).image
        assert torch.equal(found, theirs(image))


def test_blur() -> None:
    image, sigmas = pictures((48, 40), 4), np.array([0.5, 1.0, 1.5, 2.0])
    theirs = filters.gaussian_blur2d(image, 17, torch.from_numpy(sigmas).float()[:, None].repeat(1, 2))
    inside = (..., slice(8, -8), slice(8, -8))  # theirs does not repeat the edge in the reflection
    assert torch.allclose(blurred(image, sigmas)[inside], theirs[inside], atol=3e-4)


def test_brightness_saturation_and_grey() -> None:
    image = pictures((8, 8))
    step = colour.brightness(draws((8, 8)), 0.5)
    factor = torch.from_numpy(step.matrix[:, 0, 0]).float()
    assert torch.allclose(step(image).clamp(0, 1), enhance.adjust_brightness_accumulative(image, factor), atol=1e-5)
    step = colour.saturation(draws((8, 8)), 0.5)
    factor = torch.from_numpy(step.matrix[:, 0, 0] - step.matrix[:, 1, 0]).float()
    theirs = enhance.adjust_saturation_with_gray_subtraction(image, factor)
    assert torch.allclose(step(image).clamp(0, 1), theirs, atol=1e-4)
    theirs = color.rgb_to_grayscale(image).expand_as(image)
    assert torch.allclose(colour.grey(draws((8, 8)))(image), theirs, atol=1e-5)


def test_contrast_where_the_pictures_mean_is_our_grey() -> None:
    image = pictures((8, 8))
    image = image - color.rgb_to_grayscale(image).mean((2, 3), keepdim=True) + 0.5
    step = colour.contrast(draws((8, 8)), 0.3)
    theirs = enhance.adjust_contrast_with_mean_subtraction(image, torch.from_numpy(step.matrix[:, 0, 0]).float())
    assert torch.allclose(step(image).clamp(0, 1), theirs, atol=1e-5)


def test_hue_goes_the_same_way_and_about_as_far() -> None:
    """Theirs turns HSV's hue, which is no linear map: only direction and size can agree."""
    image = 0.5 + 0.3 * (pictures((20, 20)) - 0.5)
    step = colour.hue(draws((20, 20)), 25.0)
    ours = color.rgb_to_hsv(step(image))[:, 0]
    before = color.rgb_to_hsv(image)[:, 0]
    angle = colour.YIQ @ step.matrix[:, :, :3] @ np.linalg.inv(colour.YIQ)
    drawn = torch.from_numpy(np.arctan2(angle[:, 1, 2], angle[:, 1, 1])).float()
    theirs = color.rgb_to_hsv(enhance.adjust_hue(image, drawn))[:, 0]

    def turned(after: Tensor) -> Tensor:
        return torch.remainder(after - before + torch.pi, 2 * torch.pi) - torch.pi

    assert torch.allclose(turned(theirs).flatten(1).median(1).values, drawn, atol=0.02)
    assert torch.allclose(turned(ours).flatten(1).median(1).values, drawn, atol=0.1)
    assert (drawn.abs() > 0.2).any()


def test_jpeg() -> None:
    image = blurred(pictures((48, 64), 3), np.array([3.0, 3.0, 3.0]))
    quality = np.array([30.0, 60.0, 90.0])
    theirs = enhance.jpeg_codec_differentiable(image, torch.from_numpy(quality).float())
    # Theirs rounds by a polynomial, so that it has a gradient, and repeats chroma instead of blending it.
    difference = (compressed(image, quality) - theirs).abs().mean((1, 2, 3)) * 255
    assert (difference < 3).all()
