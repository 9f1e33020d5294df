"""The networks, as one table. A new network is one file, a line here; the contract tests over the table do the rest."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from basrelief.errors import UsageError, suggest, unknown_name
from basrelief.language import read_call
from basrelief.models.masknet import MaskNet
from basrelief.models.munet import MUNet
from basrelief.models.network import Heads, Network
from basrelief.models.resunet import ResUNet


class ModelSpec(NamedTuple):
    """A line of the table: the class, the targets it can give, its published count of parameters, what it is."""

    network: type[Network]
    targets: tuple[str, ...]
    parameters: int
    summary: str


MODELS: dict[str, ModelSpec] = {
    "masknet": ModelSpec(MaskNet, ("mask",), 59_745, "small, full resolution, sees 7 px around; write-up A"),
    "munet": ModelSpec(MUNet, ("mask", "depth"), 6_999_109, "U-Net, half its channels carried across; write-up D"),
    "resunet": ModelSpec(ResUNet, ("mask", "depth"), 11_234_066, "residual U-Net, a decoder a target; write-up C"),
}


def create_model(name: str, *, mask_classes: int = 1, depth: bool = False, background: bool = False) -> Network:
    """Build a network with fresh weights.

    Parameters
    ----------
    name
        A name of ``MODELS``, with options in call form where wanted: ``"masknet(dropout=0.1)"``.
    mask_classes
        Planes of mask; 0 for depth alone.
    depth
        Whether it gives depth.
    background
        Whether it takes the empty background beside the image.

    Returns
    -------
    Network
        Called with ``image`` and, where built so, ``background``, each (N, 3, H, W) in [0, 1]; returns a dict of
        logits at the input's size.

    Raises
    ------
    UsageError
        For an unknown name or option, or a head that the network does not have.

    Examples
    --------
    >>> model = create_model("resunet", depth=True, background=True)
    >>> sum(p.numel() for p in model.parameters())
    11234066
    """
    if mask_classes < 0 or (mask_classes == 0 and not depth):
        raise UsageError(f"A network needs a head: mask_classes is {mask_classes} and depth is {depth}.")
    base, options = parse_model(name)
    return MODELS[base].network(Heads(mask_classes, depth), background, **options)


def parse_model(name: str) -> tuple[str, dict[str, Any]]:
    """Split ``"masknet(dropout=0.1)"`` into the table's name and its options, each checked to exist."""
    base, options = read_call(name, "network")
    if base not in MODELS:
        raise unknown_name("network", base, MODELS)
    known = list(inspect.signature(MODELS[base].network).parameters.values())[2:]
    for option, value in options.items():
        default = next((p.default for p in known if p.name == option), None)
        if default is None:
            listed = ", ".join(p.name for p in known) or "none"
            raise UsageError(
                f"{base} has no option {option!r}.{suggest(option, [p.name for p in known])} Its options: {listed}."
            )
        if isinstance(default, int | float) and not isinstance(value, int | float):
            raise UsageError(f"{base}: {option} is {value!r}; it must be a number, such as {default}.")
    return base, options
