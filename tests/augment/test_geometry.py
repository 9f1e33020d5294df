"""Where pixels go, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from basrelief.augment import geometry
from basrelief.augment.geometry import Move, compose
from basrelief.augment.resample import bend_field, move_batch
from basrelief.augment.spec import Draws
from basrelief.batch import Batch


class Highest(Draws):
    """Every sample gets the step, with the upper end of each range."""

    def between(self, low: float, high: float, otherwise: float) -> np.ndarray:
        return np.full(self.count, float(high))


class Turned(Draws):
    """Every sample gets the value given."""

    value = 0.0

    def between(self, low: float, high: float, otherwise: float) -> np.ndarray:
        return np.full(self.count, self.value)


def draws(size: tuple[int, int], count: int = 1) -> Draws:
    return Highest(np.random.default_rng(0), count, *size, 1.0)


def moved(picture: Tensor, *steps: Move) -> Tensor:
    """Return a picture (H, W) moved, the same in all channels."""
    size = picture.shape[0], picture.shape[1]
    batch = Batch(picture.repeat(1, 3, 1, 1), mask=(picture > 0.5).float()[None, None])
    whole = compose([(draws(size), step) for step in steps])
    return move_batch(batch, whole, None).image[0, 0]


def test_each_step_moves_a_pixel_to_where_it_says() -> None:
    size = (9, 9)
    dot = torch.zeros(size)
    dot[4, 6] = 1.0  # two right of the centre
    assert moved(dot, geometry.flip(draws(size)))[4, 2] == 1
    assert moved(dot, geometry.flip(draws(size), "vertical"))[4, 6] == 1
    assert moved(dot, geometry.rotate(draws(size), 90))[6, 4] == pytest.approx(1, abs=1e-4)  # clockwise: below
    assert moved(dot, geometry.scale(draws(size), 1, 2))[4, 8] == pytest.approx(1, abs=1e-4)
    assert moved(dot, geometry.shift(draws(size), x=1 / 9, y=2 / 9))[6, 7] == pytest.approx(1, abs=1e-4)


def test_a_quarter_turn_is_clockwise_and_turns_of_planes_agree() -> None:
    quarters = Turned(np.random.default_rng(0), 1, 3, 3, 1.0)
    picture = torch.arange(9.0).view(3, 3)
    for value, expected in ((0.5, 0), (1.5, -1), (2.5, -2), (3.5, -3)):
        quarters.value = value
        assert torch.equal(moved(picture, geometry.turn(quarters)), picture.rot90(expected))


def test_steps_follow_each_other_as_written() -> None:
    size = (9, 9)
    dot = torch.zeros(size)
    dot[4, 4] = 1.0
    shift, rotate = geometry.shift(draws(size), x=2 / 9, y=0), geometry.rotate(draws(size), 90)
    assert moved(dot, shift, rotate)[6, 4] == pytest.approx(1, abs=1e-4)
    assert moved(dot, rotate, shift)[4, 6] == pytest.approx(1, abs=1e-4)


def test_a_crop_is_its_window_and_a_pad_reflects_around_the_picture() -> None:
    picture = torch.rand(8, 8)
    window = geometry.crop(draws((8, 8)), 0.5, 0.5)  # the place is drawn highest: the lower right quarter
    found = moved(picture, window)
    assert torch.allclose(found[1:-1:2, 1:-1:2], _bilinear(picture[4:, 4:])[1:-1:2, 1:-1:2], atol=1e-5)
    small = geometry.pad(draws((8, 8)), 0.5, 0.5)
    ramp = torch.arange(8.0).repeat(8, 1) / 8
    found = moved(ramp, small)[4]
    assert torch.allclose(found[:4], found[4:].flip(0), atol=1e-5)  # mirrored at the edge, which the frame's middle is
    assert (found[4:].diff() > 0).all()


def _bilinear(picture: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(picture[None, None], scale_factor=2, mode="bilinear")[0, 0]


def test_nothing_outside_is_invented() -> None:
    picture = torch.rand(5, 7)
    for step in (geometry.shift(draws((5, 7)), 1, 1), geometry.rotate(draws((5, 7)), 45)):
        found = moved(picture, step)
        assert found.amin() >= picture.amin() - 1e-6
        assert found.amax() <= picture.amax() + 1e-6


def test_a_picture_shrunk_to_a_third_is_smoothed_and_one_shrunk_a_little_is_not() -> None:
    stripes = (torch.arange(60) % 2).float().repeat(60, 1)
    found = moved(stripes, geometry.scale(draws((60, 60)), 0.3, 1 / 3))
    assert found[:, 22:38].std() < 0.05  # point samples would all be white or all be black, or flicker
    kept = compose([(draws((60, 60)), geometry.scale(draws((60, 60)), 0.1, 0.8))])
    assert float(kept.zoom[0]) == pytest.approx(0.8)
    assert moved(stripes, geometry.scale(draws((60, 60)), 0.1, 0.8))[:, 20:40].std() > 0.2


@pytest.mark.parametrize(("size", "cells"), [((40, 40), 4), ((30, 50), 3), ((8, 8), 16)])
def test_the_largest_bend_never_folds(size: tuple[int, int], cells: int) -> None:
    rng = np.random.default_rng(0)
    for draw in range(3):
        some = Draws(rng, 50, *size, 1.0)
        bend = geometry.elastic(some, 0.48, cells)
        if draw:  # the worst that can be drawn: every point at its limit
            bend = geometry.Bend(np.where(bend.points < 0, -0.48, 0.48) * bend.cell, bend.cell)
        assert np.abs(bend.points).max() <= 0.48 * bend.cell
        field = bend_field(bend, np.arange(50), *size, torch.zeros(1, dtype=torch.float64))
        across = field.diff(dim=3)[:, :, :-1]
        down = field.diff(dim=2)[..., :-1]
        area = (1 + across[:, 0]) * (1 + down[:, 1]) - across[:, 1] * down[:, 0]
        assert (area > 0).all()


def test_a_bend_of_equal_points_is_a_shift() -> None:
    bend = geometry.elastic(draws((12, 18)), 0.3, 3)
    points = np.zeros_like(bend.points)
    points[:, 0], points[:, 1] = 2.0, -1.0
    field = bend_field(geometry.Bend(points, bend.cell), np.arange(1), 12, 18, torch.zeros(1))
    assert torch.allclose(field[0, 0], torch.tensor(2.0))
    assert torch.allclose(field[0, 1], torch.tensor(-1.0))
    picture = torch.rand(12, 18)
    batch = Batch(picture.repeat(1, 3, 1, 1))
    found = move_batch(batch, compose([(draws((12, 18)), geometry.Bend(points, bend.cell))]), None).image[0, 0]
    assert torch.allclose(found[1:, :-2], picture[:-1, 2:], atol=1e-4)
