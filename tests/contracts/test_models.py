"""What every network of the table must do, and those of the optional encoders. A new line inherits these checks."""

from __future__ import annotations

import importlib.util
import itertools

import pytest
import torch

from basrelief.batch import TARGETS
from basrelief.errors import UsageError
from basrelief.models import MODELS, create_model, find_model, parse_model, without_weights

WITH_SMP = importlib.util.find_spec("segmentation_models_pytorch") is not None
# The table's networks, one build with an option, and some of the encoders' networks (without weights).
SMP = ["smp/unet:resnet18", "smp/fpn:resnet18", "smp/deeplabv3plus:resnet18", "smp/segformer:mit_b0"]
NAMES = [*MODELS, 'depthmasknet(upsample="resize")', *(SMP if WITH_SMP else [])]
BUILDS = [
    (name, classes, depth, background)
    for name in NAMES
    for classes, depth, background in itertools.product((0, 1, 3), (False, True), (False, True))
    if (classes or depth)
    and (not depth or "depth" in find_model(parse_model(name)[0]).targets)
    and (not classes or "mask" in find_model(parse_model(name)[0]).targets)
    # Of the encoders' networks, which are larger, the smallest build and the largest.
    and (name not in SMP or (classes, depth, background) in ((1, False, False), (3, True, True)))
]


# What each published count is for: image and background, one class and all the targets, unless said here.
PUBLISHED_AS = {"munet": {"mask_classes": 5}}


def count(name: str, **options: object) -> int:
    return sum(p.numel() for p in create_model(name, **options).parameters())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MODELS)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    options = PUBLISHED_AS.get(name, {"depth": "depth" in MODELS[name].targets, "background": True})
    assert count(name, **options) == MODELS[name].parameters


def test_parameter_counts_of_the_image_only_networks() -> None:
    # masknet: the background stem goes (3·32·9 + 32 + 2·32 = 960) and the 1x1 fusion takes 32 channels less (32·32).
    assert count("masknet") == 59_745 - 960 - 1024
    # resunet: three input channels less into a 3x3 convolution to 64.
    assert count("resunet", depth=True) == 11_234_066 - 3 * 64 * 9
    # dsresnet: a stream goes, blocks of 16 and 32 channels; a block i→o has 3x3 convolutions i→o and o→o, a 1x1 i→o,
    # a bias for each, and two norms: 10·i·o + 9·o·o + 7·o, so 2,896 + 14,560. The fusion takes 32 channels less into
    # 32, and in each decoder one takes 32 less into 32, the other 16 less into 16.
    assert count("dsresnet", depth=True) == 10_343_490 - (2896 + 14_560) - 32 * 32 - 2 * (32 * 32 + 16 * 16)
    # depthmasknet: a stem goes (3·32·9 and a norm of 2·32), and the fusion takes 32 channels less into 32.
    assert count("depthmasknet", depth=True) == 5_230_720 - (864 + 64) - 32 * 32


def test_parameter_counts_of_one_target_and_of_several_classes() -> None:
    # dsresnet's decoder: for a width w of 256, 128, 64, 32, 16 a 1x1 convolution 2w→w with bias, and a block 2w→w
    # (2·w·w + w + 29·w·w + 7·w); the fusions 64→32 and 32→16 with bias; the head 16→1 with bias.
    widths = (256, 128, 64, 32, 16)
    decoder = sum(31 * w * w + 8 * w for w in widths) + (64 * 32 + 32) + (32 * 16 + 16) + (16 + 1)
    assert decoder == 2_712_769
    assert count("dsresnet", background=True) == 10_343_490 - decoder
    assert count("dsresnet", mask_classes=0, depth=True, background=True) == 10_343_490 - decoder
    assert count("dsresnet", mask_classes=5, depth=True, background=True) == 10_343_490 + 4 * (16 + 1)
    # depthmasknet's decoder: 1x1 convolutions c→2c for c of 512, 256, 128, 64, and the head, 3x3 from 32 to 1.
    decoder = sum(2 * c * c for c in (512, 256, 128, 64)) + 32 * 9
    assert decoder == 696_608
    assert count("depthmasknet", background=True) == 5_230_720 - decoder
    assert count("depthmasknet", mask_classes=0, depth=True, background=True) == 5_230_720 - decoder
    assert count("depthmasknet", mask_classes=5, depth=True, background=True) == 5_230_720 + 4 * 32 * 9
    # resunet's head: 3x3 from 64 to K, then 3x3 from K to K.
    more = count("resunet", mask_classes=5, depth=True, background=True) - 11_234_066
    assert more == (5 * 64 * 9 + 5 * 5 * 9) - (64 * 9 + 9)


