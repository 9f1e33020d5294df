"""What every network of the table must allow: being exported with all that belongs around it. New lines inherit it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basrelief.exporting.onnx_file import write_onnx
from basrelief.exporting.program import ProgramFile, save_program, trace
from basrelief.exporting.whole_graph import WholeNetwork
from basrelief.inference.onnx_network import OnnxFile
from basrelief.models import MODELS, create_model

SMP = ["smp/unet:resnet18", "smp/fpn:resnet18", "smp/deeplabv3plus:resnet18", "smp/segformer:mit_b0"]
QUICK = ("resunet",)  # of the others, each takes some five seconds
NAMES = [*MODELS, 'depthmasknet(upsample="resize")', 'depthmasknet(upsample="icnr")', *SMP]


def describe(name: str, *, background: bool, activation: str, resolution: tuple[int, int]) -> dict[str, Any]:
    """Return the part of run.json that an export needs, of an untrained network of two classes."""
    targets = ["mask", "depth"] if name not in MODELS or "depth" in MODELS[name].targets else ["mask"]
    return {
        "network": name, "resolution": list(resolution), "classes": ["a", "b"], "activations": {"mask": activation},
        "targets": targets, "heads": targets, "background": background, "depth_max": 7.5, "depth_unit": "m",
        "depth_kind": "metric", "settings": {"metric": "mask/iou", "mask_values": []},
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_a_network_is_exported_for_any_number_of_images_of_any_size(name: str, tmp_path: Path) -> None:
    if name in SMP and importlib.util.find_spec("segmentation_models_pytorch") is None:
        pytest.skip("the extra 'encoders' is not installed")
    background = name != "resunet"  # which is here for those without
    run = describe(name, background=background, activation="softmax" if background else "sigmoid", resolution=(20, 32))
    model = create_model(name, mask_classes=2, depth="depth" in run["targets"], background=background)
    whole = WholeNetwork(model, run)
    program = trace(whole, background=background)
    write_onnx(program, run, tmp_path / "a.onnx")
    files: list[Any] = [OnnxFile(tmp_path / "a.onnx", "cpu")]
    if name == "masknet":
        save_program(program, run, tmp_path / "a.pt2")
        files.append(ProgramFile(tmp_path / "a.pt2"))
    rng = np.random.default_rng(0)
    for count, height, width in ((1, 20, 32), (3, 131, 45)):
        planes = {"image": rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)}
        if background:
            planes["background"] = rng.integers(0, 256, (count, 33, 27, 3), dtype=np.uint8)
        with torch.no_grad():
            wanted = whole(**{plane: torch.from_numpy(values) for plane, values in planes.items()})
        for file in files:
            given = file(planes)
            assert list(given) == run["targets"]
            for head, values in given.items():
                assert values.shape == (count, 2 if head == "mask" else 1, height, width)
                assert np.abs(values - wanted[head].numpy()).max() < 1e-4
