"""relief: the default, a compact residual U-Net with a light decoder for each target (our own)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basrelief.errors import UsageError
from basrelief.models.network import Heads, Network

_LEVELS = (1, 2, 4, 8, 12, 16)  # channels at full size, a half, … 1/32, as multiples of ``width``
_STEP = 8  # of ``width``: processors compute channels in such groups


class Relief(Network):
    """Six levels with few channels where there are many pixels, and a light decoder for each target.

    3,313,810 parameters with a background, one class and depth.

    - Block: conv3x3 · ReLU · BN, twice in the encoder and once in a decoder, plus a conv1x1 of the block's input.
      Every convolution has a bias. Nothing bends the sum, so that a straight path leads from the picture to the logits,
      and back for the gradient.
    - Encoder: a block on each of six levels, with 16, 32, 64, 128, 192 and 256 channels and max-pool 2 between them. A
      unit of the last level sees the whole of a picture of 64 px, which depth needs.
    - Decoder, one for each target: conv1x1 to the next level's channels, nearest-neighbour doubling, plus the encoder's
      output of that size, and a block. No convolution has gaps to fill and each doubling is smoothed by the block after
      it, so there is no checkerboard to learn away. Then a conv1x1 to the logits.

    Image and background enter together as 6 channels; without a background, 3. What was tried and not kept is in the
    documentation's log.

    Parameters
    ----------
    heads
        Mask, depth or both.
    background
        Whether a background enters beside the image.
    width
        Channels at full size, a multiple of 8; those of all levels grow with it.
    """

    stride = 32
    rate = 2e-3
    encoder_parts = ("encoder",)
    target_parts = ("decoders",)

    def __init__(self, heads: Heads, background: bool, width: int = 16) -> None:
        super().__init__(heads, background)
        if not isinstance(width, int) or width < _STEP or width % _STEP:
            raise UsageError(f"relief: width is {width}; it must be a multiple of {_STEP}, such as 8, 16 or 24.")
        widths = [width * level for level in _LEVELS]
        self.encoder = nn.ModuleList([_Block(a, b, layers=2) for a, b in pairwise([6 if background else 3, *widths])])
        self.decoders = nn.ModuleDict({name: _Decoder(widths, count) for name, count in heads.channels().items()})

    def logits(self, image: Tensor, background: Tensor | None) -> dict[str, Tensor]:
        """Return the logits of each head; see ``Network.logits``."""
        levels = self._encode(image if background is None else torch.cat((image, background), 1))
        return {name: decoder(levels) for name, decoder in self.decoders.items()}

    def _encode(self, image: Tensor) -> list[Tensor]:
        """Return the output of each level, the finest first."""
        levels = [self.encoder[0](image)]
        for block in self.encoder[1:]:
            levels.append(block(F.max_pool2d(levels[-1], 2)))
        return levels


class _Decoder(nn.Module):
    """Five levels of doubling, each joining the encoder's output of that size; then the logits."""

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.ups = nn.ModuleList([nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(widths)])
        self.blocks = nn.ModuleList([_Block(width, width, layers=1) for width in widths[:-1]])
        self.head = nn.Conv2d(widths[0], channels, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        features = levels[-1]
        for up, block, level in zip(reversed(self.ups), reversed(self.blocks), reversed(levels[:-1]), strict=True):
            features = block(F.interpolate(up(features), scale_factor=2.0, mode="nearest") + level)
        logits: Tensor = self.head(features)
        return logits


class _Block(nn.Module):
    """Conv3x3 · ReLU · BN ``layers`` times, plus a conv1x1 of the input."""

    def __init__(self, channels_in: int, channels_out: int, layers: int) -> None:
        super().__init__()
        self.body = nn.Sequential()
        for channels in (channels_in, channels_out)[:layers]:
            self.body.append(nn.Conv2d(channels, channels_out, 3, padding=1))
            self.body.append(nn.ReLU())
            self.body.append(nn.BatchNorm2d(channels_out))
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        summed: Tensor = self.body(features) + self.shortcut(features)
        return summed
