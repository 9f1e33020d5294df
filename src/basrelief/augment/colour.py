"""The steps that are affine maps of a pixel's colour; those beside each other become one matrix and one pass.

None looks at the picture's own content: a mean, say, would differ between the image and its background, and the two
would no longer be equal outside the figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from basrelief.augment.spec import Between, Draws, Share

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
GREY = 0.5  # what contrast turns about
# Red, green, blue to luma and the chroma of NTSC (FCC 1953); rows sum to 1, 0 and 0, so grey has no chroma.
YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True)
class ColourMap:
    """Colour to colour, linear plus an offset, for each sample.

    Attributes
    ----------
    matrix
        float64 (N, 3, 4): out = matrix[:, :, :3] · (r, g, b) + matrix[:, :, 3].
    """

    matrix: np.ndarray

    def then(self, other: ColourMap) -> ColourMap:
        """Return the map that does this one and then ``other``."""
        linear = other.matrix[:, :, :3] @ self.matrix
        linear[:, :, 3] += other.matrix[:, :, 3]
        return ColourMap(linear)

    def __call__(self, picture: Tensor) -> Tensor:
        """Return the picture (N, 3, H, W) mapped, not yet clamped to [0, 1]."""
        matrix = torch.from_numpy(self.matrix).to(picture)[..., None, None]
        if not self.matrix[:, ~np.eye(3, 4, dtype=bool) & (np.arange(4) < 3)].any():  # each channel by itself
            return torch.addcmul(matrix[:, :, 3], picture, torch.stack([matrix[:, i, i] for i in range(3)], 1))
        result = torch.addcmul(matrix[:, :, 3], picture[:, :1], matrix[:, :, 0])
        for channel in (1, 2):
            result.addcmul_(picture[:, channel : channel + 1], matrix[:, :, channel])
        return result


def brightness(draws: Draws, amount: Share = 0.2) -> ColourMap:
    """Multiply by a factor.

    Parameters
    ----------
    amount
        The factor is even in 1 ± amount.
    """
    return _about(draws.between(1 - amount, 1 + amount, 1), np.zeros((3, 3)), 0)


def contrast(draws: Draws, amount: Share = 0.2) -> ColourMap:
    """Bring colours nearer to middle grey (0.5), or farther from it.

    Not the picture's mean, as elsewhere: it differs between an image and its background.

    Parameters
    ----------
    amount
        The factor is even in 1 ± amount.
    """
    return _about(draws.between(1 - amount, 1 + amount, 1), np.zeros((3, 3)), GREY)


def saturation(draws: Draws, amount: Share = 0.3) -> ColourMap:
    """Bring colours nearer to their own luma (ITU-R BT.601), or farther from it.

    Parameters
    ----------
    amount
        The factor is even in 1 ± amount.
    """
    return _about(draws.between(1 - amount, 1 + amount, 1), np.tile(LUMA, (3, 1)), 0)


def grey(draws: Draws) -> ColourMap:
    """Replace the colours by their luma (ITU-R BT.601)."""
    return _about(np.where(draws.applied, 0, 1), np.tile(LUMA, (3, 1)), 0)


def hue(draws: Draws, degrees: Annotated[float, Between(0, 180)] = 10.0) -> ColourMap:
    """Turn the chroma about the axis of greys in NTSC's YIQ, which keeps luma.

    Other packages turn the hue of HSV, which agrees in direction and roughly in angle, but changes luma and is not
    linear.

    Parameters
    ----------
    degrees
        The largest angle; angles are even in ±degrees, positive from red towards green.
    """
    angle = np.radians(draws.between(-degrees, degrees, 0))
    turned = np.tile(np.eye(3), (draws.count, 1, 1))
    turned[:, 1, 1] = turned[:, 2, 2] = np.cos(angle)
    turned[:, 1, 2], turned[:, 2, 1] = np.sin(angle), -np.sin(angle)  # in YIQ green lies clockwise of red
    return _linear(np.linalg.inv(YIQ) @ turned @ YIQ)


def rgb_shift(draws: Draws, amount: Share = 0.05) -> ColourMap:
    """Add a number to each of red, green and blue.

    Parameters
    ----------
    amount
        Each number is even in ±amount.
    """
    offsets = np.stack([draws.between(-amount, amount, 0) for _ in range(3)], 1)
    return _linear(np.tile(np.eye(3), (draws.count, 1, 1)), offsets)


def _about(factor: np.ndarray, centre: np.ndarray, offset: float) -> ColourMap:
    """Return x -> f·x + (1 - f)·(centre·x + offset)."""
    rest = (1 - factor)[:, None, None]
    return _linear(factor[:, None, None] * np.eye(3) + rest * centre, np.tile(rest[:, 0] * offset, (1, 3)))


def _linear(matrix: np.ndarray, offset: np.ndarray | None = None) -> ColourMap:
    offset = np.zeros((len(matrix), 3)) if offset is None else offset
    return ColourMap(np.concatenate([matrix, offset[:, :, None]], 2))
