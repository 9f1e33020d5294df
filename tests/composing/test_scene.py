"""Rendering: the composite is exactly the figure over the background, its depth exactly in front of what it hides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from basrelief.composing.cutout import resize_figure
from basrelief.composing.depth import DepthCoding
from basrelief.composing.material import Backdrop
from basrelief.composing.plan import Cell
from basrelief.composing.scene import Recipe, move_scene, name_numbers, paste_figure, place_figure
from basrelief.composing.source import Composed, Composition, Studio, plan_composition
from materials import draw_disc, materials

CODING = DepthCoding(0.001, (0.0,), 0.001, "m", "metric", usual=1.5)
PLAIN = Recipe((48, 64), 0.2, 0.53)


def wall(shape: tuple[int, int] = (48, 64), near: int = 2000) -> Backdrop:
    rng = np.random.default_rng(0)
    codes = rng.integers(near, 2 * near, shape).astype(np.uint16)
    return Backdrop(rng.integers(0, 256, (*shape, 3)).astype(np.uint8), codes)


@given(
    soft=st.floats(0.01, 8),
    rows=st.integers(2, 40),
    columns=st.integers(2, 40),
    key=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    nearest=st.integers(1, 60000),
)
@settings(max_examples=40, deadline=None)
def test_a_composite_is_the_formula_and_depth_is_the_distance_where_alpha_is_half(
    soft: float, rows: int, columns: int, key: tuple[int, int], nearest: int
) -> None:
    figure = resize_figure(draw_disc(soft=soft), rows, columns)
    scene = wall(near=1)
    codes = np.full_like(scene.codes, nearest)
    codes[::7] = 0
    scene = Backdrop(scene.image, codes)
    where = place_figure(PLAIN, CODING, codes, figure.shape, key)
    made = paste_figure(PLAIN, scene, figure, where, key, (1, 2))
    assert 0 <= where.x <= where.x + where.width <= 64
    assert 0 <= where.y <= where.y + where.height <= 48
    assert max(where.width, where.height) <= round(0.53 * 48)
    patch = resize_figure(figure, where.height, where.width).astype(np.float64)
    wanted = scene.image.astype(np.float64)
    inside = np.s_[where.y : where.y + where.height, where.x : where.x + where.width]
    alpha = patch[..., 3:]
    wanted[inside] = (alpha * patch[..., :3] + (255 - alpha) * wanted[inside]) / 255
    assert np.array_equal(made.image, np.floor(wanted + 0.5))
    covered = np.zeros((48, 64), np.uint8)
    covered[inside] = patch[..., 3]
    assert np.array_equal(made.alpha, covered), "soft alpha is kept"
    assert np.array_equal(made.image[covered == 0], scene.image[covered == 0]), "outside, the background to the bit"
    assert made.codes is not None
    assert where.code is not None
    assert np.array_equal(made.codes, np.where(covered >= 128, where.code, codes))
    assert 1 <= where.code <= max(1, nearest - 1)
    if nearest > 40:
        assert 0.43 <= where.code / nearest <= 0.96


@given(seed=st.integers(0, 3), key=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)))
@settings(max_examples=60, deadline=None)
def test_a_figure_is_in_front_of_all_that_it_hides_in_a_cluttered_room(seed: int, key: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.choice([0, 900, 2500, 4000], (48, 64), p=[0.3, 0.1, 0.3, 0.3]).astype(np.uint16)
    figure = draw_disc()
    where = place_figure(replace(PLAIN, seed=seed), CODING, codes, figure.shape, key)
    behind = codes[where.y : where.y + where.height, where.x : where.x + where.width]
    assert where.code is not None
    assert where.code < behind[behind > 0].min()


def test_without_known_depth_behind_the_nearest_of_the_picture_counts() -> None:
    codes = np.zeros((48, 64), np.uint16)
    codes[0, 0] = 1000
    for number in range(30):
        where = place_figure(PLAIN, CODING, codes, (40, 40, 4), name_numbers(number))
        assert where.code is not None
        assert 450 <= where.code <= 950


def test_size_follows_perspective_between_its_limits() -> None:
    """The same figure (the same key, so the same real size) before walls at other distances."""
    recipe = replace(PLAIN, resolution=(400, 400), smallest=0.05, largest=0.9)
    for number in range(20):
        sizes = {}
        for near in (1000, 1500, 3000):
            codes = np.full((400, 400), near, np.uint16)
            where = place_figure(recipe, CODING, codes, (300, 200, 4), name_numbers("cup", number))
            assert where.code is not None
            sizes[near] = (where.height * where.code, where.clipped, where.height)
        real = [size for size, clipped, _ in sizes.values() if not clipped]
        assert all(abs(size / real[0] - 1) < 0.06 for size in real), "pixels times distance is the real size"
        assert all(height in (20, 360) for _, clipped, height in sizes.values() if clipped)
        heights = [height for _, _, height in sizes.values()]
        assert heights == sorted(heights, reverse=True)
    codes = np.full((400, 400), 2000, np.uint16)
    clipped = [place_figure(recipe, CODING, codes, (9, 9), name_numbers(n)).clipped for n in range(200)]
    assert 0 < sum(clipped) < 100


def test_sizes_and_places_fill_their_range() -> None:
    recipe = replace(PLAIN, resolution=(200, 300))
    found = [place_figure(recipe, None, None, (50, 50, 4), name_numbers(n)) for n in range(600)]
    sides = np.array([where.width for where in found]) / 200
    assert 0.195 <= sides.min() < 0.22
    assert 0.51 < sides.max() <= 0.535
    across = np.array([where.x / (300 - where.width) for where in found])
    down = np.array([where.y / (200 - where.height) for where in found])
    for share in (across, down):
        assert share.min() < 0.02
        assert share.max() > 0.98
        assert abs(share.mean() - 0.5) < 0.04
    assert all(where.code is None for where in found)


def test_a_shadow_darkens_beside_the_figure_and_nothing_else() -> None:
    scene = Backdrop(np.full((200, 200, 3), 180, np.uint8), np.full((200, 200), 3000, np.uint16))
    recipe = replace(PLAIN, resolution=(200, 200))
    figure, key = draw_disc(), name_numbers("a")
    where = place_figure(recipe, CODING, scene.codes, figure.shape, key)
    plain = paste_figure(recipe, scene, figure, where, key, (1, 2))
    shaded = paste_figure(replace(recipe, shadow=True), scene, figure, where, key, (1, 2))
    assert np.array_equal(plain.alpha, shaded.alpha)
    assert np.array_equal(plain.codes, shaded.codes)
    outside = plain.alpha == 0
    darker = plain.image[..., 0].astype(int) - shaded.image[..., 0]
    assert darker[outside].min() >= 0
    assert darker[outside].max() > 20
    assert 0.002 < np.mean(darker[outside] > 5) < 0.3
    assert np.array_equal(plain.image[plain.alpha == 255], shaded.image[plain.alpha == 255])
    below = darker[where.y + where.height :, where.x : where.x + where.width]
    above = darker[: where.y, where.x : where.x + where.width]
    assert below.sum() > above.sum()


def test_harmonising_moves_a_figures_colours_toward_its_surroundings_and_leaves_these() -> None:
    scene = Backdrop(np.zeros((100, 100, 3), np.uint8) + np.array([190, 60, 40], np.uint8), None)
    figure = draw_disc()
    figure[..., :3] = np.random.default_rng(0).integers(60, 200, (40, 40, 1))
    recipe = replace(PLAIN, resolution=(100, 100))
    where = place_figure(recipe, None, None, figure.shape, (1, 1))
    plain = paste_figure(recipe, scene, figure, where, (1, 1), (1, 2))
    changed = paste_figure(replace(recipe, harmonise=True), scene, figure, where, (1, 1), (1, 2))
    inside = plain.alpha == 255
    before, after = plain.image[inside].mean(axis=0), changed.image[inside].mean(axis=0)
    target = np.array([190, 60, 40])
    assert np.abs(after - target).sum() < 0.85 * np.abs(before - target).sum()
    assert np.abs(after - before).max() > 10
    assert np.array_equal(plain.image[plain.alpha == 0], changed.image[plain.alpha == 0])


def test_a_misaligned_scene_moves_by_few_pixels_with_its_depth() -> None:
    rows, columns = np.mgrid[:120, :160]
    codes = (100 * rows + columns + 1000).astype(np.uint16)
    image = np.repeat((((rows // 8 + columns // 8) % 2) * 200).astype(np.uint8)[..., None], 3, 2)
    scene = Backdrop(image, codes)
    recipe = replace(PLAIN, resolution=(120, 160), misalign=6)
    moved = [move_scene(recipe, scene, name_numbers(n)) for n in range(40)]
    shifts = []
    for one in moved:
        assert one.codes is not None
        down, across = np.divmod(one.codes[20:-20, 20:-20].astype(int) - 1000, 100)
        down, across = down.astype(float), across.astype(float)
        far = np.hypot(down - rows[20:-20, 20:-20], 0)
        shifts.append(far.max())
        assert far.max() <= 6 + 6 + 1
        assert set(np.unique(one.codes)) <= set(np.unique(codes)), "depth never mixes"
    assert max(shifts) > 3
    assert any(not np.array_equal(moved[0].image, one.image) for one in moved[1:])
    assert move_scene(replace(recipe, misalign=0), scene, (1, 1)) is scene


def test_image_and_depth_of_a_misaligned_scene_move_together() -> None:
    disc = np.hypot(*(np.mgrid[:100, :100] - 50)) < 20
    scene = Backdrop(np.repeat(disc[..., None] * np.uint8(255), 3, 2), np.where(disc, 1000, 3000).astype(np.uint16))
    for number in range(20):
        moved = move_scene(replace(PLAIN, resolution=(100, 100), misalign=8), scene, name_numbers(number))
        assert moved.codes is not None
        assert np.mean((moved.image[..., 0] > 127) != (moved.codes == 1000)) < 0.01


def test_composites_depend_on_seed_and_names_alone(tmp_path: Path) -> None:
    options = materials(tmp_path, depths=True, shadow=True, harmonise=True, misalign=2, split="random", mirror=True)
    all_of_it = plan_composition(options)
    (tmp_path / "rooms" / "room-1.png").unlink()
    (tmp_path / "depths" / "room-1.png").unlink()
    (tmp_path / "cutouts" / "cup-2.png").unlink()
    fewer = plan_composition(options)
    # The usual distance is that of all rooms, a setting of the set as the depth scale is.
    fewer = replace(fewer, materials=replace(fewer.materials, coding=all_of_it.materials.coding))

    def render(composition: Composition, room: str, cup: str) -> Composed:
        rooms = [material.name for material in composition.materials.backgrounds]
        cups = [material.name for material in composition.materials.foregrounds]
        return Studio(composition).compose(Cell(rooms.index(room), cups.index(cup), True, 1, None))

    one, other = render(all_of_it, "room-4", "cup-3"), render(fewer, "room-4", "cup-3")
    assert one.where == other.where
    assert np.array_equal(one.scene.image, other.scene.image)
    assert np.array_equal(one.scene.codes, other.scene.codes)
    seeded = replace(fewer, recipe=replace(fewer.recipe, seed=1))
    assert render(seeded, "room-4", "cup-3").where != one.where


def test_a_mirrored_figure_is_turned_round_and_stands_elsewhere(tmp_path: Path) -> None:
    options = materials(tmp_path, mirror=True)
    lopsided = draw_disc()
    lopsided[:, 24:, 3] = 0
    for path in (tmp_path / "cutouts").iterdir():
        Image.fromarray(lopsided).save(path)
    studio = Studio(plan_composition(options))
    places = []
    for room in range(6):
        straight, turned = (studio.compose(Cell(room, 0, mirror, 0, None)) for mirror in (False, True))
        for one, left in ((straight, True), (turned, False)):
            where = one.where
            inside = one.scene.alpha[where.y : where.y + where.height, where.x : where.x + where.width]
            half = where.width // 2
            weight = np.count_nonzero(inside[:, -half:] >= 128) > np.count_nonzero(inside[:, :half] >= 128)
            assert weight == left, "the disc's flat side is on the other side"
        places.append(straight.where != turned.where)
    assert any(places)


def test_the_numbers_that_stand_for_names_are_those_they_were() -> None:
    """SHA-256 of the names with a zero byte between; written down, since every set ever composed depends on it."""
    assert name_numbers("abc") == (0xBA7816BF, 0x8F01CFEA)  # FIPS 180-4's example
    assert name_numbers("a", "b") != name_numbers("ab", "") != name_numbers("", "ab")


@pytest.mark.parametrize("option", ["shadow", "harmonise", "misalign"])
def test_no_option_moves_a_figure(tmp_path: Path, option: str) -> None:
    options = materials(tmp_path)
    plain = Studio(plan_composition(options))
    changed = Studio(plan_composition(replace(options, **{option: 2 if option == "misalign" else True})))
    differ = 0
    for index in range(plain.composition.plan.count):
        cell = plain.composition.cell(index)
        a, b = plain.compose(cell), changed.compose(cell)
        assert a.where == b.where
        assert np.array_equal(a.scene.alpha, b.scene.alpha)
        assert np.array_equal(a.background, b.background), "the saved background has none of it"
        differ += not np.array_equal(a.scene.image, b.scene.image)
    assert differ
