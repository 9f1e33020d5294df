"""Several processes train one network: real ones, two on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from basrelief.config import TrainSettings
from basrelief.data.loader import Loader
from basrelief.data.source import DataOptions
from basrelief.data.splits import split_store
from basrelief.data.store import Store
from basrelief.engine import processes
from basrelief.engine.evaluate import evaluate, forward
from basrelief.engine.machine import choose_machine
from basrelief.engine.optimize import freeze
from basrelief.engine.run_plan import RunPlan, build_model
from basrelief.errors import DeviceError
from basrelief.launch import _free_port
from basrelief.losses.expression import parse_loss
from training import history, same, weights

TWO = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
LOSS = "bce(mask) + 2*dice(mask)"
NETWORK = "masknet"

GRADIENTS = """
import sys
from pathlib import Path
import numpy as np, torch
from basrelief.config import TrainSettings
from basrelief.data.loader import Loader
from basrelief.data.source import DataOptions
from basrelief.data.splits import split_store
from basrelief.data.store import open_store
from basrelief.engine import processes
from basrelief.engine.evaluate import evaluate, forward
from basrelief.engine.machine import choose_machine
from basrelief.engine.optimize import freeze
from basrelief.engine.run_plan import RunPlan, build_model
from basrelief.losses.expression import parse_loss
store = open_store(Path(sys.argv[1]))
split = split_store(store.index, DataOptions())
settings = TrainSettings(network="masknet", resolution=(32, 32), epochs=1, batch_size=7, metric="mask/iou")
with processes.joined("cpu"):
    machine = choose_machine("cpu", "fp32", processes=2)
    plan = RunPlan(settings, sys.argv[3], 0, ("mask",), True, machine)
    model = build_model(plan, store).train()
    freeze(model, ("norms",))
    accelerator = machine.accelerator()
    loss = parse_loss(plan.loss)
    network = accelerator.prepare(model)
    loader = Loader(store, split.rows["train"], 7, torch.device("cpu"), targets=("mask",), background=True)
    rows, batch = next(loader.part(processes.number(), 2).epoch(0, 0))
    value = loss(forward(network, batch), batch)
    accelerator.backward(value.total * (batch.size * 2 / len(rows)))
    rows, scores = evaluate(model, loader.serving(split.rows["test"]), {})
    if processes.is_first():
        grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found = {"grads": grads, "rows": torch.from_numpy(rows), "iou": torch.from_numpy(scores["mask/iou"])}
        torch.save(found, sys.argv[2])
