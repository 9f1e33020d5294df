"""Networks of segmentation_models_pytorch: names, options, weights that cannot be had, and odd sizes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from basrelief.errors import DataError, MissingExtraError, UsageError
from basrelief.models import create_model, encoders, options_of, without_weights

smp = pytest.importorskip("segmentation_models_pytorch")


@pytest.mark.parametrize("architecture", sorted(smp.MODEL_ARCHITECTURES_MAPPING))
def test_every_architecture_gives_logits_of_the_pictures_size(architecture: str) -> None:
    encoder = "tu-vit_tiny_patch16_224(decoder_fusion_channels=32)" if architecture == "dpt" else "mobilenet_v2"
    size = (130, 129) if architecture == "pan" else (33, 40)
    model = create_model(f"smp/{architecture}:{encoder}", mask_classes=2, depth=True, background=True).eval()
    with torch.no_grad():
        outputs = model(torch.rand(1, 3, *size), torch.rand(1, 3, *size))
    assert {head: tuple(plane.shape) for head, plane in outputs.items()} == {
        "mask": (1, 2, *size),
        "depth": (1, 1, *size),
    }


@pytest.mark.parametrize("text", ["smp/pspnet:mobilenet_v2(depth=4)", "smp/fpn:mobilenet_v2(depth=3)"])
def test_another_depth_of_the_encoder_keeps_the_pictures_size(text: str) -> None:
    with torch.no_grad():
        assert create_model(text).eval()(torch.rand(1, 3, 40, 50))["mask"].shape == (1, 1, 40, 50)


def test_fewer_stages_keep_the_width_of_each_size() -> None:
    # segmentation_models_pytorch's unet has decoder levels of 256, 128, 64, 32, 16, the last at the picture's own size.
    model = create_model("smp/unet:mobilenet_v2(depth=3)").eval()
    assert model.stride == 8
    with torch.no_grad():
        (features,) = (model.decoders["mask"](model.encoder(torch.rand(1, 3, 32, 32))),)  # type: ignore[operator,union-attr,index]
    assert features.shape[1] == 16


def test_one_target_alone_is_the_packages_own_network() -> None:
    torch.manual_seed(0)
    ours = create_model("smp/unet:mobilenet_v2", background=True).eval()
    torch.manual_seed(0)
    theirs = smp.create_model("unet", "mobilenet_v2", encoder_weights=None, in_channels=6).eval()
    image, background = torch.rand(2, 3, 32, 64), torch.rand(2, 3, 32, 64)
    with torch.no_grad():
        expected = theirs(torch.cat((image, background), 1))
        torch.testing.assert_close(ours(image, background)["mask"], expected)


def test_the_targets_share_the_encoder_and_nothing_else() -> None:
    model = create_model("smp/fpn:mobilenet_v2", depth=True)
    model(torch.rand(2, 3, 64, 64))["mask"].square().mean().backward()
    touched = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == {"encoder", "decoders", "finals"}
    assert all(p.grad is None for name, p in model.named_parameters() if ".depth." in name)


@pytest.mark.parametrize(
    ("text", "unused"),
    [
        ("smp/unet:mobilenet_v2", False),
        ("smp/pspnet:mobilenet_v2", True),  # looks at three of the encoder's five stages
        ("smp/unet:efficientnet-b0", True),  # owns a last convolution for classification
    ],
)
def test_parameters_without_a_gradient_are_told_before_training(text: str, unused: bool) -> None:
    model = create_model(text)
    state = torch.get_rng_state()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert model.has_unused_parameters == unused
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model(torch.rand(2, 3, 64, 64))["mask"].square().mean().backward()
    assert any(p.grad is None for p in model.parameters()) == unused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smp/unt:resnet18", "Did you mean 'unet'?"),
        ("smp/unet:resnet81", "Did you mean 'resnet18'?"),
        ("smp/unet:tu-resnet81", "Did you mean 'tu-resnet18'?"),
        ("smp/unet", "write smp/unet:resnet18"),
        ("smp/:resnet18", "Known: deeplabv3"),
        ("smp/dpt:resnet18", "vision transformers"),
        ("smp/dpt:tu-vit_small_patch14_dinov2", "patches of 14 px"),
        ("smp/unet:resnet18(depht=4)", "Did you mean 'depth'?"),
        ("smp/unet:resnet18(depth=9)", "in range"),
        ("smp/unet:resnet18(depth='deep')", "must be a number"),
        ("smp/unet:resnet18(decoder_attention_type='x')", "Attention x"),
        ("smp/unet:resnet18(weights='imagnet')", "Did you mean 'imagenet'?"),
        ("smp/linknet:mit_b0", "not supported for Linknet"),
        ("smp/deeplabv3:densenet121", "dilated"),
    ],
)
def test_a_wrong_name_or_option_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        create_model(text)
    assert message in str(caught.value)


def test_a_picture_too_small_for_the_architecture_is_named() -> None:
    with pytest.raises(UsageError, match="at least 128 px a side, and got 64x64"):
        create_model("smp/pan:mobilenet_v2").eval()(torch.rand(1, 3, 64, 64))


def test_an_encoder_of_one_fixed_size_says_so() -> None:
    model = create_model("smp/fpn:tu-swin_s3_tiny_224").eval()
    with pytest.raises(UsageError, match=r"cannot take 64x64 px: .*224.*Use another --resolution or encoder"):
        model(torch.rand(1, 3, 64, 64))
    assert model.has_unused_parameters  # not known, so the safe answer


def test_a_batch_of_one_is_refused_in_training_where_a_level_is_one_pixel() -> None:
    model = create_model("smp/deeplabv3plus:mobilenet_v2")
    with pytest.raises(UsageError, match="batches of 2 or more"):
        model(torch.rand(1, 3, 64, 64))
    assert model.eval()(torch.rand(1, 3, 64, 64))["mask"].shape == (1, 1, 64, 64)


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(MissingExtraError, match=r'smp/unet:resnet18 needs .*pip install "basrelief\[encoders\]"'):
        create_model("smp/unet:resnet18")


def test_options_are_the_packages_with_short_names_for_the_encoders() -> None:
    options = options_of("smp/unet:resnet18")
    assert set(encoders.OPTIONS) <= set(options)
    assert options["depth"] == 5
    assert options["decoder_channels"] == (256, 128, 64, 32, 16)
    assert not {"encoder_weights", "encoder_depth", "in_channels", "classes", "activation", "kwargs"} & set(options)


def test_a_checkpoint_needs_no_weights_by_name() -> None:
    assert without_weights('smp/unet:resnet18(weights="imagenet", depth=4)') == "smp/unet:resnet18(depth=4)"
    assert without_weights('smp/unet:resnet18(weights="imagenet")') == "smp/unet:resnet18"
    assert without_weights("munet(blocks=8)") == "munet(blocks=8)"


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "tu-resnet18"])
def test_weights_that_cannot_be_had_are_said_with_what_to_do(
    encoder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def away(address: str) -> bool:
        asked.append(address)
        return False

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(encoders, "is_reachable", away)
    with pytest.raises(DataError) as caught:
        create_model(f"smp/unet:{encoder}(weights='imagenet')")
    for words in (f"'imagenet' of {encoder}", "cannot be reached", "HF_HOME", "Leave weights out", "--weights PATH"):
        assert words in str(caught.value)
    assert asked == ["https://huggingface.co"] or asked == [constants.ENDPOINT]
    assert constants.HF_HUB_OFFLINE is False


def test_the_hub_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server or a firewall that never answers: here a session that never returns."""
    import threading

    import huggingface_hub

    forever = threading.Event()

    class Silent:
        def head(self, *_: object, **__: object) -> None:
            forever.wait(60)

    monkeypatch.setattr(huggingface_hub, "get_session", Silent)
    monkeypatch.setattr(encoders, "HUB_TIMEOUT", 0.01)
    try:
        assert not encoders.is_reachable("https://huggingface.co")
    finally:
        forever.set()


