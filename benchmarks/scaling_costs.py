"""What one sample costs on this machine, for ``scaling.py``: CPU seconds of one core, bytes, and memory a line.

CPU seconds, not seconds: what other programs take of the machine counts little. They are those of one thread, and the
median of the repeats. Waiting for a disk is not in them.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bare import BareStep, initial_model, made_batch, targets_of
from PIL import Image

import basrelief as br
from basrelief.data import open_source
from basrelief.data.loader import Loader
from basrelief.data.pack import SHARD_BYTES, pack
from basrelief.data.source import DataOptions
from basrelief.data.store import PLANES, Store
from basrelief.engine.evaluate import evaluate

NETWORKS = ("relief", "resunet", "dsresnet", "masknet")
MAPS = Path("/proc/sys/vm/max_map_count")
USUAL_MAPS = 65530  # Linux's own setting
# Each is run in a process of its own, whose memory it prints; COUNT is put in its place.
LISTS = {
    "entries": """
from basrelief.data.source import Entry
kept = [Entry(f"room-{n % 100:03d}/{n:09d}", {p: Path(f"/data/{p}/{n:09d}.jpg") for p in
        ("image", "mask", "depth")} | {"background": Path("/data/bg/room.jpg")}, f"room-{n % 100:03d}")
        for n in range(COUNT)]
""",
    "index": "kept = pl.read_parquet(PATH, columns=COLUMNS)",
    "split": """
index = pl.read_parquet(PATH, columns=COLUMNS)
before = memory()
kept = split_store(index, DataOptions(), "group", 0)
""",
    "names": """
index = pl.read_parquet(PATH, columns=COLUMNS)
before = memory()
kept = {name: number for number, name in enumerate(index["id"])}
""",
}
_LIST = """
import json, time, sys
from pathlib import Path
import polars as pl, psutil
from basrelief.data.source import DataOptions
from basrelief.data.splits import split_store
def memory():
    return psutil.Process().memory_full_info().uss
