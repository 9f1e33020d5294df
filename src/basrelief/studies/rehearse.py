"""Short trainings and a small packing that tell what a study will cost on this machine; all they make is removed."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.config import WatchSettings
from basrelief.data import open_source
from basrelief.data.pack import pack
from basrelief.data.source import DataOptions, Source
from basrelief.data.splits import Split, spread_out
from basrelief.data.store import Store
from basrelief.engine.bare_step import BareSteps, as_found
from basrelief.engine.run_plan import RunPlan
from basrelief.engine.train import train_run
from basrelief.engine.watcher import Silent
from basrelief.errors import DataError, TrainingError
from basrelief.parallel import cores
from basrelief.studies.costs import Cost
from basrelief.studies.plan import StudyPlan, Trial

FOLDER = ".rehearsal"  # in the study's folder; hidden files there are nobody's
RATE = 1e-6  # trained at: time does not depend on it, and no loss breaks
ROUNDS, EPOCHS = 2, 3  # of which the first epoch warms up
SAMPLES = 24  # packed to see how long that takes


@dataclasses.dataclass(frozen=True)
class Survey:
    """What is known before packing.

    Attributes
    ----------
    pack
        Seconds that packing all takes, at the highest resolution.
    steps
        Resolution -> seconds of one training step of each loss or level.
    """

    pack: float
    steps: Mapping[tuple[int, int], Mapping[str, float]]


class _Stopwatch(Silent):
    """Notes when training begins and each epoch ends, and the seconds of the epochs' steps."""

    def __init__(self) -> None:
        self.made = time.perf_counter()
        self.begun = self.made
        self.ends: list[float] = []
        self.steps: list[float] = []

    def begin(self, title: str, metric: str, steps: int, done: int) -> None:  # noqa: ARG002
        """Note when the first step is about to be made."""
        self.begun = time.perf_counter()

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Note an epoch."""
        self.ends.append(time.perf_counter())
        self.steps.append(float(record["seconds"]))


def measure_costs(
    folder: Path,
    trials: Mapping[str, tuple[RunPlan, Split]],
    store: Store,
    judged: str,
    watch: WatchSettings,
    seconds: float,
) -> dict[str, Cost]:
    """Train each loss or level for some steps, in turns, and return what a training of it costs.

    They are trainings as the study's own are, with validation, checkpoints and scores, on as many of the samples as
    ``seconds`` allow; what they take is scaled to all of them.

    Parameters
    ----------
    folder
        Of the study.
    trials
        Name -> its training, and the split that it uses.
    judged
        The target that the metric judges, "mask" or "depth".
    watch
        As the study's trials have it.
    seconds
        What measuring may take, about.
    """
    watch = watch.model_copy(update={"tracker": ("tensorboard",) if "tensorboard" in watch.tracker else ("none",)})
    costs: dict[str, Cost] = {}
    failed: TrainingError | None = None
    with _scratch(folder) as place:
        runs: dict[str, list[Cost]] = {}
        began = time.perf_counter()
        steps: dict[str, float] = {}
        for number, (name, (plan, split)) in enumerate(trials.items()):
            try:
                warm = _train(place / f"{number}-warm", plan, split, store, judged, watch, batches=2, epochs=2)
            except TrainingError as error:  # which the trial itself will say, and which costs little
                failed = error
                continue
            steps[name] = warm.train / warm.steps
            runs[name] = []
        if not runs:
            assert failed is not None
            raise failed
        left = max(0.0, seconds - (time.perf_counter() - began))
        batches = max(2, int(left / (ROUNDS * EPOCHS * sum(steps.values()))))
        for turn in range(ROUNDS):
            for number, (name, (plan, split)) in enumerate(trials.items()):
                if name in runs:
                    at = place / f"{number}-{turn}"
                    runs[name].append(_train(at, plan, split, store, judged, watch, batches=batches, epochs=EPOCHS))
        costs = {name: _middle(found) for name, found in runs.items()}
    dearest = max(costs.values(), key=lambda cost: cost.trial(1))
    return {name: costs.get(name, dearest) for name in trials}


def survey(
    folder: Path, source: Source, plan: StudyPlan, options: DataOptions, resolutions: Sequence[tuple[int, int]]
) -> Survey | None:
    """Pack a few samples, and make a few steps on them at each resolution; None where they cannot be packed."""
    entries = spread_out(plan.entries, SAMPLES)
    steps: dict[tuple[int, int], dict[str, float]] = {}
    packing = 0.0
    with _scratch(folder) as place:
        for resolution in resolutions:
            here, chosen = source, entries
            if not entries[0].planes:  # generated at the resolution asked for
                here = open_source(source.location, dataclasses.replace(options, resolution=resolution))
                chosen = spread_out(here.entries, SAMPLES)
            at = place / f"{resolution[0]}x{resolution[1]}"
            started = time.perf_counter()
            try:
                store = pack(here, chosen, at, resolution, key="survey", jobs=1, skip_broken=True)
            except DataError:
                return None  # packing itself says what is wrong
            each = (time.perf_counter() - started) / len(chosen)
            packing = max(packing, each * len(plan.entries) / cores())
            steps[resolution] = {name: _bare(plan, plan.trial(name), resolution, store) for name in plan.losses}
    return Survey(packing, steps)


def _bare(plan: StudyPlan, trial: Trial, resolution: tuple[int, int], store: Store) -> float:
    settings = plan.train.model_copy(update={**trial.changes, "resolution": resolution})
    settings = settings.model_copy(update={"lr": RATE, "batch_size": settings.batch_size or SAMPLES})
    run = RunPlan(settings, trial.expression, trial.seed, plan.heads, plan.background, plan.machine)
    with as_found(plan.machine.device):
        bare = BareSteps(run, store, np.arange(store.facts.count))
        return min([bare.seconds(plan.machine, settings.batch_size) for _ in range(4)][1:])


def _train(
    place: Path,
    plan: RunPlan,
    split: Split,
    store: Store,
    judged: str,
    watch: WatchSettings,
    *,
    batches: int,
    epochs: int,
) -> Cost:
    """Train on so many batches an epoch, and return the cost scaled to all samples."""
    size, every = plan.settings.batch_size, {name: len(rows) for name, rows in split.rows.items()}
    share = min(1.0, batches * size / every["train"])
    known = store.index[judged].to_numpy()
    rows = {"train": _some(split.rows["train"], round(share * every["train"]))}
    for name in ("val", "test"):
        judgeable = split.rows[name] if share == 1 else split.rows[name][known[split.rows[name]].astype(bool)]
        rows[name] = _some(judgeable, max(1, round(share * every[name])))
    plan = dataclasses.replace(plan, settings=plan.settings.model_copy(update={"epochs": epochs, "lr": RATE}))
    watcher = _Stopwatch()
    train_run(place, plan, store, dataclasses.replace(split, rows=rows), watch=watch, draw=False, watcher=watcher)
    ended = time.perf_counter()
    gaps = np.diff([watcher.begun, *watcher.ends])
    train = statistics.median(watcher.steps[1:])
    validate = max(0.0, statistics.median(gaps[1:] - np.array(watcher.steps[1:])))
    steps, made = -(-every["train"] // size), -(-len(rows["train"]) // size)
    scored = (every["val"] + every["test"]) / max(1, len(rows["val"]) + len(rows["test"]))
    return Cost(
        start=watcher.begun - watcher.made + max(0.0, watcher.steps[0] - train),  # such as compiling
        train=train * steps / made,
        validate=validate * every["val"] / max(1, len(rows["val"])),
        finish=(ended - watcher.ends[-1]) * scored,
        steps=steps,
    )


def _some(rows: np.ndarray, count: int) -> np.ndarray:
    """Return so many of the rows, evenly spread."""
    count = min(count, len(rows))
    return rows[np.linspace(0, len(rows) - 1, count).astype(int)] if count else rows


def _middle(costs: Sequence[Cost]) -> Cost:
    """Return the median of each part."""
    parts = {
        field: statistics.median(getattr(cost, field) for cost in costs)
        for field in ("start", "train", "validate", "finish")
    }
    return Cost(**parts, steps=costs[0].steps)


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Make a folder for what is thrown away; what a killed start left there goes first."""
    place = folder / FOLDER
    shutil.rmtree(place, ignore_errors=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
