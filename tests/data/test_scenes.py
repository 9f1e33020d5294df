import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basrelief.data.scenes import SCENES_PER_ROOM, Scene, make_scene, read_scenes
from basrelief.data.source import DataOptions
from basrelief.errors import UsageError


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(11, index, 64, 64) for index in range(200)]


def near(mask: np.ndarray, pixels: int = 2) -> np.ndarray:
    """Widen a mask by some pixels, as far as a soft edge can reach."""
    padded = np.pad(mask, pixels) > 0
    steps = range(-pixels, pixels + 1)
    return np.any([np.roll(padded, (i, j), (0, 1)) for i in steps for j in steps], 0)[pixels:-pixels, pixels:-pixels]


def test_the_same_seed_gives_the_same_bytes_in_any_order():
    first = [make_scene(3, index, 32, 32) for index in range(9)]
    again = {index: make_scene(3, index, 32, 32) for index in (8, 0, 5, 1, 7, 2, 6, 3, 4)}
    for index, scene in enumerate(first):
        for one, two in zip(scene, again[index], strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_caller_who_writes_into_a_scene_does_not_change_the_next():
    before = make_scene(3, 0, 32, 32)
    kept = [plane.copy() for plane in before]
    for plane in before:
        plane[...] = 0
    for one, two in zip(kept, make_scene(3, 0, 32, 32), strict=True):
        np.testing.assert_array_equal(one, two)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 10**6), st.integers(16, 80), st.integers(16, 80))
def test_types_shapes_and_ranges_at_any_size(seed: int, index: int, height: int, width: int):
    scene = make_scene(seed, index, height, width)
    assert scene.image.shape == scene.background.shape == (height, width, 3)
    assert scene.image.dtype == scene.background.dtype == scene.mask.dtype == np.uint8
    assert (
        scene.mask.shape == scene.depth.shape == scene.background_depth.shape == scene.shadow.shape == (height, width)
    )
    assert scene.depth.dtype == scene.background_depth.dtype == scene.shadow.dtype == np.float32
    assert set(np.unique(scene.mask)) == {0, 1}
    assert scene.depth.min() > 0
    assert scene.background_depth.max() < 40
    assert scene.shadow.min() >= 0
    assert scene.shadow.max() <= 1


def test_depth_is_the_rooms_outside_the_figure_and_nearer_within(scenes: list[Scene]):
    for scene in scenes:
        inside = scene.mask > 0
        np.testing.assert_array_equal(scene.depth[~inside], scene.background_depth[~inside])
        assert (scene.depth[inside] < scene.background_depth[inside]).all()
        assert np.ptp(scene.depth[inside]) <= 0.3001  # the relief


def test_a_room_is_made_of_planes(scenes: list[Scene]):
    # A plane's inverse depth is affine in pixel coordinates, so its second differences vanish off the edges.
    for scene in scenes[::SCENES_PER_ROOM]:
        bend = np.abs(np.diff(1 / scene.background_depth.astype(np.float64), 2, axis=1))
        assert np.mean(bend < 1e-5) > 0.7


def test_depth_at_a_pixels_centre_does_not_depend_on_the_resolution():
    for index in range(0, 24, 3):
        small, large = make_scene(5, index, 32, 48), make_scene(5, index, 96, 144)
        middle = large.background_depth[1::3, 1::3]
        assert (
            np.mean(np.isclose(small.background_depth, middle, rtol=1e-4)) > 0.995
        )  # rays along an edge may go either way
        both = (small.mask & large.mask[1::3, 1::3]) > 0
        assert np.mean(np.isclose(small.depth, large.depth[1::3, 1::3], rtol=1e-4)[both]) > 0.995


def test_image_and_background_agree_outside_figure_and_shadow(scenes: list[Scene]):
    for scene in scenes:
        elsewhere = ~near(scene.mask) & (scene.shadow < 0.005)
        image, background = (plane[elsewhere].astype(float) for plane in (scene.image, scene.background))
        unclipped = (image < 255) & (background < 255) & (image > 0) & (background > 0)
        difference = (image - background)[unclipped]
        assert np.abs(difference).mean() < 20  # 8 % between two exposures, and noise
        assert np.corrcoef(image[unclipped], background[unclipped])[0, 1] > 0.9