def test_parameter_counts_of_the_other_upsamplings() -> None:
    # icnr has the published layers. resize has 3x3 convolutions c→c/2 in place of 1x1 c→2c: 4.5·c·c for 2·c·c.
    options = {"depth": True, "background": True}
    assert count('depthmasknet(upsample="icnr")', **options) == 5_230_720
    more = 2 * sum(5 * c * c // 2 for c in (512, 256, 128, 64))
    assert count('depthmasknet(upsample="resize")', **options) == 5_230_720 + more == 6_971_520


@pytest.mark.parametrize(("name", "classes", "depth", "background"), BUILDS)
@pytest.mark.parametrize("size", [(32, 32), (17, 30), (9, 9)])
def test_logits_have_the_inputs_size(
    name: str, classes: int, depth: bool, background: bool, size: tuple[int, int]
) -> None:
    model = create_model(name, mask_classes=classes, depth=depth, background=background).eval()
    inputs = [torch.rand(2, 3, *size)] * (2 if background else 1)
    with torch.no_grad():
        outputs = model(*inputs)
    expected = {"mask": (2, classes, *size)} if classes else {}
    expected |= {"depth": (2, 1, *size)} if depth else {}
    assert {head: tuple(plane.shape) for head, plane in outputs.items()} == expected


@pytest.mark.parametrize(("name", "classes", "depth", "background"), BUILDS)
def test_every_parameter_is_trained_unless_the_network_says_so(
    name: str, classes: int, depth: bool, background: bool
) -> None:
    model = create_model(name, mask_classes=classes, depth=depth, background=background)
    inputs = [torch.rand(2, 3, 32, 32) for _ in range(2 if background else 1)]
    sum(plane.square().mean() for plane in model(*inputs).values()).backward()  # type: ignore[union-attr]
    assert any(p.grad is None for p in model.parameters()) == model.has_unused_parameters


@pytest.mark.parametrize(("name", "classes", "depth", "background"), BUILDS)
def test_every_parameter_belongs_to_the_encoder_to_one_target_or_to_what_they_share(
    name: str, classes: int, depth: bool, background: bool
) -> None:
    model = create_model(name, mask_classes=classes, depth=depth, background=background)
    of_encoder = [id(p) for part in model.encoder_parts for p in model.get_submodule(part).parameters()]
    assert set(model.encoder_parts) <= {part for part, _ in model.named_children()}
    assert set(model.head_parts) == set(model.heads.channels())
    of_targets = [
        id(p) for parts in model.head_parts.values() for part in parts for p in model.get_submodule(part).parameters()
    ]
    owned = of_encoder + of_targets
    assert len(owned) == len(set(owned)), "a parameter has two owners"
    assert all(
        any(True for part in parts for _ in model.get_submodule(part).parameters())
        for parts in model.head_parts.values()
    )
    assert set(owned) <= {id(p) for p in model.parameters()}


@pytest.mark.parametrize("name", [name for name in NAMES if "depth" in find_model(parse_model(name)[0]).targets])
def test_other_heads_change_only_the_parts_that_are_said_to_be_a_targets_own(name: str) -> None:
    """What a run with other heads can hand over: every weight outside of ``head_parts``, and those of equal heads."""
    both = create_model(name, mask_classes=3, depth=True).state_dict()
    for other in (create_model(name, mask_classes=2), create_model(name, mask_classes=0, depth=True)):
        own = tuple(f"{part}." for parts in other.head_parts.values() for part in parts)
        for weight, value in other.state_dict().items():
            assert weight in both
            assert both[weight].shape == value.shape or weight.startswith(own), weight
        outside = {weight for weight in both if not weight.startswith(own)}
        shared = {weight for weight in other.state_dict() if not weight.startswith(own)}
        assert shared <= outside


@pytest.mark.parametrize("name", NAMES)
def test_a_trained_networks_name_builds_the_same_layers_without_weights(name: str) -> None:
    assert {k: v.shape for k, v in create_model(without_weights(name)).state_dict().items()} == {
        k: v.shape for k, v in create_model(name).state_dict().items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_padding_leaves_the_inside_alone(name: str) -> None:
    """A size that the stride divides goes through unpadded, so a larger picture's far corner changes nothing there."""
    model = create_model(name).eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(image)["mask"], model.logits(image, None)["mask"])


@pytest.mark.parametrize("name", NAMES)
def test_background_is_required_where_built_so_and_refused_elsewhere(name: str) -> None:
    image = torch.rand(1, 3, 32, 32)
    with pytest.raises(UsageError, match=r"model\(image, background\)"):
        create_model(name, background=True)(image)
    with pytest.raises(UsageError, match="image alone"):
        create_model(name)(image, image)


@pytest.mark.parametrize("name", MODELS)
def test_a_head_that_a_network_lacks_is_refused(name: str) -> None:
    for target in set(TARGETS) - set(MODELS[name].targets):
        with pytest.raises(UsageError, match=target):
            create_model(name, mask_classes=0 if target == "depth" else 1, depth=target == "depth")
    with pytest.raises(UsageError, match="needs a head"):
        create_model(name, mask_classes=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet", "Did you mean 'resunet'?"),
        ("masknet(drop=0.1)", "Did you mean 'dropout'?"),
        ("masknet(dropout='a')", "must be a number"),
        ("masknet(dropout=1.5)", "below 1"),
        ("masknet(0.1)", "without its option's name"),
        ("masknet(", "never closed"),
        ("masknet(dropout=__import__('os'))", "no plain value"),
        ("resunet(x=1)", "Its options: none"),
        ("depthmasknet(upsample='rezise')", "Did you mean 'resize'?"),
        ("depthmasknet(upsample=2)", "must be a text in quotes"),
        ("dsresnt", "Did you mean 'dsresnet'?"),
    ],
)
def test_a_wrong_name_or_option_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        create_model(text)
    assert message in str(caught.value)


def test_options_in_call_form_reach_the_network() -> None:
    dropouts = [m for m in create_model("masknet(dropout=0.25)").modules() if isinstance(m, torch.nn.Dropout)]
    assert [m.p for m in dropouts] == [0.25] * 3


def test_a_batch_that_batch_norm_cannot_train_on_is_named() -> None:
    """One picture whose deepest level is one pixel has no spread to normalise by; in use, it goes through."""
    model = create_model("resunet")
    with pytest.raises(UsageError, match="batches of 2 or more"):
        model(torch.rand(1, 3, 16, 16))
    assert model.eval()(torch.rand(1, 3, 16, 16))["mask"].shape == (1, 1, 16, 16)
