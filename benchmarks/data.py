"""The data path against what a user would pick instead: loading, packing, and memory, in one run.

    python benchmarks/data.py [--count 10000] [--repeats 5] [--folder DIR] [--part loading|packing|memory]

Quartets (background, composite, mask, depth) as the write-ups made them, JPEG at 224 px, are packed at 64 px. Loading
is samples a second in batches of 128 in random order. All take turns, a few batches at a time; a ratio is the median
over the rounds of ours divided by theirs in the same round, so a machine that slows down slows both. LitData,
WebDataset and Hugging Face datasets hold the same uint8 arrays, read by two workers, and take part where installed
(pip install litdata webdataset datasets). They hand over uint8; our batches are floats, ready for a network.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from basrelief.batch import Sample
from basrelief.data import open_source
from basrelief.data.loader import Loader
from basrelief.data.pack import pack
from basrelief.data.source import DataOptions, Entry, Source
from basrelief.data.store import Store, open_store

SIDE, STORED, BATCH, BACKGROUNDS = 64, 224, 128, 100
PLANES = ("bg", "bg_fg", "mask", "depth")
Batches = Iterator[Any]


def write_quartets(folder: Path, count: int) -> None:
    """Write layout B: as many composites for each of 100 backgrounds, all JPEG."""
    for plane in PLANES:
        (folder / plane).mkdir(parents=True, exist_ok=True)
    rooms = open_source(f"scenes:{4 * BACKGROUNDS}", DataOptions(resolution=(STORED, STORED)))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        each = count // BACKGROUNDS
        list(pool.map(_write_room, [(folder, rooms, number, each) for number in range(BACKGROUNDS)]))


def _write_room(job: tuple[Path, Source, int, int]) -> None:
    folder, rooms, number, each = job
    sample = rooms.load(rooms.entries[4 * number])
    assert sample.background is not None
    assert sample.mask is not None
    assert sample.depth is not None
    Image.fromarray(sample.background).save(folder / "bg" / f"{number:03d}.jpg", quality=75)
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:STORED, :STORED]
    far = np.clip(sample.depth * 25, 0, 255)
    for i in range(each):
        y, x = rng.integers(30, STORED - 30, 2)
        disc = ((rows - y) ** 2 + (columns - x) ** 2 < rng.integers(12, 30) ** 2)[..., None]
        texture = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8).repeat(28, 0).repeat(28, 1)
        name = f"{number * each + i:06d}.jpg"
        picture = np.where(disc, texture, sample.background)
        Image.fromarray(picture).save(folder / "bg_fg" / name, quality=75)
        Image.fromarray((disc[..., 0] * 255).astype(np.uint8)).save(folder / "mask" / name, quality=75)
        Image.fromarray(np.where(disc[..., 0], 20, far).astype(np.uint8)).save(folder / "depth" / name, quality=75)


class PerFile(Dataset):
    """The write-ups' way: every sample opens its four files with Pillow and resizes them."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count, self.each = folder, count, count // BACKGROUNDS

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> list[torch.Tensor]:
        names = [f"{number // self.each:03d}.jpg", *[f"{number:06d}.jpg"] * 3]
        planes = []
        for plane, name in zip(PLANES, names, strict=True):
            with Image.open(self.folder / plane / name) as picture:
                array = np.array(picture.resize((SIDE, SIDE)))
            planes.append(torch.from_numpy(array).float().div(255))
        return planes


def per_file(folder: Path, count: int) -> Callable[[], Batches]:
    loader = DataLoader(PerFile(folder, count), BATCH, shuffle=True, num_workers=2)
    return lambda: iter(loader)


def our_loader(store: Store) -> Callable[[], Batches]:
    rows = np.arange(store.facts.count)
    loader = Loader(store, rows, BATCH, torch.device("cpu"), targets=("mask", "depth"), background=True)
    epochs = iter(range(10**9))
    return lambda: loader.epoch(0, next(epochs))


def bare_gather(arrays: dict[str, np.ndarray]) -> Callable[[], Batches]:
    tensors = [torch.from_numpy(array) for array in arrays.values()]

    def batches() -> Batches:
        for index in torch.randperm(len(tensors[0])).split(BATCH):
            yield [tensor[index] for tensor in tensors]

    return batches


