"""What tests build their data with."""

from __future__ import annotations

import io
import zipfile
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


Quartet = tuple[str, str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def make_quartets(backgrounds: int = 3, each: int = 2, size: tuple[int, int] = (48, 64)) -> list[Quartet]:
    """Return (background's name, composite's number, background, composite, mask, depth), smooth, so that JPEG is kind.

    Backgrounds differ in colour, discs in place. Depth is 60 on the disc and 100 to 200 behind it.
    """
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: size[0], : size[1]]
    quartets: list[Quartet] = []
    for b in range(backgrounds):
        background = np.full((*size, 3), 0, np.uint8)
        background[...] = [40 + 50 * b % 200, 200 - 60 * b % 200, 90]
        for _ in range(each):
            center = rng.uniform(0.35, 0.65, 2) * size
            disc = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < (min(size) / 4) ** 2
            image = np.where(disc[..., None], np.uint8(240), background)
            depth = np.where(disc, 60, 100 + 100 * columns // size[1]).astype(np.uint8)
            mask = disc.astype(np.uint8) * 255
            quartets.append((f"room-{b + 1}", f"{len(quartets) + 1}", background, image, mask, depth))
    return quartets


def write_pictures(folder: Path, pictures: dict[str, np.ndarray]) -> Path:
    """Write arrays as image files, the type by the name's suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in pictures.items():
        Image.fromarray(array).save(folder / name)
    return folder


def write_quartets_a(root: Path, quartets: list[Quartet]) -> Path:
    """Write layout A: four folders and ``file_map.txt``."""
    write_pictures(root / "bg", {f"{name}.jpeg": background for name, _, background, *_ in quartets})
    for folder, place in (("bg_fg", 3), ("bg_fg_mask", 4), ("bg_fg_depth_map", 5)):
        write_pictures(root / folder, {f"{folder}_{quartet[1]}.jpeg": quartet[place] for quartet in quartets})
    lines = [f"{name}\tbg_fg_{n}\tbg_fg_mask_{n}\tbg_fg_depth_map_{n}\n" for name, n, *_ in quartets]
    (root / "file_map.txt").write_text("".join(lines))
    return root


def write_quartets_b(root: Path, quartets: list[Quartet]) -> Path:
    """Write layout B: four folders, paired by order."""
    write_pictures(root / "bg", {f"{name}.jpg": background for name, _, background, *_ in quartets})
    for folder, place in (("bg_fg", 3), ("mask", 4), ("depth", 5)):
        write_pictures(root / folder, {f"{folder}_{quartet[1]}.jpg": quartet[place] for quartet in quartets})
    return root


def write_quartets_c(root: Path, quartets: list[Quartet], parts: int = 2) -> Path:
    """Write layout C: zip archives, ``Background`` and ``labels.txt``."""
    write_pictures(root / "Background", {f"{name}.jpg": background for name, _, background, *_ in quartets})
    labels = ""
    for part in range(parts):
        with zipfile.ZipFile(root / f"data_part{part + 1}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, n, _, *planes in quartets[part::parts]:
                for folder, array in zip(("Fg-Bg", "Fg-Bg-Mask", "Depth"), planes, strict=True):
                    content = io.BytesIO()
                    Image.fromarray(array).save(content, "JPEG")
                    archive.writestr(f"data_{part + 1}/{folder}/{folder.lower()}_{n}.jpg", content.getvalue())
                labels += f"{name}.jpg\tfg-1.png\tfg-bg_{n}.jpg\tfg-bg-mask_{n}.jpg\tdepth_{n}.jpg\n"
    (root / "labels.txt").write_text(labels)
    return root
