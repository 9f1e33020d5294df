"""resunet: a residual U-Net with one decoder a target (write-up C)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from basrelief.models.network import Heads, Network

_SKIPS = (64, 128, 128, 256)  # channels of the encoder's outputs, kept for the decoders
_WIDTHS = (256, 128, 128, 64)  # channels of each decoder level


class ResUNet(Network):
    """Pre-activation residual blocks, four strided convolutions down, a decoder for each head.

    11,234,066 parameters with a background, one class and depth, as in github mshilpaa/EVA4 (Session 15). No biases.
    Image and background enter together as 6 channels; without a background, 3.
    """

    stride = 16
    encoder_parts = ("stem", "encoder", "downs")
    target_parts = ("decoders",)

    def __init__(self, heads: Heads, background: bool) -> None:
        super().__init__(heads, background)
        self.stem = _conv(6 if background else 3, 64)
        self.encoder = nn.ModuleList([_Residual(c, c) for c in (*_SKIPS, 256)])
        self.downs = nn.ModuleList(
            [_conv(a, b, stride=2) for a, b in zip(_SKIPS, (*_SKIPS[1:], 256), strict=True)],
        )
        self.decoders = nn.ModuleDict({name: _Decoder(channels) for name, channels in heads.channels().items()})

    def logits(self, image: Tensor, background: Tensor | None) -> dict[str, Tensor]:
        """Return the logits of each head; see ``Network.logits``."""
        features = self.stem(image if background is None else torch.cat((image, background), 1))
        skips: list[Tensor] = []
        for block, down in zip(self.encoder, self.downs, strict=False):  # the last block has nothing below it
            features = block(features)
            skips.append(features)
            features = down(features)
        features = self.encoder[-1](features)
        return {name: decoder(features, skips) for name, decoder in self.decoders.items()}


class _Residual(nn.Module):
    """BN·ReLU·conv twice, plus a 1x1 convolution as shortcut, also where the channels agree."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.ReLU(),
            _conv(channels_in, channels_out),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            _conv(channels_out, channels_out),
        )
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        summed: Tensor = self.body(features) + self.shortcut(features)
        return summed


class _Decoder(nn.Module):
    """Four levels of doubling, joining the encoder's output of that size; then the head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        levels = list(zip((256, *_WIDTHS[:-1]), _WIDTHS, reversed(_SKIPS), strict=True))
        self.ups = nn.ModuleList([nn.ConvTranspose2d(a, b, 2, stride=2, bias=False) for a, b, _ in levels])
        self.blocks = nn.ModuleList([_Residual(width + skip, width) for _, width, skip in levels])
        self.head = nn.Sequential(nn.BatchNorm2d(64), nn.ReLU(), _conv(64, channels), _conv(channels, channels))

    def forward(self, features: Tensor, skips: Sequence[Tensor]) -> Tensor:
        for up, block, skip in zip(self.ups, self.blocks, reversed(skips), strict=True):
            features = block(torch.cat((up(features), skip), 1))
        logits: Tensor = self.head(features)
        return logits


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
