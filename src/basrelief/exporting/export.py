"""Exporting a trained network: written to a temporary place, compared with the run, and only then put in its place."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basrelief.errors import OutputError, UsageError, unknown_name
from basrelief.exporting import onnx_file
from basrelief.exporting.images import (
    JUDGED,
    entries_of,
    find_split,
    images_to_calibrate,
    images_to_compare,
    own_source,
    source_of,
    spread,
)
from basrelief.exporting.int8 import cost_of, quantise
from basrelief.exporting.parity import Exported, compare
from basrelief.exporting.program import ProgramFile, save_program, trace
from basrelief.exporting.whole_graph import WholeNetwork
from basrelief.files import write_atomic
from basrelief.inference.hub import is_address, read_address
from basrelief.inference.load import Loaded, load
from basrelief.inference.network import torch_network
from basrelief.inference.onnx_network import OnnxFile
from basrelief.inference.predictor import Predictor
from basrelief.inference.pretrained import load_safetensors, save_safetensors
from basrelief.studies.stored import reopen

KINDS = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}  # kind -> ending of its file


def export_run(
    source: str | Path,
    to: str = "onnx",
    *,
    out: Path | None = None,
    opset: int | None = None,
    int8: bool = False,
    data: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a trained network as one file; see ``basrelief.app_share.export``."""
    began = time.monotonic()
    _check(source, to, opset, int8)
    loaded = load(source, device="cpu")
    path = out or Path(_name(source, loaded) + KINDS[to])
    whole_numbers = path.with_suffix(f".int8{path.suffix}") if int8 else None
    _check_out(path, KINDS[to])
    for file in (path, whole_numbers):
        if file is not None and file.exists() and not overwrite:
            raise OutputError(f"{file} is there already. Give --overwrite to replace it, or another --out.")
    trained, home = loaded.predictor.trained, loaded.home
    assert trained is not None  # ONNX files were refused before
    if int8 and home is None:
        raise UsageError(
            f"--int8 needs the directory of a run or a study, whose training images show what ranges to write; {source}"
            " has none."
        )
    run, model = loaded.predictor.run, trained.model
    predictor = Predictor(run, torch_network(model, run["activations"], torch.device("cpu")), tile="none")
    images = images_to_compare(run, home, data)
    steps = len(images.pairs) + 2
    done = iter(range(1, steps + 1))

    def step() -> None:
        if progress:
            progress(next(done), steps)

    said: dict[str, Any] = {"int8": None}

    def write(temporary: Path) -> None:
        step()
        exported = _write(WholeNetwork(model, run), loaded, to, temporary, opset or onnx_file.OPSET)
        step()
        said["parity"] = compare(predictor, exported, images, step)
        said["bytes"] = temporary.stat().st_size
        if whole_numbers is not None and home is not None:
            said["int8"] = _write_whole_numbers(temporary, whole_numbers, predictor, home, data)

    with torch.inference_mode(False), torch.no_grad():
        write_atomic(path, write, sweep=True)
    return {
        "run": str(loaded.source),
        "note": loaded.note,
        "file": str(path),
        "to": to,
        "opset": (opset or onnx_file.OPSET) if to == "onnx" else None,
        "bytes": said["bytes"],
        "parity": said["parity"],
        "int8": said["int8"],
        "seconds": round(time.monotonic() - began, 2),
    }


def _check(source: str | Path, to: str, opset: int | None, int8: bool) -> None:
    if to not in KINDS:
        raise unknown_name("kind of file for --to", to, KINDS)
    if to != "onnx" and opset is not None:
        raise UsageError(f"--opset belongs to --to onnx; leave it out with --to {to}.")
    if to != "onnx" and int8:
        raise UsageError(f"--int8 belongs to --to onnx; leave it out with --to {to}.")
    if to == "onnx":
        onnx_file.check_opset(opset or onnx_file.OPSET)
        onnx_file.check_packages()
    if Path(source).suffix.lower() == ".onnx":
        raise UsageError(f"{source} is exported already. Give the run or the study that it was made from.")


def _name(source: str | Path, loaded: Loaded) -> str:
    """Return what the file is called where nobody says."""
    if is_address(source):
        return read_address(source)[0].rpartition("/")[2]
    place = (loaded.home or loaded.source).resolve()  # "." has no name
    return place.stem if place.is_file() else place.name


def _extra(loaded: Loaded) -> dict[str, Any]:
    """Return what a network that was saved before says of its use and its origin; it is handed on."""
    trained = loaded.predictor.trained
    if loaded.home is not None or trained is None:
        return {}
    return {"inference": dict(trained.inference)} | ({} if trained.origin is None else {"origin": dict(trained.origin)})


def _check_out(path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise UsageError(f"--out {path}: expected a name that ends in {suffix}.")
    if path.is_dir():
        raise OutputError(f"{path} is a folder. Give --out the name of a file.")


def _write(whole: WholeNetwork, loaded: Loaded, to: str, path: Path, opset: int) -> Exported:
    """Write the file, and return what computes with it as its users will."""
    run = loaded.predictor.run
    if to == "safetensors":
        save_safetensors(run, whole.model, path, extra=_extra(loaded))
        return _as_exported(WholeNetwork(load_safetensors(path)[1], run))
    program = trace(whole, background=bool(run["background"]))
    if to == "torch":
        save_program(program, run, path)
        return ProgramFile(path)
    onnx_file.write_onnx(program, run, path, opset=opset)
    return OnnxFile(path, "cpu")


def _as_exported(whole: WholeNetwork) -> Exported:
    def exported(planes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors: dict[str, Tensor] = {name: torch.from_numpy(np.array(plane)) for name, plane in planes.items()}
        return {head: values.numpy() for head, values in whole(**tensors).items()}

    return exported


def _write_whole_numbers(
    path: Path, target: Path, predictor: Predictor, home: Path, data: str | None
) -> dict[str, Any]:
    """Write the file in whole numbers, and say what it costs."""
    run = predictor.run
    if data is None:
        prepared = reopen(home)
        source = own_source(prepared, run)
        entries = entries_of(source, prepared, find_split(prepared, run).rows["val"])
        source = spread(dataclasses.replace(source, entries=entries), JUDGED)
    else:
        source = spread(source_of(home, data, run), JUDGED)
    metric = run["settings"].get("metric") or ("mask/iou" if "mask" in run["targets"] else "depth/rmse")
    said: dict[str, Any] = {}

    def write(temporary: Path) -> None:
        quantise(path, temporary, run, images_to_calibrate(predictor, home))
        said.update(cost_of(path, temporary, source, metric))
        said["bytes"] = temporary.stat().st_size

    write_atomic(target, write, sweep=True)
    return {"file": str(target), **said}
