"""The plan of a study or run as it is kept: written once with its split, and opened again with its packed data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from basrelief.config import DataSettings, RunSettings, StudySettings, TrainSettings
from basrelief.data.source import SPLITS, Source
from basrelief.data.splits import Split, spread_out
from basrelief.data.store import FACTS, Store, open_store
from basrelief.engine.machine import Machine, versions
from basrelief.engine.run_plan import RunPlan
from basrelief.engine.weights import weights_digest
from basrelief.errors import DataError, OutputError
from basrelief.files import read_json, write_atomic
from basrelief.seeding import stream
from basrelief.studies.plan import StudyPlan, Trial
from basrelief.studies.stores import PLAN, SMALLER, SPLITS_FILE, STORE, open_stages


@dataclass(frozen=True)
class Prepared:
    """A plan with its packed and divided data.

    ``splits`` has one for each fold; ``smaller`` has the stores of stages at other resolutions, in the same order.
    """

    plan: StudyPlan
    store: Store
    splits: tuple[Split, ...]
    smaller: dict[tuple[int, int], Store]

    @property
    def split(self) -> Split:
        """The only split, or that of the first fold."""
        return self.splits[0]

    def split_of(self, trial: Trial) -> Split:
        """Return what a trial sees: the split of its fold, without test images where it is not judged."""
        split = self.splits[trial.fold]
        if trial.judged and trial.images is None:
            return split
        rows = dict(split.rows)
        if not trial.judged:
            rows["test"] = rows["test"][:0]
        if trial.images is not None and trial.images < len(rows["train"]):
            drawn = stream(trial.seed, "images").choice(rows["train"], trial.images, replace=False)
            rows["train"] = np.sort(drawn)
        return dataclasses.replace(split, rows=rows)

    def run_plan(self, trial: Trial) -> RunPlan:
        """Return the plan of one training of the study."""
        plan = self.plan
        train = plan.train.model_copy(update=dict(trial.changes))
        split = self.split_of(trial).fingerprint()
        return RunPlan(train, trial.expression, trial.seed, plan.heads, plan.background, plan.machine, split)


def asked_for(settings: StudySettings | RunSettings) -> dict[str, Any]:
    """Return what was asked for as JSON, without what may change from one start to the next."""
    return settings.model_dump(mode="json", exclude={"watch", "execution"})


def reopen(folder: Path) -> Prepared:
    """Open a study's or run's plan, store and split again, without looking at the data it came from."""
    document = read_json(folder / PLAN)
    try:
        settings_class = StudySettings if document["kind"] == "study" else RunSettings
        plan = plan_from(document, settings_class(**document["asked"]).data)
        splits = read_splits(folder, document)
        place, fingerprint = Path(document["store"]["path"]), document["store"]["fingerprint"]
    except (KeyError, TypeError, ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{folder / PLAN} or {SPLITS_FILE} beside it is damaged ({error!r}). Start anew with another --out."
        ) from None
    if not (folder / place / FACTS).exists():
        raise DataError(f"The store {folder / place}, which {folder} was trained on, is gone. Put it back there.")
    store = open_store(folder / place)
    if store.facts.fingerprint != fingerprint:
        raise DataError(f"The store {folder / place} is another than when {folder} was begun. Put it back as it was.")
    return Prepared(plan, store, splits, open_stages(folder, plan.train, store))


def previous_plan(folder: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """Return the plan in ``folder`` if it is the one asked for, None if there is none; anything else is an error."""
    path = folder / PLAN
    if path.exists():
        document = read_json(path)
        if document.get("asked") != asked:
            difference = _difference(document.get("asked") or {}, asked)
            raise OutputError(
                f"{folder} holds another {document.get('kind')} ({difference}). Choose another --out; the same command "
                "goes on with an unfinished one."
            )
        return document
    others = [item.name for item in folder.iterdir() if not item.name.startswith(".")]
    ours = {STORE, SPLITS_FILE, SMALLER} if (folder / STORE / FACTS).exists() else set()
    if set(others) - ours:
        raise OutputError(
            f"{folder} holds other files ({', '.join(sorted(others)[:3])}…). Choose an empty or a new folder with "
            "--out."
        )
    return None


def plan_document(folder: Path, prepared: Prepared, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the document of ``plan.json``: what was asked for, what was chosen, and the data it is for."""
    plan, store = prepared.plan, prepared.store
    inside = store.path.parent == folder
    return {
        "kind": _kind(asked),
        "asked": asked,
        "splits": [
            {
                "rule": split.rule,
                "notes": list(split.notes),
                "cautions": list(split.cautions),
                "fingerprint": split.fingerprint(),
            }
            for split in prepared.splits
        ],
        "store": {
            "path": STORE if inside else str(store.path.resolve()),
            "fingerprint": store.facts.fingerprint,
        },
        "weights": weights_digest(plan.train.weights),
        "plan": {
            "factor": plan.factor,
            "losses": plan.losses,
            "changes": {name: dict(change) for name, change in plan.changes.items()},
            "seeds": list(plan.seeds),
            "train": plan.train.model_dump(mode="json"),
            "heads": list(plan.heads),
            "background": plan.background,
            "machine": dataclasses.asdict(plan.machine),
            "margin": plan.margin,
            "folds": plan.folds,
            "race": plan.race,
            "jobs": plan.jobs,
            "said": list(plan.said),
        },
        "versions": versions(),
    }


