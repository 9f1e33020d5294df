"""What commands do with a trained network, as functions: load it, predict pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from basrelief.inference.load import load
from basrelief.inference.predict_files import predict_files
from basrelief.inference.predictor import Predictor, Threshold
from basrelief.inference.tiles import Tile


def load_predictor(
    run: str | Path,
    *,
    device: str = "auto",
    threshold: Threshold = 0.5,
    tile: Tile | str = "auto",
    mirror: bool = False,
    ensemble: bool = False,
) -> Predictor:
    """Load a network to use it in Python; see ``basrelief.inference.load.load``."""
    return load(run, device=device, threshold=threshold, tile=tile, mirror=mirror, ensemble=ensemble).predictor


def predict(
    run: str | Path,
    inputs: Iterable[str | Path],
    out: str | Path,
    *,
    background: str | Path | None = None,
    device: str = "auto",
    threshold: Threshold = 0.5,
    tile: Tile | str = "auto",
    mirror: bool = False,
    ensemble: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Predict pictures into a folder with a network of a run, a study or a file; see ``predict_files``."""
    loaded = load(run, device=device, threshold=threshold, tile=tile, mirror=mirror, ensemble=ensemble)
    done = predict_files(
        loaded.predictor, inputs, Path(out), background=background, overwrite=overwrite, progress=progress
    )
    return {"run": str(loaded.source), "note": loaded.note, **done}
