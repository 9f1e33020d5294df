"""JPEG's losses on the device: what a picture looks like after it was written and read, without the file.

ITU-T T.81 for the transform and the tables of its Annex K, the quality's scale of the IJG library, JFIF's colours.
Coding without loss, which comes after the rounding, is left out since it changes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from basrelief.augment.filter import change_rows
from basrelief.augment.spec import Between, Draws

Quality = Annotated[int, Between(1, 100)]

# T.81, tables K.1 (luma) and K.2 (chroma).
LUMA_TABLE = """16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99"""
CHROMA_TABLE = """17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
    99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99"""
# JFIF 1.02: ITU-R BT.601 colours in full range.
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg(draws: Draws, low: Quality = 40, high: Quality = 95, subsample: bool = True) -> Callable[[Tensor], Tensor]:
    """Compress as JPEG does, and read back.

    Blocks of 8x8 pixels (chroma: 16x16) that touch the figure differ between image and background also beside the
    figure. That is in the nature of JPEG, and real composites have it.

    Parameters
    ----------
    low, high
        The lowest and the highest quality, as the IJG library and Pillow count it; whole numbers, all as likely.
    subsample
        Keep chroma at half the resolution (4:2:0), as most programs do.
    """
    quality = np.minimum(np.floor(draws.between(low, high + 1, low)), high)
    return lambda picture: change_rows(
        picture, draws.applied, lambda some, rows: compressed(some, quality[rows], subsample=subsample)
    )


def compressed(picture: Tensor, quality: np.ndarray, *, subsample: bool = True) -> Tensor:
    """Return what is left of a picture after JPEG.

    Parameters
    ----------
    picture
        (N, 3, H, W) in [0, 1]; taken to 256 levels first, as a file would.
    quality
        (N,) whole numbers from 1 to 100.
    subsample
        Whether chroma is 4:2:0.

    Returns
    -------
    Tensor
        (N, 3, H, W), multiples of 1/255 in [0, 1].
    """
    height, width = picture.shape[-2:]
    levels = (picture.to(torch.promote_types(picture.dtype, torch.float32)) * 255).round_().clamp_(0, 255)
    block = 16 if subsample else 8
    rows, columns = (torch.arange(-(-side // block) * block).clamp_max(side - 1) for side in (height, width))
    levels = levels[..., rows.to(picture.device), :][..., columns.to(picture.device)]
    planes = _colours(levels, TO_YCC).round_()  # chroma about 0 here, where a file has it about 128
    luma, chroma = planes[:, :1] - 128, planes[:, 1:]
    if subsample:
        chroma = F.avg_pool2d(chroma, 2).round_()
    luma = _rounded(luma, _scaled(LUMA_TABLE, quality)) + 128
    chroma = _rounded(chroma, _scaled(CHROMA_TABLE, quality))
    if subsample:
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    levels = _colours(torch.cat([luma, chroma], 1)[..., :height, :width], TO_RGB)
    return levels.round_().clamp_(0, 255).div_(255).to(picture.dtype)


def _rounded(planes: Tensor, table: np.ndarray) -> Tensor:
    """Round the cosine coefficients of every 8x8 block to multiples of ``table`` (N, 8, 8)."""
    count, channels, height, width = planes.shape
    cosines = torch.from_numpy(_cosines()).to(planes)
    steps = torch.from_numpy(table).to(planes)[:, None, None, :, None, :]
    shape = (count, channels, height // 8, 8, width // 8, 8)
    down = cosines @ planes.reshape(count, channels, height // 8, 8, width)
    coefficients = (down.view(shape) @ cosines.T).div_(steps).round_().mul_(steps)
    down = cosines.T @ (coefficients @ cosines).view(count, channels, height // 8, 8, width)
    return down.view(planes.shape).round_().clamp_(-128, 127)


def _colours(planes: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    first, second, third = (planes[:, i : i + 1] for i in range(3))
    return torch.cat([row[0] * first + row[1] * second + row[2] * third for row in matrix], 1)


def _scaled(table: str, quality: np.ndarray) -> np.ndarray:
    """Return the steps (N, 8, 8) at each quality, by the IJG library's rule."""
    scale = np.where(quality < 50, np.floor(5000 / quality), 200 - 2 * quality)
    base = np.array(table.split(), float).reshape(8, 8)
    return np.clip(np.floor((base * scale[:, None, None] + 50) / 100), 1, 255)


@functools.cache
def _cosines() -> np.ndarray:
    """Return the orthonormal discrete cosine transform of 8 values, (frequency, place)."""
    places, frequencies = np.arange(8), np.arange(8)[:, None]
    matrix = np.cos((2 * places + 1) * frequencies * np.pi / 16) / 2
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix)
