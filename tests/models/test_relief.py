"""relief keeps what it was chosen for: its size, its low cost, its view of the whole picture, and no grid."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from basrelief.errors import UsageError
from basrelief.models import MODELS, create_model
from basrelief.models.relief import Relief, _Block


def build(name: str = "relief", **options: int | bool) -> Relief:
    torch.manual_seed(0)
    model = create_model(name, **options)  # type: ignore[arg-type]
    assert isinstance(model, Relief)
    return model


def count(name: str = "relief", **options: int | bool) -> int:
    return sum(p.numel() for p in build(name, **options).parameters())


# Counted by hand from the docstring's shape.
WIDTHS = (16, 32, 64, 128, 192, 256)


def layer(a: int, b: int) -> int:
    """Return the count of a 3x3 convolution with its bias and of its batch norm."""
    return a * b * 9 + b + 2 * b


def decoder(channels: int) -> int:
    ups = sum(b * a + a for a, b in pairwise(WIDTHS))
    blocks = sum(layer(c, c) + c * c + c for c in WIDTHS[:-1])
    return ups + blocks + 16 * channels + channels


def test_count_is_that_of_the_shape_in_its_docstring() -> None:
    encoder = sum(layer(a, b) + layer(b, b) + a * b + b for a, b in pairwise((6, *WIDTHS)))
    assert encoder + 2 * decoder(1) == count(depth=True, background=True) == MODELS["relief"].parameters


def test_inputs_and_heads_change_the_count_by_their_own_layers() -> None:
    full = count(depth=True, background=True)
    assert count(depth=True) == full - 3 * 16 * (9 + 1)
    assert count(background=True) == full - decoder(1)
    assert count(mask_classes=0, depth=True, background=True) == full - decoder(1)
    assert count(mask_classes=5, depth=True, background=True) == full + 4 * 17


@pytest.mark.parametrize("value", ["0", "-8", "4", "12", "16.0", "True"])
def test_a_width_that_does_not_fit_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=rf"relief: width is {value}; .*multiple of 8"):
        create_model(f"relief(width={value})")


def test_width_scales_every_level() -> None:
    model = build("relief(width=8)", depth=True).eval()
    levels = model._encode(torch.rand(1, 3, 64, 64))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (8, 64, 64),
        (16, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
        (96, 4, 4),
        (128, 2, 2),
    ]


@pytest.mark.parametrize("layers", [1, 2])
def test_a_block_is_convolution_relu_norm_plus_a_convolution_of_the_input(layers: int) -> None:
    block = _Block(8, 16, layers)
    given = torch.randn(2, 8, 6, 4)
    with torch.no_grad():
        expected = given
        for i in range(layers):
            expected = block.body[3 * i + 2](block.body[3 * i](expected).clamp_min(0))
        torch.testing.assert_close(block(given), expected + block.shortcut(given))


def test_a_decoder_repeats_each_pixel_twice_and_adds_what_the_encoder_had() -> None:
    model, image = build("relief(width=8)", depth=True).eval(), torch.rand(1, 3, 64, 32)
    with torch.no_grad():
        *levels, features = model._encode(image)
        decoder = model.decoders["depth"]
        for i in range(4, -1, -1):
            doubled = decoder.ups[i](features).repeat_interleave(2, -1).repeat_interleave(2, -2)
            features = decoder.blocks[i](doubled + levels[i])
        torch.testing.assert_close(model(image)["depth"], decoder.head(features))  # type: ignore[operator]


def multiply_adds(name: str) -> int:
    """Return the convolutions' multiply-adds for 64x64 px and both targets."""
    model = create_model(name, depth=True).eval()
    found: list[int] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):  # every weight once for each pixel of the output
            module.register_forward_hook(lambda m, _, out: found.append(m.weight.numel() * out[0, 0].numel()))
        elif isinstance(module, nn.ConvTranspose2d):  # and for each pixel of the input
            module.register_forward_hook(lambda m, given, _: found.append(m.weight.numel() * given[0][0, 0].numel()))
    with torch.no_grad():
        model(torch.rand(1, 3, 64, 64))
    return sum(found)


def test_it_takes_less_than_a_tenth_of_resunets_multiply_adds() -> None:
    assert multiply_adds("relief") == 169_148_416  # as basrelief summary counts them, by torch's own counter
    assert 10 * multiply_adds("relief") < multiply_adds("resunet")


def test_every_pixel_of_64_by_64_reaches_every_logit() -> None:
    """Depth needs the whole scene; also from corner to opposite corner."""
    model = build(depth=True).eval()
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    for row, column in ((0, 0), (0, 63), (63, 0), (63, 63)):
        (gradient,) = torch.autograd.grad(model(image)["depth"][0, 0, row, column], image)
        assert (gradient.abs().amax((0, 1)) > 0).all()


def test_doubling_leaves_no_grid_where_a_pixel_shuffle_leaves_one() -> None:
    """On one colour, far from the borders, nothing but the doubling itself could give neighbours different logits."""
    spread = {}
    for name, size in (("relief(width=8)", 512), ("depthmasknet", 128)):
        torch.manual_seed(0)
        model = create_model(name, mask_classes=0, depth=True).eval()
        with torch.no_grad():
            middle = model(torch.full((1, 3, size, size), 0.6))["depth"][..., size // 2 - 8 :, size // 2 - 8 :][
                ..., :16, :16
            ]
        spread[name] = float((middle.amax() - middle.amin()) / middle.abs().mean())
    assert spread["relief(width=8)"] < 1e-4
    assert spread["depthmasknet"] > 0.01


def test_all_but_the_decoders_is_shared_by_the_targets() -> None:
    """So that weights trained for one target start the other: everything else has the same names and shapes."""
    mask, both = build(), build(mask_classes=3, depth=True)
    assert both.head_parts == {"mask": ("decoders.mask",), "depth": ("decoders.depth",)}

    def shared(model: Relief) -> dict[str, torch.Size]:
        return {name: t.shape for name, t in model.state_dict().items() if not name.startswith("decoders.")}

    assert shared(mask) == shared(both)
    assert {name.partition(".")[0] for name in shared(mask)} == {"encoder"}


def test_the_background_reaches_the_result() -> None:
    model, image = build(background=True).eval(), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        same, other = model(image, image)["mask"], model(image, torch.zeros_like(image))["mask"]
    assert (same - other).abs().max() > 1e-3


def test_bfloat16_stays_near_float32() -> None:
    model, image = build(depth=True), torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        exact = model(image)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(image)
    for name, plane in exact.items():
        # 8 bits of mantissa, some 30 layers; measured 0.02 to 0.05 of the logits' spread.
        assert (rounded[name].float() - plane).abs().mean() < 0.15 * plane.std()


def test_a_single_picture_of_64_by_64_trains() -> None:
    model = build(depth=True).train()
    sum(plane.square().mean() for plane in model(torch.rand(1, 3, 64, 64)).values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_it_can_be_exported_with_any_number_of_images() -> None:
    model = build("relief(width=8)", depth=True).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (torch.rand(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
    image = torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        expected, got = model(image), program.module()(image)
    for name, plane in expected.items():
        torch.testing.assert_close(got[name], plane)
