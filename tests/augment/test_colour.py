"""Colours by hand, by the standard library's YIQ, and JPEG by Pillow."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from basrelief.augment import colour, parse_augment
from basrelief.augment.filter import blurred
from basrelief.augment.jpeg import compressed
from basrelief.augment.spec import Draws
from basrelief.batch import Batch


class Highest(Draws):
    """Every sample gets the step, with the upper end of each range; with ``sign`` -1, the lower."""

    def __init__(self, count: int = 1, size: tuple[int, int] = (1, 1), sign: int = 1) -> None:
        super().__init__(np.random.default_rng(0), count, *size, 1.0)
        self.sign = sign

    def between(self, low: float, high: float, otherwise: float) -> np.ndarray:
        return np.full(self.count, float(high if self.sign > 0 else low))


def pixel(*rgb: float) -> Tensor:
    return torch.tensor(rgb, dtype=torch.float64)[None, :, None, None]


def colours(picture: Tensor) -> list[float]:
    return [float(value) for value in picture.flatten()]


SAMPLE = pixel(0.8, 0.4, 0.2)
LUMA = 0.299 * 0.8 + 0.587 * 0.4 + 0.114 * 0.2  # 0.4968


def test_values_by_hand() -> None:
    high, low = Highest(), Highest(sign=-1)
    assert colours(colour.brightness(high, 0.25)(SAMPLE)) == pytest.approx([1.0, 0.5, 0.25])
    assert colours(colour.brightness(low, 0.25)(SAMPLE)) == pytest.approx([0.6, 0.3, 0.15])
    assert colours(colour.contrast(high, 0.5)(SAMPLE)) == pytest.approx([0.95, 0.35, 0.05])
    assert colours(colour.contrast(low, 0.5)(SAMPLE)) == pytest.approx([0.65, 0.45, 0.35])
    assert colours(colour.grey(high)(SAMPLE)) == pytest.approx([LUMA] * 3)
    assert colours(colour.saturation(low, 1.0)(SAMPLE)) == pytest.approx([LUMA] * 3)
    half = [LUMA + 1.5 * (value - LUMA) for value in (0.8, 0.4, 0.2)]
    assert colours(colour.saturation(high, 0.5)(SAMPLE)) == pytest.approx(half)
    assert colours(colour.rgb_shift(high, 0.1)(SAMPLE)) == pytest.approx([0.9, 0.5, 0.3])


@pytest.mark.parametrize("degrees", [10.0, 90.0, 180.0])
def test_hue_turns_the_chroma_of_the_standard_librarys_yiq(degrees: float) -> None:
    rng = np.random.default_rng(0)
    for rgb in rng.random((5, 3)):
        found = colours(colour.hue(Highest(), degrees)(pixel(*rgb)))
        y, i, q = colorsys.rgb_to_yiq(*rgb)
        # colorsys clamps on the way back, and rounds the matrix to two digits; so compare its view of our result.
        after = np.array([found @ np.array(row) for row in _yiq_rows()])
        chroma = complex(i, q) * np.exp(-1j * np.radians(degrees))
        assert after[0] == pytest.approx(y, abs=0.01)
        assert complex(after[1], after[2]) == pytest.approx(chroma, abs=0.02)


def _yiq_rows() -> list[list[float]]:
    """The rows of colorsys' matrix, from what it gives for red, green and blue."""
    columns = [colorsys.rgb_to_yiq(*unit) for unit in np.eye(3)]
    return [list(row) for row in np.array(columns).T]


def test_hue_goes_from_red_towards_green_keeps_luma_and_leaves_grey_alone() -> None:
    red = pixel(0.6, 0.3, 0.3)
    found = colours(colour.hue(Highest(), 30.0)(red))
    assert found[1] > found[2]
    assert colours(colour.grey(Highest())(pixel(*found)))[0] == pytest.approx(colours(colour.grey(Highest())(red))[0])
    assert colours(colour.hue(Highest(), 77.0)(pixel(0.3, 0.3, 0.3))) == pytest.approx([0.3] * 3, abs=1e-3)
    back = colour.hue(Highest(), 40.0).then(colour.hue(Highest(sign=-1), 40.0))
    assert colours(back(SAMPLE)) == pytest.approx([0.8, 0.4, 0.2])


