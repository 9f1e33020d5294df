from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from basrelief.data.resize import resize_image
from basrelief.errors import UsageError
from basrelief.inference import tiles
from basrelief.inference.predictor import Predictor
from basrelief.inference.tiles import Answers, enlarge, lay, parse_tile, shares

SIZES = st.integers(1, 300)
TILES = st.integers(1, 120)


def describe(resolution: tuple[int, int], image_size: tuple[int, int] | None = None, **facts: object) -> dict:
    return {
        "resolution": list(resolution), "image_size": image_size and list(image_size), "classes": ["figure"],
        "targets": ["mask", "depth"], "activations": {"mask": "sigmoid", "depth": "sigmoid"}, "depth_max": 10.0,
        "depth_unit": "m", "depth_kind": "metric", "background": False, **facts,
    }  # fmt: skip


def local(images: Tensor, _backgrounds: Tensor | None) -> Answers:
    """A network that looks at each pixel alone."""
    values = images.permute(0, 3, 1, 2).float() / 255
    return {"mask": values[:, :1], "depth": values[:, 1:2]}


def always(value: float) -> object:
    def network(images: Tensor, _backgrounds: Tensor | None) -> Answers:
        plane = torch.full((len(images), 1, *images.shape[1:3]), value)
        return {"mask": plane, "depth": plane}

    return network


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@settings(max_examples=50, deadline=None)
@given(SIZES, TILES)
def test_tiles_cover_a_side_without_leaving_it_and_overlap_by_a_quarter(length: int, tile: int) -> None:
    grid = lay((length, 7), (tile, 7))
    side = grid.tile[0]
    assert grid.tops[0] == 0
    assert grid.tops[-1] + side == length
    steps = np.diff(grid.tops)
    assert (steps >= 1).all()
    assert (side - steps >= side // 4).all()


@settings(max_examples=50, deadline=None)
@given(SIZES, TILES)
def test_shares_of_every_pixel_add_up_to_one_and_fade_out_at_inner_borders(length: int, tile: int) -> None:
    grid = lay((length, 7), (tile, 7))
    side, found = grid.tile[0], shares(length, grid.tile[0], grid.tops).double().numpy()
    total = np.zeros(length)
    for top, share in zip(grid.tops, found, strict=True):
        total[top : top + side] += share
    assert np.allclose(total, 1, atol=1e-6)
    if len(grid.tops) > 1 and side >= 16:
        assert found[0, -1] < 0.2
        assert found[1, 0] < 0.2
        assert found[0, 0] == found[-1, -1] == 1


@settings(max_examples=40, deadline=None)
@given(st.tuples(SIZES, SIZES), st.tuples(*[st.integers(1, 40)] * 2), st.integers(1, 4), st.integers(0, 2**31))
def test_enlarged_rows_are_interpolates_and_the_same_bits_alone_or_together(
    size: tuple[int, int], small: tuple[int, int], channels: int, seed: int
) -> None:
    answer = torch.rand(channels, *small, generator=torch.Generator().manual_seed(seed))
    whole = enlarge(answer, size)
    expected = F.interpolate(answer[None], size=size, mode="bilinear", align_corners=False)[0]
    # torch's own kernels differ from each other by this much: it has one for few channels, and one for small results.
    assert torch.allclose(whole, expected, rtol=0, atol=1e-5)
    middle = seed % size[0]
    parts = [enlarge(answer, size, slice(0, middle)), enlarge(answer, size, slice(middle, None))]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_one_plane_enlarged_is_interpolates_to_the_last_digit() -> None:
    answer = torch.rand(1, 64, 48, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(answer[None], size=(1801, 701), mode="bilinear", align_corners=False)[0]
    assert torch.allclose(enlarge(answer, (1801, 701)), expected, rtol=0, atol=2.4e-7)


@settings(max_examples=15, deadline=None)
@given(st.tuples(SIZES, SIZES), st.integers(16, 80), st.floats(0, 1, width=32))
def test_a_constant_network_gives_a_constant(size: tuple[int, int], tile: int, value: float) -> None:
    predictor = Predictor(describe((8, 12)), always(value), tile=tile)  # type: ignore[arg-type]
    result = predictor(noise(*size, 3))
    assert result.probability is not None
    assert result.depth is not None
    assert np.abs(result.probability - value).max() <= 1e-6
    assert result.probability.max() <= 1
    assert np.allclose(result.depth, 10 * value, atol=1e-5)


def test_blending_never_makes_a_probability_above_one() -> None:
    for side in range(40, 200, 7):
        result = Predictor(describe((16, 16)), always(1.0), tile=33)(noise(side, side + 50, 3))  # type: ignore[arg-type]
        assert result.probability is not None
        assert result.depth is not None
        assert result.probability.max() <= 1
        assert result.depth.max() <= 10


@settings(max_examples=15, deadline=None)
@given(st.tuples(SIZES, SIZES), st.tuples(st.integers(16, 60), st.integers(16, 60)))
def test_tiles_of_a_network_that_sees_single_pixels_give_the_whole_image(
    size: tuple[int, int], resolution: tuple[int, int]
) -> None:
    image = noise(*size, 3)
    tall, wide = (min(a, b) for a, b in zip(size, resolution, strict=True))
    predictor = Predictor(describe((tall, wide)), local, tile="none")
    predictor._grid = lambda size: lay(size, (tall, wide))  # type: ignore[method-assign]
    result = predictor(image)
    assert result.probability is not None
    assert np.allclose(result.probability, image[..., 0] / 255, atol=1e-6)


def test_tiles_lie_where_they_were_cut_out_at_another_scale() -> None:
    ramp = np.linspace(0, 255, 200)[:, None] * 0.5 + np.linspace(0, 255, 330)[None] * 0.5
    image = np.repeat(np.rint(ramp).astype(np.uint8)[..., None], 3, 2)
    result = Predictor(describe((32, 32)), local, tile=64)(image)
    assert result.probability is not None
    off = np.abs(result.probability - ramp / 255)
    assert off[8:-8, 8:-8].max() < 0.01


def test_seams_do_not_jump_even_where_tiles_disagree() -> None:
    def disagreeing(images: Tensor, _backgrounds: Tensor | None) -> Answers:
        level = images.float().mean((1, 2, 3)) / 255  # each tile says one number
        plane = level[:, None, None, None].expand(-1, 1, *images.shape[1:3])
        return {"mask": plane, "depth": plane}

    image = np.zeros((64, 320, 3), np.uint8)
    image[:, 160:] = 255
    result = Predictor(describe((32, 32)), disagreeing, tile=64)(image)
    assert result.probability is not None
    steps = np.abs(np.diff(result.probability, axis=1))
    assert np.ptp(result.probability) > 0.9
    assert steps.max() < 0.15  # a hard seam would jump by 0.5 and more


@pytest.mark.parametrize("tile", ["none", 40, 64])
def test_bands_are_the_prediction_itself_bit_for_bit(tile: int | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "BAND_PIXELS", 900)  # 9 rows of 100 pixels
    image = noise(150, 100, 3)
    calls = []

    def network(images: Tensor, backgrounds: Tensor | None) -> Answers:
        calls.append(len(images))
        return local(images, backgrounds)

    predictor = Predictor(describe((16, 16)), network, tile=tile)
    result = predictor(image)
    asked = sum(calls)
    bands = list(predictor.bands(image))
    assert sum(calls) == 2 * asked  # no tile was computed twice
    assert [rows.start for rows, _ in bands] == list(range(0, 150, 9))
    assert bands[-1][0].stop == 150
    assert np.array_equal(np.concatenate([planes["mask"] for _, planes in bands], 1)[0], result.probability)  # type: ignore[arg-type]
    assert np.array_equal(np.concatenate([planes["depth"] for _, planes in bands], 1)[0], result.depth)  # type: ignore[arg-type]
    assert all(plane.dtype == np.float32 for _, planes in bands for plane in planes.values())


@pytest.mark.parametrize("tile", ["none", 64, 900])
def test_bands_never_hold_a_whole_plane(tile: int | str) -> None:
    image = np.zeros((3000, 1000, 3), np.uint8)
    held: list[int] = []

    def network(images: Tensor, backgrounds: Tensor | None) -> Answers:
        return local(images, backgrounds)

    def count(tensor: Tensor, *args: object) -> Tensor:  # torch's own memory is not seen by tracemalloc
        held.append(tensor.nbytes)
        return tensor

    original = torch.zeros
    predictor = Predictor(describe((16, 16)), network, tile=tile)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "zeros", lambda *a, **k: count(original(*a, **k)))
        patch.setattr(tiles, "enlarge", lambda *a, **k: count(enlarge(*a, **k)))
        tracemalloc.start()
        for _ in predictor.bands(image):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    plane = 3000 * 1000 * 4
    assert max(held) < plane / 2
    assert peak < plane


def test_tiles_are_asked_for_as_bands_need_them_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[tuple[int, int]]] = []

    def answer(places: Sequence[tuple[int, int]]) -> Answers:
        asked.append(list(places))
        return {"mask": torch.zeros(len(places), 1, 4, 4)}

    monkeypatch.setattr(tiles, "BAND_PIXELS", 30 * 20)
    grid = lay((1000, 30), (20, 20))
    for count, _ in enumerate(tiles.blend(grid, answer), 1):
        assert sum(map(len, asked)) <= len(grid.lefts) * (2 + 2 * count)
    assert max(map(len, asked)) <= 3 * len(grid.lefts)
    assert sorted(place for places in asked for place in places) == [
        (top, left) for top in grid.tops for left in grid.lefts
    ]


