"""masknet: a small network at full resolution, for masks alone (write-up A)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from basrelief.errors import UsageError
from basrelief.models.network import Heads, Network


class MaskNet(Network):
    """Two stems (image, background), fused by a 1x1 convolution, two more layers, no downsampling.

    59,745 parameters with a background and one class, as in github shan18/Depth-Estimation-Segmentation. It sees
    7 pixels around each, so it separates by local colour and texture, or by comparing with the background.

    Parameters
    ----------
    heads
        Mask only: depth is refused.
    background
        Without it the second stem goes and the fusion takes 32 channels instead of 64.
    dropout
        Share of activations dropped after each layer, in [0, 1).
    """

    def __init__(self, heads: Heads, background: bool, dropout: float = 0.0) -> None:
        super().__init__(heads, background)
        if heads.depth or not heads.mask_classes:
            raise UsageError("masknet gives masks alone; for depth use another network, such as resunet.")
        if not 0 <= dropout < 1:
            raise UsageError(f"masknet: dropout is {dropout}; it must be at least 0 and below 1.")
        self.image_stem = _layer(3, 32, dropout)
        self.background_stem = _layer(3, 32, dropout) if background else None
        self.fuse = nn.Conv2d(64 if background else 32, 32, 1)
        self.body = nn.Sequential(_layer(32, 64, dropout), _layer(64, 64, dropout))
        self.mask_head = nn.Conv2d(64, heads.mask_classes, 1)

    @property
    def head_parts(self) -> dict[str, tuple[str, ...]]:
        """Target -> names of the submodules that serve it alone; see ``Network.head_parts``."""
        return {"mask": ("mask_head",)}

    def logits(self, image: Tensor, background: Tensor | None) -> dict[str, Tensor]:
        """Return the logits of each head; see ``Network.logits``."""
        features = self.image_stem(image)
        if self.background_stem is not None:
            features = torch.cat((features, self.background_stem(background)), 1)
        return {"mask": self.mask_head(self.body(self.fuse(features)))}


def _layer(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    layer = nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(channels_out))
    if dropout:
        layer.append(nn.Dropout(dropout))
    return layer
