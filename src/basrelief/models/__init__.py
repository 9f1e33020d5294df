"""The networks, as one table. A new network is one file, a line here; the contract tests over the table do the rest."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from basrelief.batch import TARGETS
from basrelief.errors import UsageError, suggest, unknown_name
from basrelief.language import read_call
from basrelief.models import encoders
from basrelief.models.depthmasknet import DepthMaskNet
from basrelief.models.dsresnet import DSResNet
from basrelief.models.masknet import MaskNet
from basrelief.models.munet import MUNet
from basrelief.models.network import Heads, Network
from basrelief.models.relief import Relief
from basrelief.models.resunet import ResUNet


class ModelSpec(NamedTuple):
    """A line of the table: what builds it, the targets it can give, its published count of parameters, what it is."""

    network: Callable[..., Network]
    targets: tuple[str, ...]
    parameters: int | None
    summary: str


MODELS: dict[str, ModelSpec] = {
    "depthmasknet": ModelSpec(
        DepthMaskNet, ("mask", "depth"), 5_230_720, "dilated encoder, decoders without skips; write-up B"
    ),
    "dsresnet": ModelSpec(DSResNet, ("mask", "depth"), 10_343_490, "an encoder stream an input; write-up A"),
    "masknet": ModelSpec(MaskNet, ("mask",), 59_745, "small, full resolution, sees 7 px around; write-up A"),
    "munet": ModelSpec(MUNet, ("mask", "depth"), 6_999_109, "U-Net, half its channels carried across; write-up D"),
    "relief": ModelSpec(Relief, ("mask", "depth"), 3_313_810, "compact residual U-Net, light decoders; our own"),
    "resunet": ModelSpec(ResUNet, ("mask", "depth"), 11_234_066, "residual U-Net, a decoder a target; write-up C"),
}

ENCODERS = ModelSpec(
    encoders.EncoderNetwork, TARGETS, None, "any architecture and encoder of segmentation_models_pytorch"
)  # what a listing says of the names that stand in no table


def create_model(name: str, *, mask_classes: int = 1, depth: bool = False, background: bool = False) -> Network:
    """Build a network with fresh weights.

    Parameters
    ----------
    name
        A name of ``MODELS``, with options in call form where wanted: ``"masknet(dropout=0.1)"``; or
        ``"smp/unet:resnet18"``, any architecture and encoder of segmentation_models_pytorch.
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
    MissingExtraError
        For a network of segmentation_models_pytorch where that is not installed.
    DataError
        For pretrained weights that cannot be had.

    Examples
    --------
    >>> model = create_model("resunet", depth=True, background=True)
    >>> sum(p.numel() for p in model.parameters())
    11234066
    """
    if mask_classes < 0 or (mask_classes == 0 and not depth):
        raise UsageError(f"A network needs a head: mask_classes is {mask_classes} and depth is {depth}.")
    base, options = parse_model(name)
    return find_model(base).network(Heads(mask_classes, depth), background, **options)


def parse_model(name: str) -> tuple[str, dict[str, Any]]:
    """Split ``"masknet(dropout=0.1)"`` into the network's name and its options, each checked to exist."""
    base, options = read_call(name, "network")
    known = options_of(base)
    for option, value in options.items():
        if option not in known:
            listed = ", ".join(known) or "none"
            raise UsageError(f"{base} has no option {option!r}.{suggest(option, known)} Its options: {listed}.")
        default = known[option]
        if isinstance(default, int | float) and not isinstance(value, int | float):
            raise UsageError(f"{base}: {option} is {value!r}; it must be a number, such as {default}.")
        if isinstance(default, str) and not isinstance(value, str):
            raise UsageError(f"{base}: {option} is {value!r}; it must be a text in quotes, such as {default!r}.")
    return base, options


def find_model(base: str) -> ModelSpec:
    """Return the line of a network: one of ``MODELS``, or one made for ``"smp/ARCH:ENCODER"``."""
    if base.startswith(encoders.PREFIX):
        architecture, encoder = encoders.read_name(base)

        def build(heads: Heads, background: bool, **options: Any) -> Network:
            return encoders.EncoderNetwork(heads, background, architecture, encoder, options)

        return ModelSpec(build, TARGETS, None, ENCODERS.summary)
    if base not in MODELS:
        raise unknown_name("network", base, [*MODELS, encoders.PATTERN])
    return MODELS[base]


def options_of(base: str) -> dict[str, Any]:
    """Return the options of a network, by its name, with their defaults."""
    if base.startswith(encoders.PREFIX):
        return encoders.options_of(base)
    parameters = list(inspect.signature(find_model(base).network).parameters.values())
    return {p.name: p.default for p in parameters[2:]}  # after the heads and the background


def with_weights(name: str, weights: str) -> str:
    """Return the name of the same network with pretrained weights of this name, which only ``smp/`` networks have.

    Raises
    ------
    UsageError
        For any other network.
    """
    base, options = parse_model(name)
    if "weights" not in options_of(base):
        raise UsageError(
            f"--weights {weights}: there is no such run or file, and {base} has no pretrained weights by name, as "
            "smp/unet:resnet18 and its like have. Give none, a run, or a file."
        )
    given = {**options, "weights": weights}
    return f"{base}({', '.join(f'{option}={value!r}' for option, value in given.items())})"


def without_weights(name: str) -> str:
    """Return the name of the same network without pretrained weights, for one whose weights come from a checkpoint."""
    base, options = parse_model(name)
    given = ", ".join(f"{option}={value!r}" for option, value in options.items() if option != "weights")
    return f"{base}({given})" if given else base
