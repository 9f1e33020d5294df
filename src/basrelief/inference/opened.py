"""What may stand where the directory of a run may: a saved folder, a file of weights, an exported file, the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from basrelief.engine.machine import choose_machine
from basrelief.errors import DataError
from basrelief.inference.hub import download, is_address, read_address
from basrelief.inference.network import Network, torch_network
from basrelief.inference.pretrained import CONFIG, INFERENCE, WEIGHTS, Trained, load_folder, load_safetensors

# Files of other programs, most of which hold Python objects that loading would bring to life.
_FOREIGN = (
    ".pt",
    ".pth",
    ".ckpt",
    ".bin",
    ".pkl",
    ".pickle",
    ".tar",
    ".zip",
    ".joblib",
    ".npz",
    ".npy",
    ".h5",
    ".keras",
)


@dataclass(frozen=True)
class Opened:
    """A network that has no run directory: its facts, what computes, what saving it needs, where it was, a note."""

    run: dict[str, Any]
    network: Network
    trained: Trained | None
    inference: Mapping[str, Any]
    source: Path
    note: str


def open_shared(path: str | Path, device: str) -> Opened | None:
    """Open a network by what ``path`` is; None where it can only be the directory of a run or a study.

    ``hf://OWNER/NAME``, with ``@REVISION`` if wanted; a folder of ``save_pretrained``; FILE.safetensors; FILE.onnx.

    Raises
    ------
    DataError
        For a file of any other kind, and for one that is damaged.
    """
    if is_address(path):
        name, revision = read_address(path)
        folder = download(name, revision=revision)
        return _of_torch(*load_folder(folder), folder, device, f"Using {name} of the hub, commit {folder.name[:8]}.")
    place = Path(path)
    suffix = place.suffix.lower()
    if place.is_dir():
        if (place / "run.json").exists() or not ((place / CONFIG).exists() or (place / WEIGHTS).exists()):
            return None
        return _of_torch(*load_folder(place), place, device)
    if not place.exists():
        return None
    if suffix == ".safetensors":
        if (place.parent / "run.json").exists():
            raise DataError(
                f"{place} is a checkpoint of the run in {place.parent}: give that directory. basrelief export --to "
                "safetensors makes a file that needs no directory."
            )
        return _of_torch(*load_safetensors(place), place, device)
    if suffix == ".onnx":
        from basrelief.inference.onnx_network import load_onnx

        run, network = load_onnx(place, device)
        return Opened(run, network, None, INFERENCE, place, "")
    if suffix == ".pt2":
        from basrelief.inference.onnx_network import refuse_program

        raise refuse_program(place)
    if suffix in _FOREIGN:
        raise DataError(
            f"{place} is not opened: files of this kind may hold programs that loading would run. Give the directory "
            "of a run or a study, a folder of save_pretrained, or a .safetensors or .onnx file of basrelief export. To "
            "train from such weights: basrelief train … --weights FILE, which reads tensors alone."
        )
    raise DataError(
        f"{place} holds no network that Basrelief knows. Expected the directory of a run or a study, a folder of "
        "save_pretrained, or a .safetensors or .onnx file of basrelief export."
    )


def _of_torch(run: dict[str, Any], model: nn.Module, source: Path, device: str, note: str = "") -> Opened:
    network = torch_network(model, run["activations"], torch.device(choose_machine(device, "fp32").device))
    inference = {**INFERENCE, **run.pop("inference", {})}
    origin = run.pop("origin", None)
    return Opened(run, network, Trained(model, inference, origin=origin), inference, source, note)
