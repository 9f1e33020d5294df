"""Made data of write-ups A, B and C: quartets of few backgrounds and figures, as theirs, with exact masks and depth.

The folder that is made holds::

    quartets/         DATA: background, composite, mask and depth in layout a, b or c
    unseen/           quartets of further backgrounds and figures, which no split of DATA knows; not where 0 were asked
    material/         what both are composed of: backgrounds/, depths/ and cutouts/ of each

Rooms and creatures are those of generated scenes, and everything else is composing's own work.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from basrelief.composing.options import ComposeOptions
from basrelief.composing.run import compose_data
from basrelief.data.scenes import SCENES_PER_ROOM, make_scene
from basrelief.data.source import DataOptions
from basrelief.parallel import cores

QUARTETS, UNSEEN, MATERIAL = "quartets", "unseen", "material"
FARTHEST = 65534  # the code of a room's farthest point; 65535 often means unknown
_FIGURES = 1_000_000  # scenes from here on lend their creatures, those before it their rooms
_APART = 500_000  # so many scenes on, what is unseen
_FEW = 3000  # composites that are made sooner than processes start

Progress = Callable[[int, int], None]


def make_quartets(
    folder: Path,
    progress: Progress,
    *,
    layout: str,
    backgrounds: int,
    foregrounds: int,
    positions: int,
    resolution: int,
    jpeg: int,
    split: str,
    unseen: int,
    seed: int,
) -> None:
    """Write quartets, and those of ``unseen`` further backgrounds and as many further foregrounds.

    Depth is what a network gives that sees one picture: without a unit, the farthest point of every room 1. Here it is
    exact.

    Parameters
    ----------
    folder
        There, and empty.
    progress
        Called with (done, total).
    layout
        Of the files: "a", "b" or "c".
    backgrounds, foregrounds, positions
        Each figure is pasted onto each background that it may meet, as it is and mirrored, at so many positions.
    resolution
        Height and width in pixels.
    jpeg
        Quality of backgrounds and composites, 1 to 100.
    split
        As composing takes it. Shares such as "70/15/15" divide backgrounds and figures first, so nothing leaks unless
        a training's own split mixes them. "random" divides nothing, as the write-ups did: backgrounds x foregrounds x
        2 x positions composites.
    unseen
        0: none.
    seed
        Not negative.

    Raises
    ------
    UsageError, DataError
        As composing does, for options that make no sense.
    OutputError
        When it cannot be written.
    """
    sets = [(QUARTETS, 0, backgrounds, foregrounds, split)]
    if unseen:
        sets.append((UNSEEN, _APART, unseen, unseen, "random"))
    for name, first, rooms, figures, divided in sets:
        material = folder / MATERIAL / name
        _write_material(material, seed, first, rooms, figures, resolution, progress)
        options = ComposeOptions(
            material / "backgrounds",
            material / "cutouts",
            material / "depths",
            depth=DataOptions(depth_scale=1 / FARTHEST, depth_unit="", depth_kind="relative"),
            resolution=(resolution, resolution),
            positions=positions,
            mirror=True,
            split=divided,
            seed=seed,
        )
        jobs = 1 if rooms * figures * 2 * positions < _FEW else None
        compose_data(options, folder / name, layout=layout, jpeg=jpeg, jobs=jobs, progress=progress)


def _write_material(
    folder: Path, seed: int, first: int, rooms: int, figures: int, resolution: int, progress: Progress
) -> None:
    """Write empty rooms, their depth, and creatures cut out of other rooms, numbered from ``first`` on."""
    for name in ("backgrounds", "depths", "cutouts"):
        (folder / name).mkdir(parents=True)
    works = [partial(_write_room, folder, seed, first, number, resolution) for number in range(rooms)]
    works += [partial(_write_figure, folder, seed, first, number, resolution) for number in range(figures)]
    with ThreadPoolExecutor(cores()) as pool:
        for done, _ in enumerate(pool.map(lambda work: work(), works), start=1):
            progress(done, len(works))


def _write_room(folder: Path, seed: int, first: int, number: int, side: int) -> None:
    scene = make_scene(seed, (first + number) * SCENES_PER_ROOM, side, side)
    codes = np.rint(scene.background_depth * (FARTHEST / scene.background_depth.max())).astype(np.uint16)
    Image.fromarray(scene.background).save(folder / "backgrounds" / f"room{number + 1:04d}.png")
    Image.fromarray(codes).save(folder / "depths" / f"room{number + 1:04d}.png")


def _write_figure(folder: Path, seed: int, first: int, number: int, side: int) -> None:
    """Write a creature with hard edges, several times as large as it will be pasted: being reduced softens them."""
    large = max(160, 2 * side)
    scene = make_scene(seed, _FIGURES + (first + number) * SCENES_PER_ROOM, large, large)
    rows, columns = np.flatnonzero(scene.mask.any(1)), np.flatnonzero(scene.mask.any(0))
    # A border of one pixel, so that a creature that fills its box is known as cut out all the same.
    whole = np.pad(np.dstack([scene.image, scene.mask * np.uint8(255)]), ((1, 1), (1, 1), (0, 0)))
    cut = whole[rows[0] : rows[-1] + 3, columns[0] : columns[-1] + 3]
    Image.fromarray(cut).save(folder / "cutouts" / f"creature{number + 1:04d}.png")
