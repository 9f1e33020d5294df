"""What tests build their data with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_folder(root: Path, count: int = 12, size: tuple[int, int] = (24, 32), *, depths: bool = False) -> Path:
    """Write ``count`` pictures with a bright disc each, its mask (0/255), and depth in millimetres where asked."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks", *(("depths",) if depths else ())):
        (root / name).mkdir(parents=True)
    rows, columns = np.mgrid[: size[0], : size[1]]
    for i in range(count):
        center = rng.uniform(0.3, 0.7, 2) * size
        disc = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < (min(size) / 4) ** 2
        image = rng.integers(0, 60, (*size, 3)) + 150 * disc[..., None]
        Image.fromarray(image.astype(np.uint8)).save(root / "images" / f"{i:02d}.png")
        Image.fromarray(disc.astype(np.uint8) * 255).save(root / "masks" / f"{i:02d}.png")
        if depths:
            depth = np.where(disc, 1000, 2000 + 10 * rows).astype(np.uint16)
            Image.fromarray(depth).save(root / "depths" / f"{i:02d}.png")
    return root