before = memory()
started = time.process_time()
BODY
print(json.dumps({"bytes": memory() - before, "seconds": time.process_time() - started}))
"""


@dataclass(frozen=True)
class Effort:
    """How much is measured: quartets made and packed, images of a step, repeats, and lines of the lists."""

    count: int = 96
    batch: int = 16
    repeats: int = 3
    lists: tuple[int, ...] = (100_000, 1_000_000)


def measure(sides: tuple[int, ...], side: int, effort: Effort) -> dict[str, Any]:
    """Return all costs; ``side`` is the resolution at which networks are measured."""
    torch.set_num_threads(1)
    count, repeats = effort.count, effort.repeats
    found: dict[str, Any] = {"machine": _machine(), "side": side, "effort": dataclasses.asdict(effort)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_materials(folder, 4 if count < 24 else 6, max(sides))
        stores: dict[int, Store] = {}
        found["compose"], found["pack"], found["gather"], found["bytes"] = {}, {}, {}, {}
        for number in sides:
            made = [_compose(folder / f"{number}-{i}", folder, number, count) for i in range(repeats)]
            found["compose"][number] = statistics.median(made)
        files = folder / f"{max(sides)}-0"
        source = open_source(str(files))
        for number in sides:
            taken = []
            for i in range(repeats):
                started = time.process_time()
                target = folder / f"store-{number}-{i}"
                stores[number] = pack(source, source.entries, target, (number, number), key="scaling", jobs=1)
                taken.append((time.process_time() - started) / len(source.entries))
            found["pack"][number] = statistics.median(taken)
            found["bytes"][number] = bytes_of(stores[number])
            found["gather"][number] = _gather(stores[number], repeats)
        found["file_bytes"] = sum(path.stat().st_size for path in files.rglob("*.*")) / len(source.entries)
        found["networks"] = {name: _network(name, stores[side], side, effort) for name in NETWORKS}
    found["lists"] = measure_lists(effort.lists)
    found["maps"] = int(MAPS.read_text(encoding="utf-8")) if MAPS.exists() else USUAL_MAPS
    return found


def write_materials(folder: Path, rooms: int, side: int) -> None:
    """Write backgrounds with depth, and cut-out figures."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] / side
    for name in ("rooms", "depths", "figures"):
        (folder / name).mkdir()
    source = open_source(f"scenes:{4 * rooms}", DataOptions(resolution=(side, side)))
    for number in range(rooms):
        room = source.load(source.entries[4 * number]).background
        Image.fromarray(room).save(folder / "rooms" / f"{number:03d}.jpg", quality=90)
        depth = (2000 + 2000 * rows + rng.integers(0, 500)).astype(np.uint16)
        Image.fromarray(depth).save(folder / "depths" / f"{number:03d}.png")
        near = (rows - 0.5) ** 2 / 0.45**2 + (columns - 0.5) ** 2 / rng.uniform(0.2, 0.45) ** 2 < 1
        colours = (
            rng.integers(0, 255, (8, 8, 4))
            .astype(np.uint8)
            .repeat(-(-side // 8), 0)
            .repeat(-(-side // 8), 1)[:side, :side]
        )
        colours[..., 3] = 255 * near
        Image.fromarray(colours).save(folder / "figures" / f"{number:03d}.png")


def _compose(out: Path, folder: Path, side: int, count: int) -> float:
    started = time.process_time()
    made = br.compose(
        folder / "rooms",
        folder / "figures",
        out,
        depths=folder / "depths",
        depth_scale=0.001,
        depth_kind="metric",
        resolution=side,
        jpeg=90,
        limit=count,
        positions=4,
        jobs=1,
    )
    return (time.process_time() - started) / made["count"]


def bytes_of(store: Store) -> dict[str, float]:
    """Return bytes a sample of each plane, of a background, and of the index on disk."""
    found = {plane: float(shards[0][0].nbytes) for plane in PLANES if (shards := store.shards(plane))}
    return {**found, "rows": float(store.facts.shard_rows), "shard": float(SHARD_BYTES)}


def _gather(store: Store, repeats: int) -> float:
    """Return CPU seconds a sample of taking batches from mapped memory that the system holds."""
    rows = np.resize(np.arange(store.facts.count), 512)
    loader = Loader(store, rows, 64, torch.device("cpu"), targets=store.facts.targets, background=True, workers=0)
    return statistics.median(_cpu(lambda: [None for _ in loader.epoch(0, 0)]) / len(rows) for _ in range(repeats + 1))


def _network(name: str, store: Store, side: int, effort: Effort) -> dict[str, Any]:
    """Return CPU seconds an image of a step and of evaluation, and the bytes of weights and of a checkpoint."""
    batch, repeats = effort.batch, effort.repeats
    made = made_batch(batch, side, torch.device("cpu"))
    costs = {}
    for precision in ("fp32", "bf16"):
        step = BareStep(name, made, {"device": "cpu", "precision": precision})
        step.model.train()
        step()
        costs[precision] = statistics.median(_cpu(step) for _ in range(repeats)) / batch
    precision = min(costs, key=lambda word: costs[word])
    weights = sum(tensor.nbytes for tensor in step.model.state_dict().values())
    moments = 2 * sum(parameter.nbytes for parameter in step.model.parameters())
    model = initial_model(name, background=True).to(memory_format=torch.channels_last)
    targets = targets_of(name)
    rows = np.resize(np.arange(store.facts.count), batch)
    loader = Loader(store, rows, batch, torch.device("cpu"), targets=targets, background=True, workers=0)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        taken = [_cpu(lambda: evaluate(model, loader, dict.fromkeys(targets, "sigmoid"))) for _ in range(repeats + 1)]
    return {
        "precision": precision,
        "step": costs[precision],
        "evaluate": statistics.median(taken[1:]) / batch,
        "weights": weights,
        "checkpoint": weights + moments,
        "parameters": sum(parameter.numel() for parameter in step.model.parameters()),
    }


def _cpu(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measure_lists(counts: tuple[int, ...]) -> dict[str, dict[int, dict[str, float]]]:
    """Return memory and CPU seconds of what holds a line a sample, for so many samples."""
    import polars as pl

    found: dict[str, dict[int, dict[str, float]]] = {name: {} for name in LISTS}
    found["disk"] = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "index.parquet"
            write_index(path, count)
            found["disk"][count] = {"bytes": path.stat().st_size, "seconds": 0.0}
            columns = [name for name in pl.read_parquet_schema(path) if name not in ("content", "key")]
            for name, body in LISTS.items():
                body = body.replace("COUNT", str(count)).replace("PATH", repr(str(path)))
                code = _LIST.replace("BODY", body.replace("COLUMNS", repr(columns)))
                done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
                found[name][count] = json.loads(done.stdout)
    return found


def write_index(path: Path, count: int) -> None:
    """Write the index of a store of so many samples, 100 backgrounds, as packing does."""
    import polars as pl

    rng = np.random.default_rng(0)
    numbers = np.arange(count)
    columns = {
        "id": [f"room-{n % 100:03d}/{n:09d}" for n in range(count)],
        "group": [f"room-{n % 100:03d}" for n in range(count)],
        "foreground": [f"figure-{n % 97:03d}" for n in range(count)],
        "split": pl.Series([None] * count, dtype=pl.String),
        "row": numbers,
        "background": numbers % 100,
        "height": np.full(count, 224, np.int32),
        "width": np.full(count, 224, np.int32),
        "depth_max": rng.random(count),
        "mask": np.ones(count, bool),
        "depth": np.ones(count, bool),
        **{name: [line.hex() for line in _hashes(rng, count)] for name in _HASHES},
    }
    pl.DataFrame(columns).write_parquet(path)


_HASHES = ("image_hash", "content", "key")


def _hashes(rng: np.random.Generator, count: int) -> list[bytes]:
    made = rng.bytes(16 * count)
    return [made[16 * n : 16 * n + 16] for n in range(count)]


def _machine() -> str:
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}; Python {platform.python_version()}, torch {torch.__version__}"
