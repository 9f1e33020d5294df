"""Values that a shell offers for an option. Written out, since the tables they stand in need torch to be read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

LOSSES = (
    *("bce", "cross_entropy", "focal", "pixel_dice", "dice", "jaccard", "tversky", "focal_tversky", "log_cosh_dice"),
    *("lovasz", "lovasz_hinge", "boundary", "hausdorff", "cl_dice", "mse", "l1", "rmse", "smooth_l1", "huber"),
    *("berhu", "silog", "gradient", "ssi", "ssim", "ms_ssim", "balance", "uncertainty", "dwa"),
)
AUGMENTATIONS = (
    *("flip", "turn", "rotate", "scale", "shift", "crop", "pad", "elastic", "brightness", "contrast", "saturation"),
    *("hue", "rgb_shift", "grey", "blur", "noise", "jpeg", "cutout"),
)
METRICS = (
    *("mask/iou", "mask/dice", "mask/precision", "mask/recall", "mask/accuracy", "mask/boundary_f", "mask/soft_dice"),
    *("mask/soft_iou", "mask/ece", "mask/ssim", "mask/ms_ssim", "mask/checkerboard"),
    *("depth/rmse", "depth/mae", "depth/abs_rel", "depth/sq_rel", "depth/log10", "depth/rmse_log", "depth/silog"),
    *("depth/delta1", "depth/delta2", "depth/delta3", "depth/ssim", "depth/ms_ssim", "depth/checkerboard"),
)
FORMATS = (
    *("store", "coco", "yolo", "labelme", "purdue-shapes", "manifest", "quartets-a", "quartets-b", "quartets-c"),
    "folder",
)

# Option or argument -> what it takes, where that is a word of a list.
VALUES: dict[str, tuple[str, ...]] = {
    "network": ("depthmasknet", "dsresnet", "masknet", "munet", "relief", "resunet"),
    "format": FORMATS,
    "metric": METRICS,
    "schedule": ("constant", "step", "plateau", "one-cycle", "cosine"),
    "optimizer": ("adamw", "adam", "sgd"),
    "precision": ("auto", "fp32", "tf32", "bf16", "fp16"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "depth_kind": ("metric", "relative", "disparity"),
    "executor": ("local", "ray"),
    "tracker": ("tensorboard", "none"),
    "split": ("group", "background", "foreground", "random"),
    "layout": ("a", "b", "c"),
    "vary": ("loss", "network", "augmentation", "lr"),
    "budget": ("steps", "time"),
    "scale": ("smoke", "small", "full"),
    "kind": ("losses", "metrics", "models", "formats", "augmentations", "schedules", "recipes"),
    "report": ("html", "markdown", "md", "pdf", "png", "badge", "json"),
    "export": ("onnx", "torch", "safetensors"),
    "box_keys": ("value", "plane"),
    "lr": ("search",),
    "batch_size": ("max",),
    "jobs": ("auto",),
    "threshold": ("best",),
    "tile": ("auto", "none"),
    "soft": ("8", "16"),
}
SUMS = {"loss": LOSSES, "add_loss": LOSSES, "augment": AUGMENTATIONS}  # whose last word is completed


def offer(name: str) -> Callable[[str], list[str]] | None:
    """Return what typer asks for the values of an option or argument; None where they are no list, as paths."""
    if name == "recipe":
        return _recipes
    if name in SUMS:
        return _completes_sum(SUMS[name])
    return _completes(VALUES[name]) if name in VALUES else None


def _completes(words: tuple[str, ...]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def _completes_sum(words: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Complete the last word of ``bce(mask) + 2*di``."""

    def complete(incomplete: str) -> list[str]:
        last = re.search(r"\w*$", incomplete)
        begun = last[0] if last else ""
        before = incomplete[: len(incomplete) - len(begun)]
        return [before + word for word in words if word.startswith(begun)]

    return complete


def _recipes(incomplete: str) -> list[str]:
    names = sorted(path.stem for path in (Path(__file__).parent / "recipes").glob("*.yaml"))
    return [name for name in names if name.startswith(incomplete)]
