"""How much of an error repeats with the grid of an upsampling by two."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from basrelief.errors import BasreliefError
from basrelief.functional.reduce import known

TILE = 16  # px; an artefact whose strength varies from tile to tile counts in full
SMALLEST = 4  # px; below, nothing is left to tell a pattern from noise


def checkerboard(pred: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the share of the error's local energy that has a period of 2 px, for each image and channel.

    Transposed convolutions and pixel shuffles leave stripes and checkerboards with the period of their stride (Odena,
    Dumoulin and Olah, "Deconvolution and checkerboard artifacts", Distill 2016); an upsampling by 4 or more shows them
    at 2 px as well, as a harmonic. The error e = p − t is cut into tiles of 16x16 px. Each tile is folded onto
    the 2x2 places of the grid: the mean of e at each place, less the tile's mean, is the pattern that repeats. With P
    and E the sums over all tiles of the pattern's and of e's squared deviations from the tile's mean, the score is

        1 − (1 − P / E)·(n − 1) / (n − 4),   n = 16·16 px,

    at least 0. That is the share P / E, corrected for the 3 of n − 1 degrees of freedom that a pattern takes of pure
    noise (T. L. Kelley, "An unbiased correlation ratio measure", PNAS 21(9), 1935). White noise scores 0 on average, a
    linear ramp 0, any error with a period of 2 px 1, and one without local structure (constant, or none) 0.

    Parameters
    ----------
    pred, target
        (N, K, H, W), at least 4 px a side: probabilities, or depth over its maximum. An image smaller than a tile is
        one tile of its largest even size; what is left over at the right and at the bottom does not count.
    valid
        Bool (N, 1, H, W) or (N, K, H, W); None: known everywhere. An unknown pixel counts as without error.

    Returns
    -------
    Tensor
        (N, K) in [0, 1], lower is better; NaN where no pixel is known.

    Raises
    ------
    BasreliefError
        When the image is smaller than 4 px.
    """
    height, width = pred.shape[-2:]
    if min(height, width) < SMALLEST:
        raise BasreliefError(
            f"checkerboard: the image is {height}x{width} px; it takes at least {SMALLEST} a side. Use larger ones."
        )
    error, _ = known(pred - target, valid)
    tall, wide = min(TILE, height // 2 * 2), min(TILE, width // 2 * 2)
    down, across = height // tall, width // wide
    error = error[..., : down * tall, : across * wide]
    tiles = error.reshape(*error.shape[:2], down, tall, across, wide)
    # The mean is taken away before anything is squared: differences of large sums would lose a small pattern.
    center = tiles.mean((-3, -1), keepdim=True)
    flat = (tiles - center).flatten(-2).flatten(-3, -2)
    rows = _fold(down, tall, error.dtype, error.device)
    columns = _fold(across, wide, error.dtype, error.device)
    # The mean over every second row and column of each tile, as two matrix products.
    pattern = rows @ flat @ columns.mT
    scale = tall * wide / 4
    repeating = scale * _energy(pattern)
    whole = _energy(flat)
    # Rounding of a tile that is flat, but far from 0, is no structure.
    rounding = (8 * torch.finfo(error.dtype).eps) ** 2 * _energy(error)
    count = tall * wide
    share = repeating / torch.where(whole > 0, whole, 1)
    score = (1 - (1 - share) * ((count - 1) / (count - 4))).clamp_min(0)
    score = torch.where(whole > rounding, score, torch.zeros_like(score))
    if valid is None:
        return score
    return torch.where(valid.flatten(2).any(-1).expand_as(score), score, torch.full_like(score, float("nan")))


def _energy(planes: Tensor) -> Tensor:
    energy: Tensor = torch.linalg.vecdot(planes, planes).sum(-1)
    return energy


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)  # a matrix first needed in an evaluation must serve outside of it too
def _fold(tiles: int, side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (2·tiles, tiles·side): the mean of each tile's even and of its odd places."""
    one = torch.eye(2, dtype=dtype, device=device).repeat(1, side // 2) / (side // 2)
    return torch.kron(torch.eye(tiles, dtype=dtype, device=device), one)
