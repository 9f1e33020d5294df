"""Loading an entry of a folder: its files are decoded and checked against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from basrelief.batch import Sample
from basrelief.data.decode import File, FileError, read_depth, read_image, read_image_near, read_mask_values
from basrelief.data.mask_values import MaskMapping, to_planes
from basrelief.data.source import Entry, Fault


@dataclass(frozen=True)
class Reading:
    """All that loading an entry needs besides its files; it can be sent to another process."""

    mapping: MaskMapping | None = None
    depth_scale: float = 1.0
    depth_invalid: tuple[float, ...] = ()
    depth_max: float | None = None
    broken: Mapping[str, Fault] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """What stored values mean, as ``Source.reading`` has it."""
        mapping = self.mapping and replace(self.mapping, says="")  # which counts what was looked at
        return repr((mapping, self.depth_scale, self.depth_invalid, self.depth_max))


def load_entry(reading: Reading, entry: Entry, near: tuple[int, int] | None = None) -> Sample:
    """Decode an entry's files and check that they fit together.

    ``near`` is the resolution wanted, as ``Source.load_near`` has it.

    Raises
    ------
    FileError
        Naming the file that cannot be used.
    """
    return load_files(reading, entry.id, entry.planes, near)


def load_files(reading: Reading, name: str, files: Mapping[str, File], near: tuple[int, int] | None = None) -> Sample:
    """Decode the files of the entry called ``name``, which may be in memory, as ``load_entry`` does.

    Raises
    ------
    FileError
        Naming the file that cannot be used.
    """
    if fault := reading.broken.get(name):
        raise FileError(fault.file, fault.problem, fault.remedy)
    image, size = _read_image(files["image"], near)
    background = mask = known = depth = None
    if "background" in files:
        background, own = _read_image(files["background"], near)
        _demand_fit("background", files, own, size)
    if "mask" in files and reading.mapping is not None:
        values = read_mask_values(files["mask"], colours=reading.mapping.colours)
        _demand_fit("mask", files, values.shape[:2], size)
        mask, known = to_planes(reading.mapping, values, str(files["mask"]))
    if "depth" in files:
        depth = _load_depth(reading, files["depth"])
        _demand_fit("depth", files, depth.shape, size)
    return Sample(name, image, background, mask, known, depth)


def _read_image(path: File, near: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    """Return an image and its own size."""
    if near is not None:
        return read_image_near(path, near)
    image = read_image(path)
    return image, (image.shape[0], image.shape[1])


def _load_depth(reading: Reading, path: File) -> np.ndarray:
    depth = read_depth(path)
    unknown = ~np.isfinite(depth)
    if reading.depth_invalid:
        unknown |= np.isin(depth, np.array(reading.depth_invalid, dtype=np.float32))
    if reading.depth_scale != 1:
        depth *= np.float32(reading.depth_scale)
    if reading.depth_max is not None:
        with np.errstate(invalid="ignore"):
            unknown |= depth > reading.depth_max
    if unknown.all():
        raise FileError(
            str(path), "has no known depth: every value is NaN, infinite or invalid", "Export it again, or remove it"
        )
    if unknown.any():
        depth[unknown] = np.nan
    return depth


def _demand_fit(plane: str, files: Mapping[str, File], size: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if fault := size_fault(plane, files, size, wanted):
        raise FileError(fault.file, fault.problem, fault.remedy)


def size_fault(plane: str, files: Mapping[str, File], size: tuple[int, ...], wanted: tuple[int, ...]) -> Fault | None:
    """Return what is wrong with a plane's size beside its image's, both (height, width).

    A mask, and the picture of where targets are valid, must have their image's size, as they cannot be resized without
    loss. Other planes must have its aspect ratio: a difference of up to 2 %, or what comes from rounding, passes.
    """
    problem = f"is {size[1]} × {size[0]} pixels, and its image {files['image'].name} is {wanted[1]} × {wanted[0]}"
    if plane in ("mask", "valid"):
        if size == wanted:
            return None
        remedy = "Save both with one size (masks without smoothing), or remove the pair"
        if size == wanted[::-1]:
            remedy = "Turn one of them; the image may be stored turned, with its orientation noted in EXIF"
        return Fault(str(files[plane]), problem, remedy)
    difference = abs(size[0] - size[1] * wanted[0] / wanted[1])
    if difference < 1 or difference <= 0.02 * size[0]:
        return None
    remedy = "Cut both to the same part of the scene, or remove the pair"
    return Fault(str(files[plane]), f"{problem}: another aspect ratio", remedy)
