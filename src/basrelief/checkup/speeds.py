"""How fast this machine is at what Basrelief spends its time on; each measured for a fraction of a second to two."""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIDE = 512  # of the matrices
PICTURE = (768, 1024)
FILE = 16 << 20  # bytes written and read again
BATCH, RESOLUTION = 8, 64


def measure_speeds(folder: Path) -> dict[str, dict[str, Any]]:
    """Return name -> {"value", "unit", "what", "why", "failed"}; a value is None where why says why there is none."""
    found: dict[str, dict[str, Any]] = {}
    for name, (unit, what, measure) in SPEEDS.items():
        try:
            value, failed = measure(folder), False
            why = None if value is not None else "this device only imitates it, slowly"
        except Exception as error:  # a finding, whatever it is
            value, failed, why = None, True, f"{type(error).__name__}: {error}"
        found[name] = {"value": value, "unit": unit, "what": what, "why": why, "failed": failed}
    return found


def _rate(step: Callable[[], object], seconds: float) -> float:
    """Return steps in a second, after a first one, which counts only where it took all the time there is."""
    began = time.perf_counter()
    step()
    if (first := time.perf_counter() - began) > seconds:
        return 1 / first
    began, count = time.perf_counter(), 0
    while (taken := time.perf_counter() - began) < seconds or not count:
        step()
        count += 1
    return count / taken


def _matmul(kind: str) -> float | None:
    import torch

    from basrelief.engine.machine import choose_machine, computes_bfloat16

    device = choose_machine().device
    if kind == "bfloat16" and not computes_bfloat16(device.split(":")[0]):
        return None
    a = torch.randn(SIDE, SIDE, device=device, dtype=getattr(torch, kind))

    def step() -> None:
        (a @ a)[0, 0].item()  # which waits for a GPU

    return 2 * SIDE**3 * _rate(step, 0.4) / 1e9


def _training(_: Path) -> float:
    """Return images a second of whole training steps, in the precision that a training would start from."""
    import torch

    from basrelief.engine.machine import choose_machine, prepare_model
    from basrelief.losses.expression import parse_loss
    from basrelief.models import create_model

    machine = choose_machine()
    kind = machine.device.split(":")[0]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, 3, RESOLUTION, RESOLUTION, generator=generator).to(machine.device)
    truth = {"mask": (images[:, :1] > 0.5).float()}
    model = prepare_model(create_model("relief").to(machine.device), machine)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss = parse_loss("bce(mask) + dice(mask)")
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}

    def step() -> None:
        with torch.autocast(kind, kinds.get(machine.precision), enabled=machine.precision in kinds):
            logits = model(images)
        total = loss({head: values.float() for head, values in logits.items()}, truth).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        total.item()

    return BATCH * _rate(step, 1.0)


def _disk(folder: Path, *, read: bool) -> float:
    """Return MB/s of one file, written until it is on the disk, or read again once the system has let go of it."""
    content = os.urandom(1 << 20)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".partial-doctor-") as file:
        began = time.perf_counter()
        for _ in range(FILE >> 20):
            file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if read:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(0)
            began = time.perf_counter()
            while file.read(1 << 20):
                pass
        return FILE / 1e6 / (time.perf_counter() - began)


def _jpeg(_: Path) -> float:
    """Return pictures of 1024 x 768 decoded a second, on one core."""
    import numpy as np
    from PIL import Image

    rows, columns = np.mgrid[: PICTURE[0], : PICTURE[1]]
    grain = np.random.default_rng(0).integers(0, 32, PICTURE)
    planes = [128 + 90 * np.sin(rows / 40) + grain, columns * 255 / PICTURE[1], (rows + columns) / 8 + grain]
    stored = io.BytesIO()
    Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8)).save(stored, "JPEG", quality=90)

    def step() -> None:
        stored.seek(0)
        with Image.open(stored) as picture:
            picture.load()

    return _rate(step, 0.4)


SPEEDS: dict[str, tuple[str, str, Callable[[Path], float | None]]] = {
    "matmul_fp32": ("GFLOP/s", f"products of {SIDE} x {SIDE} matrices, float32", lambda _: _matmul("float32")),
    "matmul_bf16": ("GFLOP/s", "the same, bfloat16", lambda _: _matmul("bfloat16")),
    "training": ("images/s", f"training steps of relief, {RESOLUTION} px, batches of {BATCH}", _training),
    "disk_write": ("MB/s", "one file into the current folder", lambda folder: _disk(folder, read=False)),
    "disk_read": ("MB/s", "the same file read again", lambda folder: _disk(folder, read=True)),
    "jpeg": ("images/s", f"JPEG of {PICTURE[1]} x {PICTURE[0]} decoded, one core", _jpeg),
}
