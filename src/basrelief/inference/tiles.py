"""Results at an image's own size, one band of rows after the other, of the whole image or of overlapping tiles.

A network answers at its own, small resolution. What is held of an answer is that; it is enlarged for the rows of a
band alone, so that memory does not grow with the image's height, nor with the tiles' size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from basrelief.errors import UsageError

Tile = int | Literal["auto", "none"]
Answers = dict[str, Tensor]  # head -> (N, C, h, w)

SMALLEST = 16  # pixels of a tile's side
OVERLAP = 0.25  # of a tile's side, at least
BAND_PIXELS = 1 << 20  # of a band, about: 4 MB a plane


def parse_tile(tile: object) -> Tile:
    """Return what ``--tile`` says: "auto", "none", or a side in pixels, which may be text.

    Raises
    ------
    UsageError
        For anything else, or fewer than 16 pixels.
    """
    text = str(tile).strip()
    if text == "auto":
        return "auto"
    if text == "none":
        return "none"
    if not (text.isascii() and text.isdecimal() and len(text) < 10) or int(text) < SMALLEST:
        raise UsageError(f"--tile {text[:80]}: expected auto, none, or a tile's side in pixels, {SMALLEST} or more.")
    return int(text)


@dataclass(frozen=True)
class Grid:
    """Tiles over an image: (height, width) of both, and where the tiles' rows and columns begin."""

    size: tuple[int, int]
    tile: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return len(self.tops) * len(self.lefts)


def lay(size: tuple[int, int], tile: tuple[int, int]) -> Grid:
    """Lay tiles over an image, evenly, overlapping by at least a quarter; a tile is nowhere larger than the image."""
    height, width = min(size[0], tile[0]), min(size[1], tile[1])
    return Grid(size, (height, width), _starts(size[0], height), _starts(size[1], width))


def shares(length: int, tile: int, starts: Sequence[int]) -> Tensor:
    """Return what share each tile has in each of its pixels along one side, float32 (tiles, tile).

    The shares of a pixel add up to 1. They follow sin², which is flat at both ends, so that one tile passes into the
    next without a kink; where a tile is alone its share is 1.
    """
    window = np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2
    total = np.zeros(length)
    for start in starts:
        total[start : start + tile] += window
    found = np.stack([window / total[start : start + tile] for start in starts])
    return torch.from_numpy(found.astype(np.float32))


def enlarge(answer: Tensor, size: tuple[int, int], rows: slice | None = None) -> Tensor:
    """Resize (C, h, w) to (C, H, W) bilinearly, and return some of its rows (None: all).

    It is ``interpolate(mode="bilinear", align_corners=False)``, to float32's last digits: torch itself rounds in
    several ways, by number of channels and size. Here a row is always the same bits, alone or with others.
    """
    height, (tall, width) = answer.shape[1], size
    start, stop, _ = (rows or slice(None)).indices(tall)
    wide = F.interpolate(answer[None], size=(height, width), mode="bilinear", align_corners=False)[0]
    scale = torch.tensor(height, dtype=torch.float32) / tall  # in float32, as torch has it
    where = (torch.arange(start, stop, dtype=torch.float32) + 0.5) * scale - 0.5
    where = where.clamp_(0, height - 1)
    above = where.long()
    share = (where - above)[:, None]
    below = (above + 1).clamp_(max=height - 1)
    return torch.addcmul(wide[:, below] * share, wide[:, above], 1 - share)


def blend(grid: Grid, answer: Callable[[Sequence[tuple[int, int]]], Answers]) -> Iterator[tuple[slice, Answers]]:
    """Yield bands of rows from top to bottom, for each head (C, rows, W), in which the tiles' answers are blended.

    Parameters
    ----------
    grid
        The tiles.
    answer
        Gives the network's answers for the tiles at some (top, left), in that order. Each tile is asked for once.
    """
    (height, width), (tall, wide) = grid.size, grid.tile
    down, across = shares(height, tall, grid.tops), shares(width, wide, grid.lefts)
    alive: dict[int, Answers] = {}  # tile rows that a band to come still needs
    step = max(1, BAND_PIXELS // width)
    for start in range(0, height, step):
        stop = min(start + step, height)
        alive = {row: found for row, found in alive.items() if grid.tops[row] + tall > start}
        fresh = [row for row, top in enumerate(grid.tops) if start < top + tall and top < stop and row not in alive]
        if fresh:
            answers = answer([(grid.tops[row], left) for row in fresh for left in grid.lefts])
            for place, row in enumerate(fresh):
                part = slice(place * len(grid.lefts), (place + 1) * len(grid.lefts))
                alive[row] = {head: found[part].clone() for head, found in answers.items()}
            del answers  # or it would keep every tile of this band until the next one
        channels = {head: found.shape[1] for head, found in next(iter(alive.values())).items()}
        band = {head: torch.zeros(count, stop - start, width) for head, count in channels.items()}
        for row, answers_of_row in alive.items():
            top = grid.tops[row]
            first, last = max(start, top), min(stop, top + tall)
            share_down = down[row, first - top : last - top, None]
            for column, left in enumerate(grid.lefts):
                share = share_down * across[column]
                for head, found in answers_of_row.items():
                    part_of_tile = enlarge(found[column], grid.tile, slice(first - top, last - top))
                    target = band[head][:, first - start : last - start, left : left + wide]
                    target.add_(part_of_tile.mul_(share))
        yield slice(start, stop), band


def _starts(length: int, tile: int) -> tuple[int, ...]:
    """Return where tiles begin along one side: the first at 0, the last ends with it, the others evenly between."""
    if length <= tile:
        return (0,)
    stride = max(1, tile - int(np.ceil(tile * OVERLAP)))
    count = 1 + -(-(length - tile) // stride)
    return tuple(int(start) for start in np.rint(np.linspace(0, length - tile, count)))
