"""The files of a run directory beside its checkpoints: plan and results, history, scores, previews, TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import nn

from basrelief.data.loader import Loader
from basrelief.data.store import Store
from basrelief.engine.evaluate import predict_rows
from basrelief.errors import OutputError
from basrelief.files import read_json, write_atomic
from basrelief.metrics import DEFINITIONS_VERSION

PREVIEWS = 24  # validation images whose predictions a run keeps for reports


def previous_run(folder: Path, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the run.json of an equal plan, None where the folder holds no run; another run is an error."""
    path = folder / "run.json"
    if not path.exists():
        return None
    found = read_json(path)
    different = [name for name, value in document.items() if found.get(name) != value]
    if different:
        raise OutputError(
            f"{folder} holds another run (it differs in: {', '.join(different)}). Choose another --out, or remove it."
        )
    return found


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write ``history.csv`` and ``history.parquet``, a line an epoch; what an epoch lacks is empty.

    Parquet keeps what CSV readers guess wrong: the type of a column whose first lines are empty, and quotes in names.
    """
    frame = pl.DataFrame(history, infer_schema_length=None)
    frame = frame.with_columns(pl.selectors.by_dtype(pl.Null).cast(pl.Float64))
    write_atomic(folder / "history.csv", lambda temporary: frame.write_csv(temporary))
    write_atomic(folder / "history.parquet", lambda temporary: frame.write_parquet(temporary))


def write_scores(folder: Path, store: Store, results: Mapping[str, tuple[np.ndarray, dict[str, np.ndarray]]]) -> None:
    """Write ``scores.parquet``, a line an image of val and test, from ``evaluate``'s results by split.

    The sums that pooled metrics are made of stay out; ``definitions`` is the version of the metrics' definitions.
    """
    ids = store.index["id"].to_numpy()
    frames = []
    for name, (rows, scores) in results.items():
        version = [DEFINITIONS_VERSION] * len(rows)
        single = {metric: values for metric, values in scores.items() if not metric.startswith("_")}
        columns = {"split": [name] * len(rows), "row": rows, "id": ids[rows], "definitions": version}
        columns |= single
        frames.append(pl.DataFrame(columns, schema_overrides={"split": pl.String, "id": pl.String}))
    frame = pl.concat([part for part in frames if len(part)], how="diagonal").fill_nan(None)
    write_atomic(folder / "scores.parquet", lambda temporary: frame.write_parquet(temporary))


def write_previews(folder: Path, model: nn.Module, loader: Loader, activations: Mapping[str, str]) -> None:
    """Keep the predictions of some validation images, spread over all, for reports."""
    if not len(loader.rows):
        return
    places = np.unique(np.linspace(0, len(loader.rows) - 1, min(PREVIEWS, len(loader.rows))).astype(int))
    some = loader.serving(loader.rows[places])
    preds = predict_rows(model, some, activations)
    arrays: dict[str, np.ndarray] = {"rows": some.rows}
    if "mask" in preds:
        arrays["mask"] = np.rint(preds["mask"].clip(0, 1) * 255).astype(np.uint8)
    if "depth" in preds:
        arrays["depth"] = (preds["depth"][:, 0] * (loader.facts.depth_max or 1.0)).astype(np.float32)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    write_atomic(folder / "previews.npz", write)
