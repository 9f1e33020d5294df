"""What ``gpu.py`` measures, each in a process of its own, so that what fails or takes too long is a line of text."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from bare import BareStep, loss_of, made_batch

import basrelief as br
from basrelief.app import Quiet
from basrelief.config import TrainSettings
from basrelief.engine.machine import choose_machine, device_name
from basrelief.files import read_json

Say = Callable[[dict[str, Any]], None]
MODES = {  # precision, compiled
    "fp32": ("fp32", False),
    "tf32": ("tf32", False),
    "bf16": ("bf16", False),
    "bf16 compiled": ("bf16", True),
}
GAIN = 1.05  # a batch twice as large must be faster by this to be taken
FLAGS = {  # cudnn.benchmark, cudnn.deterministic, use_deterministic_algorithms, fill_uninitialized_memory
    "kernels found by trying (benchmark)": (True, False, False, False),
    "as torch comes": (False, False, False, False),
    "cudnn.deterministic": (False, True, False, False),
    "use_deterministic_algorithms, memory not filled": (False, True, True, False),
    "use_deterministic_algorithms": (False, True, True, True),
}


@dataclass(frozen=True)
class Job:
    """What a process is told; what a kind of job has no use for stays as it is."""

    network: str = ""
    device: str = "cuda"
    seconds: float = 1.0  # to measure each thing for
    sides: tuple[int, ...] = (64,)
    batches: tuple[int, ...] = (512,)  # a side
    modes: tuple[str, ...] = ()
    store: Path = Path()
    split: Path = Path()
    bare_steps: int = 100
    tune: bool = True


def run(work: Callable[[Job, Say], None], job: Job, seconds: float) -> Iterator[dict[str, Any]]:
    """Run a job in a process of its own, and yield what it says while it is at it; at most so many seconds."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:  # the packages are imported once; nothing in there touches the GPU
        multiprocessing.set_forkserver_preload(["torch._dynamo", "basrelief.app", "basrelief.engine.train", "bare"])
    line, other = context.Pipe(duplex=False)
    process = context.Process(target=_guarded, args=(work, job, other))
    deadline = time.monotonic() + seconds
    process.start()
    other.close()
    try:
        while True:
            if not line.poll(max(0.0, deadline - time.monotonic())):
                yield {"error": f"stopped after {seconds:.0f} s, its share of the time"}
                return
            found = line.recv()
            if "end" in found:
                return
            yield found
    except EOFError:
        process.join(10)
        yield {"error": f"its process ended with exit code {process.exitcode}"}
    finally:
        line.close()
        process.join(2)
        if process.is_alive():
            process.kill()
            process.join()


def _guarded(work: Callable[[Job, Say], None], job: Job, line: Connection) -> None:
    try:
        work(job, line.send)
        line.send({"end": True})
    except BaseException as error:
        line.send({"error": _first_line(error)})
        line.send({"end": True})


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:160]


def look(job: Job, say: Say) -> None:
    """Say what the machine is."""
    machine = choose_machine(job.device)
    versions = f"torch {torch.__version__}"
    if job.device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info()
        versions += f", CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        versions += f", {total / 2**30:.0f} GiB, {free / 2**30:.0f} free"
    say({"name": device_name(machine), "versions": versions})


