"""The planes of several classes: which images, which boxes, and that names stay text."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from basrelief.report import Pictures, StudyContents, render_study
from basrelief.report.planes import CLASSES, IMAGES, MOST_BOXES, Box, build_planes

Study = Callable[..., StudyContents]
LOSSES = ((0, "a"), (1, "b"))


def two_figures() -> Pictures:
    """One image of 20 × 30: class 0 at rows 2 to 5 and columns 3 to 9, class 2 at a corner; "a" finds the first."""
    mask = np.zeros((1, 3, 20, 30), np.uint8)
    mask[0, 0, 2:6, 3:10] = 1
    mask[0, 2, 18:, 28:] = 1
    guess = np.zeros_like(mask)
    guess[0, 0, 2:6, 3:10] = 200
    guess[0, 1, 2:6, 3:10] = 90  # weaker, and below one half elsewhere
    guess[0, 1, 10:14, 10:14] = 100
    image = np.zeros((1, 20, 30, 3), np.uint8)
    return Pictures(["one"], image, {"a": {"mask": guess}}, {"a": [0.5]}, 0, mask=mask, classes=("x", "y", "z"))


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_boxes_are_those_of_the_truth_and_of_what_each_loss_finds() -> None:
    planes = build_planes(two_figures(), LOSSES)
    assert planes is not None
    assert len(planes.images) == 1
    truth, found = planes.images[0].lines  # none of b, which has no prediction
    (_, first), (_, _), (_, third) = planes.classes
    assert truth.boxes == [Box(3, 2, 7, 4, first, "x"), Box(28, 18, 2, 2, third, "z")]
    assert found.loss == (0, "a")
    assert found.boxes == [Box(3, 2, 7, 4, first, "x")]
    assert np.array_equal(pixels(truth.planes[2]) == 255, two_figures().mask[0, 2] == 1)  # type: ignore[index]
    assert np.array_equal(pixels(found.planes[1]), two_figures().predictions["a"]["mask"][0, 1])


def test_the_images_shown_are_those_with_the_most_classes(study: Study) -> None:
    pictures = study(1, classes=5, depth=False, side=32).pictures
    assert pictures is not None
    assert pictures.mask is not None
    pictures.mask[:, 0] = 0  # the others have four at most
    pictures.mask[7] = 0
    pictures.mask[7, :, :2, :2] = 1
    planes = build_planes(pictures, LOSSES)
    assert planes is not None
    assert len(planes.images) == IMAGES
    assert planes.images[0].id == pictures.ids[7]


def test_one_class_has_no_planes(study: Study) -> None:
    for classes, depth in ((1, False), (0, True)):
        pictures = study(1, classes=classes, depth=depth, count=2, side=16).pictures
        assert pictures is not None
        assert build_planes(pictures, LOSSES) is None


def test_noise_many_classes_and_large_pictures_stay_small() -> None:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (2, 30, 300, 200), dtype=np.uint8)
    guess = rng.integers(0, 256, mask.shape, dtype=np.uint8)
    pictures = Pictures(["1", "2"], np.zeros((2, 300, 200, 3), np.uint8), {"a": {"mask": guess}}, {}, 0, mask=mask)
    planes = build_planes(pictures, LOSSES)
    assert planes is not None
    assert (planes.height, planes.width) == (100, 67)
    assert planes.left_out == 30 - CLASSES
    assert len(planes.images[0].lines[1].boxes) <= 30 * MOST_BOXES


def test_names_on_the_page_are_text(study: Study) -> None:
    contents = study(2, classes=3, depth=False, count=3, side=32)
    assert contents.pictures is not None
    evil = '<b x="'
    named = replace(contents.pictures, classes=(evil, "chair", "plant"), ids=[evil, "2", "3"])
    page = render_study(replace(contents, pictures=named))
    assert 'href="#planes"' in page
    assert evil not in page
    assert "&lt;b x=" in page
    assert 'href="#planes"' not in render_study(study(2, classes=1, depth=False, count=3, side=32))
