from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from basrelief.errors import UsageError
from basrelief.inference.points import check_kind, choose_lens, place_points, write_ply
from basrelief.inference.prediction import Prediction


def test_a_wall_is_as_wide_as_the_field_of_view_sees_at_its_distance() -> None:
    # At 2 m a camera of 90 degrees sees 4 m: from the left edge of the first pixel to the right edge of the last.
    points = place_points(np.full((30, 40), 2.0), choose_lens(90, None))
    assert points.shape == (30, 40, 3)
    pixel = 4 / 40
    assert np.allclose(points[:, 0, 0], -2 + pixel / 2)
    assert np.allclose(points[:, -1, 0], 2 - pixel / 2)
    assert np.allclose(points[0, :, 1], -(30 / 40) * 2 + pixel / 2)  # square pixels; y grows downwards
    assert np.allclose(points[..., 2], 2)


def test_intrinsics_are_opencvs() -> None:
    lens = choose_lens(None, "500,400,10,5")
    points = place_points(np.full((20, 30), 4.0), lens)
    assert np.allclose(points[5, 10], [0, 0, 4])
    assert np.allclose(points[13, 25], [15 / 500 * 4, 8 / 400 * 4, 4])
    wide = choose_lens(2 * math.degrees(math.atan(0.5)), None)
    assert np.allclose(wide.at((480, 640)), (640, 640, 319.5, 239.5))


def test_a_tilted_plane_stays_a_plane() -> None:
    # z = 3 + 0.5 x in space is depth = 3 / (1 - 0.5 (u - cx) / f) in the picture.
    lens = choose_lens(60, None)
    fx, _, cx, _ = lens.at((20, 30))
    depth = np.broadcast_to(3 / (1 - 0.5 * (np.arange(30) - cx) / fx), (20, 30))
    points = place_points(depth, lens).reshape(-1, 3)
    assert np.allclose(points[:, 2], 3 + 0.5 * points[:, 0], atol=1e-5)


def test_ply_holds_what_its_header_says_and_leaves_unknown_pixels_out(tmp_path: Path) -> None:
    codes = np.array([[1000, 0], [2000, 3000]], np.uint16)
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    write_ply(tmp_path / "a.ply", image, codes, 0.001, choose_lens(None, (1, 1, 0, 0)), "unit: m")
    head, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    assert head.split(b"\n")[:4] == [
        b"ply",
        b"format binary_little_endian 1.0",
        b"comment unit: m",
        b"element vertex 3",
    ]
    vertices = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    assert np.allclose(vertices["xyz"], [[0, 0, 1], [0, 2, 2], [3, 3, 3]])
    assert vertices["rgb"].tolist() == [[0, 1, 2], [6, 7, 8], [9, 10, 11]]


def test_a_camera_is_stated_once_and_rightly() -> None:
    for fov, intrinsics, said in (
        (None, None, "give --fov"),
        (60.0, "1,1,0,0", "one of them alone"),
        (180.0, None, "--fov 180"),
        (None, "500,500,320", "expected FX,FY,CX,CY"),
        (None, "0,1,2,3", "expected FX,FY,CX,CY"),
        (None, "nan,1,2,3", "expected FX,FY,CX,CY"),
    ):
        with pytest.raises(UsageError, match=said):
            choose_lens(fov, intrinsics)


def test_disparity_gives_no_points() -> None:
    check_kind("relative")
    with pytest.raises(UsageError, match="disparity, which grows towards the camera"):
        check_kind("disparity")


def test_a_prediction_gives_points_with_colours() -> None:
    depth = np.array([[2.0, 0.0]], np.float32)
    image = np.array([[[9, 8, 7], [1, 2, 3]]], np.uint8)
    result = Prediction(None, None, depth, (), "m", "metric", image)
    points, colours = result.points(intrinsics=(1, 1, 0, 0))
    assert points.tolist() == [[0, 0, 2]]
    assert colours.tolist() == [[9, 8, 7]]
    with pytest.raises(UsageError, match="predicts no mask"):
        result.cutout()
    with pytest.raises(UsageError, match="predicts no mask"):
        result.boxes()
