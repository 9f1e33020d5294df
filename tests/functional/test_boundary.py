"""The boundary F-score, by hand and against an independent reckoning with scipy's distances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from basrelief.errors import UsageError
from basrelief.functional.boundary import boundary_f


def square(size: int, rows: slice, columns: slice) -> torch.Tensor:
    mask = torch.zeros(1, 1, size, size, dtype=torch.bool)
    mask[..., rows, columns] = True
    return mask


def edge(mask: np.ndarray) -> np.ndarray:
    # Erosion with a cross, everything beyond the border counted as inside.
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def reference(pred: np.ndarray, target: np.ndarray, tolerance: float) -> float:
    a, b = edge(pred), edge(target)
    precision = (ndimage.distance_transform_edt(~b)[a] <= tolerance).mean()
    recall = (ndimage.distance_transform_edt(~a)[b] <= tolerance).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 2, 3, 4.3])
@pytest.mark.parametrize("shape", [(13, 30), (30, 9), (4, 5)])
def test_score_is_that_of_exact_distances(tolerance: float, shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    masks = generator.random((2, 3, 2, *shape)) < np.array([0.1, 0.6])[:, None, None]
    masks[..., 0, 0], masks[..., 1, 1] = True, False
    scores = boundary_f(*torch.from_numpy(masks), tolerance=tolerance)
    expected = [[reference(p, t, tolerance) for p, t in zip(*pair, strict=True)] for pair in zip(*masks, strict=True)]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_score_by_hand() -> None:
    # Columns 0-3 against columns 0-5 of ten: each has one boundary, its last column, two pixels apart.
    pred, target = square(10, slice(None), slice(0, 4)), square(10, slice(None), slice(0, 6))
    assert boundary_f(pred, target, tolerance=1).item() == 0
    assert boundary_f(pred, target, tolerance=2).item() == 1
    # A single pixel on that boundary besides: precision 1, and of the target's 10 pixels those within 2 rows, 5.
    assert boundary_f(square(10, slice(5, 6), slice(5, 6)), target, tolerance=2).item() == pytest.approx(2 * 0.5 / 1.5)


def test_default_tolerance_is_a_share_of_the_diagonal_rounded_up() -> None:
    # 0.75 % of 200·sqrt(2) is 2.12 pixels: 3.
    target = square(200, slice(None), slice(0, 60))
    assert boundary_f(square(200, slice(None), slice(0, 63)), target).item() == 1
    assert boundary_f(square(200, slice(None), slice(0, 64)), target).item() == 0


def test_masks_without_a_boundary() -> None:
    empty, full = torch.zeros(1, 1, 6, 7), torch.ones(1, 1, 6, 7)
    some = empty.clone()
    some[..., 2, 3] = 1
    assert boundary_f(empty, empty).item() == 1
    assert boundary_f(full, full).item() == 1
    assert boundary_f(empty, full).item() == 0
    assert boundary_f(some, empty).item() == 0
    assert boundary_f(full, some).item() == 0
    assert boundary_f(some, some).item() == 1


def test_unknown_pixels_are_no_boundary_and_in_no_sum() -> None:
    target, pred = square(8, slice(2, 5), slice(1, 3)).float(), square(8, slice(2, 5), slice(1, 3)).float()
    valid = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    valid[..., 4:] = False
    target[..., 4:], pred[..., 5:] = math.nan, 1
    assert boundary_f(pred, target, valid).item() == 1
    # The whole known part inside: the edge of what is known is no boundary.
    assert boundary_f(valid.float(), torch.ones(1, 1, 8, 8), valid).item() == 1
    cropped = boundary_f(1 - pred[..., :4], pred[..., :4], tolerance=1)
    assert boundary_f(1 - pred, target, valid, tolerance=1).item() == cropped.item()


def test_nan_where_nothing_is_known() -> None:
    valid = torch.zeros(2, 1, 5, 5, dtype=torch.bool)
    valid[1] = True
    scores = boundary_f(torch.ones(2, 3, 5, 5), torch.ones(2, 3, 5, 5), valid)
    assert scores[0].isnan().all()
    assert (scores[1] == 1).all()


def test_one_pixel_images_and_huge_tolerances_are_scored() -> None:
    assert boundary_f(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1)).item() == 1
    near, far = square(5, slice(0, 1), slice(0, 1)), square(5, slice(4, 5), slice(4, 5))
    assert boundary_f(near, far, tolerance=5).item() == 0  # sqrt(32) apart
    assert boundary_f(near, far, tolerance=100).item() == 1


@pytest.mark.parametrize("tolerance", [-1, math.nan, math.inf])
def test_tolerance_out_of_range_is_refused(tolerance: float) -> None:
    with pytest.raises(UsageError, match="boundary_f: tolerance"):
        boundary_f(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3), tolerance=tolerance)