def _kind(asked: Mapping[str, Any]) -> str:
    if "losses" not in asked:
        return "run"
    return "lr-range" if "lr_max" in asked else "study"


def plan_from(document: dict[str, Any], data: DataSettings, source: Source | None = None) -> StudyPlan:
    """Return the plan as it was stored: what was chosen once stays chosen, on any later day."""
    stored = document["plan"]
    return StudyPlan(
        losses=stored["losses"],
        seeds=tuple(stored["seeds"]),
        data=data,
        train=TrainSettings(**stored["train"]),
        heads=tuple(stored["heads"]),
        background=stored["background"],
        machine=Machine(**stored["machine"]),
        margin=stored["margin"],
        folds=stored["folds"],
        entries=spread_out(source.entries, data.limit) if source else (),
        said=tuple(stored["said"]),
        factor=stored.get("factor", "loss"),
        changes=stored.get("changes", {}),
        race=stored.get("race", False),
        extended=tuple(row["seeds_before"] for row in document.get("extended", ())),
        jobs=stored.get("jobs", 1),
    )


def _difference(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> str:
    """Return the first settings in which two documents differ, in words."""
    found: list[str] = []
    for name in [*before, *(name for name in now if name not in before)]:
        a, b = before.get(name), now.get(name)
        if isinstance(a, dict) and isinstance(b, dict) and a != b:
            found.append(_difference(a, b, f"{name}."))
        elif a != b:
            there, here = ("not given" if value is None else value for value in (a, b))
            found.append(f"{prefix}{name}: {there} there, {here} asked for")
    return "; ".join(found[:3])


def write_splits(folder: Path, prepared: Prepared) -> None:
    """Write ``splits.csv``: id, group, and the split of every sample, of several folds in a column each."""
    columns = {"id": prepared.store.index["id"], "group": prepared.split.groups}
    for number, split in enumerate(prepared.splits):
        columns[_column(number, len(prepared.splits))] = split.names()
    frame = pl.DataFrame(columns)
    write_atomic(folder / SPLITS_FILE, lambda temporary: frame.write_csv(temporary))


def read_splits(folder: Path, document: dict[str, Any]) -> tuple[Split, ...]:
    """Return the split, or that of each fold, that ``splits.csv`` holds, checked against the plan's fingerprints."""
    stored = document["splits"]
    columns = [_column(number, len(stored)) for number in range(len(stored))]
    frame = pl.read_csv(folder / SPLITS_FILE, schema_overrides=dict.fromkeys(("id", *columns), pl.String))
    if frame["group"].null_count():
        raise ValueError(f"{SPLITS_FILE} is cut short")
    splits = []
    for column, facts in zip(columns, stored, strict=True):
        names = frame[column].fill_null("").to_numpy()
        rows = {name: np.flatnonzero(names == name) for name in SPLITS}
        split = Split(rows, frame["group"].to_numpy(), facts["rule"], tuple(facts["notes"]), tuple(facts["cautions"]))
        if split.fingerprint() != facts["fingerprint"]:
            raise DataError(f"{folder / SPLITS_FILE} was changed after the study was begun. Put it back as it was.")
        splits.append(split)
    return tuple(splits)


def _column(number: int, folds: int) -> str:
    return f"fold_{number + 1}" if folds > 1 else "split"
