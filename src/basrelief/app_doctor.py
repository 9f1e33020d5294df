"""Whether Basrelief can work here: what is installed, what the machine has, how fast it is, and what is missing."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from basrelief.checkup.packages import check_core, check_extras
from basrelief.checkup.speeds import measure_speeds
from basrelief.checkup.surroundings import look_around, look_at_devices

OLDEST = (3, 11)  # Python
LITTLE_MEMORY = 2e9
LITTLE_DISK = 2e9
FEW_FILES = 1024
LITTLE_SHARED = 64e6
BUSY = 1.5  # processes that want to run, for each core


def doctor(*, speeds: bool = True, folder: Path | None = None) -> dict[str, Any]:
    """Look whether Basrelief can work here; nothing is written but one temporary file, and that only for speeds.

    Parameters
    ----------
    speeds
        Whether to measure speeds, which takes some seconds.
    folder
        Whose disk is looked at; the current one by default.

    Returns
    -------
    dict
        ``healthy`` (whether training can work at all), ``versions``, ``packages``, ``extras``, ``devices``,
        ``surroundings`` (sizes in bytes), ``speeds`` (None where not measured), and ``findings``: what is missing or
        unhealthy (``what``), what to do about it (``do``), and whether it keeps Basrelief from working (``fatal``).
    """
    packages, around = check_core(), look_around(folder or Path.cwd())
    devices, extras = look_at_devices(), check_extras()
    measured = measure_speeds(folder or Path.cwd()) if speeds else None
    findings = [*_of_packages(packages), *_of_surroundings(around), *_of_devices(devices)]
    for name, line in (measured or {}).items():
        if line["failed"] and not any(finding["fatal"] for finding in findings):
            what = f"The speed {name} could not be measured: {line['why']}."
            findings.append(_finding(what, "See whether the others were.", fatal=name == "training"))
    return {
        "healthy": not any(finding["fatal"] for finding in findings),
        "versions": _versions(),
        "packages": packages,
        "extras": extras,
        "devices": devices,
        "surroundings": around,
        "speeds": measured,
        "findings": findings,
    }


def _versions() -> dict[str, Any]:
    found: dict[str, Any] = {"python": platform.python_version()}
    for name in ("basrelief", "torch", "accelerate", "numpy", "polars"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    try:
        from basrelief.metrics.table import DEFINITIONS_VERSION

        found["definitions"] = DEFINITIONS_VERSION
    except ImportError:  # told among the packages
        found["definitions"] = None
    return found


def _of_packages(packages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    if sys.version_info < OLDEST:
        found.append(_finding(f"Python is {platform.python_version()}.", "Install Python 3.11 or newer.", fatal=True))
    for line in packages:
        if line["why"] is not None:
            wanted = f'pip install --upgrade "{line["name"]}{line["needs"]}"'
            found.append(_finding(f"The package {line['name']} {line['why']}.", wanted, fatal=True))
    return found


def _of_surroundings(around: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    sizes = [around["memory_available"], around["memory_left_in_container"]]
    free = min((size for size in sizes if size is not None), default=None)
    if free is not None and free < LITTLE_MEMORY:
        what = f"Only {free / 1e9:.1f} GB of memory are free."
        found.append(_finding(what, "Close other programs, or train with a small --batch-size and --jobs 1."))
    cores = around["cores_allowed"] or around["cores"] or 1
    if around["load"] is not None and around["load"] > BUSY * cores:
        what = (
            f"Other programs are busy: {around['load']:.1f} processes shared {cores} core{'s' * (cores > 1)} of late."
        )
        found.append(_finding(what, "Speeds measured now are lower than they could be."))
    if not around["writable"]:
        what = f"Nothing can be written into {around['folder']}."
        found.append(_finding(what, "Work in another folder, or give every command its --out."))
    if around["disk_free"] is not None and around["disk_free"] < LITTLE_DISK:
        what = f"Only {around['disk_free'] / 1e9:.1f} GB are free on the disk of {around['folder']}."
        found.append(_finding(what, "Free some, or send results to another disk with --out."))
    if around["open_files"] is not None and around["open_files"] < FEW_FILES:
        what = f"A process may open {around['open_files']} files only."
        found.append(_finding(what, "Raise the limit: ulimit -n 4096."))
    if around["shared_memory"] is not None and around["shared_memory"] < LITTLE_SHARED:
        what = f"/dev/shm has {around['shared_memory'] / 1e6:.0f} MB free, and processes beside each other meet there."
        found.append(_finding(what, "Give the container more (docker run --shm-size 1g), or use --jobs 1."))
    if around["browser"] is None:
        what = "No browser was found, which prints reports: report --to pdf and --to png go without."
        found.append(_finding(what, "Install chromium, Chrome or Edge, or use --to html."))
    elif around["fonts"] == 0:
        what = "No font is installed, so that a PDF would be without words."
        found.append(_finding(what, "Install one, such as the package fonts-dejavu."))
    return found


def _of_devices(devices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for line in devices:
        if line["device"] == "cuda" and line["why"] and "driver" in line["why"]:
            what = f"There is an NVIDIA driver, but no GPU to use: {line['why']}."
            found.append(
                _finding(what, "Install a build of torch for the driver's CUDA version, or update the driver.")
            )
    return found


def _finding(what: str, do: str, *, fatal: bool = False) -> dict[str, Any]:
    return {"what": what, "do": do, "fatal": fatal}
