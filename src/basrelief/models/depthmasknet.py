"""depthmasknet: dilated encoder blocks and pixel-shuffle decoders without skips (write-up B)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basrelief.errors import unknown_name
from basrelief.models.network import Heads, Network

UPSAMPLINGS = ("shuffle", "icnr", "resize")
_STEM = 32
_ENCODER = (64, 128, 256, 512)
_DECODER = (256, 128, 64, 32)


class DepthMaskNet(Network):
    """An encoder on image and background, a decoder for each head that sees its last output alone.

    5,230,720 parameters with a background, one class and depth, as in github Shashank-Holla/DepthEstimation-
    MaskPrediction. No biases. The published decoders shuffle pixels, which leaves a grid of 2 px in depth; its author
    names it and left it. ``upsample`` offers two ways out.

    Parameters
    ----------
    heads
        Mask, depth or both: a decoder each.
    background
        Without it the second stem goes, and the fusion takes 32 channels instead of 64.
    upsample
        How a decoder doubles the size. "shuffle": 1x1 convolution c→2c, then each 4 channels become 2x2 pixels (as
        published). "icnr": the same layers, the 4 channels of a block started alike (Aitken et al., "Checkerboard
        artifact free sub-pixel convolution", arXiv 1707.02937), and a blur after it that has no response at a period
        of 2 px (Sugawara, Shiota and Kiya, "Super-resolution using convolutional neural networks without any
        checkerboard artifacts", ICIP 2018): the mean over 2x2 px, taken once towards each corner, so that nothing
        shifts. At the start that equals bilinear resizing. "resize": bilinear resizing, then a 3x3 convolution c→c/2
        (Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", Distill 2016); 6,971,520 parameters. It
        saturated at a learning rate of 1e-3 (AdamW) and trained at 2e-4; docs/networks.md compares the three.
    """

    stride = 16
    encoder_parts = ("stems", "fuse", "encoder")
    target_parts = ("decoders",)

    def __init__(self, heads: Heads, background: bool, upsample: str = "shuffle") -> None:
        super().__init__(heads, background)
        if upsample not in UPSAMPLINGS:
            raise unknown_name("upsample of depthmasknet", upsample, UPSAMPLINGS)
        if upsample == "shuffle" and heads.depth:
            self.note = (
                "depthmasknet as published leaves seams between blocks of 16 px in depth; "
                "depthmasknet(upsample='icnr') does not, at the same cost."
            )
        inputs = 2 if background else 1
        self.stems = nn.ModuleList([_stem() for _ in range(inputs)])  # the image's, the background's
        self.fuse = _conv(inputs * _STEM, _STEM, 1)
        self.encoder = nn.ModuleList([_Block(a, b) for a, b in zip((_STEM, *_ENCODER[:-1]), _ENCODER, strict=True)])
        self.decoders = nn.ModuleDict(
            {
                name: nn.Sequential(
                    *(_doubler(upsample, a, b) for a, b in zip((_ENCODER[-1], *_DECODER[:-1]), _DECODER, strict=True)),
                    _conv(_DECODER[-1], channels, 3),
                )
                for name, channels in heads.channels().items()
            }
        )

    def logits(self, image: Tensor, background: Tensor | None) -> dict[str, Tensor]:
        """Return the logits of each head; see ``Network.logits``."""
        inputs = [image] if background is None else [image, background]
        features = self.fuse(torch.cat([stem(plane) for stem, plane in zip(self.stems, inputs, strict=True)], 1))
        for block in self.encoder:
            features = F.max_pool2d(block(features), 2)
        return {name: decoder(features) for name, decoder in self.decoders.items()}


class _Block(nn.Module):
    """Two branches, one of them dilated, concatenated and brought back to one width."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.near = nn.Sequential(_conv(channels_in, channels_out, 3), nn.BatchNorm2d(channels_out), nn.ReLU())
        self.far = nn.Sequential(
            _conv(channels_in, channels_out, 3, dilation=2), nn.ReLU(), nn.BatchNorm2d(channels_out)
        )
        self.join = _conv(2 * channels_out, channels_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        joined: Tensor = self.join(torch.cat((self.near(features), self.far(features)), 1))
        return joined


class _Blur(nn.Module):
    """The mean over 2x2 px towards the upper left, then towards the lower right, the border repeated."""

    def forward(self, features: Tensor) -> Tensor:
        return F.avg_pool2d(F.avg_pool2d(F.pad(features, (1, 1, 1, 1), mode="replicate"), 2, 1), 2, 1)


def _doubler(upsample: str, channels_in: int, channels_out: int) -> nn.Sequential:
    if upsample == "resize":
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), _conv(channels_in, channels_out, 3))
    convolution = _conv(channels_in, 4 * channels_out, 1)
    if upsample == "shuffle":
        return nn.Sequential(convolution, nn.PixelShuffle(2))
    with torch.no_grad():  # a shuffle makes a block of 2x2 px of each 4 neighbouring channels
        convolution.weight.copy_(convolution.weight[::4].repeat_interleave(4, 0))
    return nn.Sequential(convolution, nn.PixelShuffle(2), _Blur())


def _stem() -> nn.Sequential:
    return nn.Sequential(_conv(3, _STEM, 3), nn.BatchNorm2d(_STEM), nn.ReLU())


def _conv(channels_in: int, channels_out: int, size: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2 * dilation, dilation=dilation, bias=False)
