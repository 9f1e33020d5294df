"""The page without a browser: what it draws, keeps, says, and lets nobody ask for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import basrelief as br
from basrelief.functional.colours import class_colours
from basrelief.inference.load import load
from basrelief.inference.prediction import Prediction
from basrelief.serving import page_words as words
from basrelief.serving.limits import Limits
from basrelief.serving.page_examples import write_examples
from basrelief.serving.page_pictures import draw_cutout, draw_depth, draw_overlay, label_map, shrink
from basrelief.serving.page_results import KEEP, Result, Results, small_result
from basrelief.serving.page_routes import allowed
from support import write_folder

RUN = {
    "network": "masknet", "resolution": [48, 64], "classes": ["figure"], "targets": ["mask"], "heads": ["mask"],
    "depth_unit": None, "depth_kind": None, "samples": {"train": 8, "val": 2, "test": 2}, "metrics": {},
    "settings": {"metric": "mask/iou"},
}  # fmt: skip


def test_of_several_classes_the_highest_above_its_own_level_is_shown() -> None:
    probability = np.array([[[0.6, 0.6, 0.2, 0.6]], [[0.5, 0.7, 0.4, 0.9]]], np.float32)
    assert label_map(probability, [0.5, 0.5], None).tolist() == [[1, 2, 0, 2]]
    assert label_map(probability, [0.5, 0.95], None).tolist() == [[1, 1, 0, 1]]
    assert label_map(probability, [0.5, 0.3], 1).tolist() == [[2, 2, 2, 2]]


def test_the_overlay_leaves_all_outside_the_mask_as_it_was() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    labels = np.zeros((20, 30), int)
    labels[5:15, 5:15], labels[5:15, 20:25] = 1, 2
    colours = class_colours(("a", "b"), 2)
    shown = draw_overlay(image, labels, colours)
    assert np.array_equal(shown[labels == 0], image[labels == 0])
    assert shown[5, 5].tolist() == colours[0].tolist()  # the line round it
    assert shown[5, 20].tolist() == colours[1].tolist()
    assert shown[10, 10].tolist() == np.rint(0.45 * image[10, 10] + 0.55 * colours[0]).tolist()


def test_the_cutout_shows_the_image_inside_and_a_chequered_ground_outside() -> None:
    image = np.full((96, 96, 3), 7, np.uint8)
    inside = np.zeros((96, 96), bool)
    inside[10:20, 10:20] = True
    shown = draw_cutout(image, inside)
    assert np.array_equal(shown[inside], image[inside])
    assert {tuple(colour) for colour in shown[~inside].tolist()} == {(255, 255, 255), (205, 205, 205)}


def test_pictures_are_made_smaller_by_averaging_and_never_larger() -> None:
    plane = np.arange(64, dtype=np.float32).reshape(8, 8)
    assert shrink(plane, 8) is plane
    assert np.allclose(shrink(plane, 4), plane.reshape(4, 2, 4, 2).mean(axis=(1, 3)))


def test_the_depth_tells_places_in_pixels_of_the_image_and_values_in_its_unit() -> None:
    figure = draw_depth(np.ones((100, 1000), np.float32), (200, 2000), RUN | {"depth_unit": "m"})
    heat = figure.data[0]
    rows, columns = heat.z.shape
    assert max(rows, columns) == 320
    assert heat.x0 + (columns - 0.5) * heat.dx == pytest.approx(2000)
    assert heat.y0 + (rows - 0.5) * heat.dy == pytest.approx(200)
    assert "%{z:.4~g} m" in heat.hovertemplate
    assert heat.colorbar.title.text == "depth, m"


def test_what_users_typed_is_escaped() -> None:
    bad = "<script>alert(1)</script>"
    run = RUN | {"classes": [bad], "depth_unit": bad}
    labels = np.ones((2, 2), int)
    for text in (
        words.header(run, bad),
        words.notice(bad, error=True),
        words.legend(labels, [bad], class_colours([bad], 1)),
        words.depth_line(np.ones((2, 2), np.float32), run),
    ):
        assert "<script" not in text


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "Mask of the figure"),
        ({"classes": ["cat", "dog"]}, "Masks of cat and dog"),
        ({"classes": list("abcdefg")}, "Masks of 7 classes"),
        ({"targets": ["depth"], "depth_unit": "m"}, "Depth in m"),
        ({"targets": ["mask", "depth"], "depth_kind": "relative"}, "Mask of the figure and relative depth"),
    ],
)
def test_the_title_says_what_the_network_does(changes: dict[str, object], title: str) -> None:
    assert words.page_title(RUN | changes) == title


def _result(side: int) -> Result:
    return Result(np.zeros((side, side, 3), np.uint8), None, None, (side, side), (), "one")


def test_kept_results_stay_within_their_bytes_and_the_latest_always_stays() -> None:
    results = Results(capacity=3 * 3 * 10 * 10)
    keys = [results.put(_result(10)) for _ in range(3)]
    results.get(keys[0])
    keys.append(results.put(_result(10)))
    assert [results.get(key) is not None for key in keys] == [True, False, True, True]
    large = results.put(_result(100))
    assert results.get(large) is not None
    assert all(results.get(key) is None for key in keys)
    results.drop(large)
    assert results.get(large) is None


def test_results_that_nobody_asks_for_are_forgotten() -> None:
    clock = [0.0]
    results = Results(now=lambda: clock[0])
    old, used = results.put(_result(4)), results.put(_result(4))
    clock[0] = KEEP * 0.8
    assert results.get(used) is not None
    clock[0] = KEEP * 1.6
    assert results.get(old) is None
    assert results.get(used) is not None


def test_what_is_kept_of_a_large_prediction_is_small() -> None:
    size = (1500, 3000)
    planes = np.zeros((2, *size), np.float32)
    image = np.zeros((*size, 3), np.uint8)
    found = Prediction(planes > 0.5, planes, planes[0], ("a", "b"), "m", "metric", image)
    kept = small_result(found, (), "one")
    assert kept.size == size
    assert kept.probability is not None
    assert kept.probability.shape == (2, 512, 1024)
    assert kept.nbytes == 512 * 1024 * (3 + 3 * 4)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/", True),
        ("/api/predict", True),
        ("/gradio_api/upload", True),
        ("/gradio_api/queue/data", True),
        ("/gradio_api/file=/tmp/x/a.png", True),
        ("/gradio_api/file=https://example.org/a.png", False),
        ("/gradio_api/file=/HTTP://example.org/a.png", False),
        ("/gradio_api/proxy=http://example.org/", False),
        ("/gradio_api/run/predict", False),
        ("/gradio_api/call/predict", False),
        ("/gradio_api/info", False),
        ("/gradio_api/vibe-edit", False),
        ("/monitoring/summary", False),
    ],
)
def test_routes_of_gradio_that_the_page_needs_not_are_not_there(path: str, there: bool) -> None:
    assert allowed(path) is there


def test_examples_are_validation_images_at_their_own_size_while_these_are_there(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", 12)
    out = br.train(data, out=tmp_path / "run", loss="bce(mask)", network="masknet", resolution=16, epochs=1, lr=1e-3)
    loaded = load(out["run"], device="cpu")
    (tmp_path / "first").mkdir()
    first = write_examples(loaded.predictor, loaded.home, tmp_path / "first")
    own = {
        (data / "images" / f"{row.split(',')[0]}.png")
        for row in (tmp_path / "run/splits.csv").read_text().split()
        if row.endswith("val")
    }
    assert 0 < len(first) <= 6
    assert all(len(files) == 1 for files in first)
    assert {_pixels(files[0]) for files in first} <= {_pixels(path) for path in own}

    shutil.rmtree(data)
    (tmp_path / "second").mkdir()
    second = write_examples(loaded.predictor, loaded.home, tmp_path / "second")
    assert {_pixels(files[0])[0] for files in second} == {(16, 16)}

    shutil.rmtree(tmp_path / "run" / "data")
    assert write_examples(loaded.predictor, loaded.home, tmp_path) == []
    assert write_examples(loaded.predictor, None, tmp_path) == []


def _pixels(file: Path) -> tuple[tuple[int, int], bytes]:
    with Image.open(file) as picture:
        return picture.size, picture.tobytes()


def test_the_line_above_says_what_to_do_next() -> None:
    limits = Limits(max_bytes=2 << 20, max_pixels=3_500_000)
    assert "up to 2 MB and 3.5 megapixels" in words.invitation(limits, False)
    assert "without the figure" in words.invitation(limits, True)
    assert "Now the background" in words.invitation(limits, True, has_image=True, has_other=True)
    assert "Now the image" in words.invitation(limits, True, has_other=True)
