"""munet: a U-Net of many residual blocks that carries half its channels across (write-up D)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basrelief.errors import UsageError
from basrelief.models.network import Heads, Network


class MUNet(Network):
    """DLStudio 2.3.6's mUNet, as in a Purdue ECE60146 Homework 7 report (Spring 2024).

    6,999,109 parameters in 324 tensors with 16 blocks, five classes and an image alone; 4,040,773 in 196 with 8 blocks,
    12,915,781 in 580 with 32. These published counts include tensors that never run, which are kept so that the counts
    agree: the second convolution of the two blocks that change the width, and all but the first quarter of the
    128-channel blocks of the up arm. They get no gradient, and keep their initial values.

    Its layers that double the size reach every second row and column only and leave their bias elsewhere. Convolutions
    after them fill the gaps, but none follows the final layer: one logit in four depends on the picture, the others are
    the head's bias. It is kept as published. So is the output without activation: it was made to give the label values
    themselves (50, 100, ...; activation ``identity``).

    Parameters
    ----------
    heads
        Mask, depth or both: one final layer each, on shared features.
    background
        With it, image and background enter together as 6 channels.
    blocks
        A multiple of 8 (its authors call it depth): each arm has half as many blocks of 64 and of 128 channels, and
        runs a quarter of these before, and the rest after, its change of size or width.
    """

    stride = 8
    has_unused_parameters = True
    """Whether a backward pass leaves parameters without a gradient, which multi-process training must be told."""
    encoder_parts = (
        *("stem", "down_64", "halve_64", "down_64_norm"),
        *("widen", "down_128", "down_128_norm", "halve_128"),
    )
    target_parts = ("final",)

    def __init__(self, heads: Heads, background: bool, blocks: int = 16) -> None:
        super().__init__(heads, background)
        if not isinstance(blocks, int) or blocks < 8 or blocks % 8:
            raise UsageError(f"munet: blocks is {blocks}; it must be a multiple of 8, such as 8, 16 or 32.")
        half = blocks // 2
        self.early = half // 4
        down, up = nn.Conv2d, nn.ConvTranspose2d
        self.stem = nn.Conv2d(6 if background else 3, 64, 3, padding=1)
        self.down_64 = nn.ModuleList([_Block(down, 64, 64) for _ in range(half)])
        self.halve_64 = _Block(down, 64, 64, nn.Conv2d(64, 64, 1, stride=2))
        self.down_64_norm = nn.BatchNorm2d(64)
        self.widen = _Block(down, 64, 128)
        self.down_128 = nn.ModuleList([_Block(down, 128, 128) for _ in range(half)])
        self.down_128_norm = nn.BatchNorm2d(128)
        self.halve_128 = _Block(down, 128, 128, nn.Conv2d(128, 128, 1, stride=2))
        self.double_128 = _Block(up, 128, 128, _doubler(128))
        self.up_128 = nn.ModuleList([_Block(up, 128, 128) for _ in range(half)])
        self.up_128_norm = nn.BatchNorm2d(128)
        self.narrow = _Block(up, 128, 64)
        self.up_64 = nn.ModuleList([_Block(up, 64, 64) for _ in range(half)])
        self.up_64_norm = nn.BatchNorm2d(64)
        self.double_64 = _Block(up, 64, 64, _doubler(64))
        self.final = nn.ModuleDict(
            {
                name: nn.ConvTranspose2d(64, channels, 3, stride=2, dilation=2, padding=2, output_padding=1)
                for name, channels in heads.channels().items()
            }
        )

    def logits(self, image: Tensor, background: Tensor | None) -> dict[str, Tensor]:
        """Return the logits of each head; see ``Network.logits``."""
        early = self.early
        features = self.stem(image if background is None else torch.cat((image, background), 1))
        first = _run(self.down_64[:early], F.max_pool2d(F.relu(features), 2))
        second = self.down_64_norm(_run(self.down_64[early:], self.halve_64(first)))
        third = self.down_128_norm(_run(self.down_128[:early], self.widen(second)))
        features = self.halve_128(_run(self.down_128[early:], third))

        features = _run(self.up_128[:early], self.double_128(features))
        features = self.up_128_norm(_carry(third, features))
        # The same blocks again, where the later ones were to be expected: so it was published.
        features = self.narrow(_run(self.up_128[:early], features))
        features = _run(self.up_64[early:], features)
        features = self.double_64(self.up_64_norm(_carry(second, features)))
        features = _carry(first, _run(self.up_64[:early], features))
        return {name: final(features) for name, final in self.final.items()}


class _Block(nn.Module):
    """Conv·BN·ReLU twice, then a change of size where asked, plus the identity.

    Where the width changes, the second convolution is owned and never run, and the identity is fitted: taken twice
    where the block widens, its second half where it narrows. ``resize`` serves the body and the identity alike.
    """

    def __init__(
        self,
        convolution: type[nn.Conv2d] | type[nn.ConvTranspose2d],
        channels_in: int,
        channels_out: int,
        resize: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([convolution(channels_in, channels_out, 3, padding=1) for _ in range(2)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels_out) for _ in range(2)])
        self.resize = resize
        self.channels_in, self.channels_out = channels_in, channels_out

    def forward(self, features: Tensor) -> Tensor:
        body = F.relu(self.norms[0](self.convolutions[0](features)))
        if self.channels_in == self.channels_out:
            body = F.relu(self.norms[1](self.convolutions[1](body)))
        if self.resize is not None:
            body, features = self.resize(body), self.resize(features)
        if self.channels_in < self.channels_out:
            features = torch.cat((features, features), 1)
        summed: Tensor = body + features[:, -self.channels_out :]
        return summed


def _doubler(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, 1, stride=2, dilation=2, output_padding=1)


def _run(blocks: Iterable[nn.Module], features: Tensor) -> Tensor:
    for block in blocks:
        features = block(features)
    return features


def _carry(kept: Tensor, features: Tensor) -> Tensor:
    """Overwrite the first half of the channels with those that the way down had at this size."""
    half = features.shape[1] // 2
    return torch.cat((kept[:, :half], features[:, half:]), 1)