def litdata(arrays: dict[str, np.ndarray], folder: Path) -> Callable[[], Batches]:
    import litdata as package
    from litdata.streaming.writer import BinaryWriter

    target = folder / "litdata"
    writer = BinaryWriter(str(target), chunk_bytes="64MB")
    for number in range(len(arrays["bg_fg"])):
        writer[number] = {name: torch.from_numpy(array[number]) for name, array in arrays.items()}
    writer.done()
    writer.merge()
    dataset = package.StreamingDataset(str(target), shuffle=True)
    loader = package.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=2)
    return lambda: iter(loader)


def webdataset(arrays: dict[str, np.ndarray], folder: Path) -> Callable[[], Batches]:
    import webdataset as package

    target = folder / "webdataset"
    target.mkdir()
    with package.ShardWriter(str(target / "%03d.tar"), maxcount=1000, verbose=0) as writer:
        for number in range(len(arrays["bg_fg"])):
            writer.write(
                {"__key__": f"{number:06d}", **{f"{name}.npy": array[number] for name, array in arrays.items()}}
            )
    urls = sorted(str(path) for path in target.glob("*.tar"))
    dataset = package.WebDataset(urls, shardshuffle=len(urls), workersplitter=package.split_by_worker)
    dataset = dataset.shuffle(1000).decode().to_tuple(*(f"{name}.npy" for name in arrays)).batched(BATCH)
    loader = DataLoader(dataset, batch_size=None, num_workers=2)
    return lambda: iter(loader)


def hf_datasets(arrays: dict[str, np.ndarray], folder: Path) -> Callable[[], Batches]:
    import datasets as package

    flat = {name: array.reshape(len(array), -1) for name, array in arrays.items()}
    features = package.Features(
        {name: package.Sequence(package.Value("uint8"), length=array.shape[1]) for name, array in flat.items()}
    )
    made = package.Dataset.from_generator(
        lambda: ({name: array[number] for name, array in flat.items()} for number in range(len(arrays["bg_fg"]))),
        features=features,
        cache_dir=str(folder / "datasets"),
    )
    loader = DataLoader(
        made.with_format("torch"),
        batch_sampler=_Batches(len(arrays["bg_fg"])),
        num_workers=2,
    )
    return lambda: iter(loader)


class _Batches:
    """Batches of indices, with which Hugging Face datasets reads a batch at a time."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return -(-self.count // BATCH)

    def __iter__(self) -> Iterator[list[int]]:
        return iter([batch.tolist() for batch in torch.randperm(self.count).split(BATCH)])


def time_loading(folder: Path, store: Store, count: int, repeats: int) -> None:
    """Let all ways take turns and print the ratios."""
    arrays = unpacked(store)
    ways: dict[str, Callable[[], Batches]] = {
        "ours": our_loader(store),
        "bare tensor[index] of the uint8 planes": bare_gather(arrays),
        "write-ups: Pillow a file, two workers": per_file(folder, count),
    }
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        for name, make in (("LitData", litdata), ("WebDataset", webdataset), ("Hugging Face datasets", hf_datasets)):
            try:
                ways[name] = make(arrays, Path(temporary))
            except ImportError as error:
                print(f"{name} is left out: {error}")
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name in random.sample(list(ways), len(ways)):
                rates[name].append(_rate(ways[name](), count))
    print("\n| | samples/s | ours is faster by | lowest to highest |\n|---|---|---|---|")
    for name, found in rates.items():
        ratios = [a / b for a, b in zip(rates["ours"], found, strict=True)]
        print(
            f"| {name} | {statistics.median(found):,.0f} | {statistics.median(ratios):.2f} | "
            f"{min(ratios):.2f} to {max(ratios):.2f} |"
        )


def _rate(batches: Batches, count: int, seconds: float = 2.0) -> float:
    """Return samples a second over about ``seconds``, an epoch at most; workers are started before and end after."""
    for _ in range(3):
        next(batches)
    started, done = time.perf_counter(), 0
    while done < count - 4 * BATCH and (done == 0 or time.perf_counter() - started < seconds):
        next(batches)
        done += BATCH
    return done / (time.perf_counter() - started)


def unpacked(store: Store) -> dict[str, np.ndarray]:
    """Return a store's planes as uint8, a background a sample, as other packages hold them."""
    samples = [store.sample(number) for number in range(store.facts.count)]
    largest = store.facts.depth_max or 1.0
    return {
        "bg_fg": np.stack([sample.image for sample in samples]),
        "bg": np.stack([sample.background for sample in samples]),  # type: ignore[misc]
        "mask": np.stack([sample.mask for sample in samples]),  # type: ignore[misc]
        "depth": np.stack([np.rint(sample.depth * (255 / largest)).astype(np.uint8) for sample in samples]),  # type: ignore[operator]
    }