def test_inputs_are_normalised_as_the_weights_were_trained_and_a_checkpoint_keeps_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a hub: the package's own look-ups are replaced, weights stay fresh."""
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    real = encoders._build

    def fresh(architecture: str, encoder: str, weights: Any, *rest: Any) -> Any:
        assert weights in ("imagenet", None)
        return real(architecture, encoder, None, *rest)

    def settings(_encoder: str, _weights: Any, _load: Callable[[], Any]) -> Mapping[str, Any]:
        return {"mean": mean, "std": std, "input_range": [0, 1]}

    monkeypatch.setattr(encoders, "_build", fresh)
    monkeypatch.setattr(encoders, "_with_weights", settings)
    text = "smp/unet:mobilenet_v2(weights='imagenet')"
    model = create_model(text, depth=True, background=True).eval()
    seen: list[Tensor] = []
    model.encoder.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))  # type: ignore[union-attr]
    image, background = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        model(image, background)
    for plane, given in zip(seen[0].split(3, 1), (image, background), strict=True):
        expected = (given - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        torch.testing.assert_close(plane, expected)
    again = create_model(without_weights(text), depth=True, background=True).eval()
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again(image, background), model(image, background))


@pytest.mark.parametrize("cached", [True, False])
def test_random_numbers_do_not_depend_on_whether_weights_had_to_be_fetched(
    cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants, errors

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(encoders, "is_reachable", lambda _address: True)
    drawn: list[float] = []

    def load() -> float:
        drawn.append(torch.rand(1).item())
        if not cached and constants.HF_HUB_OFFLINE:
            raise errors.LocalEntryNotFoundError("not here")
        return drawn[-1]

    torch.manual_seed(5)
    expected = torch.rand(1).item()
    torch.manual_seed(5)
    assert encoders._with_weights("resnet18", "imagenet", load) == expected
    assert len(drawn) == (1 if cached else 2)