def test_merged_steps_are_the_steps_in_the_order_written() -> None:
    picture = torch.rand(3, 3, 4, 5, dtype=torch.float64)
    draws = Highest(3)
    steps = [colour.brightness(draws, 0.2), colour.hue(draws, 20), colour.contrast(draws, 0.4), colour.grey(draws)]
    one = steps[0]
    by_steps = steps[0](picture)
    for step in steps[1:]:
        one, by_steps = one.then(step), step(by_steps)
    assert torch.allclose(one(picture), by_steps)
    assert not torch.allclose(steps[2].then(steps[0])(picture), steps[0].then(steps[2])(picture))


def test_colours_are_clamped_once_so_brightness_up_and_contrast_down_lose_nothing() -> None:
    white = Batch(torch.ones(200, 3, 1, 1))
    generator = torch.Generator().manual_seed(0)
    found = parse_augment("brightness(0.5) + contrast(0.5)")(white, generator).image
    assert found.amax() <= 1
    assert (found < 1).float().mean() > 0.5  # clamped in between, none of them would come from above 1


def test_noise_has_its_strength_and_no_mean() -> None:
    grey = torch.full((2, 3, 200, 200), 0.5)
    generator = torch.Generator().manual_seed(0)
    found = parse_augment("noise(sigma=0.1, p=1)")(Batch(grey), generator).image - 0.5
    assert found.mean((1, 2, 3)).abs().max() < 0.001
    strengths = found.std((1, 2, 3))
    assert (strengths < 0.1).all()
    assert abs(strengths[0] - strengths[1]) > 0.001


def test_blur_keeps_a_constant_the_mean_and_gives_a_gaussians_variance() -> None:
    point = torch.zeros(2, 1, 41, 41, dtype=torch.float64)
    point[:, :, 20, 20] = 1
    found = blurred(point, np.array([2.0, 0.0]))
    assert torch.equal(found[1], point[1])
    rows = found[0, 0].sum(1)
    places = torch.arange(41) - 20
    assert float((rows * places**2).sum()) == pytest.approx(4, rel=0.01)
    corner = torch.rand(1, 3, 3, 7, dtype=torch.float64)
    assert float(blurred(corner, np.array([5.0])).sum()) == pytest.approx(float(corner.sum()))  # reflection loses none


def scene(size: tuple[int, int]) -> np.ndarray:
    """A smooth picture with edges and some grain, uint8 (H, W, 3)."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[: size[0], : size[1]]
    disc = (rows - size[0] / 2) ** 2 + (columns - size[1] / 3) ** 2 < (min(size) / 4) ** 2
    planes = [120 + 80 * np.sin(columns / 9), 60 + rows * 130 / size[0], 200 - 100 * disc]
    return np.clip(np.stack(planes, 2) + rng.normal(0, 4, (*size, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("subsample", [True, False])
@pytest.mark.parametrize("size", [(64, 64), (37, 51), (3, 5)])
def test_jpeg_is_what_pillow_reads_back(size: tuple[int, int], subsample: bool) -> None:
    qualities = [5, 30, 50, 75, 95, 100]
    array = scene(size)
    picture = torch.from_numpy(array).permute(2, 0, 1).float().div(255).repeat(len(qualities), 1, 1, 1)
    found = compressed(picture, np.array(qualities), subsample=subsample)
    for quality, ours in zip(qualities, found, strict=True):
        file = io.BytesIO()
        Image.fromarray(array).save(file, "JPEG", quality=quality, subsampling=2 if subsample else 0)
        theirs = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float()
        difference = (ours * 255 - theirs).abs()  # in levels, of 255
        # Libjpeg computes in whole numbers, so a coefficient between two steps may fall to the other side.
        assert difference.mean() < (1.0 if min(size) > 16 else 1.5), quality
        if min(size) > 16:
            assert 10 * torch.log10(255**2 / difference.square().mean()) > 44, quality
            original = picture[0] * 255
            assert (ours * 255 - original).abs().mean() == pytest.approx(float((theirs - original).abs().mean()), 0.05)


def test_jpeg_loses_more_at_lower_quality() -> None:
    picture = torch.from_numpy(scene((48, 48))).permute(2, 0, 1).float().div(255).repeat(3, 1, 1, 1)
    lost = (compressed(picture, np.array([10, 50, 90])) - picture).abs().mean((1, 2, 3))
    assert lost[0] > lost[1] > lost[2] > 0