def train_epochs(job: Job, say: Say) -> None:
    """Train two epochs as users do, each followed by bare steps, and say what they took."""
    on_gpu = job.device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    side, batch_size = job.sides[0], job.batches[0]
    # What a probe chooses counts; where the settings have the option, compiled is asked for.
    asked = {"compile": True} if "compile" in TrainSettings.model_fields and on_gpu else {}

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"

        class Turns(Quiet):
            bare: BareStep | None = None
            asked = time.perf_counter()
            ready = 0.0

            def begin(self, title: str, metric: str, steps: int, done: int) -> None:  # noqa: ARG002
                self.ready = time.perf_counter() - self.asked

            def epoch(self, record: Mapping[str, Any]) -> None:
                peak = torch.cuda.max_memory_allocated() if on_gpu and self.bare is None else 0
                machine = read_json(out / "run.json")["machine"]
                found = {name: record[name] for name in ("epoch", "seconds", "images_per_second")}
                say({**found, "peak": peak, "machine": machine, "ready": self.ready})
                if self.bare is None:
                    device = torch.device(machine["device"])
                    self.bare = BareStep(job.network, made_batch(batch_size, side, device), machine)
                say({"bare": self.bare.rate(job.bare_steps)})

        br.train(
            job.store,
            out=out,
            watcher=Turns(),
            network=job.network,
            loss=loss_of(job.network),
            resolution=side,
            batch_size=batch_size,
            epochs=2,
            split=str(job.split),
            augment="none",
            device=job.device,
            precision="bf16" if on_gpu else "auto",
            **asked,
        )


def measure_steps(job: Job, say: Say) -> None:
    """Say the images a second of bare steps, for each mode and size; the batch is tuned in the first mode."""
    sizes = dict(zip(job.sides, job.batches, strict=True))
    torch.backends.cudnn.benchmark = True
    for number, mode in enumerate(job.modes):
        for side in job.sides:
            cell = {"network": job.network, "mode": mode, "side": side}
            try:
                rate, batch = _rate(job, mode, side, sizes[side])
                while job.tune and number == 0 and not MODES[mode][1] and batch < 64 * sizes[side]:
                    try:
                        larger, _ = _rate(job, mode, side, 2 * batch)
                    except torch.OutOfMemoryError:
                        break
                    if larger < GAIN * rate:
                        break
                    rate, batch = larger, 2 * batch
                sizes[side] = batch
                say({**cell, "rate": rate, "batch": batch})
            except Exception as error:
                say({**cell, "failed": _first_line(error)})
            _forget()


def _rate(job: Job, mode: str, side: int, batch: int) -> tuple[float, int]:
    """Return images a second and the batch, halved until it fits in memory."""
    precision, compiled = MODES[mode]
    _use_tf32(precision == "tf32")
    machine = {"device": job.device, "precision": precision, "channels_last": True, "compile": compiled}
    while True:
        step: BareStep | None = None
        try:
            step = BareStep(job.network, made_batch(batch, side, torch.device(job.device)), machine)
            short = step.rate(2)
            return step.rate(max(3, round(job.seconds * short / batch))), batch
        except torch.OutOfMemoryError:
            if batch == 1 or compiled:
                raise
            batch //= 2
        finally:
            del step
            _forget()


def compare_flags(job: Job, say: Say) -> None:
    """Say what each way of choosing kernels makes of the same steps; they take turns three times."""
    side, batch = job.sides[0], job.batches[0]
    machine = {"device": job.device, "precision": "bf16", "channels_last": True, "compile": False}
    step = BareStep(job.network, made_batch(batch, side, torch.device(job.device)), machine)
    rates: dict[str, list[float]] = {name: [] for name in FLAGS}
    failed: dict[str, str] = {}
    for _ in range(3):
        for name, flags in FLAGS.items():
            if name in failed:
                continue
            _set(flags)
            try:
                short = step.rate(2)
                rates[name].append(step.rate(max(3, round(job.seconds * short / batch))))
            except Exception as error:
                failed[name] = _first_line(error)
    for name, found in rates.items():
        cell = {"network": job.network, "flags": name}
        say({**cell, "failed": failed[name]} if name in failed else {**cell, "rate": statistics.median(found)})


def _set(flags: tuple[bool, bool, bool, bool]) -> None:
    tries, deterministic, exact, fills = flags
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # asked for by the exact ones; read when cuBLAS starts
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = tries, deterministic
    torch.use_deterministic_algorithms(exact)
    torch.utils.deterministic.fill_uninitialized_memory = fills


def _use_tf32(wanted: bool) -> None:
    if hasattr(torch.backends, "fp32_precision"):
        torch.backends.fp32_precision = "tf32" if wanted else "ieee"
    else:  # before torch 2.9
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = wanted


def _forget() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
