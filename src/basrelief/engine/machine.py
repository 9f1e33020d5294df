"""Where and how exactly a run computes: device, precision, threads. Chosen once, stored, and used again on resuming."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn

from basrelief.engine.container import cpu_quota
from basrelief.errors import DeviceError, UsageError

PACKAGES = ("basrelief", "torch", "accelerate", "numpy", "scipy", "polars", "pillow", "safetensors")
AMPERE = (8, 0)  # the first CUDA capability whose cards compute in TF32


@dataclass(frozen=True)
class Machine:
    """What bits depend on, beside the seed.

    Attributes
    ----------
    device
        "cpu", "cuda:0", "mps".
    precision
        "fp32", "tf32", "bf16" or "fp16": the networks' arithmetic; losses and metrics are float32 always. "tf32" rounds
        the factors of products to 10 bits of mantissa, on CUDA GPUs; "fp32" never does.
    channels_last
        Memory format of images and weights.
    threads
        Torch's threads on a CPU, in each process.
    compile
        Whether the network runs through ``torch.compile``; ``prepare_model`` sees to it.
    processes
        How many processes share each batch.
    deterministic
        Whether a GPU computes the same bits at every start, at some cost. A CPU always does.
    """

    device: str
    precision: str
    channels_last: bool
    threads: int
    compile: bool = False
    processes: int = 1
    deterministic: bool = False

    def accelerator(self, *, unused: bool = False) -> Accelerator:
        """Return accelerate's object for this machine; earlier ones in this process lose their validity.

        ``unused`` says that some weights get no gradient, for which several processes must not wait.
        """
        AcceleratorState._reset_state(reset_partial_state=True)
        if self.device.startswith("cuda"):
            self.set_determinism()
        self.set_tf32()
        mixed = self.precision if self.precision in ("bf16", "fp16") else "no"
        one_gpu = self.device if self.device.startswith("cuda") and self.processes == 1 else None
        # Without this variable accelerate gives each of several processes as many threads as there are cores.
        threads = str(self.threads) if self.processes > 1 and self.device == "cpu" else None
        with _environment("ACCELERATE_TORCH_DEVICE", one_gpu), _environment("OMP_NUM_THREADS", threads):
            handlers = [DistributedDataParallelKwargs(find_unused_parameters=unused)] if self.processes > 1 else None
            return Accelerator(cpu=self.device == "cpu", mixed_precision=mixed, kwargs_handlers=handlers)

    def set_determinism(self) -> None:
        """Let a GPU use only kernels that add in a fixed order, or let cuDNN try which are fastest."""
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which cuBLAS needs for a fixed order
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = not self.deterministic, self.deterministic
        torch.use_deterministic_algorithms(self.deterministic)

    def set_tf32(self) -> None:
        """Let float32 products on GPUs be rounded to TF32, or not; torch by itself rounds those of convolutions."""
        tf32 = self.precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32

    def __str__(self) -> str:
        words = [self.device, self.precision, "channels last" if self.channels_last else "contiguous"]
        if self.device == "cpu":
            words.append(f"{self.threads} thread{'' if self.threads == 1 else 's'}")
        if self.processes > 1:
            words.append(f"in each of {self.processes} processes")
        return ", ".join([*words, *(["compiled"] if self.compile else [])])


def choose_machine(
    device: str = "auto",
    precision: str = "auto",
    *,
    threads: int | None = None,
    compile: bool | None = None,
    processes: int = 1,
    deterministic: bool = False,
) -> Machine:
    """Choose where and how to compute, by rule; ``probe_machine`` looks for something faster.

    Parameters
    ----------
    device
        "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
    precision
        "auto": bfloat16 where the hardware computes in it, else float32.
    threads
        Torch's threads on a CPU; in each process; None: as many as may be used.
    compile
        Whether to use ``torch.compile``; None: no.
    processes
        How many share each batch: on a CPU they share its threads, of GPUs each takes its own.
    deterministic
        Whether a GPU is to compute the same bits at every start.

    Raises
    ------
    DeviceError
        When a device, precision or compiler is asked for that is not there; there is no silent fallback.
    """
    name = _device(device)
    kind = name.split(":")[0]
    if precision in ("fp16", "tf32") and kind != "cuda":
        instead = "bf16 or fp32" if kind == "cpu" else "fp32"
        raise DeviceError(f"--precision {precision} needs a CUDA GPU; on {name} use {instead}.")
    if precision == "tf32" and torch.cuda.get_device_capability(name) < AMPERE:
        raise DeviceError(f"--precision tf32: {torch.cuda.get_device_name(name)} has no TF32. Use fp32 or fp16.")
    if compile and (problem := why_not_compiled(kind)):
        raise DeviceError(f"--compile: {problem}, or leave --compile out.")
    if precision == "auto":
        precision = "bf16" if computes_bfloat16(kind) else "fp32"
    if kind == "cuda" and processes > torch.cuda.device_count():
        raise DeviceError(
            f"{processes} processes need as many GPUs, and there are {torch.cuda.device_count()}. Give fewer."
        )
    if kind == "mps" and processes > 1:
        raise DeviceError("Several processes train on CPUs or CUDA GPUs alone: use --device cpu, or one process.")
    return Machine(
        name,
        precision,
        channels_last=kind in ("cpu", "cuda"),
        threads=threads or max(1, available_threads() // processes),
        compile=bool(compile),
        processes=processes,
        deterministic=deterministic,
    )


def prepare_model(model: nn.Module, machine: Machine) -> nn.Module:
    """Bring a network, on its device already, into the machine's memory format, and compile it where it says so.

    The module itself is changed and returned; its weights keep their names. Loaders give images whose channels lie
    last, and torch's convolutions follow their input, so a contiguous network turns its input round first.
    """
    if machine.channels_last:
        model = model.to(memory_format=torch.channels_last)
    else:
        model.register_forward_pre_hook(_contiguous)
    if machine.compile:
        model.compile()
    return model


def _contiguous(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.contiguous() if isinstance(value, torch.Tensor) else value for value in inputs)


def available_threads() -> int:
    """Return how many threads are of use: at most torch's own choice, the CPUs allowed, and a container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return max(1, min(torch.get_num_threads(), allowed, int(quota) if quota else allowed))


