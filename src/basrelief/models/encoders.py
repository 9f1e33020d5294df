"""Networks of segmentation_models_pytorch: any architecture, any encoder, with our heads (an optional extra)."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basrelief.errors import DataError, MissingExtraError, UsageError, suggest, unknown_name
from basrelief.models.network import Heads, Network

PREFIX = "smp/"
PATTERN = "smp/ARCH:ENCODER"
HUB_TIMEOUT = 5.0  # s to wait for the hub's first answer
# What our heads and inputs decide, and what the last resize decides.
_OURS = ("encoder_name", "in_channels", "classes", "activation", "aux_params", "upsampling", "kwargs")
OPTIONS: dict[str, tuple[Any, str, str]] = {  # what every architecture has: default, what it takes, meaning
    "weights": (None, "a text", "Pretrained weights by name, such as 'imagenet'; None or 'none': fresh."),
    "depth": (None, "a whole number", "Stages of the encoder; None: as the architecture has it, mostly 5."),
}
_RENAMED = {"encoder_weights": "weights", "encoder_depth": "depth"}


class EncoderNetwork(Network):
    """An encoder shared by the targets, and for each target a decoder and a head of its own.

    Built from ``smp/ARCH:ENCODER``, as in ``smp/unet:resnet18``; see https://smp.readthedocs.io for the names. Image
    and background enter together as 6 channels. With pretrained weights, inputs are normalised as those weights were
    trained; the numbers are part of the network's state, so that a checkpoint needs no hub.

    Parameters
    ----------
    heads
        Mask, depth or both.
    background
        Without it the encoder takes 3 channels.
    architecture, encoder
        Names of segmentation_models_pytorch, checked already (``read_name``).
    options
        ``weights``: a name such as "imagenet" (for ``tu-`` encoders any name stands for timm's own); None: fresh.
        ``depth``: stages of the encoder. Others go to the architecture as they are, such as ``decoder_channels``.

    Raises
    ------
    UsageError
        For a combination that segmentation_models_pytorch refuses, with its reason.
    DataError
        When the weights are neither on this machine nor to be had from the hub.
    """

    encoder_parts = ("encoder",)
    target_parts = ("decoders", "finals")

    def __init__(
        self, heads: Heads, background: bool, architecture: str, encoder: str, options: Mapping[str, Any]
    ) -> None:
        super().__init__(heads, background)
        self.name = f"{PREFIX}{architecture}:{encoder}"
        self.gives_prefix_tokens = architecture == "dpt"
        channels_in = 6 if background else 3
        weights = options.get("weights")
        if weights in ("none", False):
            weights = None
        mean, std = _normalisation(encoder, weights)
        # Each head is built with an encoder that fits it; the first one's is kept, and it alone gets weights.
        built = {
            target: _build(architecture, encoder, None if number else weights, channels_in, channels, options)
            for number, (target, channels) in enumerate(heads.channels().items())
        }
        self.encoder: nn.Module = next(iter(built.values())).encoder
        self.decoders = nn.ModuleDict({target: part.decoder for target, part in built.items()})
        self.finals = nn.ModuleDict({target: part.segmentation_head for target, part in built.items()})
        factor = channels_in // 3
        self.register_buffer("mean", torch.tensor(mean * factor).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std * factor).view(-1, 1, 1))
        deepest: int = self.encoder.output_stride
        if architecture == "dpt" and 32 % deepest:
            raise UsageError(
                f"{self.name} has patches of {deepest} px; the decoder of dpt takes 8, 16 or 32, such as "
                f"{PREFIX}dpt:tu-vit_tiny_patch16_224."
            )
        self.stride = 32 if architecture == "dpt" else deepest  # dpt's decoder makes levels of 4, 8, 16 and 32 px
        self.smallest = 8 * deepest if architecture == "pan" else self.stride  # pan's decoder halves three times more

    @functools.cached_property
    def has_unused_parameters(self) -> bool:  # type: ignore[override]
        """Whether a backward pass leaves parameters without a gradient: found by one, since encoders differ."""
        mean: Tensor = self.get_buffer("mean")
        side = max(64, 2 * self.stride, self.smallest)
        image = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)).to(mean)
        training = {module: module.training for module in self.modules()}
        try:
            self.eval()
            with torch.enable_grad():
                total = torch.stack([p.square().mean() for p in self(image, *[image] * self.takes_background).values()])
                found = torch.autograd.grad(total.sum(), list(self.parameters()), allow_unused=True)
        except UsageError:  # an encoder of one fixed size
            return True
        finally:
            for module, mode in training.items():
                module.training = mode
        return any(gradient is None for gradient in found)

    def logits(self, image: Tensor, background: Tensor | None) -> dict[str, Tensor]:
        """Return the logits of each head; see ``Network.logits``."""
        size = image.shape[-2:]
        if min(size) < self.smallest:
            raise UsageError(
                f"{self.name} needs at least {self.smallest} px a side, and got {size[0]}x{size[1]}. Use a larger "
                "--resolution, or another architecture."
            )
        stacked = image if background is None else torch.cat((image, background), 1)
        try:
            features = self.encoder((stacked - self.get_buffer("mean")) / self.get_buffer("std"))
        except AssertionError as error:
            reason = str(error).rstrip(".")
            raise UsageError(
                f"{self.name} cannot take {size[0]}x{size[1]} px: {reason}. Use another --resolution or encoder."
            ) from None
        inputs = features if self.gives_prefix_tokens else (features,)
        outputs: dict[str, Tensor] = {}
        for target, decoder in self.decoders.items():
            plane = self.finals[target](decoder(*inputs))
            if plane.shape[-2:] != size:  # with another depth than the architecture's own
                plane = F.interpolate(plane, size=size, mode="bilinear", align_corners=False)
            outputs[target] = plane
        return outputs


def read_name(base: str) -> tuple[str, str]:
    """Split ``"smp/unet:resnet18"`` into the names of architecture and encoder, each checked to exist.

    Raises
    ------
    UsageError
        For an unknown architecture or encoder, with the nearest known one.
    MissingExtraError
        Where segmentation_models_pytorch is not installed.
    """
    architecture, _, encoder = base.removeprefix(PREFIX).partition(":")
    smp = _smp(base)
    architectures = smp.MODEL_ARCHITECTURES_MAPPING
    if architecture not in architectures:
        raise unknown_name("architecture of segmentation_models_pytorch", architecture, architectures)
    example = "tu-vit_tiny_patch16_224" if architecture == "dpt" else "resnet18"
    if not encoder:
        raise UsageError(f"{base} names no encoder: write {PREFIX}{architecture}:{example}, for example.")
    if encoder.startswith("tu-"):
        import timm

        known = [f"tu-{name}" for name in timm.list_models()]
        found = timm.is_model(encoder.removeprefix("tu-"))
    else:
        known = smp.encoders.get_encoder_names()
        found = encoder in known
    if not found:
        raise UsageError(
            f"Unknown encoder {encoder!r}.{suggest(encoder, known)} segmentation_models_pytorch has "
            f"{len(smp.encoders.get_encoder_names())}, such as resnet18, mobilenet_v2, efficientnet-b0 and mit_b0, and "
            "takes timm's as tu-NAME; https://smp.readthedocs.io lists them."
        )
    if architecture == "dpt" and not encoder.startswith("tu-"):
        raise UsageError(f"{base}: dpt takes vision transformers of timm alone, such as {PREFIX}dpt:{example}.")
    return architecture, encoder


def options_of(base: str) -> dict[str, Any]:
    """Return the options of ``"smp/ARCH:ENCODER"`` with their defaults, as segmentation_models_pytorch has them."""
    architecture, _ = read_name(base)
    takes = inspect.signature(_smp(base).MODEL_ARCHITECTURES_MAPPING[architecture].__init__).parameters
    options = {_RENAMED.get(n, n): p.default for n, p in takes.items() if n not in ("self", *_OURS)}
    return options | {"weights": None}


def _build(
    architecture: str, encoder: str, weights: Any, channels_in: int, classes: int, options: Mapping[str, Any]
) -> Any:
    name = f"{PREFIX}{architecture}:{encoder}"
    kind = _smp(name).MODEL_ARCHITECTURES_MAPPING[architecture]
    own = {name: value for name, value in options.items() if name != "weights"}
    if "depth" in own:
        depth = own.pop("depth")
        own["encoder_depth"] = depth
        for level in ("decoder_channels", "decoder_intermediate_channels"):  # each level keeps the width of its size
            default = getattr(inspect.signature(kind.__init__).parameters.get(level), "default", None)
            if isinstance(default, tuple) and isinstance(depth, int):
                own.setdefault(level, default[-depth:])
    if architecture == "dpt":
        own["dynamic_img_size"] = True  # else a transformer takes the one size that it was made for

    def build() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of deprecated spellings inside the packages
            return kind(
                encoder_name=encoder,
                encoder_weights=True if weights is not None and encoder.startswith("tu-") else weights,
                in_channels=channels_in,
                classes=classes,
                **own,
            )

    if weights is not None:
        return _with_weights(encoder, weights, build)
    try:
        return build()
    except (ValueError, TypeError, KeyError, IndexError, AssertionError, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{name} cannot be built so: {error}") from None


def _normalisation(encoder: str, weights: Any) -> tuple[list[float], list[float]]:
    """Return mean and deviation of each colour that the weights were trained with; nothing is changed without any."""
    if weights is None:
        return [0.0] * 3, [1.0] * 3
    smp = _smp(PREFIX + encoder)
    if not encoder.startswith("tu-"):
        known = smp.encoders.encoders[encoder]["pretrained_settings"]
        if weights not in known:
            raise unknown_name(f"weights of {encoder}", str(weights), known)
    elif not importlib.import_module("timm").models.is_model_pretrained(encoder.removeprefix("tu-")):
        raise UsageError(f"There are no weights of {encoder} in timm. Leave weights out, or choose another encoder.")
    settings = _with_weights(encoder, weights, lambda: smp.encoders.get_preprocessing_params(encoder, weights))
    low, high = settings["input_range"]
    # Inputs here are in [0, 1]; a few old encoders were trained on [0, 255].
    return [m / (high - low) for m in settings["mean"]], [s / (high - low) for s in settings["std"]]


def _with_weights(encoder: str, weights: Any, load: Callable[[], Any]) -> Any:
    """Call ``load`` with what is on this machine already; else ask the hub, but don't wait long for one that is away.

    The hub's own client waits up to minutes. Random numbers are the same whichever way it went.
    """
    from huggingface_hub import constants, errors

    state = torch.get_rng_state()
    missing = (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)
    try:
        with _offline(constants):
            return load()
    except missing:
        torch.set_rng_state(state)
    problem = f"The weights {weights!r} of {encoder} are not on this machine, and the hub"
    advice = (
        f"({constants.ENDPOINT}) cannot be reached. Leave weights out to start fresh; or try again with a connection; "
        "or run the same command on a machine that has one, and copy its Hugging Face cache (HF_HOME) here. "
        "--weights PATH starts from a local checkpoint."
    )
    if constants.HF_HUB_OFFLINE or not is_reachable(constants.ENDPOINT):
        raise DataError(f"{problem} {advice}")
    try:
        return load()
    except (OSError, *missing) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{problem} {advice} ({reason})") from None


def is_reachable(address: str) -> bool:
    """Return whether anything answers there, whatever it says, within some seconds."""
    import threading

    from huggingface_hub import get_session

    answered: list[bool] = []

    def ask() -> None:
        with contextlib.suppress(Exception):  # of whichever HTTP client the hub's package uses
            get_session().head(address, timeout=HUB_TIMEOUT)
            answered.append(True)

    # In a thread, because a look-up of the name has no timeout of its own.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(2 * HUB_TIMEOUT)
    return bool(answered)


@contextlib.contextmanager
def _offline(constants: Any) -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _smp(purpose: str) -> Any:
    try:
        import segmentation_models_pytorch as smp  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtraError("segmentation_models_pytorch", "encoders", f"The network {purpose}") from None
    return smp