def test_the_figure_is_seen_in_every_scene_and_at_many_sizes(scenes: list[Scene]):
    share = np.array([scene.mask.mean() for scene in scenes])
    assert share.min() > 0.01
    assert share.max() < 0.36
    assert np.mean((share > 0.02) & (share < 0.35)) > 0.95
    assert share.std() > 0.04


def test_neighbours_share_a_room_and_no_one_else_does(scenes: list[Scene]):
    backgrounds = [scene.background.tobytes() for scene in scenes]
    for index, background in enumerate(backgrounds):
        assert background == backgrounds[index // SCENES_PER_ROOM * SCENES_PER_ROOM]
    assert len(set(backgrounds)) == len(scenes) // SCENES_PER_ROOM
    assert len({scene.mask.tobytes() for scene in scenes}) == len(scenes)


def test_neither_subtraction_nor_mean_depth_solves_it(scenes: list[Scene]):
    masks = np.stack([scene.mask for scene in scenes]) > 0
    change = np.stack([np.abs(scene.image.astype(int) - scene.background).max(2) for scene in scenes])
    best = 0.0
    for threshold in range(8, 80, 8):
        guess = change > threshold
        best = max(best, float(np.mean((guess & masks).sum((1, 2)) / (guess | masks).sum((1, 2)))))
    assert 0.4 < best < 0.8
    depth = np.stack([scene.depth for scene in scenes])
    ratio = depth.mean(0) / depth
    assert np.mean(np.maximum(ratio, 1 / ratio) < 1.25) < 0.65


def test_a_seed_shows_the_same_figure_at_another_resolution():
    for index in range(0, 40, 3):
        small, large = make_scene(2, index, 64, 64).mask, make_scene(2, index, 256, 256).mask
        shrunk = large.reshape(64, 4, 64, 4).mean((1, 3)) >= 0.5
        assert (shrunk & (small > 0)).sum() > 0.8 * (shrunk | (small > 0)).sum()


def test_seeds_differ():
    one, two = make_scene(0, 0, 32, 32), make_scene(1, 0, 32, 32)
    assert not np.array_equal(one.background, two.background)
    assert not np.array_equal(one.mask, two.mask)


def test_a_source_lists_and_loads():
    source = read_scenes("scenes:6", DataOptions(resolution=(24, 40), seed=9))
    assert [entry.id for entry in source.entries][::5] == ["scene-000000", "scene-000005"]
    assert len({entry.group for entry in source.entries}) == 2
    assert (source.format, source.targets, source.classes) == ("scenes", ("mask", "depth"), ("figure",))
    assert (source.background, source.depth_unit, source.depth_kind) == (True, "m", "metric")
    sample, scene = source.load(source.entries[5]), make_scene(9, 5, 24, 40)
    assert sample.id == "scene-000005"
    assert sample.mask is not None
    assert sample.mask.shape == (1, 24, 40)
    for one, two in ((sample.image, scene.image), (sample.background, scene.background), (sample.depth, scene.depth)):
        np.testing.assert_array_equal(one, two)


def test_without_backgrounds_there_are_none():
    source = read_scenes("scenes:1", DataOptions(background=False))
    assert not source.background
    sample = source.load(source.entries[0])
    assert sample.background is None
    assert sample.image.shape == (64, 64, 3)


@pytest.mark.parametrize(
    "location", ["scenes", "scenes:", "scenes:0", "scenes:-3", "scenes:many", "scenes:1.5", "scene:4"]
)
def test_a_bad_location_is_named_with_what_was_expected(location: str):
    with pytest.raises(UsageError, match="expected scenes:N") as caught:
        read_scenes(location, DataOptions())
    assert repr(location) in str(caught.value)


def test_bad_resolutions_and_seeds_are_named():
    with pytest.raises(UsageError, match="64x8"):
        read_scenes("scenes:4", DataOptions(resolution=(64, 8)))
    with pytest.raises(UsageError, match="seed -1"):
        read_scenes("scenes:4", DataOptions(seed=-1))


def test_no_figure_is_lost_in_the_smallest_pictures():
    assert all(make_scene(77, index, 16, 16).mask.any() for index in range(2940, 2948))  # a crowded room
    assert all(make_scene(4, index, 16, 16).mask.any() for index in range(300))
