"""Loading an entry of a folder: its files are decoded and checked against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from basrelief.batch import Sample
from basrelief.data.decode import File, FileError, read_depth_at, read_image, read_image_at, read_mask_values
from basrelief.data.mask_values import MaskMapping, to_planes
from basrelief.data.source import Entry, Fault, Near


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


def load_entry(reading: Reading, entry: Entry) -> Sample:
    """Decode an entry's files and check that they fit together.

    Raises
    ------
    FileError
        Naming the file that cannot be used.
    """
    return load_files(reading, entry.id, entry.planes).sample


def load_entry_at(reading: Reading, entry: Entry, resolution: tuple[int, int]) -> Near:
    """Decode an entry's files as ``load_entry`` does, for use at a resolution, as ``Source.load_near`` has it."""
    return load_files(reading, entry.id, entry.planes, resolution)


def load_files(
    reading: Reading, name: str, files: Mapping[str, File], resolution: tuple[int, int] | None = None
) -> Near:
    """Decode the files of the entry called ``name``, which may be in memory.

    With a ``resolution``, planes are brought to it as they are decoded, which saves half the time.

    Raises
    ------
    FileError
        Naming the file that cannot be used.
    """
    if fault := reading.broken.get(name):
        raise FileError(fault.file, fault.problem, fault.remedy)
    image, size = _read_image(files["image"], resolution)
    sizes = {"image": size}
    background = mask = known = depth = None
    if "background" in files:
        background, sizes["background"] = _read_image(files["background"], resolution)
        _demand_fit("background", files, sizes["background"], size)
    if "mask" in files and reading.mapping is not None:
        values = read_mask_values(files["mask"], colours=reading.mapping.colours)
        _demand_fit("mask", files, values.shape[:2], size)
        mask, known = to_planes(reading.mapping, values, str(files["mask"]))
    if "depth" in files:
        depth, own = _load_depth(reading, files["depth"], resolution)
        _demand_fit("depth", files, own, size)
    return Near(Sample(name, image, background, mask, known, depth), sizes)


def _read_image(path: File, resolution: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    """Return an image and its own size."""
    if resolution is not None:
        return read_image_at(path, resolution)
    image = read_image(path)
    return image, (image.shape[0], image.shape[1])


def _load_depth(reading: Reading, path: File, resolution: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    """Return depth and its own size."""
    depth, size = read_depth_at(path, resolution)
    unknown = ~np.isfinite(depth)
    if reading.depth_invalid:
        unknown |= np.isin(depth, np.array(reading.depth_invalid, dtype=np.float32))
    if reading.depth_scale != 1:
        depth *= np.float32(reading.depth_scale)
    if reading.depth_max is not None:
        with np.errstate(invalid="ignore"):
            unknown |= depth > reading.depth_max
    if unknown.all():
        if resolution is not None:  # some pixel between those picked may be known
            return _load_depth(reading, path, None)
        raise FileError(
            str(path), "has no known depth: every value is NaN, infinite or invalid", "Export it again, or remove it"
        )
    if unknown.any():
        depth[unknown] = np.nan
    return depth, size


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
