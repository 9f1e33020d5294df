"""Steps that look at a pixel's surroundings or at none: blur, noise, and covering parts of the picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from basrelief.augment.spec import Between, Draws, Share

REACH = 4  # standard deviations of a Gaussian that are kept


@dataclass(frozen=True)
class Cover:
    """What is hidden.

    Attributes
    ----------
    rows, columns
        bool (N, holes, H) and (N, holes, W); a hole is where both are True.
    fill
        What stands there instead.
    targets
        Whether targets are unknown there.
    """

    rows: np.ndarray
    columns: np.ndarray
    fill: float
    targets: bool

    def covered(self, device: torch.device) -> Tensor:
        """Return bool (N, 1, H, W)."""
        rows, columns = (torch.from_numpy(lines).to(device) for lines in (self.rows, self.columns))
        return (rows[..., None] & columns[:, :, None]).any(1, keepdim=True)


def blur(draws: Draws, sigma: Annotated[float, Between(0, 20)] = 1.5) -> Callable[[Tensor], Tensor]:
    """Blur by a Gaussian, which is cut at 4 standard deviations; beyond the border lies the reflection.

    Parameters
    ----------
    sigma
        The largest standard deviation in pixels of the training resolution; even in [0, sigma].
    """
    sigmas = draws.between(0, sigma, 0)
    return lambda picture: blurred(picture, sigmas, sigma)


def noise(draws: Draws, sigma: Share = 0.05) -> Callable[[Tensor], Tensor]:
    """Add Gaussian noise to every pixel and channel, the same to image and background.

    The noise itself is drawn on the device, so its bits differ between devices; its strength does not.

    Parameters
    ----------
    sigma
        The largest standard deviation; even in [0, sigma].
    """
    sigmas, seed = draws.between(0, sigma, 0), draws.seed()
    drawn: list[Tensor] = []

    def add(picture: Tensor) -> Tensor:
        if not drawn:
            generator = torch.Generator(picture.device).manual_seed(seed)
            grain = torch.randn(picture.shape, generator=generator, device=picture.device, dtype=picture.dtype)
            drawn.append(grain.mul_(torch.from_numpy(sigmas).to(grain)[:, None, None, None]))
        return picture + drawn[0]

    return add


def cutout(
    draws: Draws,
    size: Share = 0.3,
    holes: Annotated[int, Between(1, 100)] = 1,
    fill: Share = 0.0,
    targets: bool = False,
) -> Cover:
    """Cover rectangles of image and background, at the same places, with one value.

    A hole's centre is any pixel, so that part of it may lie outside. Masks and depth stay, and the network has to
    guess them, unless ``targets`` takes them out of the loss.

    Parameters
    ----------
    size
        Height and width of a hole, as a share of the picture's.
    holes
        How many, which may overlap.
    fill
        The value in them, 0 is black.
    targets
        Make mask and depth unknown there.
    """
    lines = []
    for side in (draws.height, draws.width):
        length = max(1, round(size * side))
        first = np.floor(draws.rng.random((draws.count, holes)) * side) - length // 2
        offset = np.arange(side) - first[..., None]
        lines.append((offset >= 0) & (offset < length) & draws.applied[:, None, None])
    return Cover(lines[0], lines[1], fill, targets)


def blurred(picture: Tensor, sigmas: np.ndarray, largest: float | None = None) -> Tensor:
    """Return a picture blurred by Gaussians, which are cut at 4 standard deviations.

    Parameters
    ----------
    picture
        (N, C, H, W); beyond its border lies its reflection, however small it is.
    sigmas
        (N,) standard deviations in pixels; samples of 0 stay bit for bit.
    largest
        What ``sigmas`` may come to, if known: the window's width is then the same for every batch.
    """

    def work(some: Tensor, rows: np.ndarray) -> Tensor:
        radius = max(1, math.ceil(REACH * (largest or sigmas.max())))
        scaled = np.arange(-radius, radius + 1) / sigmas[rows, None]
        weights = np.exp(-(scaled**2) / 2) * (np.abs(scaled) <= REACH)
        weights /= weights.sum(1, keepdims=True)
        count, channels, height, width = some.shape
        windows = torch.from_numpy(np.repeat(weights, channels, 0)).to(some)[:, None]
        planes = some.reshape(1, count * channels, height, width)
        planes = planes.index_select(3, _reflected(width, radius, some.device))
        planes = F.conv2d(planes, windows[:, :, None], groups=count * channels)
        planes = planes.index_select(2, _reflected(height, radius, some.device))
        return F.conv2d(planes, windows[..., None], groups=count * channels).view(some.shape)

    return change_rows(picture, sigmas > 0, work)


def _reflected(side: int, radius: int, device: torch.device) -> Tensor:
    """Return the places of a line's pixels with ``radius`` more at each end: ba|abc|cb, as often as it takes."""
    places = torch.arange(-radius, side + radius, device=device) % (2 * side)
    return torch.where(places < side, places, 2 * side - 1 - places)


def change_rows(picture: Tensor, changed: np.ndarray, function: Callable[[Tensor, np.ndarray], Tensor]) -> Tensor:
    """Apply ``function(samples, their rows)`` to the samples that are ``changed``; the picture given stays as it is."""
    rows = np.flatnonzero(changed)
    if not len(rows):
        return picture
    if len(rows) == len(changed):
        return function(picture, rows)
    index = torch.from_numpy(rows).to(picture.device)
    result = picture.clone()
    result[index] = function(picture[index], rows)
    return result
