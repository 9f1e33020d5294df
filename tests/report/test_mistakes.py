"""Error maps: what counts as which mistake, and that everyone can tell them apart."""

from __future__ import annotations

import itertools

import numpy as np

from basrelief.report.mistakes import (
    LEVELS,
    MISTAKES,
    error_limit,
    error_palette,
    mark_mistakes,
    mistake_palette,
    shade_errors,
)


def test_every_kind_of_mistake_has_its_mark() -> None:
    truth = np.zeros((2, 1, 7), np.uint8)
    seen = np.zeros((2, 1, 7), np.uint8)
    truth[0, 0, [1, 3, 4]] = 1  # a figure of the first class
    truth[:, 0, 5:] = 255  # unknown
    seen[0, 0, [1, 2, 6]] = 200  # right, false, unknown
    seen[1, 0, 4] = 128  # another class, just likely enough
    seen[0, 0, 3] = 127  # missed by a hair
    assert mark_mistakes(seen, truth)[0, :5].tolist() == [0, 1, 2, 3, 4]
    assert set(mark_mistakes(seen, truth)[0, 5:].tolist()) <= {len(MISTAKES), len(MISTAKES) + 1}


def test_where_classes_overlap_any_of_them_is_right() -> None:
    truth = np.ones((2, 1, 1), np.uint8)
    for chosen in (0, 1):
        seen = np.zeros((2, 1, 1), np.uint8)
        seen[chosen] = 255
        assert mark_mistakes(seen, truth).item() == 1


def test_errors_of_depth_run_from_black_to_the_limit_and_unknown_is_hatched() -> None:
    truth = np.array([[1.0, 1.0, 1.0, np.nan]], np.float32)
    places = shade_errors(np.array([[1.0, 2.0, 9.0, 1.0]], np.float32), truth, 2.0)
    assert places[0, :3].tolist() == [0, round((LEVELS - 1) / 2), LEVELS - 1]
    assert places[0, 3] >= LEVELS
    assert error_palette().shape == (LEVELS + 2, 3)


def test_the_scale_of_errors_passes_over_stray_ones_and_over_losses_without_depth() -> None:
    truth = np.zeros((1, 10, 100), np.float32)
    wrong = np.full_like(truth, 0.5)
    wrong[0, 0, 0] = 1000
    assert error_limit(truth, [None, wrong]) == 0.5
    assert error_limit(truth, [truth]) == 1.0
    assert error_limit(np.full_like(truth, np.nan), [wrong]) == 1.0


def test_the_colours_differ_to_readers_without_red_or_green() -> None:
    # Viénot, Brettel and Mollon (1999): what is left of linear RGB without the long, and without the middle, cones.
    without = {
        "protan": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        "deutan": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    }
    linear = (mistake_palette()[: len(MISTAKES)] / 255.0) ** 2.2
    for matrix in without.values():
        left = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        for one, two in itertools.combinations(left, 2):
            assert np.abs(one - two).max() > 0.15
