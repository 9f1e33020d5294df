"""Writing generated scenes as files, in the layout of the format ``folder``.

::

    images/room-000000_scene-000000.png    backgrounds/room-000000.png    one background for the scenes of its room
    masks/room-000000_scene-000000.png     0 and 255
    depths/room-000000_scene-000000.png    16 bits, whole millimetres
    basrelief.json  README.txt             how depth is to be read, for programs and for people
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from basrelief.batch import Sample
from basrelief.data.beside import FACTS, FACTS_VERSION
from basrelief.data.scenes import read_scenes
from basrelief.data.source import DataOptions, Entry
from basrelief.errors import OutputError
from basrelief.files import output_errors, write_json
from basrelief.folders import new_folder

DEPTH_SCALE = 0.001
_MOST_DEPTH = 65535


def write_scenes(
    folder: Path,
    count: int,
    *,
    seed: int = 0,
    resolution: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the samples of ``scenes:COUNT`` into a new folder, which appears whole or not at all.

    Read back, images, backgrounds and masks are the same to the bit, depth within half a millimetre.

    Parameters
    ----------
    folder
        Not there yet, or empty.
    count
        1 to 9,999,999.
    seed
        Not negative.
    resolution
        (height, width); None: that of ``scenes``.
    progress
        Called with (done, count).

    Raises
    ------
    UsageError
        For a count, seed or resolution that makes no sense.
    OutputError
        If the folder holds something, or cannot be written.
    """
    source = read_scenes(f"scenes:{count}", DataOptions(seed=seed, resolution=resolution))
    with output_errors(folder):
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
            raise OutputError(f"{folder} is there already and is kept. Choose another --out, or remove it.")
    with new_folder(folder) as temporary:
        for plane in ("images", "masks", "depths", "backgrounds"):
            (temporary / plane).mkdir()

        first = {entry.group: entry.id for entry in reversed(source.entries)}

        def work(entry: Entry) -> None:
            _write(temporary, entry, source.load(entry), opens_room=first[entry.group] == entry.id)

        workers = os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, count, 16 * workers):
                entries = source.entries[start : start + 16 * workers]
                for _ in pool.map(work, entries):
                    pass
                if progress is not None:
                    progress(start + len(entries), count)
        facts = {"version": FACTS_VERSION, "made_by": "basrelief generate scenes", "format": "folder"}
        facts |= {"depth_scale": DEPTH_SCALE, "depth_unit": "m", "depth_kind": "metric"}
        write_json(temporary / FACTS, facts)
        (temporary / "README.txt").write_text(_readme(count, seed, resolution), encoding="utf-8")


def _write(folder: Path, entry: Entry, sample: Sample, *, opens_room: bool) -> None:
    assert sample.mask is not None and sample.depth is not None and sample.background is not None  # noqa: PT018
    name = f"{entry.group}_{entry.id}.png"
    codes = np.rint(sample.depth / DEPTH_SCALE)
    if codes.max() > _MOST_DEPTH:
        raise OutputError(f"{entry.id} has depth beyond {_MOST_DEPTH * DEPTH_SCALE} m, which 16 bits cannot hold.")
    Image.fromarray(sample.image).save(folder / "images" / name, compress_level=1)
    Image.fromarray(sample.mask[0] * np.uint8(255)).save(folder / "masks" / name)
    Image.fromarray(codes.astype(np.uint16)).save(folder / "depths" / name)
    if opens_room:
        Image.fromarray(sample.background).save(folder / "backgrounds" / f"{entry.group}.png", compress_level=1)


def _readme(count: int, seed: int, resolution: tuple[int, int] | None) -> str:
    size = "" if resolution is None else f" --resolution {resolution[0]}x{resolution[1]}"
    return (
        f"Generated rooms, each with and without a figure. Made by\n\n"
        f"    basrelief generate scenes --count {count} --seed {seed}{size}\n\n"
        "images/       with the figure\n"
        "backgrounds/  the empty room, one for all images whose names begin with its name\n"
        "masks/        255 where the figure is, 0 elsewhere\n"
        "depths/       16 bits: whole millimetres along the optical axis, figure included\n\n"
        f"{FACTS} says so to basrelief, which needs no option to read this folder.\n"
    )