def why_not_compiled(kind: str) -> str | None:
    """Return what keeps ``torch.compile`` from working on this kind of device, with what to do; None: nothing known."""
    if kind == "cpu":
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        found = shutil.which(compiler.split()[0]) if compiler.split() else None
        return (
            None if found else f"torch compiles for CPUs with a C++ compiler, and {compiler!r} is not here. Install it"
        )
    if kind == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "torch compiles for GPUs with the package 'triton', which is not here. Install it"
        compilers = [os.environ.get("CC", ""), "gcc", "clang", "cc"]
        if not any(shutil.which(name) for name in compilers if name):
            return "torch compiles for GPUs with triton, which needs a C compiler. Install gcc"
        return None
    return f"{kind} is not compiled for. Use --device cpu or cuda"


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
    numbered = ":" in asked
    if kind not in ("auto", "cpu", "cuda", "mps") or (numbered and not (kind == "cuda" and _is_number(number))):
        raise UsageError(f"--device {asked!r} is not known: use auto, cpu, cuda, cuda:1 or mps.")
    has_cuda = torch.cuda.is_available()
    has_mps = torch.backends.mps.is_available()
    if kind == "cuda":
        if not has_cuda:
            hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
            why = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES is {hidden!r}, which hides all others)"
            raise DeviceError(
                f"--device {asked}: torch sees no CUDA GPU here{why}. Use --device cpu, or install a CUDA build."
            )
        count = torch.cuda.device_count()
        if int(number or 0) >= count:
            there = "there is 1 GPU, cuda:0" if count == 1 else f"there are {count} GPUs, cuda:0 to cuda:{count - 1}"
            raise DeviceError(f"--device {asked}: {there}.")
        return f"cuda:{int(number or 0)}"
    if kind == "mps" and not has_mps:
        raise DeviceError("--device mps: torch sees no Apple GPU here. Use --device cpu.")
    if kind == "auto":
        return "cuda:0" if has_cuda else "mps" if has_mps else "cpu"
    return kind


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def computes_bfloat16(kind: str) -> bool:
    """Return whether devices of this kind compute in bfloat16 here, rather than imitate it."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these instructions a CPU only imitates bfloat16, more slowly than it computes in float32.
    capabilities = _cpu_capabilities()
    older = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)  # of versions without get_capabilities
    return kind == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or older())


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
