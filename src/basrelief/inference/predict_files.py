"""Predicting whole folders: pictures in; masks, depth and what is made of them out, at each picture's own size."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from basrelief.errors import DataError, OutputError
from basrelief.files import read_json, write_atomic, write_json
from basrelief.folders import only_writer
from basrelief.inference.backgrounds import find_backgrounds
from basrelief.inference.boxes import find_boxes
from basrelief.inference.boxes_file import BoxesFile
from basrelief.inference.inputs import Picture, list_inputs
from basrelief.inference.kinds import Outputs, Plan, depth_facts, plan_outputs
from basrelief.inference.memory import LARGE, give_back
from basrelief.inference.pipeline import predict_pictures
from basrelief.inference.planes import Facts, Planes, facts_of
from basrelief.inference.predictor import Predictor

MADE_WITH = "predict.json"  # by which network and settings the files beside it were made
# What of a run tells its network from others. What may be added to a run later on does not.
_TELLING = (
    "network", "resolution", "classes", "activations", "targets", "background", "depth_max", "loss", "seed",
    "metrics", "val_metrics", "ensemble",
)  # fmt: skip


def predict_files(
    predictor: Predictor,
    inputs: Iterable[str | Path],
    folder: Path,
    *,
    outputs: Outputs | None = None,
    settings: Mapping[str, Any] | None = None,
    background: str | Path | None = None,
    every: int = 1,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Predict pictures into a folder: ``NAME_mask.png`` and ``NAME_depth.png``, at each picture's own size.

    A mask of one class is 0 or 255; of several, a palette image of class numbers, 0 for none. Depth is 16-bit; its
    scale and unit stand in the file's text and in ``depth.json``. A picture of which all files are there is kept,
    unless ``overwrite``; one of which some are missing is predicted again.

    Parameters
    ----------
    predictor
        The network.
    inputs
        See ``list_inputs``.
    folder
        Where results go.
    outputs
        What else is written.
    settings
        How results are made, beside the network and its thresholds; noted in ``predict.json``. A folder that was made
        in another way is refused, unless ``overwrite``.
    background
        See ``find_backgrounds``.
    every
        Of videos, take one frame of so many.
    progress
        Called with (done, total).

    Returns
    -------
    dict
        ``out``, ``note`` (what to try for the first much larger picture, see ``Predictor.advice``), ``written``,
        ``kept`` and ``failed`` (file -> why), ``images_per_second`` (written ones; None where none was), ``seconds``.

    Raises
    ------
    UsageError
        When something is asked for that the network does not predict, or two pictures have one name.
    DataError
        When an input is not there.
    OutputError
        When the folder cannot be written, or was made by another network or in another way.
    """
    outputs = outputs or Outputs()
    facts = facts_of(predictor)
    plan = plan_outputs(outputs, facts, predictor.run["targets"])
    backgrounds = find_backgrounds(predictor, background)
    pictures = list_inputs(inputs, leave_out=folder, every=every)
    begun = time.monotonic()
    written = kept = number = 0
    failed: dict[str, str] = {}
    with only_writer(folder):
        _note_settings(folder, {**_made_with(predictor, facts), **(settings or {})}, overwrite)
        if "depth" in predictor.run["targets"]:
            write_json(folder / "depth.json", depth_facts(facts))
        boxes = BoxesFile(folder, facts.classes) if outputs.boxes else None
        asked = pictures.pictures(_done_finder(folder, plan, boxes, overwrite))
        advice: list[str] = []
        write = _writer(folder, plan, outputs.min_area if outputs.boxes else None, predictor, advice)
        for picture, result in predict_pictures(predictor, asked, backgrounds, facts, plan.planes, write, folder):
            number += 1
            if isinstance(result, DataError):
                failed[picture.label] = str(result)
            elif picture.source is None:
                kept += 1
            else:
                written += 1
                if boxes is not None and result is not None:
                    boxes.add(picture.name, result)
            if progress:
                progress(number, pictures.total)
        if boxes is not None:
            boxes.finish()
    seconds = time.monotonic() - begun
    return {
        "out": str(folder),
        "note": advice[0] if advice else "",
        "written": written,
        "kept": kept,
        "failed": failed,
        "images_per_second": written / seconds if written else None,
        "seconds": seconds,
    }


def _done_finder(folder: Path, plan: Plan, boxes: BoxesFile | None, overwrite: bool) -> Callable[[str], bool]:
    """Return what tells whether all that is wanted of a picture is there."""

    def is_done(name: str) -> bool:
        there = not overwrite and all((folder / f"{name}{suffix}").exists() for suffix, _ in plan.files)
        return there and (boxes is None or name in boxes)

    return is_done


def _writer(
    folder: Path, plan: Plan, min_area: int | None, predictor: Predictor, advice: list[str]
) -> Callable[[Picture, Planes], dict[str, Any] | None]:
    """Return what writes a picture's files, and returns its boxes where they are asked for; it adds to the advice."""

    def write(picture: Picture, planes: Planes) -> dict[str, Any] | None:
        said = "" if advice else predictor.advice((planes.image.shape[0], planes.image.shape[1]))
        if said:
            advice.append(said)
        for suffix, make in plan.files:
            write_atomic(folder / f"{picture.name}{suffix}", functools.partial(make, planes))
            if planes.image.size > 3 * LARGE:
                give_back()
        if min_area is None or planes.labels is None or planes.soft is None:
            return None
        height, width = planes.labels.shape
        found = find_boxes(planes.labels, planes.soft, min_area=min_area)
        return {"file_name": picture.file_name, "width": width, "height": height, "annotations": found}

    return write


def _made_with(predictor: Predictor, facts: Facts) -> dict[str, Any]:
    telling = {name: predictor.run.get(name) for name in _TELLING}
    digest = hashlib.sha256(json.dumps(telling, sort_keys=True, default=str).encode()).hexdigest()
    return {"network": digest, **({"threshold": facts.thresholds} if "mask" in predictor.run["targets"] else {})}


def _note_settings(folder: Path, settings: Mapping[str, Any], overwrite: bool) -> None:
    """Note how the folder's files are made; refuse to go on with files that were made in another way."""
    path = folder / MADE_WITH
    given = json.loads(json.dumps(settings))
    before = read_json(path) if path.exists() else {}
    for name, value in given.items():
        if name in before and before[name] != value and not overwrite:
            what = "by another network" if name == "network" else f"with {name} {before[name]}, which is now {value}"
            raise OutputError(f"{folder} holds results made {what}. Choose another --out, or give --overwrite.")
    if before | given != before:
        write_json(path, before | given)
