"""A training that was stopped anywhere ends as if it never had been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from basrelief.config import WatchSettings
from basrelief.data import open_source
from basrelief.data.pack import pack
from basrelief.data.source import DataOptions
from basrelief.data.splits import Split, split_store
from basrelief.data.store import Store, open_store
from basrelief.engine.checkpoint import BEFORE, BEST, LAST, load_checkpoint
from basrelief.engine.train import train_run
from basrelief.errors import DataError
from training import StopAfter, StopError, history, plan, same, weights

EVERY_STEP = WatchSettings(checkpoint_every=0)
STAGES = "16:8x1,32:5x2"
COURSES: dict[str, dict[str, Any]] = {
    "dropout and augmentation": {"augment": "flip + rotate + noise", "optimizer": "adam"},
    "average of weights": {"ema": 0.9, "schedule": "cosine(warmup=0.2)"},
    "parts of batches, clipped": {"accumulate": 2, "clip": 0.5, "optimizer": "sgd"},
    "plateau": {"schedule": "plateau(patience=0, factor=0.5)", "weight_decay": 0.1},
    "stages": {"resolution": STAGES, "schedule": "one-cycle"},
    "balance": {"loss": "balance(bce(mask) + dice(mask), batches=3, every=4)"},
    "uncertainty": {"loss": "uncertainty(bce(mask) + dice(mask))"},
    "bfloat16": {"machine": ("cpu", "bf16"), "network": "resunet"},
}


@pytest.fixture(scope="module")
def split(scenes_store: Store) -> Split:
    return split_store(scenes_store.index, DataOptions())


@pytest.fixture(scope="module")
def smaller(scenes_store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Store]:
    source = open_source("scenes:24", DataOptions(resolution=(16, 16)))
    return {(16, 16): pack(source, source.entries, tmp_path_factory.mktemp("small") / "s", (16, 16), key="test")}


def course(name: str) -> Any:
    asked = dict(COURSES[name])
    if asked.get("resolution") == STAGES:
        return plan(**asked, epochs=None, batch_size=None)
    return plan(**{"epochs": 3, **asked})


@pytest.mark.parametrize("steps", [1, 3, 5, 8])
@pytest.mark.parametrize("name", COURSES)
def test_resume_in_the_middle_of_an_epoch_ends_in_the_same_bits(
    scenes_store: Store,
    split: Split,
    smaller: dict[tuple[int, int], Store],
    tmp_path: Path,
    finished: dict[str, Path],
    name: str,
    steps: int,
) -> None:
    cut = tmp_path / "cut"
    with pytest.raises(StopError):
        train_run(
            cut,
            course(name),
            scenes_store,
            split,
            smaller=smaller,
            watch=EVERY_STEP,
            watcher=StopAfter(0, steps),
        )
    torch.rand(100)  # the global generator is elsewhere by now
    changed = WatchSettings(checkpoint_every=1e9, workers=2)  # what may change does not matter
    resumed = train_run(cut, course(name), scenes_store, split, smaller=smaller, watch=changed)
    whole = finished[name]
    assert same(weights(whole), weights(cut))
    assert same(weights(whole, "last"), weights(cut, "last"))
    assert history(whole).equals(history(cut))
    assert resumed["metrics"] == load_metrics(whole)


@pytest.fixture(scope="module")
def finished(
    scenes_store: Store,
    split: Split,
    smaller: dict[tuple[int, int], Store],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """The runs that nothing stopped."""
    home = tmp_path_factory.mktemp("finished")
    for name in COURSES:
        train_run(home / name, course(name), scenes_store, split, smaller=smaller)
    return {name: home / name for name in COURSES}


def load_metrics(folder: Path) -> Any:
    from basrelief.files import read_json

    return read_json(folder / "run.json")["metrics"]


def test_resume_loses_no_more_than_the_work_since_the_last_checkpoint(
    scenes_store: Store, split: Split, tmp_path: Path
) -> None:
    with pytest.raises(StopError):
        train_run(tmp_path, plan(), scenes_store, split, watch=EVERY_STEP, watcher=StopAfter(0, 2))
    facts = load_checkpoint(tmp_path / LAST).facts
    assert (facts["epoch"], facts["batch"], facts["step"]) == (0, 1, 1)
    assert load_checkpoint(tmp_path / LAST).optimizer


@pytest.mark.parametrize("damage", ["cut short", "zeros", "empty", "gone"])
def test_resume_from_the_checkpoint_before_a_damaged_one(
    scenes_store: Store, split: Split, tmp_path: Path, finished: dict[str, Path], damage: str
) -> None:
    asked = course("average of weights")
    with pytest.raises(StopError):
        train_run(tmp_path, asked, scenes_store, split, watch=EVERY_STEP, watcher=StopAfter(0, 4))
    last = tmp_path / LAST
    content = last.read_bytes()
    if damage == "gone":
        last.unlink()
    else:
        half = len(content) // 2
        last.write_bytes({"cut short": content[:-100], "zeros": content[:half] + bytes(half), "empty": b""}[damage])
    assert load_checkpoint(tmp_path / BEFORE).facts["step"] == 2
    seen = StopAfter(10**6)
    begun: list[int] = []
    seen.begin = lambda title, metric, steps, done: begun.append(done)  # type: ignore[method-assign]
    train_run(tmp_path, asked, scenes_store, split, watcher=seen)
    assert begun == [2]
    assert same(weights(finished["average of weights"]), weights(tmp_path))


def test_a_run_whose_best_checkpoint_is_gone_makes_it_again(scenes_store: Store, split: Split, tmp_path: Path) -> None:
    first = train_run(tmp_path / "run", plan(epochs=1), scenes_store, split)
    kept = weights(tmp_path / "run")
    (tmp_path / "run" / BEST).unlink()
    again = train_run(tmp_path / "run", plan(epochs=1), scenes_store, split)
    assert again["metrics"] == first["metrics"]
    assert same(weights(tmp_path / "run"), kept)


def test_the_best_checkpoint_in_place_of_the_last_is_refused_in_words(
    scenes_store: Store, split: Split, tmp_path: Path
) -> None:
    """As somebody may copy it who has lost the last one."""
    with pytest.raises(StopError):
        train_run(tmp_path / "run", plan(), scenes_store, split, watcher=StopAfter(1))
    (tmp_path / "run" / LAST).write_bytes((tmp_path / "run" / BEST).read_bytes())
    with pytest.raises(DataError, match="is no checkpoint that a run goes on from"):
        train_run(tmp_path / "run", plan(), scenes_store, split)


def test_a_full_disk_leaves_the_last_good_checkpoint(
    scenes_store: Store, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from basrelief.engine import checkpoint
    from basrelief.errors import OutputError

    written = 0
    save = checkpoint.save_file

    def full(*arguments: Any) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise OSError(28, "No space left on device")
        save(*arguments)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OutputError, match="No space left to write"):
        train_run(tmp_path, plan(), scenes_store, split, watch=EVERY_STEP)
    assert load_checkpoint(tmp_path / LAST).facts["step"] == 2
    assert load_checkpoint(tmp_path / BEFORE).facts["step"] == 1
    monkeypatch.setattr(checkpoint, "save_file", save)
    assert train_run(tmp_path, plan(), scenes_store, split)["status"] == "finished"


TRAIN_FOR_EVER = """
import sys
from pathlib import Path
from basrelief.config import WatchSettings
from basrelief.data.source import DataOptions
from basrelief.data.splits import split_store
from basrelief.data.store import open_store
from basrelief.engine.train import train_run
from training import plan
store = open_store(Path(sys.argv[1]))
asked = plan("bce(mask) + dice(mask)", epochs=6, ema=0.9, augment="flip + noise", batch_size=3, schedule="one-cycle")
print("starting", flush=True)
watch = WatchSettings(checkpoint_every=0)
train_run(Path(sys.argv[2]), asked, store, split_store(store.index, DataOptions()), watch=watch)
"""


def start(store: Store, folder: Path) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN_FOR_EVER, str(store.path), str(folder)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_and_resume(store: Store, folder: Path, number: int, kind: signal.Signals, longest: float) -> bool:
    """Start, kill after a random while, and go on until it is finished; tell whether anything was killed."""
    process = start(store, folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "starting\n"
    killed = False
    try:
        process.wait(random.Random(number).uniform(0, longest))
    except subprocess.TimeoutExpired:
        process.send_signal(kind)
        killed = True
    process.communicate()
    if killed:
        process = start(store, folder)
        process.communicate()
        assert process.returncode == 0
    return killed


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_it_ends_in_the_same_weights(
    scenes_store: Store, tmp_path: Path, times: int
) -> None:
    store = open_store(scenes_store.path)
    process = start(store, tmp_path / "whole")
    assert process.stdout is not None
    process.stdout.readline()
    begun = time.monotonic()
    process.communicate()
    assert process.returncode == 0
    length = time.monotonic() - begun
    killed = 0
    for number in range(times):
        kind = (signal.SIGKILL, signal.SIGTERM)[number % 2]
        killed += kill_and_resume(store, tmp_path / str(number), number, kind, length)
        assert same(weights(tmp_path / "whole"), weights(tmp_path / str(number)))
        assert same(weights(tmp_path / "whole", "last"), weights(tmp_path / str(number), "last"))
    assert killed >= times // 2
