"""Networks that are a formula, so that tests know what comes out of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from basrelief.inference.predictor import Predictor


def bright(images: Tensor, backgrounds: Tensor | None) -> dict[str, Tensor]:
    """Mask: how red, green, blue a pixel is, a class each; depth: how dark it is. With backgrounds: how other."""
    values = images.permute(0, 3, 1, 2).float() / 255
    if backgrounds is not None:
        values = (values - backgrounds.permute(0, 3, 1, 2).float() / 255).abs()
    return {"mask": values, "depth": 1 - values.mean(1, keepdim=True)}


def made_predictor(
    *classes: str, depth: bool = False, background: bool = False, side: int = 16, **facts: Any
) -> Predictor:
    """Return a predictor of ``bright`` for up to three classes."""
    heads = [*(["mask"] if classes else []), *(["depth"] if depth else [])]

    def network(images: Tensor, backgrounds: Tensor | None) -> dict[str, Tensor]:
        found = bright(images, backgrounds)
        found["mask"] = found["mask"][:, : len(classes)]
        return {head: found[head] for head in heads}

    run = {
        "network": "made", "resolution": [side, side], "classes": list(classes), "activations": {}, "targets": heads,
        "heads": heads, "background": background, "depth_max": 4.0 if depth else None,
        "depth_unit": "m" if depth else None, "depth_kind": "metric" if depth else None, "settings": {},
    }  # fmt: skip
    options = {name: facts.pop(name) for name in ("threshold", "tile") if name in facts}
    return Predictor(run | facts, network, **options)


def draw(folder: Path, count: int = 3, size: tuple[int, int] = (24, 32), kind: str = "png") -> Path:
    """Write black pictures with a red rectangle each, which moves: 0.png, 1.png, …"""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture = np.zeros((*size, 3), np.uint8)
        picture[4:16, 3 + number % 10 : 15 + number % 10] = [255, 0, 0]
        Image.fromarray(picture).save(folder / f"{number}.{kind}")
    return folder


def names(folder: Path) -> list[str]:
    """Return the visible files in a folder."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".lock")
    )


def film(path: Path, count: int = 12, size: tuple[int, int] = (32, 48)) -> Path:
    """Write a film that grows brighter, 10 a frame."""
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, size[::-1])
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no videos")
    for number in range(count):
        frame = np.zeros((*size, 3), np.uint8)
        frame[..., 2] = 10 * number % 250  # red, which OpenCV puts last
        writer.write(frame)
    writer.release()
    return path
