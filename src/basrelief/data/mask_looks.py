"""What mask files hold: which values, where they lie, and the words to show them in messages.

A value is a number as it is stored; a colour becomes a number too, its code, so that both are counted alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from basrelief.data.decode import File, palette_of, read_mask_values
from basrelief.data.headers import is_lossy

NOISE = 24  # grey levels that saving with loss may add to a value
COLOUR = 1 << 24  # codes of colours are COLOUR | 0xRRGGBB, so that no colour equals a grey value


@dataclass(frozen=True)
class MaskLook:
    """What one mask file holds.

    Attributes
    ----------
    file
        Its path.
    counts, border, solid
        Value (or colour code) -> number of pixels: in all, on the border, and inside flat areas.
    lossy
        Whether the file was saved with loss, so that values carry noise.
    colour
        Whether the values are colour codes.
    palette
        The colours that the values are indices of; None where there are none.
    """

    file: str
    counts: Mapping[int, int]
    border: Mapping[int, int]
    solid: Mapping[int, int]
    lossy: bool = False
    colour: bool = False
    palette: tuple[tuple[int, int, int], ...] | None = None


def look_at(path: File, *, colours: bool = False) -> MaskLook:
    """Count one mask's values. ``colours`` reads a palette file by its colours.

    Raises
    ------
    FileError
        If the file cannot be read as a mask.
    """
    values = read_mask_values(path, colours=colours)
    colour = values.ndim == 3
    codes = codes_of(values)
    lossy = is_lossy(path)
    flat = _flat(codes, NOISE // 3 if lossy and not colour else 0)
    border = np.concatenate([codes[0], codes[-1], codes[:, 0], codes[:, -1]])
    return MaskLook(
        str(path),
        counts=count_values(codes),
        border=count_values(border),
        solid=count_values(codes[flat]),
        lossy=lossy,
        colour=colour,
        palette=None if colours else palette_of(path),
    )


def palettes_differ(looks: Iterable[MaskLook]) -> bool:
    """Return whether an index means different colours in different files, so that colours must be compared."""
    seen: dict[int, tuple[int, int, int]] = {}
    return any(
        seen.setdefault(index, colour) != colour
        for look in looks
        for index, colour in enumerate(look.palette or ())
        if index in look.counts
    )


def restate_in_colour(look: MaskLook) -> MaskLook:
    """Restate a grey mask among colour masks."""
    if look.colour:
        return look
    counts, border, solid = (
        {grey_as_colour(v): n for v, n in found.items()} for found in (look.counts, look.border, look.solid)
    )
    return replace(look, counts=counts, border=border, solid=solid, colour=True)


def grey_as_colour(value: int) -> int:
    """Return the code of the colour that looks like an 8-bit grey value."""
    return COLOUR | value * 0x010101


def codes_of(values: np.ndarray, *, greys_as_colours: bool = False) -> np.ndarray:
    """Return one number a pixel, (H, W): grey values as they are, or as colours; the codes of colours (H, W, 3)."""
    if values.ndim == 3:
        wide = values.astype(np.int32)
        codes: np.ndarray = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2] | COLOUR
        return codes
    return values.astype(np.int32) * 0x010101 | COLOUR if greys_as_colours else values


def _flat(codes: np.ndarray, tolerance: int) -> np.ndarray:
    """Return where a pixel and its four neighbours agree, bool (H, W); False on the border."""
    flat = np.zeros(codes.shape, dtype=bool)
    wide = codes if tolerance == 0 else codes.astype(np.int32)
    centre = wide[1:-1, 1:-1]
    inner = flat[1:-1, 1:-1]
    inner[...] = True
    for neighbour in (wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]):
        inner &= centre == neighbour if tolerance == 0 else np.abs(centre - neighbour) <= tolerance
    return flat


def count_values(codes: np.ndarray) -> dict[int, int]:
    """Return pixels per value, in time linear in the pixels: masks are long runs of one value."""
    codes = codes.ravel()
    if codes.dtype in (np.uint8, np.uint16):
        found = np.bincount(codes)
        return {int(v): int(found[v]) for v in np.flatnonzero(found)}
    if codes.size == 0:
        return {}
    starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    lengths = np.diff(np.append(starts, codes.size))
    values, inverse = np.unique(codes[starts], return_inverse=True)
    return dict(zip(values.tolist(), np.bincount(inverse, weights=lengths).astype(int).tolist(), strict=True))


def sum_counts(counts: Iterable[Mapping[int, int]]) -> Counter[int]:
    """Return the sum of several counts of pixels per value."""
    result: Counter[int] = Counter()
    for found in counts:
        result.update(found)
    return result


def share_between(counts: Mapping[int, int], low: int, high: int) -> float:
    """Return the share of pixels that lie halfway between two values: in the middle half of the distance."""
    margin = (high - low) / 4
    return sum(n for v, n in counts.items() if low + margin < v < high - margin) / max(1, sum(counts.values()))


def show_value(code: int) -> str:
    """Return a value as messages show it: a number, or #rrggbb."""
    return f"#{code & 0xFFFFFF:06x}" if code >= COLOUR else str(code)


def list_values(codes: Sequence[int]) -> str:
    """Return values as messages list them: up to eight, or the first four and the last."""
    shown = [show_value(code) for code in codes]
    return ", ".join(shown) if len(shown) <= 8 else f"{', '.join(shown[:4])} ... {shown[-1]} ({len(shown)} values)"
