"""relief: the default, a compact residual U-Net whose targets share one decoder (our own)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basrelief.errors import UsageError
from basrelief.models.network import Heads, Network

_LEVELS = (1, 2, 4, 8, 10, 12)  # channels at full size, a half, … 1/32, as multiples of ``width``
_ENCODER_BLOCKS = (0, 1, 1, 2, 2, 1)
_DECODER_BLOCKS = (0, 1, 1, 1, 0)
_STEP = 8  # of ``width``: processors compute channels in such groups


class Relief(Network):
    """Six levels with few channels where there are many pixels, and one decoder that all the targets share.

    3,380,578 parameters with a background, one class and depth. Every convolution but the heads' is followed by batch
    norm and ReLU and has no bias.

    - Stem: conv3x3 to 16 channels at full size.
    - Down: conv3x3 stride 2, then residual blocks (conv3x3 twice, the input added before the last ReLU): 1, 1, 2, 2, 1
      at 32, 64, 128, 160, 192 channels. The last level is 1/32 of the size: one unit there sees the whole of a picture
      of 64 px, which depth needs.
    - Up: conv1x1 to the next level's channels, nearest-neighbour doubling, concatenation with the encoder's output of
      that size, conv1x1 (3x3 at full size) back to the level's channels, and a residual block at 1/2, 1/4 and 1/8. A
      convolution never has to fill gaps, so there is no checkerboard to learn away.
    - Heads: conv1x1 with a bias, one for each target.

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
    encoder_parts = ("stem", "downs", "encoder")
    target_parts = ("final",)

    def __init__(self, heads: Heads, background: bool, width: int = 16) -> None:
        super().__init__(heads, background)
        if not isinstance(width, int) or width < _STEP or width % _STEP:
            raise UsageError(f"relief: width is {width}; it must be a multiple of {_STEP}, such as 8, 16 or 24.")
        widths = [width * level for level in _LEVELS]
        steps = list(pairwise(widths))
        self.stem = _layer(6 if background else 3, width)
        self.downs = nn.ModuleList([_layer(fine, coarse, stride=2) for fine, coarse in steps])
        self.encoder = nn.ModuleList([_blocks(c, count) for c, count in zip(widths, _ENCODER_BLOCKS, strict=True)])
        self.ups = nn.ModuleList([_layer(coarse, fine, kernel=1) for fine, coarse in steps])
        # At full size alone nothing follows that could smooth what doubling leaves.
        self.joins = nn.ModuleList([_layer(2 * c, c, kernel=1 if i else 3) for i, c in enumerate(widths[:-1])])
        self.decoder = nn.ModuleList([_blocks(c, count) for c, count in zip(widths, _DECODER_BLOCKS, strict=False)])
        self.final = nn.ModuleDict({name: nn.Conv2d(width, count, 1) for name, count in heads.channels().items()})

    def logits(self, image: Tensor, background: Tensor | None) -> dict[str, Tensor]:
        """Return the logits of each head; see ``Network.logits``."""
        features = self._decode(self._encode(image if background is None else torch.cat((image, background), 1)))
        return {name: final(features) for name, final in self.final.items()}

    def _encode(self, image: Tensor) -> list[Tensor]:
        """Return the output of each level, the finest first."""
        features = [self.encoder[0](self.stem(image))]
        for down, blocks in zip(self.downs, self.encoder[1:], strict=True):
            features.append(blocks(down(features[-1])))
        return features

    def _decode(self, levels: Sequence[Tensor]) -> Tensor:
        features = levels[-1]
        for i in reversed(range(len(levels) - 1)):
            doubled = F.interpolate(self.ups[i](features), scale_factor=2.0, mode="nearest")
            features = self.decoder[i](self.joins[i](torch.cat((doubled, levels[i]), 1)))
        return features


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _layer(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(features + self.body(features))


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Residual(channels) for _ in range(count)))


def _layer(channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )
