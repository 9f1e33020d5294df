"""Sample and Batch: the planes by name, with their shapes, types and ranges.

A *sample* is what a format reads from disk, at the files' own size, in NumPy. A *batch* is what a network sees, at the
training resolution, in torch. Unknown pixels are carried beside the values (``mask_valid``, ``depth_valid``), never as
a magic number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

TARGETS = ("mask", "depth")


@dataclass(frozen=True)
class Sample:
    """One image and what is known about it, at its own size.

    Attributes
    ----------
    id
        Unique within its source; the file's stem where there is one.
    image
        uint8 (H, W, 3).
    background
        uint8 (H', W', 3), the same scene without the figure; None where there is none.
    mask
        uint8 (K, H, W) in {0, 1}, one plane a class; None where unknown.
    mask_valid
        bool (H, W), True where the mask is known; None means known everywhere.
    depth
        float32 (h, w) in the source's unit, NaN where unknown; may be smaller than the image. None where there is none.
    """

    id: str
    image: np.ndarray
    background: np.ndarray | None = None
    mask: np.ndarray | None = None
    mask_valid: np.ndarray | None = None
    depth: np.ndarray | None = None


@dataclass
class Batch(Mapping[str, "torch.Tensor"]):
    """Several samples at one resolution, on one device. A mapping from plane name to tensor, absent planes left out.

    Attributes
    ----------
    image, background
        float (N, 3, H, W) in [0, 1].
    mask
        float (N, K, H, W) in {0, 1}.
    mask_valid, depth_valid
        bool (N, 1, H, W), True where that target is known.
    depth
        float (N, 1, H, W), divided by the run's depth maximum, so in [0, 1].
    """

    image: torch.Tensor
    background: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    mask_valid: torch.Tensor | None = None
    depth: torch.Tensor | None = None
    depth_valid: torch.Tensor | None = None

    def __getitem__(self, name: str) -> torch.Tensor:
        value: torch.Tensor | None = getattr(self, name, None) if name in _PLANES else None
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in _PLANES if getattr(self, name) is not None)

    def __len__(self) -> int:
        """Return the number of planes present (as for any mapping)."""
        return sum(1 for _ in self)

    @property
    def size(self) -> int:
        """Number of samples, N."""
        return int(self.image.shape[0])

    def parts(self, count: int) -> list[Batch]:
        """Return the batch cut into so many, which differ in size by at most one; fewer where it is smaller."""
        if count == 1:
            return [self]
        pieces = {name: plane.tensor_split(min(count, self.size)) for name, plane in self.items()}
        return [Batch(**{name: piece[i] for name, piece in pieces.items()}) for i in range(min(count, self.size))]


_PLANES = tuple(field.name for field in fields(Batch))
