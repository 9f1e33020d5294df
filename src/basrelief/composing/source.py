"""Composing: figures pasted onto backgrounds, the write-ups' way of making quartets and beyond.

A :class:`Composition` is the plan of all composites with their materials: small, and sent to other processes as it is.
A :class:`Studio` renders any of them, in any order, always to the same bits. ``composed_source`` makes a source of it.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from basrelief.batch import Sample
from basrelief.composing.cutout import FIGURE_FROM, load_figure
from basrelief.composing.depth import decode_depth
from basrelief.composing.material import Backdrop, Material, Materials, find_materials, load_backdrop
from basrelief.composing.options import SMALLEST_FIGURE, ComposeOptions, check_options
from basrelief.composing.plan import Cell, Part, Plan, make_plan, read_shares
from basrelief.composing.scene import (
    Placement,
    Recipe,
    Scene,
    move_scene,
    name_numbers,
    paste_figure,
    place_figure,
)
from basrelief.data.source import Entry, Source

CACHED = 64 << 20  # bytes of decoded figures that each process keeps, and as many of backgrounds


@dataclass(frozen=True)
class Composition:
    """All composites of a command: what they are made of, which there are, and how they are made."""

    materials: Materials
    plan: Plan
    recipe: Recipe
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def _places(self) -> dict[int, tuple[Part, int]]:
        return self.plan.places()

    @functools.cached_property
    def backgrounds(self) -> list[int]:
        """Numbers of the backgrounds used, in order."""
        return self.plan.backgrounds

    def cell(self, index: int) -> Cell:
        """Return composite ``index``, counted through all backgrounds in order."""
        rank, number = divmod(index, self.plan.each)
        background = self.backgrounds[rank]
        return self.plan.cell(background, self._places[background], number)

    def background_name(self, rank: int) -> str:
        """Return the name that the files of the background of this rank get, without suffix."""
        return f"bg{rank + 1:0{_digits(len(self.backgrounds))}d}"

    def name(self, index: int) -> str:
        """Return a composite's id, which is the stem of its files. Names sort as composites are counted."""
        rank, number = divmod(index, self.plan.each)
        return f"{self.background_name(rank)}_{number + 1:0{_digits(self.plan.each)}d}"

    def rows(self) -> Iterator[tuple[int, Cell, str]]:
        """Yield index, cell and name of every composite."""
        return ((index, self.cell(index), self.name(index)) for index in range(self.plan.count))

    def splits(self) -> dict[str, int]:
        """Return split -> number of composites; empty where nothing is divided."""
        counts = Counter({part.split: len(part.backgrounds) * self.plan.each for part in self.plan.parts})
        return {split: count for split, count in counts.items() if split is not None}


class Composed(NamedTuple):
    """A composite and where its figure stands."""

    scene: Scene
    background: np.ndarray
    where: Placement