"""


def run_two(command: list[str], folder: Path) -> list[subprocess.Popen[str]]:
    shared = {**TWO, "MASTER_PORT": str(_free_port())}
    return [
        subprocess.Popen(
            command,
            env={**shared, "RANK": str(number), "LOCAL_RANK": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        for number in range(2)
    ]


def test_gradients_and_metrics_of_two_processes_are_those_of_one(scenes_store: Store, tmp_path: Path) -> None:
    """With statistics of normalisations frozen, for a batch of 7 that two processes share as 4 and 3."""
    found = tmp_path / "found.pt"
    started = run_two([sys.executable, "-c", GRADIENTS, str(scenes_store.path), str(found), LOSS], tmp_path)
    for process in started:
        _, said = process.communicate()
        assert process.returncode == 0, said
    theirs = torch.load(found, weights_only=True)

    split = split_store(scenes_store.index, DataOptions())
    settings = TrainSettings(network=NETWORK, resolution=(32, 32), epochs=1, batch_size=7, metric="mask/iou")
    model = build_model(RunPlan(settings, LOSS, 0, ("mask",), True, choose_machine("cpu", "fp32")), scenes_store)
    freeze(model.train(), ("norms",))
    cpu = torch.device("cpu")
    loader = Loader(scenes_store, split.rows["train"], 7, cpu, targets=("mask",), background=True)
    _, batch = next(loader.epoch(0, 0))
    assert batch.size in (6, 7)
    parse_loss(LOSS)(forward(model, batch), batch).total.backward()
    ours = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs["grads"].keys()
    for name, gradient in ours.items():
        assert torch.allclose(gradient, theirs["grads"][name], rtol=1e-4, atol=1e-6), name
    rows, scores = evaluate(model, loader.serving(split.rows["test"]), {})
    assert np.array_equal(rows, theirs["rows"])
    assert scores["mask/iou"] == pytest.approx(theirs["iou"].numpy(), nan_ok=True)


COMMAND = [
    "train",
    "scenes:24",
    "--network",
    "munet(blocks=8)",
    "--resolution",
    "16",
    "--epochs",
    "3",
    "--precision",
    "fp32",
]
LOSSES = "balance(bce(mask) + dice(mask)) + rmse(depth)"
OPTIONS = ["--loss", LOSSES, "--batch-size", "6", "--ema", "0.9", "--device", "cpu", "--threads", "1"]
UNSET = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}


def basrelief(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "basrelief.cli", *COMMAND, *OPTIONS, *arguments]


def test_processes_leave_one_run_and_resume_in_the_same_bits(tmp_path: Path) -> None:
    """By --processes and by a launcher's environment, killed on the way: one document, equal weights.

    Threads are those of the plan, whatever the environment says of them.
    """
    command = basrelief("--processes", "2", "--out", "whole", "--json")
    whole = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=UNSET)
    assert whole.returncode == 0, whole.stderr
    assert "Warning" not in whole.stderr
    document = json.loads(whole.stdout)
    assert document["machine"]["processes"] == 2
    assert document["samples"]["train"] == 16
    started = run_two(basrelief("--out", "cut", "--json", "--checkpoint-every", "0"), tmp_path)
    until = time.monotonic() + 120
    while not (tmp_path / "cut" / "before.safetensors").exists() and time.monotonic() < until:
        assert started[0].poll() is None, started[0].communicate()
        time.sleep(0.01)
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    started = run_two(basrelief("--out", "cut", "--json"), tmp_path)
    said = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert said[1][0] == ""
    assert json.loads(said[0][0])["metrics"] == document["metrics"]
    assert same(weights(tmp_path / "whole", "last"), weights(tmp_path / "cut", "last"))
    assert history(tmp_path / "whole").equals(history(tmp_path / "cut"))  # judged by the average, in both processes


def test_an_error_of_processes_is_one_message(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "basrelief.cli", "train", "nowhere", "--processes", "2", "--out", "run"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 1
    assert found.stderr.count("nowhere") == 1
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (signal.SIGKILL, "was ended by signal 9, most likely for lack of memory"),
        (signal.SIGTERM, ""),
        (None, ""),
    ],
)
def test_a_process_that_is_killed_is_said_and_no_traceback_is_shown(
    tmp_path: Path, kind: signal.Signals | None, said: str
) -> None:
    """One of two workers is killed; the command is asked to end; or it is killed. None leaves a process behind."""
    asked = basrelief("--processes", "2", "--out", "run", "--checkpoint-every", "0", "--epochs", "500")
    started = subprocess.Popen(asked, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    until = time.monotonic() + 120
    while not (tmp_path / "run" / "before.safetensors").exists() and time.monotonic() < until:
        assert started.poll() is None, started.communicate()
        time.sleep(0.05)
    workers = [child for child in psutil.Process(started.pid).children() if "basrelief.worker" in child.cmdline()]
    assert len(workers) == 2
    if kind is None:
        started.kill()
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive  # they would hold the folder against the same command
        started.communicate()
        return
    (workers[1] if kind == signal.SIGKILL else started).send_signal(kind)
    _, error = started.communicate(timeout=120)
    assert started.returncode == 1
    assert said in error
    assert "goes on from" in error
    assert "Traceback" not in error
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


@pytest.mark.parametrize("name", ["study", "lr-range"])
def test_what_has_one_process_refuses_a_launcher(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "basrelief.cli", name, "scenes:24", "--out", "s"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=TWO | {"RANK": "0"})
    assert found.returncode == 2
    assert "one process" in found.stderr
    assert not (tmp_path / "s").exists()


def test_equal_values_of_three_processes_keep_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 three times this number is rounded, and a third of that is another one."""
    monkeypatch.setattr(processes, "count", lambda: 3)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(3))
    value = torch.tensor([1.5 + 2 * 2**-23])
    kept = value.clone()
    processes.average([kept])
    assert torch.equal(kept, value)


@pytest.mark.parametrize(("device", "found"), [("auto", 2), ("cuda", 2), ("cuda:1", 2), ("cpu", 0)])
def test_processes_talk_by_the_gpus_way_wherever_they_train_on_gpus(
    monkeypatch: pytest.MonkeyPatch, device: str, found: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert processes.gpus(device) == found


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_processes_that_lack_their_gpus_say_so(tmp_path: Path) -> None:
    command = basrelief("--processes", "2", "--out", "run", "--device", "cuda")
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 1
    assert "--device cuda: torch sees no CUDA GPU here" in found.stderr
    assert "Traceback" not in found.stderr


def test_gpus_that_are_not_there_are_an_error() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no CUDA GPU"):
            choose_machine("cuda", processes=2)
    assert choose_machine("cpu", processes=2).threads == max(1, torch.get_num_threads() // 2)
