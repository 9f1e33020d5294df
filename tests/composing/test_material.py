"""Backgrounds and their depth: cut and resized alike, unknown kept unknown, what is broken found before the start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basrelief.composing.depth import DepthCoding, decode_depth, fine_scale
from basrelief.composing.material import Material, load_backdrop
from basrelief.composing.source import plan_composition
from basrelief.data.decode import read_depth
from basrelief.data.source import DataOptions
from basrelief.errors import DataError, UsageError
from materials import materials, write_cutouts

CODING = DepthCoding(0.001, (0.0, 65535.0), 0.001, "m", "metric")


@pytest.mark.parametrize("size", [(90, 40), (40, 90), (64, 64)])
@pytest.mark.parametrize("resolution", [(32, 32), (32, 48), (60, 24)])
def test_the_middle_is_cut_to_the_aspect_ratio_and_depth_alike(
    tmp_path: Path, size: tuple[int, int], resolution: tuple[int, int]
) -> None:
    """A disc in the middle stays round and in the middle, and depth stands where the image does, at half its size."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    disc = np.hypot(rows + 0.5 - height / 2, columns + 0.5 - width / 2) < 6
    Image.fromarray(np.repeat(disc[..., None] * np.uint8(255), 3, 2)).save(tmp_path / "room.png")
    small = np.repeat(np.repeat(disc, 2, 0), 2, 1)
    Image.fromarray(np.where(small, 1000, 3000).astype(np.uint16)).save(tmp_path / "depth.png")
    backdrop = load_backdrop(Material("room", tmp_path / "room.png", tmp_path / "depth.png"), resolution, CODING)
    assert backdrop.image.shape == (*resolution, 3)
    assert backdrop.codes is not None
    assert set(np.unique(backdrop.codes)) == {1000, 3000}, "depths of two surfaces never mix"
    for plane in (backdrop.image[..., 0] >= 128, backdrop.codes == 1000):
        down, across = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
        assert abs(len(down) - len(across)) <= 1, "a disc is squashed"
        assert abs(down.mean() + 0.5 - resolution[0] / 2) <= 0.5
        assert abs(across.mean() + 0.5 - resolution[1] / 2) <= 0.5
    assert np.mean((backdrop.image[..., 0] >= 128) != (backdrop.codes == 1000)) < 0.08


def test_zero_65535_nan_and_stated_values_are_unknown_and_the_rest_is_exact(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "room.png")
    stored = np.arange(64, dtype=np.uint16).reshape(8, 8) * 100
    stored[7, 7] = 65535
    Image.fromarray(stored).save(tmp_path / "depth.png")
    material = Material("room", tmp_path / "room.png", tmp_path / "depth.png")
    codes = load_backdrop(material, (8, 8), CODING).codes
    assert codes is not None
    assert np.array_equal(codes, np.where(stored == 65535, 0, stored))
    depth = decode_depth(codes, 0.001)
    assert np.array_equal(np.isnan(depth), codes == 0)
    assert np.array_equal(depth[codes > 0], codes[codes > 0].astype(np.float32) * np.float32(0.001))
    other = load_backdrop(material, (8, 8), replace(CODING, invalid=(300.0,))).codes
    assert other is not None
    assert (other[7, 7], other[0, 3], other[0, 4]) == (65535, 0, 400)
    values = stored.astype(np.float32) / 1000
    values[0, 5] = np.nan
    np.save(tmp_path / "depth.npy", values)
    floats = load_backdrop(
        replace(material, depth=tmp_path / "depth.npy"), (8, 8), replace(CODING, read_scale=1.0)
    ).codes
    assert floats is not None
    assert floats[0, 5] == 0
    assert np.array_equal(floats[1:7], stored[1:7])


@pytest.mark.parametrize(("highest", "scale"), [(10, 2e-4), (65.535, 1e-3), (65.6, 2e-3), (0.5, 1e-5), (3e6, 50)])
def test_the_finest_round_scale_that_reaches_the_farthest(highest: float, scale: float) -> None:
    assert fine_scale(highest) == scale
    assert highest / scale <= 65535.0001


