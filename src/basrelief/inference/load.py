"""Loading a trained network to use it, from whatever holds one: a run, a study, an exported file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from basrelief.engine.checkpoint import BEST, load_checkpoint, restore_model
from basrelief.engine.machine import choose_machine
from basrelief.errors import DataError, UsageError
from basrelief.files import read_json
from basrelief.inference.check_facts import check_carried
from basrelief.inference.facts import carried
from basrelief.inference.network import Network, averaged, build_model, torch_network
from basrelief.inference.opened import open_shared
from basrelief.inference.predictor import Predictor, Threshold
from basrelief.inference.pretrained import INFERENCE, Trained
from basrelief.inference.tiles import Tile
from basrelief.studies.find import find_run, find_seeds

_BUILT_FROM = ("network", "resolution", "activations", "targets", "heads", "background", "depth_max")


@dataclass(frozen=True)
class Loaded:
    """A predictor and where it came from.

    Attributes
    ----------
    predictor
        The network, ready.
    source
        The run directory or the file.
    home
        The directory with the run's plan and data; None for an exported file, which has neither.
    note
        How the run was chosen, in a sentence; "" if it was named.
    """

    predictor: Predictor
    source: Path
    home: Path | None
    note: str


def load(
    path: str | Path,
    *,
    device: str = "auto",
    threshold: Threshold | None = None,
    tile: Tile | str | None = None,
    mirror: bool | None = None,
    ensemble: bool = False,
) -> Loaded:
    """Load a network from whatever holds one.

    Parameters
    ----------
    path
        The directory of a run or a study; a folder of ``save_pretrained``; a .safetensors or .onnx file of ``basrelief
        export``; or ``hf://OWNER/NAME[@REVISION]``. Of a study it is the winning loss (or the best mean), its best seed
        on validation. Of no file is any code ever run.
    device
        "auto", "cpu", "cuda", "cuda:1", "mps".
    threshold
        Above which probability a pixel is mask; "best": what was best on the run's validation images.
    tile
        Longer side in pixels of the overlapping tiles that a large image is predicted in, 16 or more; "none": resize
        it as a whole; "auto": as the run was trained, see ``Predictor``.
    mirror
        Average with the prediction of the mirrored image. Where this, ``threshold`` or ``tile`` is None, it is what a
        saved network states, else False, 0.5 and "auto".
    ensemble
        Of a study, average the networks of all seeds (and folds) of the chosen loss. The threshold "best" is then the
        mean of theirs.

    Raises
    ------
    UsageError
        For an option that does not fit: an ensemble of a single run, a tile of 5 pixels.
    DataError
        When there is no finished run, its weights are damaged, or the file is of another kind.
    """
    opened = open_shared(path, device)
    usual: Mapping[str, Any] = INFERENCE if opened is None else opened.inference
    given = {"threshold": threshold, "tile": tile, "mirror": mirror}
    chosen = {**usual, **{name: value for name, value in given.items() if value is not None}}
    if opened is not None:
        if ensemble:
            raise UsageError(f"--ensemble needs the directory of a study; {path} holds one network.")
        predictor = Predictor(opened.run, opened.network, **chosen)
        predictor.trained = opened.trained and replace(opened.trained, inference=chosen)
        return Loaded(predictor, opened.source, None, opened.note)
    if ensemble:
        seeds = find_seeds(Path(path))
        run, network = _load_seeds(seeds.folders, choose_machine(device, "fp32").device)
        predictor = Predictor(run, network, **chosen)
        return Loaded(predictor, seeds.home, seeds.home, seeds.note)
    found = find_run(Path(path))
    run, model = load_run(found.folder)
    network = torch_network(model, run["activations"], torch.device(choose_machine(device, "fp32").device))
    predictor = Predictor(run, network, **chosen)
    predictor.trained = Trained(model, chosen, found.folder, found.home)
    return Loaded(predictor, found.folder, found.home, found.note)


def load_run(folder: Path) -> tuple[dict[str, Any], nn.Module]:
    """Return ``run.json`` and the network of a finished run directory, its best checkpoint.

    Raises
    ------
    DataError
        When the folder holds no finished run, what it says of its network is damaged, or its checkpoint is.
    """
    if not (folder / "run.json").exists():
        raise DataError(f"{folder} holds no run (there is no run.json). Expected what basrelief train or study left.")
    run = read_json(folder / "run.json")
    if run.get("status") != "finished":
        raise DataError(f"The training in {folder} is not finished. Start the same command again to go on with it.")
    run = _checked(run, folder / "run.json")
    model = build_model(run)
    restore_model(model, load_checkpoint(folder / BEST).model, folder / BEST)
    return run, model.eval()


def _checked(run: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a run's document with what its network is built from checked, as of a file that came from anybody."""
    for name in ("settings", "versions"):
        if not isinstance(run.get(name, {}), dict):
            raise DataError(f"{path}: {name}: expected an object. It was changed or damaged; train it again.")
    found = check_carried(carried({"settings": {}, **run}), path)
    return run | {name: found[name] for name in _BUILT_FROM if name in run}


def _load_seeds(folders: Sequence[Path], device: str) -> tuple[dict[str, Any], Network]:
    """Return the mean of several runs as one network, and its document: the first run's, with what they share."""
    loaded = [load_run(folder) for folder in folders]
    runs = [run for run, _ in loaded]
    for run, folder in zip(runs, folders, strict=True):
        for fact in ("resolution", "classes", "targets", "background", "depth_max"):
            if run[fact] != runs[0][fact]:
                raise DataError(
                    f"{folder} and {folders[0]} differ in their {fact}, so their networks have no common mean. Train "
                    "the study anew."
                )
    stored = [run.get("thresholds") for run in runs]
    best = [[float(value) for value in found["best"]] for found in stored if found]
    document = runs[0] | {
        "ensemble": [folder.name for folder in folders],
        "split": runs[0]["split"] if len({run["split"] for run in runs}) == 1 else None,  # folds have one each
        "thresholds": {"best": np.mean(best, axis=0).tolist()} if len(best) == len(runs) else None,
    }
    networks = [torch_network(model, run["activations"], torch.device(device)) for run, model in loaded]
    return document, averaged(networks)
