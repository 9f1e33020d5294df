"""A trained network with everything around it inside: bytes of any size in, probabilities and depth of that size out.

The image is brought to the network's resolution as Pillow does it for training and prediction, with its rounding, but
in operations that can be exported: filtering along one axis is a product with a matrix that follows from the sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basrelief.engine.evaluate import activate

REDUCING_GAP = 3  # as in data.resize.resize_picture: a large image is averaged in whole blocks to this times the size
_BITS = 22  # of Pillow's filter weights, which are whole numbers over 2**22
_SHIFT = 24  # Pillow divides a block's sum by multiplying with a rounded 2**24 / n


class WholeNetwork(nn.Module):
    """A run's network from uint8 images of any size to what they show, at their own size.

    Parameters
    ----------
    model
        The run's network.
    run
        The document of ``run.json``, or what is carried of it.
    """

    def __init__(self, model: nn.Module, run: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model.eval()
        self.resolution = (int(run["resolution"][0]), int(run["resolution"][1]))
        self.activations = dict(run["activations"])
        self.targets = targets_of(run)
        self.depth_max = float(run["depth_max"] or 1.0)

    def forward(self, image: Tensor, background: Tensor | None = None) -> dict[str, Tensor]:
        """Return "mask" (N, K, H, W) in [0, 1] and "depth" (N, 1, H, W) in the run's unit, float32, where it has them.

        Parameters
        ----------
        image
            uint8 (N, H, W, 3), RGB.
        background
            uint8 (N, h, w, 3), of its own size, where the network takes one.
        """
        planes = [shrink(picture, self.resolution) / 255 for picture in (image, background) if picture is not None]
        preds = activate(self.model(*planes), self.activations)
        results = {head: enlarge(preds[head], image.shape[1], image.shape[2]) for head in self.targets}
        if "depth" in results:
            results["depth"] = results["depth"] * self.depth_max
        return results


def targets_of(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what an exported file gives, in this order: the heads that were trained."""
    return tuple(head for head in ("mask", "depth") if head in run["heads"] and head in run["targets"])


def shrink(image: Tensor, resolution: tuple[int, int]) -> Tensor:
    """Resize uint8 (N, H, W, 3) to (N, 3, h, w), whole numbers as float32: ``data.resize.resize_image`` for a graph.

    Bilinear with anti-aliasing, in Pillow's two passes (first along rows), each rounded to whole numbers; an image that
    is six times as large or more is averaged in blocks before. Of the resolution already, it stays as it is. The result
    is Pillow's own, except that images more than 100 times as high as wide, which Pillow filters along columns first,
    may differ by one level.
    """
    rows, columns = (_Axis(length, wanted) for length, wanted in zip(image.shape[1:3], resolution, strict=True))
    sums = columns.add_blocks(rows.add_blocks(image.int(), 1), 2).permute(0, 3, 1, 2).contiguous().long()
    pixels = (rows.held[:, None] * columns.held).clamp(min=1)
    share = torch.full_like(pixels, 2**_SHIFT) // pixels
    planes = ((sums + pixels // 2) * share // 2**_SHIFT).double()  # as Image.reduce rounds
    planes = _rounded(planes @ columns.filter().T)
    return _rounded(rows.filter() @ planes).float()


class _Axis:
    """One axis of an image on its way to ``wanted`` pixels: the blocks it is averaged in, and the filter over these.

    There are at most ``2 * REDUCING_GAP * wanted`` blocks that hold pixels. What follows from the length is computed
    in tensors, so that one graph serves all lengths; the sums are exact, since a graph that rounds otherwise than
    Pillow shows in the probabilities.
    """

    def __init__(self, length: int, wanted: int) -> None:
        self.wanted = wanted
        self.length = torch.full((), length, dtype=torch.int64)
        self.factor = (self.length // (REDUCING_GAP * wanted)).clamp(min=1)
        starts = torch.arange(torch.sym_min(length, 2 * REDUCING_GAP * wanted)) * self.factor
        self.starts, self.ends = starts.minimum(self.length), (starts + self.factor).minimum(self.length)
        self.held = self.ends - self.starts  # how many pixels each block holds; the last ones may hold fewer, or none

    def add_blocks(self, pixels: Tensor, dim: int) -> Tensor:
        """Return the sums of the blocks along an axis of int32 values."""
        running = F.pad(pixels.cumsum(dim, dtype=torch.int32), (0, 0) * (3 - dim) + (1, 0))
        sums: Tensor = running.index_select(dim, self.ends) - running.index_select(dim, self.starts)
        return sums

    def filter(self) -> Tensor:
        """Return Pillow's triangle filter, float64 (wanted, blocks).

        Row i weighs the blocks around (i + 1/2)·scale, out to one of them or, when shrinking, to one pixel of the
        result; the weights are whole numbers over 2**22 and sum to 1 but for that rounding.
        """
        scale = (self.length.double() / self.factor).float().double() / self.wanted  # Pillow keeps the box in float32
        centers = (torch.arange(self.wanted, dtype=torch.float64) + 0.5) * scale
        distance = (torch.arange(self.held.shape[0], dtype=torch.float64) + 0.5 - centers[:, None]).abs()
        weights = (1 - distance / scale.clamp(min=1.0)).clamp(min=0.0) * (self.held > 0)
        weights = weights / weights.sum(1, keepdim=True)
        return (weights * 2**_BITS + 0.5).floor() / 2**_BITS


def enlarge(planes: Tensor, height: int, width: int) -> Tensor:
    """Resize (N, C, h, w) to (N, C, height, width) as ``F.interpolate`` does: bilinear, align_corners=False."""
    rows, columns = planes.shape[2:]
    return _blend(rows, height) @ (planes @ _blend(columns, width).T)


def _blend(length: int, wanted: int) -> Tensor:
    """Return the weights (wanted, length) of bilinear interpolation along an axis."""
    places = (torch.arange(wanted, dtype=torch.float64) + 0.5) * (length / torch.full((), wanted).double()) - 0.5
    places = places.clamp(min=0.0, max=length - 1.0)
    return (1 - (torch.arange(length, dtype=torch.float64) - places[:, None]).abs()).clamp(min=0.0).float()


def _rounded(levels: Tensor) -> Tensor:
    return (levels + 0.5).floor().clamp(0, 255)
