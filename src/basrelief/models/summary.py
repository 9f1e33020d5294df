"""What a network is made of and what it costs: layers, shapes, parameters, multiply-adds, memory for training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from basrelief.models import create_model, without_weights


def summarise_network(
    name: str,
    resolution: tuple[int, int],
    *,
    mask_classes: int = 1,
    depth: bool = False,
    background: bool = False,
    batch_size: int = 1,
) -> dict[str, Any]:
    """Return layers, shapes, parameters, multiply-adds and activation memory of a network at a resolution.

    Nothing is computed and no weights are fetched: the network runs once on torch's meta device, which knows shapes
    alone. So it takes no memory, and every count is exact.

    Parameters
    ----------
    name, mask_classes, depth, background
        As for ``create_model``.
    resolution
        (height, width) in pixels.
    batch_size
        Images of the training step whose memory is counted.

    Returns
    -------
    dict
        ``network``, ``resolution``, ``padded`` (the size that it works at: the next one that ``stride`` divides),
        ``stride``, ``batch_size``, ``heads``, ``background``; ``layers``, a list in the order of definition, of
        modules on every level, each with ``name``, ``type``, ``output`` (shape for one image; None where it never
        runs), ``parameters`` and ``multiply_adds`` (both with all that is inside it; for one image), ``level`` (1:
        of the network itself); and ``totals``: ``parameters``, ``parameter_tensors``, ``multiply_adds``
        (for one image), ``activation_bytes``, ``parameter_bytes``.

        Multiply-adds are half of what ``torch.utils.flop_counter`` counts: convolutions, matrix products and
        attention; what is done pixel by pixel is left out. ``activation_bytes`` is what autograd keeps between
        forward and backward for the batch, in float32, each piece of memory counted once, weights and buffers left
        out. Losses, the optimizer, and what a convolution needs while it runs, come on top.

    Raises
    ------
    UsageError
        For a network that cannot be built or cannot take the resolution or batch.
    """
    model = create_model(without_weights(name), mask_classes=mask_classes, depth=depth, background=background)
    model = model.to("meta").train()
    inputs = [torch.empty(batch_size, 3, *resolution, device="meta") for _ in range(2 if background else 1)]
    outputs: dict[str, tuple[int, ...]] = {}
    handles = [module.register_forward_hook(_note(name, outputs)) for name, module in model.named_modules() if name]
    fixed = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # holding the storages keeps their addresses apart

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in fixed:
            kept[storage._cdata] = storage
        return tensor

    counter = FlopCounterMode(display=False)
    with counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        planes = model(*inputs)
    for handle in handles:
        handle.remove()
    prefix = f"{type(model).__name__}."
    flops = {
        module.removeprefix(prefix): sum(by_operation.values())
        for module, by_operation in counter.get_flop_counts().items()
    }
    layers = [_layer(path, module, outputs, flops, batch_size) for path, module in model.named_modules() if path]
    parameters = list(model.parameters())
    return {
        "network": name,
        "resolution": list(resolution),
        "padded": [side + -side % model.stride for side in resolution],
        "stride": model.stride,
        "batch_size": batch_size,
        "heads": {head: plane.shape[1] for head, plane in planes.items()},
        "background": background,
        "layers": layers,
        "totals": {
            "parameters": sum(p.numel() for p in parameters),
            "parameter_tensors": len(parameters),
            "multiply_adds": counter.get_total_flops() // 2 // batch_size,
            "activation_bytes": sum(storage.nbytes() for storage in kept.values()),
            "parameter_bytes": sum(p.nbytes for p in parameters),
        },
    }


def main_layers(layers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the lines that a short table shows: the network's own modules, and those of each target."""
    by_target = tuple(f"{layer['name']}." for layer in layers if layer["type"] == "ModuleDict" and layer["level"] == 1)
    return [
        layer
        for layer in layers
        if (layer["level"] == 1 and layer["type"] != "ModuleDict")
        or (layer["level"] == 2 and layer["name"].startswith(by_target))
    ]


def _note(name: str, outputs: dict[str, tuple[int, ...]]) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        while isinstance(output, list | tuple) and output:
            output = output[-1]  # of an encoder's features: the deepest
        if isinstance(output, Tensor):
            outputs.pop(name, None)  # so that the last to run stands last
            outputs[name] = tuple(output.shape[1:])

    return hook


def _layer(
    name: str, module: nn.Module, outputs: Mapping[str, tuple[int, ...]], flops: Mapping[str, int], batch_size: int
) -> dict[str, Any]:
    inside = [other for other in outputs if other == name or other.startswith(f"{name}.")]
    ran = name in outputs or name in flops
    # A list of modules never runs itself, so it has what its members have.
    counted = [name] if ran else [other for other in flops if _is_outermost(other, name, flops)]
    shape = outputs.get(name) or (outputs[inside[-1]] if inside and not ran else None)
    return {
        "name": name,
        "type": type(module).__name__,
        "output": None if shape is None else list(shape),
        "parameters": sum(p.numel() for p in module.parameters()),
        "multiply_adds": sum(flops.get(other, 0) for other in counted) // 2 // batch_size,
        "level": name.count(".") + 1,
    }


def _is_outermost(name: str, container: str, flops: Mapping[str, int]) -> bool:
    """Return whether a module inside ``container`` was counted and lies in no other one that was."""
    if not name.startswith(f"{container}."):
        return False
    parents = name.split(".")
    between = [".".join(parents[:length]) for length in range(container.count(".") + 2, len(parents))]
    return not any(parent in flops for parent in between)