def test_metres_as_fractions_are_stored_in_stated_steps(tmp_path: Path) -> None:
    options = materials(tmp_path, depths=True)
    assert options.depths is not None
    for path in list(options.depths.iterdir()):
        np.save(path.with_suffix(".npy"), read_depth(path) / 1000 + np.float32(0.0001))
        path.unlink()
    metres = DataOptions(depth_unit="m", depth_kind="metric")
    composition = plan_composition(replace(options, depth=metres))
    coding = composition.materials.coding
    assert coding is not None
    assert (coding.read_scale, coding.scale, coding.unit, coding.kind) == (1.0, 1e-4, "m", "metric")
    assert "steps of 0.0001 m" in " ".join(composition.notes)


def test_what_was_assumed_about_depth_is_said(tmp_path: Path) -> None:
    options = materials(tmp_path, depths=True)
    composition = plan_composition(options)
    said = " ".join(composition.notes)
    assert "taken as metres" in said
    assert "unknown at 6.2% of their pixels" in said
    assert "65535" not in said
    assert composition.materials.coding is not None
    assert 1.4 < composition.materials.coding.usual < 1.8  # 0.7 of what is near: 2.2 m
    for path in (tmp_path / "depths").iterdir():
        depth = read_depth(path).astype(np.uint16)
        depth[-1] = 65535
        Image.fromarray(depth).save(path)
    assert "65535 (2.1% of the pixels) counts as unknown" in " ".join(plan_composition(options).notes)
    stated = replace(options, depth=replace(options.depth, depth_invalid=(0.0,)))
    said = " ".join(plan_composition(stated).notes)
    assert "counts as unknown" not in said
    bare = plan_composition(replace(options, depth=DataOptions()))
    assert bare.materials.coding is not None
    assert (bare.materials.coding.unit, bare.materials.coding.kind) == ("", "relative")


def test_every_broken_file_is_named_at_once_and_left_out_on_request(tmp_path: Path) -> None:
    options = materials(tmp_path, 8, depths=True)
    (tmp_path / "rooms" / "room-1.png").write_bytes(b"no picture")
    (tmp_path / "depths" / "room-2.png").unlink()
    Image.fromarray(np.zeros((48, 64), np.uint16)).save(tmp_path / "depths" / "room-3.png")
    Image.fromarray(np.full((64, 48), 900, np.uint16)).save(tmp_path / "depths" / "room-4.png")
    Image.new("RGB", (40, 40), "white").save(tmp_path / "cutouts" / "cup-1.png")
    (tmp_path / "cutouts" / "notes.txt").write_text("mine")
    with pytest.raises(DataError) as caught:
        plan_composition(options)
    said = str(caught.value)
    assert said.startswith("5 files cannot be used:")
    for words in (
        "room-1.png: is not in a known file format",
        "room-2.png: has no depth map",
        "room-3.png: has no known depth",
        "room-4.png: is 48 × 64 pixels",
        "cup-1.png: is wholly opaque",
        "--skip-broken",
    ):
        assert words in said, words
    composition = plan_composition(replace(options, skip_broken=True))
    assert [m.name for m in composition.materials.backgrounds] == ["room-5", "room-6", "room-7", "room-8"]
    assert len(composition.materials.foregrounds) == 5
    assert len(composition.materials.skipped) == 5


def test_depth_below_zero_inverse_depth_and_depth_options_without_depth_are_refused(tmp_path: Path) -> None:
    options = materials(tmp_path, depths=True)
    with pytest.raises(UsageError, match="inverse of distance"):
        plan_composition(replace(options, depth=DataOptions(depth_kind="disparity")))
    with pytest.raises(UsageError, match=r"--depth-scale: these say how --depths is stored"):
        plan_composition(replace(options, depths=None))
    depth = np.full((48, 64), 2.0, np.float32)
    depth[3, 3] = -1
    (tmp_path / "depths" / "room-1.png").unlink()
    np.save(tmp_path / "depths" / "room-1.npy", depth)
    with pytest.raises(DataError, match=r"room-1\.npy: has depth below 0.*--depth-invalid"):
        plan_composition(options)


