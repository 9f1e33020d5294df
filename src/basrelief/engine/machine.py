"""Where and how exactly a run computes: device, precision, threads. Chosen once, stored, and used again on resuming."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from basrelief.errors import DeviceError, UsageError

PACKAGES = ("basrelief", "torch", "accelerate", "numpy", "scipy", "polars", "pillow", "safetensors")


@dataclass(frozen=True)
class Machine:
    """What bits depend on, beside the seed.

    Attributes
    ----------
    device
        "cpu", "cuda:0", "mps".
    precision
        "fp32", "bf16" or "fp16": the networks' arithmetic; losses and metrics are float32 always.
    channels_last
        Memory format of images and weights.
    threads
        Torch's threads on a CPU, in each process.
    compile
        Whether the network runs through ``torch.compile``.
    processes
        How many processes share each batch.
    """

    device: str
    precision: str
    channels_last: bool
    threads: int
    compile: bool = False
    processes: int = 1

    def accelerator(self, *, unused: bool = False) -> Accelerator:
        """Return accelerate's object for this machine; earlier ones in this process lose their validity.

        ``unused`` says that some weights get no gradient, for which several processes must not wait.
        """
        AcceleratorState._reset_state(reset_partial_state=True)
        if self.device.startswith("cuda"):  # the same kernels at every start, as far as the choice is ours
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
        mixed = "no" if self.precision == "fp32" else self.precision
        one_gpu = self.device if self.device.startswith("cuda") and self.processes == 1 else None
        with _environment("ACCELERATE_TORCH_DEVICE", one_gpu):
            handlers = [DistributedDataParallelKwargs(find_unused_parameters=unused)] if self.processes > 1 else None
            return Accelerator(cpu=self.device == "cpu", mixed_precision=mixed, kwargs_handlers=handlers)


def choose_machine(device: str = "auto", precision: str = "auto", processes: int = 1) -> Machine:
    """Choose where to compute.

    Parameters
    ----------
    device
        "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
    precision
        "auto": bfloat16 where the hardware computes in it, else float32.
    processes
        How many share each batch: on a CPU they share its threads, and of GPUs each takes its own.

    Raises
    ------
    DeviceError
        When a device is asked for that is not there; there is no silent fallback to the CPU.
    """
    name = _device(device)
    kind = name.split(":")[0]
    if precision == "fp16" and kind != "cuda":
        raise DeviceError(f"--precision fp16 needs a CUDA GPU; on {name} use bf16 or fp32.")
    if precision == "auto":
        precision = "bf16" if _computes_bfloat16(kind) else "fp32"
    if kind == "cuda" and processes > torch.cuda.device_count():
        raise DeviceError(f"{processes} processes need as many GPUs, and there are {torch.cuda.device_count()}.")
    if kind == "mps" and processes > 1:
        raise DeviceError("Several processes train on CPUs or CUDA GPUs alone: use --device cpu, or one process.")
    threads = max(1, torch.get_num_threads() // processes)
    return Machine(name, precision, channels_last=kind in ("cpu", "cuda"), threads=threads, processes=processes)


def versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def device_name(machine: Machine) -> str:
    """Return the device in words, for reports."""
    if machine.device.startswith("cuda"):
        return str(torch.cuda.get_device_name(machine.device))
    capabilities = _cpu_capabilities()
    return f"{capabilities.get('cpu_name') or platform.processor() or 'CPU'}, {machine.threads} threads"


def _device(asked: str) -> str:
    kind, _, number = asked.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdigit())):
        raise UsageError(f"--device {asked!r} is not known: use auto, cpu, cuda, cuda:1 or mps.")
    has_cuda = torch.cuda.is_available()
    has_mps = torch.backends.mps.is_available()
    if kind == "cuda":
        if not has_cuda:
            raise DeviceError("--device cuda: torch sees no CUDA GPU here. Use --device cpu, or install a CUDA build.")
        if int(number or 0) >= torch.cuda.device_count():
            raise DeviceError(f"--device {asked}: there are {torch.cuda.device_count()} GPUs, numbered from 0.")
        return f"cuda:{number or 0}"
    if kind == "mps" and not has_mps:
        raise DeviceError("--device mps: torch sees no Apple GPU here. Use --device cpu.")
    if kind == "auto":
        return "cuda:0" if has_cuda else "mps" if has_mps else "cpu"
    return kind


def _computes_bfloat16(kind: str) -> bool:
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these instructions a CPU only imitates bfloat16, more slowly than it computes in float32.
    capabilities = _cpu_capabilities()
    return kind == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _cpu_capabilities() -> dict:
    find = getattr(torch.cpu, "get_capabilities", dict)  # newer than the oldest torch supported
    return dict(find())


@contextlib.contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if value is not None:
            os.environ.pop(name, None) if before is None else os.environ.__setitem__(name, before)
