"""Small data with outlined instances: a rectangle in each image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 20, 30
CORNERS = [(5, 4), (15, 4), (15, 12), (5, 12)]


def write_images(folder: Path, count: int) -> list[Path]:
    """Write pictures of noise, 20 × 30."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:02d}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)
    return paths


def write_coco(root: Path, count: int) -> Path:
    """Write COCO's JSON in the folder of its images."""
    names = [path.name for path in write_images(root, count)]
    flat = [float(value) for point in CORNERS for value in point]
    content = {
        "images": [{"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH} for i, name in enumerate(names)],
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "segmentation": [flat]} for i in range(count)],
        "categories": [{"id": 1, "name": "block"}],
    }
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def write_yolo(root: Path, count: int) -> Path:
    """Write images/ and labels/."""
    (root / "labels").mkdir(parents=True)
    line = " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in CORNERS)
    for path in write_images(root / "images", count):
        (root / "labels" / f"{path.stem}.txt").write_text(f"0 {line}\n")
    (root / "data.yaml").write_text("names: [block]\n")
    return root


def write_labelme(root: Path, count: int) -> Path:
    """Write a JSON file beside each image."""
    for path in write_images(root, count):
        shape = {"label": "block", "points": CORNERS, "group_id": None, "shape_type": "polygon"}
        content = {"shapes": [shape], "imagePath": path.name, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        path.with_suffix(".json").write_text(json.dumps(content))
    return root
