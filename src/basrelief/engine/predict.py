"""Using a trained network: any picture in, mask and depth out at the picture's own size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from basrelief.batch import Batch
from basrelief.data.decode import picture_to_bytes
from basrelief.data.resize import resize_image
from basrelief.engine.checkpoint import load_checkpoint, restore_model
from basrelief.engine.evaluate import activate, forward
from basrelief.engine.machine import choose_machine
from basrelief.errors import DataError, UsageError
from basrelief.files import read_json
from basrelief.models import create_model, without_weights


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image, at the image's own size.

    Attributes
    ----------
    mask
        bool (H, W) for one class, (K, H, W) for several; None without a mask head.
    probability
        float32, the same shape, in [0, 1].
    depth
        float32 (H, W) in ``depth_unit``; None without a depth head.
    classes
        Names of the K classes.
    depth_unit
        "" where the unit of the training data is not known.
    """

    mask: np.ndarray | None
    probability: np.ndarray | None
    depth: np.ndarray | None
    classes: tuple[str, ...]
    depth_unit: str


class Predictor:
    """A trained network with what it needs to be used: resolution, activations, depth maximum.

    Made by ``basrelief.load_predictor``. The image is brought to the training resolution, and the result back to the
    image's own size, bilinearly; the mask is where the probability is above one half.

    Attributes
    ----------
    run
        The document of ``run.json``.
    """

    def __init__(self, run: Mapping[str, Any], model: nn.Module, device: torch.device) -> None:
        self.run = run
        self.device = device
        self.model = model.to(device).eval()
        self.resolution = (int(run["resolution"][0]), int(run["resolution"][1]))

    @property
    def takes_background(self) -> bool:
        """Whether the network wants the empty background beside the image."""
        return bool(self.run["background"])

    def __call__(self, image: Any, background: Any = None) -> Prediction:
        """Predict one image.

        Parameters
        ----------
        image, background
            A Pillow image, or uint8 (H, W, 3) or (H, W). The background may have another size; it is required by a
            network that was trained with one, and ignored by others.

        Raises
        ------
        UsageError
            When the background is missing, or an array has another shape or type.
        """
        picture = _as_array(image, "image")
        if self.takes_background and background is None:
            raise UsageError("This network was trained with backgrounds; it needs the empty scene beside the image.")
        back = _as_array(background, "background") if self.takes_background else None
        return self.predict_arrays([picture], [back] if back is not None else None)[0]

    @torch.inference_mode()
    def predict_arrays(self, images: list[np.ndarray], backgrounds: list[np.ndarray] | None = None) -> list[Prediction]:
        """Predict several images, uint8 (H, W, 3) of any sizes, in one call of the network."""
        batch = Batch(image=self._tensor(images), background=None if backgrounds is None else self._tensor(backgrounds))
        preds = activate(forward(self.model, batch), self.run["activations"])
        return [self._finish({h: p[i : i + 1] for h, p in preds.items()}, im.shape[:2]) for i, im in enumerate(images)]

    def _tensor(self, images: list[np.ndarray]) -> Tensor:
        stack = np.stack([resize_image(image, self.resolution) for image in images])
        return torch.from_numpy(stack).to(self.device).permute(0, 3, 1, 2).float().div_(255)

    def _finish(self, preds: Mapping[str, Tensor], size: tuple[int, ...]) -> Prediction:
        planes = {
            head: F.interpolate(pred, size=tuple(size), mode="bilinear", align_corners=False)[0].cpu().numpy()
            for head, pred in preds.items()
            if head in self.run["targets"]
        }
        probability = planes.get("mask")
        if probability is not None and len(probability) == 1:
            probability = probability[0]
        depth = planes["depth"][0] * np.float32(self.run["depth_max"]) if "depth" in planes else None
        return Prediction(
            mask=None if probability is None else probability > 0.5,
            probability=probability,
            depth=depth,
            classes=tuple(self.run["classes"]),
            depth_unit=self.run["depth_unit"] or "",
        )


def load_run(folder: Path, device: str = "auto") -> Predictor:
    """Load the best checkpoint of a finished run directory.

    Raises
    ------
    DataError
        When the folder holds no finished run, or its checkpoint is damaged.
    """
    if not (folder / "run.json").exists():
        raise DataError(f"{folder} holds no run (there is no run.json). Expected what basrelief train or study left.")
    run = read_json(folder / "run.json")
    if run.get("status") != "finished":
        raise DataError(f"The training in {folder} is not finished. Start the same command again to go on with it.")
    model = create_model(
        without_weights(run["network"]),
        mask_classes=len(run["classes"]) if "mask" in run["heads"] else 0,
        depth="depth" in run["heads"],
        background=run["background"],
    )
    if run["settings"].get("mask_values"):
        model.regress_labels(run["settings"]["mask_values"])
    path = folder / "best.safetensors"
    restore_model(model, load_checkpoint(path).model, path)
    return Predictor(run, model, torch.device(choose_machine(device, "fp32").device))


def _as_array(image: Any, what: str) -> np.ndarray:
    if isinstance(image, Image.Image):
        return picture_to_bytes(image)
    array = np.asarray(image)
    if array.ndim == 2:
        array = np.stack([array] * 3, axis=-1)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise UsageError(
            f"The {what} is {array.dtype} {array.shape}; expected a Pillow image or uint8 (height, width, 3)."
        )
    return array
