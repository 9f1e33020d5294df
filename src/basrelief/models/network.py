"""What all networks share: the heads they have, and any image size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basrelief.errors import UsageError


@dataclass(frozen=True)
class Heads:
    """What a network is to give: ``mask_classes`` planes of mask (0: no mask), and depth or not."""

    mask_classes: int = 1
    depth: bool = False

    def channels(self) -> dict[str, int]:
        """Return the head names with their number of channels, mask first."""
        mask = {"mask": self.mask_classes} if self.mask_classes else {}
        return mask | ({"depth": 1} if self.depth else {})


class Network(nn.Module, ABC):
    """A network from an image, and its background where built so, to a dict of logits at the image's own size.

    A subclass sets ``stride``, the number its sizes must be divisible by, and gives ``logits``. Other sizes are padded
    at the right and the bottom by repeating the border, and the result is cropped back. It also says which of its
    submodules are the encoder and which serve one target alone; what is neither is shared by the targets.
    """

    stride = 1
    has_unused_parameters = False  # True: some never get a gradient, which several processes must be told
    encoder_parts: tuple[str, ...] = ()
    """Names of the submodules that are the encoder, which ``--freeze encoder`` holds; () where there is none."""
    target_parts: tuple[str, ...] = ()
    """Names of the submodules that hold, by target, what serves that target alone (decoder, head)."""

    rate = 1e-3
    """The learning rate of AdamW that it is trained with where none is given."""
    note = ""
    """What somebody who chose this network should know of what it gives; a sentence, or nothing."""

    def __init__(self, heads: Heads, background: bool) -> None:
        super().__init__()
        self.heads = heads
        self.takes_background = background
        self.mask_values: Tensor | None
        self.register_buffer("mask_values", None, persistent=False)

    def regress_labels(self, values: Sequence[float]) -> None:
        """Let the mask head give label values, one a class, such as 50, 100, ... of write-up D.

        ``forward`` divides by them, so that what it returns means the same as that of any head with the activation
        ``identity``: 1 is figure, 0 is not, and a pixel counts above one half. Losses on the values themselves multiply
        both sides by ``mask_values`` again.
        """
        if len(values) != self.heads.mask_classes:
            raise UsageError(f"{len(values)} label values for {self.heads.mask_classes} classes; give one for each.")
        self.mask_values = torch.tensor([float(value) for value in values]).view(1, -1, 1, 1)

    @property
    def head_parts(self) -> dict[str, tuple[str, ...]]:
        """Target -> names of the submodules that serve it alone, such as ``{"mask": ("decoders.mask",)}``.

        All other weights can be taken over from a network of the same name with other heads.
        """
        return {target: tuple(f"{part}.{target}" for part in self.target_parts) for target in self.heads.channels()}

    @abstractmethod
    def logits(self, image: Tensor, background: Tensor | None) -> dict[str, Tensor]:
        """Return the logits of each head, for sizes that ``stride`` divides."""

    def forward(self, image: Tensor, background: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``{"mask": (N, K, H, W), "depth": (N, 1, H, W)}``, as far as the network has those heads.

        Parameters
        ----------
        image, background
            (N, 3, H, W) in [0, 1]. The background is required by a network built with one, and refused by others.
        """
        if self.takes_background and background is None:
            raise UsageError("This network was built with background=True: call it as model(image, background).")
        if not self.takes_background and background is not None:
            raise UsageError("This network was built for an image alone (background=False); leave the background out.")
        height, width = image.shape[-2:]
        down, right = -height % self.stride, -width % self.stride
        if down or right:
            image = F.pad(image, (0, right, 0, down), mode="replicate")
            background = None if background is None else F.pad(background, (0, right, 0, down), mode="replicate")
        try:
            outputs = self.logits(image, background)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UsageError(
                f"This network cannot train on a batch of one image of {height}x{width} px: batch norm has one value a "
                "channel somewhere. Use a larger --batch-size (batches of 2 or more) or --resolution."
            ) from None
        if down or right:
            outputs = {name: plane[..., :height, :width] for name, plane in outputs.items()}
        if self.mask_values is not None:
            outputs = {**outputs, "mask": outputs["mask"] / self.mask_values}
        return outputs
