"""munet runs its blocks in the published order, with the published faults. Reference values say their origin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from basrelief.errors import UsageError
from basrelief.models import create_model
from basrelief.models.munet import MUNet


def build(blocks: int = 8, **options: int | bool) -> MUNet:
    model = create_model(f"munet(blocks={blocks})", **options)  # type: ignore[arg-type]
    assert isinstance(model, MUNet)
    return model


def run_in_order(model: MUNet, image: Tensor) -> tuple[list[str], dict[str, Tensor]]:
    """Return the names of the network's own layers as they run, and the last input of each."""
    names: list[str] = []
    inputs: dict[str, Tensor] = {}

    def note(name: str) -> object:
        def hook(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            names.append(name)
            inputs[name] = given[0]

        return hook

    for name, child in model.named_children():
        layers = child.named_children() if isinstance(child, nn.ModuleList | nn.ModuleDict) else [("", child)]
        for index, layer in layers:
            layer.register_forward_pre_hook(note(f"{name}.{index}".rstrip(".")))  # type: ignore[arg-type]
    with torch.no_grad():
        model.eval()(image)
    return names, inputs


# The write-up's published counts, for five classes and an image alone.
@pytest.mark.parametrize(
    ("blocks", "parameters", "tensors"), [(8, 4_040_773, 196), (16, 6_999_109, 324), (32, 12_915_781, 580)]
)
def test_counts_are_the_published_ones(blocks: int, parameters: int, tensors: int) -> None:
    counts = [p.numel() for p in build(blocks, mask_classes=5).parameters() if p.requires_grad]
    assert (sum(counts), len(counts)) == (parameters, tensors)


def test_sixteen_blocks_are_the_default() -> None:
    assert len(list(create_model("munet").parameters())) == 324


def test_inputs_and_heads_change_the_count_by_their_own_layers() -> None:
    def count(**options: int | bool) -> int:
        return sum(p.numel() for p in build(16, **options).parameters())

    head = 64 * 9 + 1  # the final layer for one channel: 64 planes of 3x3, and a bias
    assert count(mask_classes=1) == 6_999_109 - 4 * head
    assert count(mask_classes=5, depth=True) == 6_999_109 + head
    assert count(mask_classes=0, depth=True) == 6_999_109 - 4 * head
    assert count(mask_classes=5, background=True) == 6_999_109 + 3 * 64 * 9


@pytest.mark.parametrize("value", ["0", "-8", "4", "12", "20", "16.0", "True"])
def test_a_number_of_blocks_that_does_not_fit_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=rf"munet: blocks is {value}; .*multiple of 8"):
        create_model(f"munet(blocks={value})")


# The order is the write-up's (REFERENCE, the networks), for 16 blocks: lists of 8, of which the first two run early.
def test_layers_run_in_the_published_order() -> None:
    names, _ = run_in_order(build(16, depth=True), torch.rand(1, 3, 16, 16))
    early, late = range(2), range(2, 8)
    expected = ["stem", *(f"down_64.{i}" for i in early), "halve_64", *(f"down_64.{i}" for i in late), "down_64_norm"]
    expected += ["widen", *(f"down_128.{i}" for i in early), "down_128_norm", *(f"down_128.{i}" for i in late)]
    expected += ["halve_128", "double_128", *(f"up_128.{i}" for i in early), "up_128_norm"]
    expected += [*(f"up_128.{i}" for i in early), "narrow", *(f"up_64.{i}" for i in late), "up_64_norm"]
    expected += ["double_64", *(f"up_64.{i}" for i in early), "final.mask", "final.depth"]
    assert names == expected


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [("halve_64", "final.mask", 32), ("widen", "up_64_norm", 32), ("down_128.1", "up_128_norm", 64)],
)
def test_the_first_half_of_the_channels_is_carried_across_and_no_more(before: str, after: str, kept: int) -> None:
    _, inputs = run_in_order(build(), torch.rand(2, 3, 24, 16))
    assert inputs[after].shape == inputs[before].shape
    assert torch.equal(inputs[after][:, :kept], inputs[before][:, :kept])
    assert not torch.isclose(inputs[after][:, kept], inputs[before][:, kept]).all()


