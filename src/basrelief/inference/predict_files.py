"""Predicting whole folders: pictures in, mask and depth files out, each at its picture's own size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from basrelief.data.decode import IMAGE_SUFFIXES, read_image
from basrelief.errors import DataError, UsageError
from basrelief.files import output_errors, write_atomic, write_json
from basrelief.inference.prediction import Prediction
from basrelief.inference.predictor import Predictor


def predict_files(
    predictor: Predictor,
    inputs: Iterable[str | Path],
    folder: Path,
    *,
    background: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Predict pictures into a folder: ``NAME_mask.png`` and ``NAME_depth.png``, at each picture's own size.

    A mask of one class is 0 or 255; of several, a palette image of class numbers, 0 for none. Depth is 16-bit; its
    scale and unit stand in the file's text and in ``depth.json``. Existing files are kept unless ``overwrite``.

    Returns
    -------
    dict
        ``written``, ``kept`` and ``failed`` (file -> why), ``out``.
    """
    pictures = find_images(inputs, leave_out=folder)
    backgrounds = _background_finder(predictor, background)
    written, kept, failed = 0, 0, {}
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for number, (file, name) in enumerate(pictures, 1):
        wanted = [folder / name.with_name(f"{name.stem}_{target}.png") for target in predictor.run["targets"]]
        if not overwrite and all(path.exists() for path in wanted):
            kept += 1
        else:
            try:
                image = read_image(file)
                result = predictor(image, backgrounds(file, name))
            except DataError as error:
                failed[str(file)] = str(error)
            else:
                _write_prediction(folder, name, result, predictor)
                written += 1
        if progress:
            progress(number, len(pictures))
    if "depth" in predictor.run["targets"]:
        write_json(folder / "depth.json", _depth_facts(predictor))
    return {"out": str(folder), "written": written, "kept": kept, "failed": failed}


def find_images(inputs: Iterable[str | Path], *, leave_out: Path) -> list[tuple[Path, Path]]:
    """Return (file, name below the output folder) for every picture in the given files and folders.

    What lies in the folder ``leave_out``, where results go, is no input.
    """
    found: list[tuple[Path, Path]] = []
    for item in map(Path, inputs):
        if item.is_dir():
            if item.resolve() == leave_out.resolve():
                raise UsageError(f"--out {leave_out} is the folder of the images; choose another, or one inside it.")
            files = sorted(
                f
                for f in item.rglob("*")
                if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file() and leave_out.resolve() not in f.resolve().parents
            )
            if not files:
                raise DataError(f"{item} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
            found += [(file, file.relative_to(item)) for file in files]
        elif item.is_file():
            found.append((item, Path(item.name)))
        else:
            raise DataError(f"{item} is not there. Expected an image or a folder of images.")
    names: dict[Path, Path] = {}
    found = list(dict.fromkeys(found))
    for file, name in found:
        other = names.setdefault(name.with_suffix(""), file)
        if other != file:
            raise UsageError(f"{other} and {file} would both be written as {name.with_suffix('')}. Predict them apart.")
    return found


def _background_finder(predictor: Predictor, background: str | Path | None) -> Callable[[Path, Path], Any]:
    if not predictor.takes_background:
        if background is not None:
            raise UsageError("This network was trained on images alone; leave --background out.")
        return lambda _file, _name: None
    if background is None:
        raise UsageError("This network was trained with backgrounds: give --background FILE, or a folder of them.")
    path = Path(background)
    if path.is_file():
        array = read_image(path)
        return lambda _file, _name: array
    if not path.is_dir():
        raise DataError(
            f"--background {path} is not there. Expected an image, or a folder of them named as the inputs."
        )
    by_stem = {file.stem: file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES}

    def find(file: Path, _name: Path) -> np.ndarray:
        if file.stem not in by_stem:
            raise DataError(f"{file}: {path} has no background named {file.stem}.")
        return read_image(by_stem[file.stem])

    return find


def _write_prediction(folder: Path, name: Path, result: Prediction, predictor: Predictor) -> None:
    if result.mask is not None:
        if result.mask.ndim == 2:
            image = Image.fromarray(result.mask.astype(np.uint8) * 255)
        else:
            assert result.probability is not None
            best = result.probability.argmax(axis=0)
            labels = np.where(result.mask.any(axis=0), best + 1, 0).astype(np.uint8)
            image = Image.fromarray(labels)
            image.putpalette(_palette(len(result.classes)))
        path = folder / name.with_name(f"{name.stem}_mask.png")
        write_atomic(path, lambda temporary: image.save(temporary, "PNG"))
    if result.depth is not None:
        codes = np.rint(result.depth.clip(0) / _depth_facts(predictor)["scale"]).clip(0, 65535).astype(np.uint16)
        text = PngImagePlugin.PngInfo()
        for key, value in _depth_facts(predictor).items():
            text.add_text(key, str(value))
        path = folder / name.with_name(f"{name.stem}_depth.png")
        write_atomic(path, lambda temporary: Image.fromarray(codes).save(temporary, "PNG", pnginfo=text))


def _depth_facts(predictor: Predictor) -> dict[str, Any]:
    """Return what turns the codes of a depth PNG into depth: code * scale, in unit."""
    return {
        "scale": float(predictor.run["depth_max"]) / 65535,
        "unit": predictor.run["depth_unit"] or "",
        "kind": predictor.run["depth_kind"] or "",
    }


def _palette(classes: int) -> list[int]:
    """Return black and one distinct colour a class (Okabe and Ito's, safe for colour-blind readers)."""
    colours = [0xE69F00, 0x56B4E9, 0x009E73, 0xF0E442, 0x0072B2, 0xD55E00, 0xCC79A7]
    chosen = [0, *(colours[k % len(colours)] for k in range(classes))]
    return [channel for colour in chosen for channel in (colour >> 16, colour >> 8 & 255, colour & 255)]