def test_a_small_image_and_the_choice_of_tiles_by_the_trainings_scale() -> None:
    at_own_size = Predictor(describe((64, 64), (64, 80)), local)
    assert not at_own_size.tiled((64, 80))
    assert not at_own_size.tiled((90, 100))  # less than twice the area
    assert at_own_size.tiled((200, 200))
    assert at_own_size._grid((200, 200)).tile == (64, 80)
    assert "--tile none" in at_own_size.advice((4000, 4000)), "so many tiles take long"
    assert at_own_size.advice((400, 400)) == ""
    shrunk = Predictor(describe((64, 64), (256, 320)), local)
    assert not shrunk.tiled((4000, 4000))
    assert "--tile 320" in shrunk.advice((4000, 4000))
    assert shrunk.advice((1000, 1200)) == ""
    assert not Predictor(describe((64, 64)), local).tiled((4000, 4000))
    assert Predictor(describe((64, 64)), local).advice((4000, 4000)) == ""
    assert not Predictor(describe((64, 64), (64, 64)), local, tile="none").tiled((4000, 4000))
    assert Predictor(describe((64, 64), (256, 256)), local, tile="none").advice((4000, 4000)) == ""
    assert Predictor(describe((48, 64)), local, tile="128")._grid((500, 500)).tile == (96, 128)
    assert not Predictor(describe((64, 64)), local, tile=100).tiled((100, 100))
    assert Predictor(describe((64, 64)), local, tile=100)._grid((30, 500)).tile == (30, 100)