def test_the_stem_is_a_convolution_then_relu_then_a_pool_of_two() -> None:
    model, image = build(), torch.rand(2, 3, 16, 24)
    _, inputs = run_in_order(model, image)
    with torch.no_grad():
        expected = model.stem(image).clamp_min(0).unfold(2, 2, 2).unfold(3, 2, 2).amax((-2, -1))
    torch.testing.assert_close(inputs["down_64.0"], expected)


def test_a_block_is_convolution_norm_relu_twice_plus_the_identity() -> None:
    block = build().train().up_64[0]
    given = torch.randn(2, 64, 4, 6)
    with torch.no_grad():
        body = given
        for convolution, norm in zip(block.convolutions, block.norms, strict=True):  # type: ignore[arg-type]
            body = norm(convolution(body)).clamp_min(0)
        torch.testing.assert_close(block(given), given + body)


def silence(block: nn.Module) -> None:
    """Make the block's two layers give zero."""
    for layer in (*block.convolutions, *block.norms):  # type: ignore[misc]
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def test_the_identity_is_added_doubled_where_wider_and_by_its_second_half_where_narrower() -> None:
    model = build().eval()
    for block in (model.down_64[0], model.widen, model.narrow):
        silence(block)
    narrow, wide = torch.rand(1, 64, 4, 4), torch.rand(1, 128, 4, 4)
    with torch.no_grad():
        assert torch.equal(model.down_64[0](narrow), narrow)
        assert torch.equal(model.widen(narrow), torch.cat((narrow, narrow), 1))
        assert torch.equal(model.narrow(wide), wide[:, 64:])


@pytest.mark.parametrize(("name", "size"), [("halve_64", 2), ("double_64", 8)])
def test_one_layer_resizes_body_and_identity(name: str, size: int) -> None:
    model = build().eval()
    block = getattr(model, name)
    silence(block)
    given = torch.rand(1, 64, 4, 4)
    with torch.no_grad():
        # The body is zero, so the layer gives its bias there, and the layer of the input for the identity.
        expected = block.resize(given) + block.resize.bias[:, None, None]
        assert expected.shape == (1, 64, size, size)
        torch.testing.assert_close(block(given), expected)


def test_what_gets_no_gradient_is_exactly_what_never_runs() -> None:
    model = build(8, depth=True)
    sum(plane.square().mean() for plane in model(torch.rand(2, 3, 16, 16)).values()).backward()  # type: ignore[union-attr]
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    second = {f"{block}.{part}.1" for block in ("widen", "narrow") for part in ("convolutions", "norms")}
    never = {f"up_128.{i}.{part}.{j}" for i in range(1, 4) for part in ("convolutions", "norms") for j in (0, 1)}
    assert unused == {f"{layer}.{tensor}" for layer in second | never for tensor in ("weight", "bias")}
    assert model.has_unused_parameters


def test_a_training_step_leaves_the_unused_parameters_alone() -> None:
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.5)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model(torch.rand(2, 3, 16, 16))["mask"].square().mean().backward()
    optimizer.step()
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) == (p.grad is None), name


# A transposed 3x3 convolution with stride 2, dilation 2 and padding 2 writes row 2i - 2 + 2k: never an odd one.
def test_the_published_final_layer_reaches_one_pixel_in_four() -> None:
    model = build(mask_classes=2).eval()
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 16, 24))["mask"]
    bias = model.final["mask"].bias.detach()[:, None, None]  # type: ignore[union-attr,operator]
    constant = (logits[0] == bias).all(0)
    assert constant[1::2].all()
    assert constant[:, 1::2].all()
    assert not constant[::2, ::2].any()
