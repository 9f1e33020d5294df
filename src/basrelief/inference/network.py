"""A trained network as one function, whatever computes it: torch, an exported file, several networks together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from basrelief.batch import Batch
from basrelief.engine.evaluate import activate, forward
from basrelief.models import create_model, without_weights

# (images, backgrounds or None), each uint8 (N, H, W, 3) on the CPU at the run's resolution -> for each head its
# activated prediction, float32 on the CPU: "mask" (N, K, H, W) in [0, 1], "depth" (N, 1, H, W) over the depth maximum.
Network = Callable[[Tensor, Tensor | None], dict[str, Tensor]]

# Pixels that a processor computes at a time: more layers of a larger batch do not stay in its cache, and take memory.
# Of masknet at 256 x 256, one picture after the other took 0.6 of the time of sixteen at once; at 64 x 64, eight 0.7.
CACHED = 1 << 15


def build_model(run: Mapping[str, Any]) -> nn.Module:
    """Return the network that a run (or what is carried of it) describes, with fresh weights."""
    model = create_model(
        without_weights(run["network"]),
        mask_classes=len(run["classes"]) if "mask" in run["heads"] else 0,
        depth="depth" in run["heads"],
        background=run["background"],
    )
    if run["settings"].get("mask_values"):
        model.regress_labels(run["settings"]["mask_values"])
    return model


def torch_network(model: nn.Module, activations: Mapping[str, str], device: torch.device) -> Network:
    """Return a torch network as the function; it computes on ``device`` and may be called by several threads."""
    model = model.to(device).eval()  # pictures come as channels last, and convolutions follow them

    def answer(images: Tensor, backgrounds: Tensor | None) -> dict[str, Tensor]:
        batch = Batch(image=_to_float(images, device), background=_to_float(backgrounds, device))
        return {head: pred.cpu() for head, pred in activate(forward(model, batch), activations).items()}

    @torch.inference_mode()
    def network(images: Tensor, backgrounds: Tensor | None) -> dict[str, Tensor]:
        step = len(images)
        if device.type == "cpu":
            step = max(1, CACHED // (images.shape[1] * images.shape[2]))
        some = [slice(start, start + step) for start in range(0, len(images), step)]
        parts = [answer(images[part], None if backgrounds is None else backgrounds[part]) for part in some]
        return {head: torch.cat([part[head] for part in parts]) for head in parts[0]}

    return network


def mirrored(network: Network) -> Network:
    """Return the mean of what a network says of a picture and of its mirror image (left and right exchanged)."""

    def both(images: Tensor, backgrounds: Tensor | None) -> dict[str, Tensor]:
        straight = network(images, backgrounds)
        turned = network(images.flip(2), None if backgrounds is None else backgrounds.flip(2))
        return {head: (pred + turned[head].flip(-1)) / 2 for head, pred in straight.items()}

    return both


def averaged(networks: Sequence[Network]) -> Network:
    """Return the mean of what several networks say, after their activations; they must have the same heads."""

    def mean(images: Tensor, backgrounds: Tensor | None) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        for network in networks:  # one after the other, so that one answer is held beside the sum
            for head, pred in network(images, backgrounds).items():
                total[head] = total[head] + pred if head in total else pred
        return {head: pred / len(networks) for head, pred in total.items()}

    return mean


def _to_float(images: Tensor | None, device: torch.device) -> Any:
    return None if images is None else images.to(device).permute(0, 3, 1, 2).float().div_(255)
