"""What a summary counts, against figures worked out by hand and against real training steps."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from basrelief.models import MODELS, create_model
from basrelief.models.summary import main_layers, summarise_network

NAMES = [*MODELS, 'depthmasknet(upsample="icnr")', "munet(blocks=8)"]
if importlib.util.find_spec("segmentation_models_pytorch"):
    NAMES.append("smp/unet:mobilenet_v2")


def lines(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {layer["name"]: layer for layer in summary["layers"]}


# masknet at 16x8 px, by hand: a convolution has pixels · channels in · channels out · taps multiply-adds.
def test_multiply_adds_shapes_and_parameters_of_masknet_by_hand() -> None:
    found = summarise_network("masknet", (16, 8), background=True, batch_size=3)
    pixels = 16 * 8
    stem = pixels * 3 * 32 * 9
    body = pixels * (32 * 64 * 9 + 64 * 64 * 9)
    by_name = lines(found)
    assert by_name["image_stem"]["multiply_adds"] == by_name["background_stem"]["multiply_adds"] == stem
    assert by_name["fuse"]["multiply_adds"] == pixels * 64 * 32
    assert by_name["body"]["multiply_adds"] == body
    assert by_name["mask_head"] == {
        "name": "mask_head", "type": "Conv2d", "output": [1, 16, 8], "parameters": 65, "multiply_adds": pixels * 64,
        "level": 1,
    }  # fmt: skip
    assert found["totals"]["multiply_adds"] == 2 * stem + body + pixels * (64 * 32 + 64)
    assert found["totals"]["parameters"] == 59_745
    assert found["totals"]["parameter_bytes"] == 59_745 * 4
    assert found["heads"] == {"mask": 1}


# What the backward pass of conv · ReLU · norm · conv keeps, each once: the picture, ReLU's output (which batch norm
# keeps too), the norm's output, and per channel its mean and inverse deviation.
def test_memory_kept_for_the_backward_pass_by_hand() -> None:
    found = summarise_network("masknet", (16, 8), batch_size=5)
    pixels = 5 * 16 * 8
    stem = 32 + 32
    fuse = 32
    body = 64 + 64 + 64 + 64
    statistics = 2 * (32 + 64 + 64)
    assert found["totals"]["activation_bytes"] == 4 * (pixels * (3 + stem + fuse + body) + statistics)


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_that_of_a_real_step(name: str) -> None:
    """The same count on a real forward pass on the CPU; max-pools keep indices of 8 bytes on both."""
    depth = name != "masknet"
    found = summarise_network(name, (32, 32), depth=depth, batch_size=2)
    model = create_model(name, depth=depth).train()
    fixed = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in fixed:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = model(torch.rand(2, 3, 32, 32))
    assert {head: plane.shape[1] for head, plane in outputs.items()} == found["heads"]
    assert found["totals"]["activation_bytes"] == sum(kept.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_add_up_and_the_figures_hold_for_one_image(name: str) -> None:
    one = summarise_network(name, (32, 64), batch_size=2)
    four = summarise_network(name, (32, 64), batch_size=8)
    assert one["layers"] == four["layers"]
    assert one["totals"]["multiply_adds"] == four["totals"]["multiply_adds"]
    assert one["totals"]["activation_bytes"] < four["totals"]["activation_bytes"]
    shown = main_layers(one["layers"])
    assert sum(layer["parameters"] for layer in shown) == one["totals"]["parameters"]
    assert sum(layer["multiply_adds"] for layer in shown) == one["totals"]["multiply_adds"]
    assert len({layer["name"] for layer in one["layers"]}) == len(one["layers"])
    json.dumps(one, allow_nan=False)


def test_what_never_runs_and_what_runs_twice_are_told() -> None:
    found = lines(summarise_network("munet", (32, 32), batch_size=2))
    assert found["up_128.5"]["output"] is None
    assert found["up_128.5"]["multiply_adds"] == 0
    assert found["up_128.5"]["parameters"] > 0
    # 128 channels of 8x8 px: two 3x3 convolutions a run, two runs, before and after the carried half.
    assert found["up_128.0"]["multiply_adds"] == 2 * 2 * 8 * 8 * 128 * 128 * 9


def test_a_padded_size_is_told_and_counted() -> None:
    odd, even = (summarise_network("resunet", size, batch_size=2) for size in ((50, 33), (64, 48)))
    assert odd["padded"] == [64, 48]
    assert odd["totals"]["multiply_adds"] == even["totals"]["multiply_adds"]
    assert odd["resolution"] == [50, 33]
