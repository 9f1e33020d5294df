"""What a network says of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
    depth_kind
        "metric", "relative", "disparity"; "" where it is not known.
    image
        The image itself, uint8 (H, W, 3).
    thresholds
        Of each class, above which probability a pixel is mask.
    """

    mask: np.ndarray | None
    probability: np.ndarray | None
    depth: np.ndarray | None
    classes: tuple[str, ...]
    depth_unit: str
    depth_kind: str
    image: np.ndarray
    thresholds: tuple[float, ...] = ()