def time_packing(folder: Path, count: int, repeats: int) -> None:
    """Packing, against two processes that do nothing but decode the same files with Pillow."""
    each = count // BACKGROUNDS
    quartets = [[folder / "bg" / f"{number // each:03d}.jpg", *_targets(folder, number)] for number in range(count)]
    ratios, ours, bare = [], [], []
    for number in range(repeats):
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            list(pool.map(_decode, [[], []]))  # the processes are there
            started = time.perf_counter()
            list(pool.map(_decode, [quartets[: count // 2], quartets[count // 2 :]]))
            bare.append(count / (time.perf_counter() - started))
        target = folder / f"packed-{number}"
        started = time.perf_counter()
        source = open_source(str(folder), DataOptions(format="quartets-b"))
        pack(source, source.entries, target, (SIDE, SIDE), key="benchmark", jobs=2)
        ours.append(count / (time.perf_counter() - started))
        ratios.append(ours[-1] / bare[-1])
        shutil.rmtree(target)
    print(
        f"\nPacking {count:,} quartets from JPEG, listing included: {statistics.median(ours):,.0f} quartets/s; two "
        f"processes of bare Pillow decoding: {statistics.median(bare):,.0f}; ratio {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


def _targets(folder: Path, number: int) -> list[Path]:
    return [folder / plane / f"{number:06d}.jpg" for plane in PLANES[1:]]


def _decode(quartets: list[list[Path]]) -> None:
    for files in quartets:
        for file in files:
            with Image.open(file) as picture:
                picture.load()


def measure_memory(folder: Path) -> None:
    """Anonymous memory of a training process at its end, on 1,000 and 100,000 samples."""
    found = {}
    for count in (1_000, 100_000):
        place = folder / f"memory-{count}"
        if not (place / "store.json").exists():
            _write_noise(place, count)
        code = f"import sys; sys.argv = ['x']; from benchmarks_data import train_once; train_once({str(place)!r})"
        environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        (folder / "benchmarks_data.py").write_text(Path(__file__).read_text())
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        found[count] = json.loads(done.stdout.splitlines()[-1])
    few, many = found[1_000], found[100_000]
    print("\nMemory of training (masknet, 16 px), MiB: anonymous at the end of training, and mapped files")
    for count, line in found.items():
        print(f"  {count:>7,} samples: {line['anonymous']:.0f} anonymous, {line['file']:.0f} mapped")
    print(f"  ratio {many['anonymous'] / few['anonymous']:.3f}")


def train_once(place: str) -> None:
    """Train an epoch on a store and print this process's memory."""
    import basrelief as br

    with tempfile.TemporaryDirectory() as out:
        br.train(place, out=out, network="masknet", epochs=1, batch_size=50, loss="bce(mask)", device="cpu")
        words = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    memory = {name: int(words[key].split()[0]) / 1024 for name, key in (("anonymous", "RssAnon"), ("file", "RssFile"))}
    print(json.dumps(memory))


def _write_noise(place: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (64, 16, 16, 3)).astype(np.uint8)

    def load(entry: Entry) -> Sample:
        number = int(entry.id)
        image = noise[number % 64] + np.uint8(number // 64 % 256)
        image[0, 0] = number % 251, number // 251 % 251, number // 63001
        return Sample(entry.id, image, noise[number % 50], (image[None, ..., 0] > 128).astype(np.uint8))

    entries = tuple(Entry(f"{number:06d}", group=f"room-{number % 50}") for number in range(count))
    source = Source("memory", "noise", entries, ("mask",), load, ("figure",), background=True)
    pack(source, entries, place, (16, 16), key="noise", jobs=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where files are made and kept; a temporary folder if not given")
    parser.add_argument("--part", choices=("loading", "packing", "memory"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        quartets = folder / f"quartets-{options.count}"
        if options.part != "memory":
            if not quartets.exists():
                write_quartets(quartets, options.count)
            source = open_source(str(quartets), DataOptions(format="quartets-b"))
            place = folder / f"store-{options.count}"
            if not place.exists():
                pack(source, source.entries, place, (SIDE, SIDE), key="benchmark")
        print(f"{os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
        if options.part in (None, "loading"):
            time_loading(quartets, open_store(place), options.count, options.repeats)
        if options.part in (None, "packing"):
            time_packing(quartets, options.count, max(3, options.repeats // 2))
        if options.part in (None, "memory"):
            measure_memory(folder)


if __name__ == "__main__":
    main()
