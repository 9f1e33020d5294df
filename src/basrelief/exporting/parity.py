"""Comparing an exported file with the run that it was made from, on images at their own sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from basrelief.errors import OutputError
from basrelief.exporting.images import Images
from basrelief.inference.predictor import Predictor

LARGEST_DIFFERENCE = 1e-3  # of a probability, and of depth over the depth maximum

# uint8 (N, H, W, 3) of each input -> "mask" and "depth" at that size, as ``WholeNetwork.forward`` gives them
Exported = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def compare(
    predictor: Predictor, exported: Exported, images: Images, progress: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Return the largest absolute differences between a run's predictions and an exported file's.

    Parameters
    ----------
    predictor
        The run's, which resizes each image as a whole (``tile="none"``).
    exported, images
        The file, and what it is tried on.
    progress
        Called after each image.

    Returns
    -------
    dict
        ``mask`` (of probabilities; None without masks), ``depth`` (over the depth maximum; None without depth),
        ``images`` (how many), ``on`` (which, in words).

    Raises
    ------
    OutputError
        When a difference is above 1e-3, or is no number.
    """
    worst: dict[str, float] = {}
    for image, background in images.pairs:
        planes = {"image": image[None]}
        if predictor.takes_background and background is not None:
            planes["background"] = background[None]
        given = exported(planes)
        result = predictor(image, background if predictor.takes_background else None)
        for head, wanted in (("mask", result.probability), ("depth", result.depth)):
            if wanted is None:
                continue
            unit = float(predictor.run["depth_max"]) if head == "depth" else 1.0
            difference = float(np.abs(given[head][0] - wanted).max()) / unit
            if not difference <= LARGEST_DIFFERENCE:
                raise OutputError(
                    f"The exported network differs from the run by {difference:.2g} in {head} on an image of "
                    f"{image.shape[1]} x {image.shape[0]} px; at most {LARGEST_DIFFERENCE:g} is allowed, so nothing "
                    "was written. Try another --opset or --to, and please report it."
                )
            worst[head] = max(worst.get(head, 0.0), difference)
        if progress:
            progress()
    return {"mask": worst.get("mask"), "depth": worst.get("depth"), "images": len(images.pairs), "on": images.on}
