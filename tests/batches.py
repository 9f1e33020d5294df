"""Batches as augmentation gets them."""

from __future__ import annotations

import torch

from basrelief.batch import Batch


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(count: int = 3, size: tuple[int, int] = (16, 16), classes: int = 1) -> Batch:
    """A disc before a noisy background; depth ramps, with unknown pixels."""
    torch.manual_seed(0)
    height, width = size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centre = torch.rand(count, classes, 2) * torch.tensor(size)
    far = (rows - centre[..., 0, None, None]) ** 2 + (columns - centre[..., 1, None, None]) ** 2
    mask = (far < (min(size) / 3) ** 2).float()
    background = torch.rand(count, 3, height, width)
    figure = mask.amax(1, keepdim=True)
    image = background * (1 - figure) + torch.rand(count, 3, 1, 1) * figure
    depth = torch.rand(count, 1, height, width)
    return Batch(image, background, mask, torch.rand(count, 1, *size) > 0.1, depth, torch.rand(count, 1, *size) > 0.2)
