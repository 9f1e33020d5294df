"""The pictures of a study's report: the same validation images under every loss, from what its trainings kept."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from basrelief.batch import Sample
from basrelief.data.resize import UNKNOWN_MASK
from basrelief.errors import DataError
from basrelief.report.contents import Pictures
from basrelief.studies.plan import Trial
from basrelief.studies.results import StudyResults
from basrelief.studies.stored import Prepared


def gather_pictures(folder: Path, prepared: Prepared, results: StudyResults, finished: list[Trial]) -> Pictures | None:
    """Return the validation pictures of the first seed that most losses finished."""
    first = [trial for trial in finished if trial.fold == 0]  # folds have other pictures
    by_seed = {seed: [trial for trial in first if trial.seed == seed] for seed in prepared.plan.seeds}
    seed = max(by_seed, key=lambda s: len(by_seed[s]))
    predictions: dict[str, dict[str, np.ndarray]] = {}
    rows: np.ndarray | None = None
    for trial in by_seed[seed]:
        path = folder / trial.folder / "previews.npz"
        if not path.exists():
            continue
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                rows = arrays["rows"]
                targets = [t for t in ("mask", "depth") if t in arrays]
                trained = results.runs[trial.name, seed]["targets"]
                predictions[trial.name] = {target: arrays[target] for target in targets if target in trained}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is damaged ({error}). Remove {path.parent} and run the study again.") from None
    if rows is None:
        return None
    store, heads = prepared.store, prepared.plan.heads
    samples = [store.sample(int(row)) for row in rows]
    height, width = store.facts.resolution

    def stacked(planes: list[np.ndarray | None], absent: np.ndarray) -> np.ndarray:
        return np.stack([absent if plane is None else plane for plane in planes])

    mask = depth = None
    if "mask" in heads:
        unknown = np.full((len(store.facts.classes), height, width), UNKNOWN_MASK, np.uint8)
        mask = stacked([_with_unknown(sample) for sample in samples], unknown)
    if "depth" in heads:
        depth = stacked([sample.depth for sample in samples], np.full((height, width), np.nan, np.float32))
    backgrounds = [sample.background for sample in samples if sample.background is not None]
    return Pictures(
        ids=[sample.id for sample in samples],
        image=np.stack([sample.image for sample in samples]),
        predictions=predictions,
        scores={name: _val_scores(results, name, seed, rows) for name in predictions},
        seed=seed,
        background=np.stack(backgrounds) if backgrounds and prepared.plan.background else None,
        mask=mask,
        depth=depth,
        classes=store.facts.classes,
        depth_unit=store.facts.depth_unit or "",
    )


def _with_unknown(sample: Sample) -> np.ndarray | None:
    """Return a mask with 255 where it is unknown."""
    if sample.mask is None or sample.mask_valid is None:
        return sample.mask
    return np.where(sample.mask_valid, sample.mask, np.uint8(UNKNOWN_MASK))


def _val_scores(results: StudyResults, loss: str, seed: int, rows: np.ndarray) -> list[float | None]:
    return results.scores.of_rows(loss, results.seeds_of(loss).index(seed), "val", rows)