def test_a_rooms_middle_without_depth_is_noticed_before_composing(tmp_path: Path) -> None:
    options = replace(materials(tmp_path, depths=True), resolution=(60, 20), smallest=0.4)
    depth = np.zeros((48, 64), np.uint16)
    depth[:, :10] = 2000
    Image.fromarray(depth).save(tmp_path / "depths" / "room-2.png")
    with pytest.raises(DataError, match=r"room-2\.png: has no known depth in the part that is used"):
        plan_composition(options)


def test_frames_of_a_video_are_noticed_and_blocks_recommended(tmp_path: Path) -> None:
    options = materials(tmp_path, 12)
    assert "--group-blocks" not in " ".join(plan_composition(options).notes), "unlike rooms"
    scene = np.linspace(0, 255, 64 + 12 * 6).astype(np.uint8)
    for number in range(12):
        frame = np.repeat(np.tile(scene[6 * number : 6 * number + 64], (48, 1))[..., None], 3, 2)
        Image.fromarray(frame).save(tmp_path / "rooms" / f"room-{number + 1}.png")
    assert "--group-blocks 10, say, keeps neighbours together" in " ".join(plan_composition(options).notes)
    assert "--group-blocks" not in " ".join(plan_composition(replace(options, group_blocks=4)).notes)
    assert "--group-blocks" not in " ".join(plan_composition(replace(options, split="random")).notes)


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    options = materials(tmp_path)
    with pytest.raises(DataError, match=r"nowhere is not there\. Expected a folder of backgrounds"):
        plan_composition(replace(options, backgrounds=tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no foregrounds"):
        plan_composition(replace(options, foregrounds=tmp_path / "empty"))
    with pytest.raises(DataError, match="no folder"):
        plan_composition(replace(options, foregrounds=tmp_path / "rooms" / "room-1.png"))


def test_a_folder_of_data_is_refused_since_its_masks_and_depth_maps_would_be_taken_for_pictures(tmp_path: Path) -> None:
    options = replace(materials(tmp_path, depths=True), depth=DataOptions())
    data = tmp_path / "filmed"
    data.mkdir()
    (tmp_path / "rooms").rename(data / "Images")
    (tmp_path / "depths").rename(data / "depths")
    with pytest.raises(DataError) as caught:
        plan_composition(replace(options, backgrounds=data, depths=None))
    assert f"say {data / 'Images'} --depths {data / 'depths'}." in str(caught.value)
    with pytest.raises(DataError, match=r"holds depths/ beside Images/\. .*Images\.$"):
        plan_composition(replace(options, backgrounds=data / "Images", depths=None, foregrounds=data))
    plan_composition(replace(options, backgrounds=data / "Images", depths=data / "depths"))


def test_a_folder_given_twice_is_good_as_backgrounds_though_not_as_foregrounds(tmp_path: Path) -> None:
    options = materials(tmp_path)
    with pytest.raises(DataError, match=r"^6 files cannot be used"):
        plan_composition(replace(options, foregrounds=options.backgrounds))


def test_subfolders_and_equal_names_are_told_apart(tmp_path: Path) -> None:
    options = materials(tmp_path)
    write_cutouts(tmp_path / "cutouts" / "more", 2)
    (tmp_path / "cutouts" / "more" / "loop").symlink_to(tmp_path / "cutouts")
    composition = plan_composition(options)
    assert {"cup-1", "more/cup-1"} <= {material.name for material in composition.materials.foregrounds}
    assert len(composition.materials.foregrounds) == 8
    Image.new("RGB", (64, 48)).save(tmp_path / "rooms" / "room-1.jpg")
    with pytest.raises(DataError, match="has the same name as room-1"):
        plan_composition(options)
