"""A server in this process with a network that needs no training, for tests."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch

from basrelief.inference.predictor import Predictor, Tile

RUN: dict[str, Any] = {
    "network": "bright",
    "resolution": [16, 16],
    "classes": ["figure"],
    "targets": ["mask", "depth"],
    "heads": ["mask", "depth"],
    "background": False,
    "depth_max": 4.0,
    "depth_unit": "m",
    "depth_kind": "metric",
    "settings": {"metric": "mask/iou"},
}


def predictor(*, tile: Tile = "none", **facts: Any) -> Predictor:
    """Return a predictor whose mask is where the image is bright, and whose depth is the more the darker it is."""
    run = {**RUN, **facts}

    def network(images: torch.Tensor, backgrounds: torch.Tensor | None) -> dict[str, torch.Tensor]:
        bright = images.float().mean(dim=-1)[:, None] / 255
        if backgrounds is not None:
            bright = (bright - backgrounds.float().mean(dim=-1)[:, None] / 255).abs()
        found = {"mask": bright.repeat(1, len(run["classes"]), 1, 1), "depth": 1 - bright}
        return {name: found[name] for name in run["heads"]}

    return Predictor(run, network, tile=tile)


class Held:
    """A predictor that waits in its calls until it is let go."""

    def __init__(self, inner: Predictor) -> None:
        self.inner = inner
        self.begun, self.go = threading.Event(), threading.Event()
        self.calls = self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def bands(self, image: np.ndarray, background: np.ndarray | None = None) -> Any:
        self.calls += 1
        self.begun.set()
        assert self.go.wait(20)
        for rows, planes in self.inner.bands(image, background):
            self.rows += rows.stop - rows.start
            yield rows, planes
