"""dsresnet as published: what is encoded apart, where the streams meet, what the decoders join."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basrelief.models import create_model
from basrelief.models.dsresnet import DSResNet


def build(**options: int | bool) -> DSResNet:
    torch.manual_seed(0)
    model = create_model("dsresnet", **options).eval()  # type: ignore[arg-type]
    assert isinstance(model, DSResNet)
    return model


def shapes(model: DSResNet, *inputs: Tensor) -> dict[str, tuple[int, ...]]:
    """Return module -> shape of its output."""
    found: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(
            lambda _m, _i, o, name=name: found.update({name: tuple(o.shape[1:])}) if isinstance(o, Tensor) else None
        )
    with torch.no_grad():
        model(*inputs)
    return found


# The order is the write-up's (REFERENCE, the networks).
def test_levels_have_the_published_channels_and_sizes() -> None:
    picture = torch.rand(1, 3, 64, 32)
    found = shapes(build(depth=True, background=True), picture, picture)
    for stream in (0, 1):
        assert [found[f"streams.{stream}.{i}"] for i in (0, 1)] == [(16, 64, 32), (32, 32, 16)]
    assert found["fuse"] == (32, 16, 8)
    assert [found[f"encoder.{i}"] for i in range(4)] == [(64, 16, 8), (128, 8, 4), (256, 4, 2), (512, 2, 1)]
    for target in ("mask", "depth"):
        blocks = [found[f"decoders.{target}.blocks.{i}"] for i in range(5)]
        assert blocks == [(256, 4, 2), (128, 8, 4), (64, 16, 8), (32, 32, 16), (16, 64, 32)]
        assert [found[f"decoders.{target}.fuses.{i}"] for i in range(2)] == [(32, 32, 16), (16, 64, 32)]


def test_every_convolution_has_a_bias() -> None:
    model = build(depth=True, background=True)
    assert all(m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d))


def test_a_block_is_convolution_relu_norm_twice_plus_a_convolution_of_the_input() -> None:
    block = build().encoder[0]
    given = torch.randn(2, 32, 6, 4)
    first, _, norm, second, _, last = block.body  # type: ignore[union-attr,misc]
    with torch.no_grad():
        expected = last(second(norm(first(given).relu())).relu()) + block.skip(given)  # type: ignore[operator]
        torch.testing.assert_close(block(given), expected)


def test_the_background_reaches_the_result_by_its_own_stream_and_by_both_skips() -> None:
    model = build(background=True)
    image, background, other = (torch.rand(1, 3, 32, 32) for _ in range(3))
    with torch.no_grad():
        assert not torch.equal(model(image, background)["mask"], model(image, other)["mask"])
        for fuse, width in zip(model.decoders["mask"].fuses, (32, 16), strict=True):  # type: ignore[arg-type,union-attr]
            assert fuse.weight.shape == (width, 2 * width, 1, 1)  # type: ignore[union-attr]


def test_sizes_are_doubled_bilinearly_without_aligned_corners() -> None:
    model = build()
    asked: list[dict[str, object]] = []
    original = F.interpolate

    def spy(features: Tensor, **options: object) -> Tensor:
        asked.append(options)
        return original(features, **options)  # type: ignore[arg-type]

    F.interpolate = spy
    try:
        model(torch.rand(1, 3, 32, 32))
    finally:
        F.interpolate = original
    assert asked == [{"scale_factor": 2, "mode": "bilinear", "align_corners": False}] * 5
