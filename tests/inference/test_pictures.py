"""What is made of masks and depth to be looked at: cut-outs, replaced backgrounds, previews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from basrelief.errors import UsageError
from basrelief.functional.colours import class_colours, depth_palette
from basrelief.inference import cutout
from basrelief.inference.cutout import find_alpha, parse_backdrop, put_before
from basrelief.inference.prediction import Prediction
from made_networks import made_predictor


def prediction(
    probability: np.ndarray, *, classes: tuple[str, ...] = ("cat",), depth: np.ndarray | None = None, grey: int = 90
) -> Prediction:
    size = probability.shape[-2:]
    image = np.full((*size, 3), grey, np.uint8)
    return Prediction(probability > 0.5, probability.astype(np.float32), depth, classes, "m", "metric", image)


def test_alpha_is_half_at_the_threshold_and_certain_near_the_ends() -> None:
    codes = np.rint(np.array([0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]) * 65535).astype(np.uint16)
    assert find_alpha(codes[None, None], (0.5,))[0].tolist() == [0, 0, 64, 128, 191, 255, 255]
    # At the threshold 0.2: clear up to 0.04, half at 0.2, solid from 0.84 on.
    codes = np.rint(np.array([0.039, 0.2, 0.52, 0.841]) * 65535).astype(np.uint16)
    assert find_alpha(codes[None, None], (0.2,))[0].tolist() == [0, 128, 191, 255]


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(0, 65535), st.integers(0, 65535))
def test_alpha_never_falls_where_the_probability_rises(threshold: float, one: int, other: int) -> None:
    low, high = find_alpha(np.array([[sorted((one, other))]], np.uint16), (threshold,))[0]
    assert low <= high
    both = np.array([[[one]], [[other]]], np.uint16)
    assert find_alpha(both, (threshold, threshold))[0, 0] == high, "of several classes the most solid one shows"


def test_a_cutout_keeps_colours_and_hides_nothing_in_clear_pixels() -> None:
    cut = prediction(np.array([[1.0, 0.5, 0.0]])).cutout()
    assert cut.mode == "RGBA"
    assert np.asarray(cut).tolist() == [[[90, 90, 90, 255], [90, 90, 90, 128], [0, 0, 0, 0]]]


def test_backgrounds_are_colours_pictures_and_blurs(tmp_path: Path) -> None:
    result = prediction(np.array([[1.0, 0.0]]))
    for colour in ("red", "#ff0000", "rgb(255,0,0)", (255, 0, 0)):
        assert np.asarray(result.replace(colour)).tolist() == [[[90, 90, 90], [255, 0, 0]]]
    half = np.zeros((50, 200, 3), np.uint8)
    half[:, 100:] = 200  # four times as wide as high: what covers 20x10 is its middle
    Image.fromarray(half).save(tmp_path / "wide.png")
    clear = prediction(np.zeros((10, 20)))
    for picture in (tmp_path / "wide.png", str(tmp_path / "wide.png"), Image.open(tmp_path / "wide.png")):
        shown = np.asarray(clear.replace(picture))
        assert shown.shape == (10, 20, 3)
        assert (shown[:, :8] == 0).all()
        assert (shown[:, -8:] == 200).all()
    for wrong in ("reddish", "blur:", "blur:-1", "blur:nan", str(tmp_path)):
        with pytest.raises(UsageError, match="--replace"):
            result.replace(wrong)


def test_a_blurred_background_takes_nothing_of_the_figure() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[..., 2] = 100
    image[10:30, 10:30] = [255, 0, 0]
    alpha = np.zeros((40, 40), np.uint8)
    alpha[10:30, 10:30] = 255
    blurred = np.asarray(put_before(image, alpha, parse_backdrop("blur:4")))
    assert np.array_equal(blurred[15:25, 15:25], image[15:25, 15:25])
    assert (np.abs(blurred[alpha == 0].astype(int) - [0, 0, 100]) <= 2).all()


def test_a_preview_shows_depth_in_viridis_with_a_scale_and_the_masks_outline() -> None:
    depth = np.broadcast_to(np.linspace(1, 3, 400, dtype=np.float32), (400, 400))
    disc = np.hypot(*(np.mgrid[:400, :400] - 200)) < 80
    shown = np.asarray(prediction(disc.astype(np.float32), depth=depth).preview())
    assert shown.shape[0] == 400
    assert shown.shape[1] > 400, "the scale stands beside it"
    assert (shown[:, 403:409] == 255).all()
    palette = depth_palette()
    assert np.abs(shown[5, [1, 398]].astype(int) - palette[[0, 253]]).max() <= 3
    row = shown[200, :400].astype(int)
    white = np.flatnonzero((row == 255).all(axis=1))
    assert set(np.round(white / 10) * 10) == {120, 280}, "outlined where the disc begins and ends, and nowhere else"


def test_a_preview_of_masks_alone_is_the_picture_with_a_legend_of_several_classes() -> None:
    probability = np.zeros((2, 400, 500), np.float32)
    probability[0, 50:150, 50:150] = 1
    probability[1, 200:300, 200:300] = 1
    result = prediction(probability, classes=("cat", "dog"))
    shown = np.asarray(result.preview())
    assert shown.shape[1] == 500
    assert shown.shape[0] > 400
    colours = class_colours(("cat", "dog"), 2)
    assert (shown[50, 100] == colours[0]).all()
    assert (shown[200, 250] == colours[1]).all()
    assert (shown[100, 100] == 90).all()
    assert any((shown[400:] == colours[1]).all(axis=2).ravel())
    assert prediction(np.zeros((400, 500))).preview().size == (500, 400)


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (2000, 3300)])
def test_previews_of_any_size_can_be_looked_at(size: tuple[int, int]) -> None:
    depth = np.full(size, 2, np.float32)  # all the same, so that the scale has no length
    shown = prediction(np.ones(size, np.float32), depth=depth).preview()
    assert 320 <= max(shown.size) <= 2000


def test_a_notebook_shows_a_prediction() -> None:
    result = made_predictor("cat", depth=True)(np.zeros((20, 30, 3), np.uint8))
    assert result._repr_png_().startswith(b"\x89PNG")
    assert result.thresholds == (0.5,)
    assert result.boxes() == []


@pytest.mark.parametrize("backdrop", ["blur:40", "teal", Image.effect_noise((70, 90), 80)])
def test_a_large_picture_made_in_strips_shows_no_seams(backdrop: str | Image.Image, monkeypatch: Any) -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (301, 403, 3)).astype(np.uint8)
    alpha = rng.integers(0, 256, (301, 403)).astype(np.uint8)
    whole = np.asarray(put_before(image, alpha, parse_backdrop(backdrop)))
    monkeypatch.setattr(cutout, "_PIXELS", 403 * 7)
    strips = np.asarray(put_before(image, alpha, parse_backdrop(backdrop)))
    assert np.abs(strips.astype(int) - whole).max() <= 1


def test_a_wide_blur_of_averaged_blocks_is_that_of_all_pixels() -> None:
    rows, columns = np.mgrid[:200, :300]
    image = np.stack([rows, columns * 0.8, 255 - rows], -1).astype(np.uint8)
    alpha = np.where(np.hypot(rows - 100, columns - 150) < 40, 255, 0).astype(np.uint8)
    behind = Image.fromarray(image)
    behind.putalpha(Image.fromarray(255 - alpha))
    full = behind.convert("RGBa").filter(ImageFilter.GaussianBlur(24)).convert("RGBA").convert("RGB")
    expected = np.where(alpha[..., None] > 0, image, np.asarray(full)).astype(int)
    assert np.abs(np.asarray(put_before(image, alpha, parse_backdrop("blur:24"))) - expected).max() <= 4
