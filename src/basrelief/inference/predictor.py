"""Using a trained network: any picture in, mask and depth out at the picture's own size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from basrelief.data.decode import picture_to_bytes
from basrelief.data.resize import resize_image
from basrelief.errors import UsageError
from basrelief.inference.network import Network
from basrelief.inference.prediction import Prediction

Threshold = float | Literal["best"]
Tile = int | Literal["auto", "none"]


class Predictor:
    """A trained network with what it needs to be used: resolution, activations, depth maximum.

    Made by ``basrelief.load_predictor``. The image is brought to the training resolution, and the result back to the
    image's own size, bilinearly; the mask is where the probability is above the threshold.

    Attributes
    ----------
    run
        The document of ``run.json``, or what an exported file carries of it.
    network
        What computes: see ``basrelief.inference.network``.
    resolution
        (height, width) that the network sees.
    thresholds
        Of each class, above which probability a pixel is mask.
    """

    def __init__(
        self,
        run: Mapping[str, Any],
        network: Network,
        *,
        threshold: Threshold = 0.5,
        tile: Tile = "auto",
        mirror: bool = False,
    ) -> None:
        self.run = run
        self.network = network
        self.resolution = (int(run["resolution"][0]), int(run["resolution"][1]))
        self.thresholds = _thresholds(run, threshold)

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

    def predict_arrays(self, images: list[np.ndarray], backgrounds: list[np.ndarray] | None = None) -> list[Prediction]:
        """Predict several images, uint8 (H, W, 3) of any sizes, in one call of the network."""
        small = torch.from_numpy(np.stack([self.shrink(image) for image in images]))
        behind = None if backgrounds is None else torch.from_numpy(np.stack([self.shrink(one) for one in backgrounds]))
        heads = self.network(small, behind)
        return [self.finish({h: p[i] for h, p in heads.items()}, image) for i, image in enumerate(images)]

    def shrink(self, image: np.ndarray) -> np.ndarray:
        """Bring an image to the resolution that the network sees, uint8 (h, w, 3)."""
        return resize_image(image, self.resolution)

    def finish(self, heads: Mapping[str, Tensor], image: np.ndarray) -> Prediction:
        """Bring what the network says of one image, (C, h, w) for each head, to the image's own size."""
        planes = {
            head: F.interpolate(pred[None], size=image.shape[:2], mode="bilinear", align_corners=False)[0].numpy()
            for head, pred in heads.items()
            if head in self.run["targets"]
        }
        probability = planes.get("mask")
        mask = None
        if probability is not None:
            mask = probability > np.asarray(self.thresholds, np.float32)[:, None, None]
            if len(probability) == 1:
                probability, mask = probability[0], mask[0]
        depth = planes["depth"][0] * np.float32(self.run["depth_max"]) if "depth" in planes else None
        return Prediction(
            mask=mask,
            probability=probability,
            depth=depth,
            classes=tuple(self.run["classes"]),
            depth_unit=self.run["depth_unit"] or "",
            depth_kind=self.run["depth_kind"] or "",
            image=image,
            thresholds=self.thresholds,
        )


def _thresholds(run: Mapping[str, Any], threshold: Threshold) -> tuple[float, ...]:
    if threshold != "best":
        if not 0 <= threshold <= 1:
            raise UsageError(f"--threshold {threshold}: expected a probability between 0 and 1, or best.")
        return (float(threshold),) * len(run["classes"])
    stored = run.get("thresholds")
    if stored is None:
        raise UsageError(
            "--threshold best: this run holds none, since it was trained before they were stored. Give a number."
        )
    return tuple(float(value) for value in stored["best"])


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
