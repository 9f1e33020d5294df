"""Errors whose share of the 2-px grid is known, and artefacts as networks make them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basrelief.errors import BasreliefError
from basrelief.functional.checkerboard import checkerboard

GRID = torch.arange(64.0)
ROWS, COLUMNS = torch.meshgrid(GRID, GRID, indexing="ij")


def score(error: Tensor) -> float:
    error = error.expand(1, 1, *error.shape[-2:])
    return checkerboard(error, torch.zeros_like(error)).item()


def by_loops(error: np.ndarray) -> float:
    """The definition, written out: 16-px tiles, folded on their 2x2 places."""
    pattern = whole = 0.0
    for top in range(0, error.shape[0], 16):
        for left in range(0, error.shape[1], 16):
            tile = error[top : top + 16, left : left + 16]
            tile = tile - tile.mean()
            whole += (tile**2).sum()
            pattern += sum(64 * tile[i::2, j::2].mean() ** 2 for i in (0, 1) for j in (0, 1))
    return max(0.0, 1 - (1 - pattern / whole) * 255 / 252)


@pytest.mark.parametrize(
    "pattern",
    [COLUMNS % 2, ROWS % 2, (ROWS + COLUMNS) % 2, (ROWS % 2) * (COLUMNS % 2)],
    ids=["stripes", "rows", "checkerboard", "dots"],
)
def test_whatever_repeats_every_two_pixels_is_one(pattern: Tensor) -> None:
    assert score(0.1 * pattern + 5) == pytest.approx(1, abs=1e-4)


def test_a_checkerboard_of_varying_strength_counts_nearly_in_full() -> None:
    error = ((ROWS + COLUMNS) % 2 - 0.5) * (1 + torch.sin(COLUMNS / 9))
    assert score(error) > 0.9


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (torch.zeros(64, 64), 0),
        (torch.full((64, 64), 0.3), 0),
        (COLUMNS / 64 - 2 * ROWS + 3, 1e-6),
        ((COLUMNS - 20) ** 2 / 999 + ROWS * COLUMNS / 400, 0.001),
        (((ROWS - 30) ** 2 + (COLUMNS - 31) ** 2 < 200).float(), 0.01),
        ((COLUMNS > 21).float(), 0.06),
        ((COLUMNS == 21).float(), 0.06),
    ],
    ids=["none", "constant", "ramp", "curved", "disc", "edge", "line"],
)
def test_errors_that_do_not_repeat_score_next_to_nothing(error: Tensor, limit: float) -> None:
    assert score(error) <= limit


def test_white_noise_scores_about_zero_and_halves_what_is_mixed_with_it() -> None:
    noise = torch.randn(64, 64)
    assert score(noise) < 0.02
    # Stripes of ±1 have the energy of the noise, so half of the whole repeats.
    assert score(noise + 2 * (COLUMNS % 2) - 1) == pytest.approx(0.5, abs=0.03)


def test_it_is_the_definition_written_out() -> None:
    error = torch.randn(48, 64, dtype=torch.float64) + COLUMNS[:48] % 2
    assert score(error) == pytest.approx(by_loops(error.numpy()), abs=1e-10)


def test_transposed_convolutions_score_higher_than_resizing() -> None:
    smooth = F.interpolate(torch.randn(8, 8, 5, 5), size=(32, 32), mode="bicubic")
    with torch.no_grad():
        transposed = nn.ConvTranspose2d(8, 1, 3, stride=2, padding=1, output_padding=1)(smooth)
        resized = nn.Conv2d(8, 1, 3, padding=1)(F.interpolate(smooth, scale_factor=2, mode="bilinear"))
    zero = torch.zeros_like(resized)
    assert checkerboard(transposed, zero).min() > 0.2
    assert checkerboard(resized, zero).max() < 0.02


def test_the_scale_of_the_error_does_not_matter() -> None:
    error = torch.randn(64, 64) + COLUMNS % 2
    assert score(1e-4 * error) == pytest.approx(score(error), rel=1e-4)


def test_unknown_pixels_count_as_without_error_and_nothing_known_is_nan() -> None:
    pred, target = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    valid = torch.rand(2, 1, 32, 32) < 0.7
    valid[1] = False
    found = checkerboard(pred, target.masked_fill(~valid, float("nan")), valid)
    assert found[0].item() == pytest.approx(checkerboard(torch.where(valid, pred, target), target)[0].item())
    assert found[1].isnan()


@pytest.mark.parametrize("size", [(4, 4), (5, 50), (17, 33), (30, 6)])
def test_sizes_that_are_no_multiple_of_a_tile(size: tuple[int, int]) -> None:
    target = torch.rand(2, 3, *size)
    found = checkerboard(target + 0.1 * (torch.arange(size[1]) % 2), target)
    assert found.shape == (2, 3)
    assert found == pytest.approx(torch.ones(2, 3), abs=1e-3)


def test_an_image_too_small_for_a_pattern_is_an_error() -> None:
    with pytest.raises(BasreliefError, match="3x8 px"):
        checkerboard(torch.rand(1, 1, 3, 8), torch.rand(1, 1, 3, 8))
