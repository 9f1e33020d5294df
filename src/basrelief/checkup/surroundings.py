"""What is around Basrelief: processors, memory, disk, limits of the system, a browser, fonts."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")
SHARED = Path("/dev/shm")


def look_around(folder: Path) -> dict[str, Any]:
    """Return facts by name; None where one cannot be told on this system. Sizes are in bytes."""
    return {
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "cores_allowed": _or_none(_cores_allowed),
        "threads": _or_none(_threads),
        "load": _or_none(lambda: os.getloadavg()[0]),
        "memory": _or_none(_memory),
        "memory_available": _or_none(_memory_available),
        "memory_left_in_container": _or_none(_memory_left),
        "folder": str(folder),
        "disk_free": _or_none(lambda: shutil.disk_usage(folder).free),
        "writable": os.access(folder, os.W_OK),
        "open_files": _or_none(_open_files),
        "shared_memory": _or_none(lambda: shutil.disk_usage(SHARED).free) if sys.platform == "linux" else None,
        "browser": _or_none(_browser),
        "fonts": _or_none(_fonts),
    }


def look_at_devices() -> list[dict[str, Any]]:
    """Return a line for each kind of device: its name, memory, whether it may be used, and else why not."""
    try:
        import torch
    except Exception as error:  # told among the packages
        return [{"device": "cpu", "name": _cpu_name(), "memory": None, "usable": False, "why": str(error)}]
    lines = [{"device": "cpu", "name": _cpu_name(), "memory": _or_none(_memory), "usable": True, "why": None}]
    try:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        for number in range(count):
            facts = torch.cuda.get_device_properties(number)
            name, memory = facts.name, facts.total_memory
            lines.append({"device": f"cuda:{number}", "name": name, "memory": memory, "usable": True, "why": None})
        why = None if count else _why_no_cuda(torch.version.cuda)
    except Exception as error:  # a driver may fail in any way
        count, why = 0, f"{type(error).__name__}: {error}"
    if not count:
        lines.append({"device": "cuda", "name": None, "memory": None, "usable": False, "why": why})
    mps = bool(_or_none(torch.backends.mps.is_available))
    if mps or sys.platform == "darwin":
        why = None if mps else "torch sees no Apple GPU"
        lines.append({"device": "mps", "name": "Apple GPU", "memory": None, "usable": mps, "why": why})
    return lines


def _why_no_cuda(built_for: str | None) -> str:
    card = shutil.which("nvidia-smi") is not None
    if built_for is None:
        return "torch is built for CPUs alone" + (", and there is an NVIDIA driver" if card else "")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        return f"CUDA_VISIBLE_DEVICES is {hidden!r}, which hides all others"
    return f"torch, built for CUDA {built_for}, sees no card" + ("; the driver may be too old for it" if card else "")


def _cpu_name() -> str:
    found = _or_none(lambda: Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")) or ""
    names = [line.partition(":")[2].strip() for line in found.splitlines() if line.startswith("model name")]
    return (names or [platform.processor() or platform.machine() or "CPU"])[0]


def _cores_allowed() -> int:
    return len(os.sched_getaffinity(0))


def _threads() -> int:
    from basrelief.engine.machine import available_threads

    return available_threads()


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _memory_available() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _memory_left() -> int | None:
    from basrelief.engine.container import memory_left

    return memory_left()


def _open_files() -> int:
    import resource

    return int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _browser() -> str:
    from basrelief.report.pdf import find_browser

    return str(find_browser())


def _fonts() -> int:
    """Return how many fonts fontconfig knows, which is where browsers and plots look."""
    listed = subprocess.run(["fc-list"], capture_output=True, check=True, timeout=10)
    return len(listed.stdout.splitlines())


def _or_none(find: Callable[[], Value]) -> Value | None:
    try:
        return find()
    except Exception:  # what cannot be told is said so
        return None
