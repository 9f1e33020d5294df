"""dsresnet: residual blocks, an encoder stream for each input, a decoder for each target (write-up A)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basrelief.models.network import Heads, Network

_STREAM = (16, 32)  # channels of the blocks that each input has for itself
_SHARED = (64, 128, 256, 512)  # channels of the blocks after the inputs are fused
_WIDTHS = (256, 128, 64, 32, 16)  # channels of each decoder block


class DSResNet(Network):
    """Image and background are encoded apart, then together; a decoder for each head joins the skips of both.

    10,343,490 parameters with a background, one class and depth, as in github shan18/Depth-Estimation-Segmentation.
    Every convolution has a bias. Size is doubled by bilinear interpolation (align_corners=False).

    Without a background its stream goes, and the 1x1 convolutions that fuse the streams (after them, and in the last
    two blocks of each decoder) take half the channels.
    """

    stride = 32
    encoder_parts = ("streams", "fuse", "encoder")
    target_parts = ("decoders",)

    def __init__(self, heads: Heads, background: bool) -> None:
        super().__init__(heads, background)
        inputs = 2 if background else 1
        self.streams = nn.ModuleList([_blocks(3, _STREAM) for _ in range(inputs)])  # the image's, the background's
        self.fuse = nn.Conv2d(inputs * _STREAM[-1], _STREAM[-1], 1)
        self.encoder = _blocks(_STREAM[-1], _SHARED)
        self.decoders = nn.ModuleDict({name: _Decoder(inputs, channels) for name, channels in heads.channels().items()})

    def logits(self, image: Tensor, background: Tensor | None) -> dict[str, Tensor]:
        """Return the logits of each head; see ``Network.logits``."""
        inputs = [image] if background is None else [image, background]
        streams = [_encode(blocks, plane) for blocks, plane in zip(self.streams, inputs, strict=True)]
        skips = [torch.cat(levels, 1) for levels in zip(*streams, strict=True)]
        features = self.fuse(F.max_pool2d(skips[-1], 2))
        skips += _encode(self.encoder, features)
        return {name: decoder(skips) for name, decoder in self.decoders.items()}


class _Residual(nn.Module):
    """Conv·ReLU·BN twice, plus a 1x1 convolution of the input."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(channels_out),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(channels_out),
        )
        self.skip = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        summed: Tensor = self.body(features) + self.skip(features)
        return summed


class _Decoder(nn.Module):
    """Five blocks: a 1x1 convolution, doubling, joining the encoder's output of that size, a residual block."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        widths = list(zip((_SHARED[-1], *_WIDTHS[:-1]), _WIDTHS, strict=True))
        self.transitions = nn.ModuleList([nn.Conv2d(a, b, 1) for a, b in widths])
        # Skips from before the inputs were fused hold both streams, side by side.
        self.fuses = nn.ModuleList([nn.Conv2d(inputs * width, width, 1) for width in reversed(_STREAM)])
        self.blocks = nn.ModuleList([_Residual(2 * b, b) for _, b in widths])
        self.head = nn.Conv2d(_WIDTHS[-1], channels, 1)

    def forward(self, skips: Sequence[Tensor]) -> Tensor:
        early = [fuse(skip) for fuse, skip in zip(self.fuses, reversed(skips[: len(_STREAM)]), strict=True)]
        *late, features = skips[len(_STREAM) :]
        for transition, block, skip in zip(self.transitions, self.blocks, [*reversed(late), *early], strict=True):
            features = F.interpolate(transition(features), scale_factor=2, mode="bilinear", align_corners=False)
            features = block(torch.cat((features, skip), 1))
        logits: Tensor = self.head(features)
        return logits


def _blocks(channels: int, widths: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList([_Residual(a, b) for a, b in zip((channels, *widths[:-1]), widths, strict=True)])


def _encode(blocks: nn.Module, features: Tensor) -> list[Tensor]:
    """Run the blocks, each but the first on the pooled output of the one before, and return all outputs."""
    outputs: list[Tensor] = []
    for block in blocks.children():
        outputs.append(block(F.max_pool2d(outputs[-1], 2) if outputs else features))
    return outputs
