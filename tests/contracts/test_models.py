"""What every network of the table must do. A new line inherits these checks."""

from __future__ import annotations

import itertools

import pytest
import torch

from basrelief.batch import TARGETS
from basrelief.errors import UsageError
from basrelief.models import MODELS, create_model

BUILDS = [
    (name, classes, depth, background)
    for name, spec in MODELS.items()
    for classes, depth, background in itertools.product((0, 1, 3), (False, True), (False, True))
    if (classes or depth) and (not depth or "depth" in spec.targets) and (not classes or "mask" in spec.targets)
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


@pytest.mark.parametrize("name", MODELS)
def test_padding_leaves_the_inside_alone(name: str) -> None:
    """A size that the stride divides goes through unpadded, so a larger picture's far corner changes nothing there."""
    model = create_model(name).eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(image)["mask"], model.logits(image, None)["mask"])


@pytest.mark.parametrize("name", MODELS)
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
    ],
)
def test_a_wrong_name_or_option_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        create_model(text)
    assert message in str(caught.value)


def test_options_in_call_form_reach_the_network() -> None:
    dropouts = [m for m in create_model("masknet(dropout=0.25)").modules() if isinstance(m, torch.nn.Dropout)]
    assert [m.p for m in dropouts] == [0.25] * 3
