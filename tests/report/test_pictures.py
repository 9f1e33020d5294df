"""How planes become pictures: scales, unknown pixels, outlines."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from basrelief.report import StudyContents
from basrelief.report.pictures import build_wall, trace_outline

Study = Callable[..., StudyContents]


def open_picture(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def test_an_outline_runs_along_the_edges_of_the_pixels() -> None:
    mask = np.zeros((4, 5), dtype=int)
    mask[1:3, 2:4] = 1
    assert trace_outline(mask) == "M2 1H4M2 3H4M2 1V3M4 1V3"
    assert trace_outline(np.zeros((4, 5), dtype=int)) == ""
    assert trace_outline(np.ones((2, 2), dtype=int)) == "M0 0H2M0 2H2M0 0V2M2 0V2"


def test_a_binary_truth_is_white_on_black_with_unknown_pixels_grey(study: Study) -> None:
    pictures = study(1, count=2, side=16).pictures
    assert pictures is not None
    assert pictures.mask is not None
    wall = build_wall(pictures, [(0, next(iter(pictures.predictions)))])
    assert wall.rows[1].truth.mask is not None
    shown = open_picture(wall.rows[1].truth.mask)[..., 0]
    truth = pictures.mask[1, 0]
    assert (shown[truth == 1] == 255).all()
    assert (shown[truth == 0] == 0).all()
    assert set(np.unique(shown[truth == 255])) <= {96, 150}


def test_classes_share_their_colours_between_truth_and_prediction(study: Study) -> None:
    pictures = study(1, count=1, side=16, classes=3, depth=False).pictures
    assert pictures is not None
    assert pictures.mask is not None
    name = next(iter(pictures.predictions))
    certain = {"mask": (pictures.mask == 1).astype(np.uint8) * 255}
    wall = build_wall(replace(pictures, predictions={name: certain}), [(0, name)])
    row = wall.rows[0]
    assert row.truth.mask is not None
    assert row.predictions[0].mask is not None
    assert np.array_equal(open_picture(row.truth.mask), open_picture(row.predictions[0].mask))
    assert [label for label, _ in wall.classes] == ["person", "chair", "plant"]


def test_depth_that_is_nowhere_known_and_a_missing_head_do_not_break_the_wall(study: Study) -> None:
    pictures = study(2, count=2, side=16).pictures
    assert pictures is not None
    assert pictures.depth is not None
    first, second = pictures.predictions
    predictions = {first: {"mask": pictures.predictions[first]["mask"]}, second: pictures.predictions[second]}
    unknown = np.full_like(pictures.depth, np.nan)
    wall = build_wall(replace(pictures, depth=unknown, predictions=predictions), [(0, first), (1, second), (2, "gone")])
    assert wall.rows[0].predictions[0].depth is None
    assert wall.losses == [(0, first), (1, second)]
    assert wall.scale is not None