def test_an_image_no_larger_than_a_tile_is_resized_as_a_whole() -> None:
    image = noise(50, 60, 3)
    tiled = Predictor(describe((16, 16)), local, tile=64)(image)
    whole = Predictor(describe((16, 16)), local, tile="none")(image)
    assert np.array_equal(tiled.probability, whole.probability)  # type: ignore[arg-type]


def test_backgrounds_are_cut_where_images_are_also_at_another_size() -> None:
    def behind(images: Tensor, backgrounds: Tensor | None) -> Answers:
        assert backgrounds is not None
        assert backgrounds.shape == images.shape
        return local(backgrounds, None)

    ramp = np.repeat(np.linspace(0, 255, 100).astype(np.uint8)[:, None], 100, 1)
    scene = np.repeat(ramp[..., None], 3, 2)
    predictor = Predictor(describe((20, 20), background=True), behind, tile=20)
    same = predictor(np.zeros((100, 100, 3), np.uint8), scene).probability
    assert same is not None
    assert np.allclose(same, ramp / 255, atol=1e-6)
    other = predictor(np.zeros((100, 100, 3), np.uint8), resize_image(scene, (50, 50))).probability
    assert other is not None
    assert np.abs(other - ramp / 255).max() < 0.02


def test_bands_of_a_whole_image_see_the_whole_background_of_another_size() -> None:
    def behind(images: Tensor, backgrounds: Tensor | None) -> Answers:
        assert backgrounds is not None
        return local(backgrounds, None)

    predictor = Predictor(describe((16, 16), background=True), behind, tile="none")
    rng = np.random.default_rng(0)
    image, background = (rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 50), (60, 90)))
    rows = [planes["mask"] for _, planes in predictor.bands(image, background)]
    assert np.array_equal(np.concatenate(rows, axis=1)[0], predictor(image, background).probability)  # type: ignore[arg-type]


@pytest.mark.parametrize("tile", [15, 0, -64, "many", "64.5", "", "²64", 64.5, True, None])
def test_words_that_are_no_tile_are_refused(tile: object) -> None:
    with pytest.raises(UsageError, match=r"--tile.*auto, none"):
        parse_tile(tile)
    assert parse_tile(" 256 ") == 256
    assert parse_tile("none") == "none"