class Studio:
    """Renders composites. What it decodes it keeps for a while; sent to another process it starts anew."""

    def __init__(self, composition: Composition) -> None:
        self.composition = composition
        height, width = composition.recipe.resolution
        side = 2 * round(composition.recipe.largest * min(height, width))
        self._figure_side = max(side, 2 * SMALLEST_FIGURE)
        figures = max(8, CACHED // (4 * self._figure_side**2))
        backdrops = max(4, min(64, CACHED // (5 * height * width)))
        self._figure = functools.lru_cache(figures)(self._load_figure)
        self._backdrop = functools.lru_cache(backdrops)(self._load_backdrop)

    def __reduce__(self) -> tuple[type[Studio], tuple[Composition]]:
        return Studio, (self.composition,)

    def place(self, cell: Cell) -> Placement:
        """Return where a composite's figure stands, without rendering it."""
        return self._place(cell, self._scene(cell))

    def compose(self, cell: Cell) -> Composed:
        """Render a composite.

        Raises
        ------
        FileError
            If one of its files cannot be read any more.
        """
        scene = self._scene(cell)
        where = self._place(cell, scene)
        figure = self._figure(cell.foreground)
        if cell.mirror:
            figure = np.ascontiguousarray(figure[:, ::-1])
        light = name_numbers(self._material(cell).name)
        made = paste_figure(self.composition.recipe, scene, figure, where, self._key(cell), light)
        return Composed(made, self._backdrop(cell.background).image, where)

    def backdrop(self, background: int) -> Backdrop:
        """Return a background as composites have it."""
        return self._backdrop(background)

    def load(self, entry: Entry) -> Sample:
        """Render the sample of an entry of ``composed_source``."""
        rank, number = (int(part) for part in entry.id.removeprefix("bg").split("_"))
        made = self.compose(self.composition.cell((rank - 1) * self.composition.plan.each + number - 1))
        coding = self.composition.materials.coding
        depth = None
        if coding is not None and made.scene.codes is not None:
            depth = decode_depth(made.scene.codes, coding.scale)
        mask = (made.scene.alpha >= FIGURE_FROM).astype(np.uint8)
        return Sample(entry.id, made.scene.image, made.background, mask[None], None, depth)

    def _material(self, cell: Cell) -> Material:
        return self.composition.materials.backgrounds[cell.background]

    def _key(self, cell: Cell) -> tuple[int, int]:
        figure = self.composition.materials.foregrounds[cell.foreground]
        return name_numbers(self._material(cell).name, figure.name, int(cell.mirror), cell.position)

    def _scene(self, cell: Cell) -> Backdrop:
        return move_scene(self.composition.recipe, self._backdrop(cell.background), self._key(cell))

    def _place(self, cell: Cell, scene: Backdrop) -> Placement:
        shape = self._figure(cell.foreground).shape
        coding = self.composition.materials.coding
        return place_figure(self.composition.recipe, coding, scene.codes, shape, self._key(cell))

    def _load_figure(self, number: int) -> np.ndarray:
        return load_figure(self.composition.materials.foregrounds[number].path, self._figure_side)

    def _load_backdrop(self, number: int) -> Backdrop:
        materials = self.composition.materials
        return load_backdrop(materials.backgrounds[number], self.composition.recipe.resolution, materials.coding)


def plan_composition(options: ComposeOptions, progress: Callable[[int, int], None] | None = None) -> Composition:
    """Look at all materials, and plan what is made of them.

    Parameters
    ----------
    options
        What to compose.
    progress
        Called with (done, total) as files are looked at.

    Raises
    ------
    UsageError
        For an option that makes no sense.
    DataError
        If materials are missing, broken or too few.
    """
    check_options(options)
    shares = read_shares(options.split)
    materials = find_materials(
        options.backgrounds,
        options.foregrounds,
        options.depths,
        options.depth,
        options.resolution,
        skip_broken=options.skip_broken,
        progress=progress,
    )
    plan, notes = make_plan(
        len(materials.backgrounds),
        len(materials.foregrounds),
        shares=shares,
        mirror=options.mirror,
        positions=options.positions,
        group_blocks=options.group_blocks,
        limit=options.limit,
        seed=options.seed,
    )
    recipe = Recipe(
        options.resolution,
        options.smallest,
        options.largest,
        options.shadow,
        options.harmonise,
        options.misalign,
        options.seed,
    )
    if materials.alike and shares is not None and not options.group_blocks:
        notes.append(
            "Neighbouring backgrounds look alike, as frames of a video do, and stand in different splits: "
            "--group-blocks 10, say, keeps neighbours together."
        )
    return Composition(materials, plan, recipe, (*materials.notes, *notes))


def composed_source(composition: Composition) -> Source:
    """Return composites as a source that renders them when they are loaded."""
    materials = composition.materials
    coding = materials.coding
    entries = tuple(
        Entry(
            name,
            {"background": materials.backgrounds[cell.background].path},
            materials.backgrounds[cell.background].name,
            materials.foregrounds[cell.foreground].name,
            cell.split,
        )
        for _, cell, name in composition.rows()
    )
    return Source(
        format="composed",
        location=str(len(entries)) + " composites",
        entries=entries,
        targets=("mask",) if coding is None else ("mask", "depth"),
        load=Studio(composition).load,
        classes=("figure",),
        background=True,
        depth_unit=None if coding is None else coding.unit,
        depth_kind=None if coding is None else coding.kind,
        notes=composition.notes,
    )


def _digits(count: int) -> int:
    return max(4, len(str(count)))
