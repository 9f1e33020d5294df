"""Networks with the facts of a run, made without training, for tests of how they are handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from basrelief.inference.network import build_model, torch_network
from basrelief.inference.predictor import Predictor
from basrelief.inference.pretrained import INFERENCE, Trained

KINDS: dict[str, dict[str, Any]] = {
    "mask": {},
    "classes": {"classes": ["cup", "plate", "knife"], "activations": {"mask": "softmax"}},
    "depth": {"network": "relief(width=8)", "heads": ["depth"], "targets": ["depth"], "classes": []},
    "both": {"network": "relief(width=8)", "heads": ["mask", "depth"], "targets": ["mask", "depth"]},
    "background": {"background": True},
    "label values": {
        "classes": ["a", "b"], "activations": {"mask": "identity"},
        "settings": {"metric": "mask/iou", "mask_values": [50.0, 100.0]},
    },
    "encoder": {"network": "smp/unet:resnet18(weights='imagenet')", "resolution": [32, 32]},
}  # fmt: skip


def facts(**changes: Any) -> dict[str, Any]:
    """Return what a run.json holds, as far as using its network needs it."""
    depth = "depth" in changes.get("targets", [])
    return {
        "network": "masknet",
        "resolution": [16, 24],
        "classes": ["figure"],
        "activations": {},
        "targets": ["mask"],
        "heads": ["mask"],
        "background": False,
        "depth_max": 8.0 if depth else None,
        "depth_unit": "m" if depth else None,
        "depth_kind": "metric" if depth else None,
        "loss": "bce(mask)",
        "seed": 3,
        "samples": {"train": 70, "val": 15, "test": 15},
        "metrics": {"mask/iou": 0.5, "depth/rmse": None},
        "settings": {"metric": "mask/iou", "mask_values": []},
    } | changes


def make_predictor(run: dict[str, Any], **inference: Any) -> Predictor:
    """Return a predictor of a fresh network whose statistics are not those that a new one begins with."""
    torch.manual_seed(0)
    model = build_model(run)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1)
    model.eval()
    use = {**INFERENCE, **inference}
    predictor = Predictor(run, torch_network(model, run["activations"], torch.device("cpu")), **use)
    predictor.trained = Trained(model, use)
    return predictor


def saved(folder: Path, **changes: Any) -> Path:
    """Save a network with these facts, and return the folder."""
    make_predictor(facts(**changes)).save_pretrained(folder)
    return folder
