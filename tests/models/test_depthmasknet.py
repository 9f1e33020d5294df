"""depthmasknet as published, and what its other upsamplings do to a grid of 2 px."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basrelief.functional.checkerboard import checkerboard
from basrelief.models import create_model
from basrelief.models.depthmasknet import UPSAMPLINGS, DepthMaskNet


def build(upsample: str = "shuffle", seed: int = 0) -> DepthMaskNet:
    torch.manual_seed(seed)
    model = create_model(f"depthmasknet(upsample={upsample!r})", mask_classes=0, depth=True).eval()
    assert isinstance(model, DepthMaskNet)
    return model


def kinds(module: nn.Module) -> list[str]:
    return [type(m).__name__ for m in module.modules() if not list(m.children())]


# The order is the write-up's (REFERENCE, the networks).
def test_layers_are_the_published_ones() -> None:
    model = build()
    assert kinds(model.stems[0]) == ["Conv2d", "BatchNorm2d", "ReLU"]
    block = model.encoder[0]
    assert kinds(block.near) == ["Conv2d", "BatchNorm2d", "ReLU"]  # type: ignore[arg-type]
    assert kinds(block.far) == ["Conv2d", "ReLU", "BatchNorm2d"]  # type: ignore[arg-type]
    assert kinds(model.decoders["depth"]) == ["Conv2d", "PixelShuffle"] * 4 + ["Conv2d"]
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.bias is None for m in convolutions)
    assert [m.dilation[0] for m in convolutions].count(2) == 4


def test_a_block_is_two_branches_of_which_one_is_dilated() -> None:
    block = build().encoder[0]
    given = torch.rand(2, 32, 8, 8)
    near, far = block.near[0].weight, block.far[0].weight  # type: ignore[index,union-attr]
    with torch.no_grad():  # in evaluation at the start, batch norm divides by sqrt(1 + 1e-5) and does nothing else
        scale = (1 + 1e-5) ** -0.5
        first = (F.conv2d(given, near, padding=1) * scale).relu()
        second = F.conv2d(given, far, padding=2, dilation=2).relu() * scale
        expected = F.conv2d(torch.cat((first, second), 1), block.join.weight)  # type: ignore[union-attr]
        torch.testing.assert_close(block(given), expected, atol=1e-5, rtol=1e-4)


def last_doubling(upsample: str, seed: int) -> Tensor:
    """Return what the last doubling and the head of an untrained network make of smooth random features, inside."""
    model = build(upsample, seed)
    features = F.interpolate(torch.rand(2, 64, 8, 8), size=(64, 64), mode="bilinear")
    *_, doubler, head = model.decoders["depth"].children()
    with torch.no_grad():
        plane: Tensor = head(doubler(features))
    return plane[..., 16:112, 16:112]  # the head's zero border aside


@pytest.mark.parametrize("seed", range(4))
def test_at_the_start_a_doubling_leaves_checkerboards_only_where_pixels_are_shuffled(seed: int) -> None:
    scores = {}
    for upsample in UPSAMPLINGS:
        plane = last_doubling(upsample, seed)
        scores[upsample] = checkerboard(plane, torch.zeros_like(plane)).mean().item()
    assert scores["shuffle"] > 0.5
    assert scores["icnr"] < 0.01
    assert scores["resize"] < 0.01


def test_at_the_start_whole_networks_leave_a_grid_only_where_pixels_are_shuffled() -> None:
    """Four shuffles in a row make a pattern of 16 px, of which the score sees the share at 2 px."""
    scores = dict.fromkeys(UPSAMPLINGS, 0.0)
    for upsample in UPSAMPLINGS:
        for seed in range(6):
            model = build(upsample, seed)
            with torch.no_grad():
                plane = model(torch.rand(1, 3, 96, 96))["depth"][..., 16:80, 16:80]
            scores[upsample] += checkerboard(plane, torch.zeros_like(plane)).mean().item()
    assert scores["shuffle"] > 0.005
    assert scores["icnr"] < scores["shuffle"] / 10
    assert scores["resize"] < scores["shuffle"] / 10


@pytest.mark.parametrize(("upsample", "flat"), [("shuffle", False), ("icnr", True), ("resize", True)])
def test_a_picture_of_one_colour_stays_flat_unless_pixels_are_shuffled(upsample: str, flat: bool) -> None:
    with torch.no_grad():
        plane = build(upsample)(torch.full((1, 3, 256, 256), 0.7))["depth"][..., 112:144, 112:144]
    spread = (plane.amax() - plane.amin()) / plane.abs().amax()
    assert (spread.item() < 1e-3) == flat


# Aitken et al. start the sub-pixels of a block alike, which is nearest-neighbour resizing. The blur then has the taps
# (1, 2, 1)/4, and [1, 2, 1]/4 over doubled pixels is (3a + b)/4 and (a + 3b)/4: bilinear resizing by two.
def test_icnr_starts_as_bilinear_resizing_of_a_convolution() -> None:
    convolution, shuffle, blur = build("icnr").decoders["depth"][0]  # type: ignore[misc,index]
    features = torch.rand(1, 512, 5, 4)
    with torch.no_grad():
        shuffled = shuffle(convolution(features))
        once = F.conv2d(features, convolution.weight[::4])
        torch.testing.assert_close(shuffled, F.interpolate(once, scale_factor=2, mode="nearest"))
        torch.testing.assert_close(
            blur(shuffled), F.interpolate(once, scale_factor=2, mode="bilinear"), atol=1e-5, rtol=1e-5
        )


def test_the_blur_removes_a_period_of_two_pixels_and_shifts_nothing() -> None:
    blur = build("icnr").decoders["depth"][0][2]  # type: ignore[index]
    rows, columns = torch.meshgrid(torch.arange(10.0), torch.arange(12.0), indexing="ij")
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    for grid in (rows % 2, columns % 2, (rows + columns) % 2):
        torch.testing.assert_close(blur(grid[None, None])[inside], torch.full((1, 1, 8, 10), 0.5))
    ramp = (3 * rows - columns)[None, None]
    torch.testing.assert_close(blur(ramp)[inside], ramp[inside])


def test_who_chose_the_published_upsampling_for_depth_is_told_of_its_seams() -> None:
    assert "upsample='icnr'" in create_model("depthmasknet", depth=True).note
    assert not create_model("depthmasknet").note
    assert not create_model("depthmasknet(upsample='icnr')", depth=True).note
