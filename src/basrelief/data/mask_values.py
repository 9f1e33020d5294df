"""What mask values mean, as a mapping from values to planes: stated in words, and applied to masks."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from basrelief.data.decode import FileError
from basrelief.data.mask_looks import COLOUR, MaskLook, codes_of, count_values, list_values, share_between
from basrelief.errors import UsageError

OTHER = -1  # the key that "other=NAME" gives in a mask map: every value not named
BACKGROUND_NAMES = frozenset({"background", "bg", "_background_", "0", "__background__"})
_SOFT_SHARE = 0.25  # a mask of which more lies halfway between figure and background has no edge to trust


@dataclass(frozen=True)
class MaskMapping:
    """Stored values -> planes.

    Attributes
    ----------
    classes
        Names of the planes.
    planes
        Value (or colour code) -> number of its plane from 1 on, 0 for background, -1 for unknown.
    says
        The mapping as a sentence.
    nearest
        Whether values between the named ones belong to the nearest, as in masks with noise or soft edges.
    strict
        Whether a mask that is mostly halfway between is refused.
    colours
        Whether masks are to be read with ``colours=True``.
    other
        Plane of every value not named; None: such a value is an error.
    """

    classes: tuple[str, ...]
    planes: Mapping[int, int]
    says: str = ""
    nearest: bool = False
    strict: bool = True
    colours: bool = False
    other: int | None = None

    @functools.cached_property
    def bytes(self) -> bytes:
        """The plane of every byte: 0 for background, -1 for unknown, -2 where the mapping lacks it, as int8."""
        if self.nearest:
            keys = sorted(self.planes)
            middles = (np.array(keys[1:]) + np.array(keys[:-1])) / 2
            planes = np.array([self.planes[key] for key in keys], np.int8)
            return planes[np.searchsorted(middles, np.arange(256), side="left")].tobytes()
        table = np.full(256, -2 if self.other is None else self.other, np.int8)
        for key, plane in self.planes.items():
            if 0 <= key < 256:
                table[key] = plane
        return table.tobytes()

    @functools.cached_property
    def cut(self) -> tuple[int, bool] | None:
        """Of two values by nearness, background and figure: the highest number of the lower, and whether that is dark.

        None where a mapping is anything else.
        """
        if not self.nearest or len(self.planes) != 2 or set(self.planes.values()) != {0, 1} or len(self.classes) != 1:
            return None
        low, high = sorted(self.planes)
        return (low + high) // 2, self.planes[low] == 1


@dataclass(frozen=True)
class ClassNames:
    """The content of a classes file: names in order, and the codes of their colours where it gives them."""

    names: tuple[str, ...] = ()
    colours: tuple[int, ...] = ()

    @property
    def figures(self) -> tuple[str, ...]:
        """The names without those for background."""
        return tuple(name for name in self.names if name.lower() not in BACKGROUND_NAMES)


def parse_mask_map(text: str) -> dict[int, str]:
    """Return ``"0=background,255=figure"`` as ``{0: "background", 255: "figure"}``.

    A value is a number, ``#rrggbb`` for colour masks, or ``other``. A name is a class, its number, "background" or
    "unknown".

    Raises
    ------
    UsageError
        If a piece is not of the form VALUE=NAME, showing that piece.
    """
    mapping: dict[int, str] = {}
    for piece in text.split(","):
        value, equals, name = (part.strip() for part in piece.partition("="))
        code = _parse_value(value)
        if not equals or not name or "=" in name or code is None:
            raise UsageError(
                f"--mask-map: {piece.strip()!r} is not VALUE=NAME; expected pieces such as 0=background,255=figure."
            )
        if code in mapping:
            raise UsageError(f"--mask-map: {piece.strip()!r} names the value {value} a second time; name it once.")
        mapping[code] = name
    return mapping


def read_class_names(path: Path) -> ClassNames:
    """Read a classes file: one name a line, or name and colour (``name r g b``, ``r g b name``, commas as well).

    Raises
    ------
    FileError
        If the file is no text, names a class twice, or gives a colour for some classes only.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(
            str(path), f"cannot be read as text ({error})", "Save one class name a line, in UTF-8"
        ) from None
    names: list[str] = []
    colours: list[int] = []
    for line in lines:
        words = line.replace(",", " ").replace("\t", " ").split()
        if not words or words[0].startswith("//") or [w.lower() for w in words[:4]] == ["name", "r", "g", "b"]:
            continue
        for numbers, rest in ((words[-3:], words[:-3]), (words[:3], words[3:])):
            if rest and len(numbers) == 3 and all(n.isdigit() and int(n) < 256 for n in numbers):
                red, green, blue = (int(n) for n in numbers)
                colours.append(COLOUR | red << 16 | green << 8 | blue)
                names.append(" ".join(rest))
                break
        else:
            names.append(line.strip())
    if len(set(names)) < len(names):
        double = next(name for name, count in Counter(names).items() if count > 1)
        raise FileError(str(path), f"names the class {double!r} twice", "Give each class its own name")
    if colours and len(colours) != len(names):
        raise FileError(str(path), "gives a colour for some classes only", "Give each line a colour, or none")
    return ClassNames(tuple(names), tuple(colours))


def to_planes(mapping: MaskMapping, values: np.ndarray, file: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Apply a mapping to one mask.

    Parameters
    ----------
    mapping
        What the values mean.
    values
        Integers (H, W), or uint8 (H, W, 3) for true colour.
    file
        Named in errors.

    Returns
    -------
    tuple
        The mask, uint8 (K, H, W) in {0, 1}, and where it is known, bool (H, W), or None where every pixel is.

    Raises
    ------
    FileError
        If the mask holds a value that the mapping lacks, or is mostly halfway between two values.
    """
    in_colour = any(code >= COLOUR for code in mapping.planes)
    if values.ndim == 3 and not in_colour:
        raise FileError(file, "holds colours, and the other masks do not", "Save it as the others are")
    if mapping.nearest and mapping.strict:
        soft = _share_halfway(mapping, values)
        if soft > _SOFT_SHARE:
            low, high = min(mapping.planes), max(mapping.planes)
            raise FileError(
                file,
                f"is mostly grey: {soft:.0%} of it lies halfway between {low} and {high}, so where the figure ends "
                "cannot be told",
                "Save it with two values, or take it away; --mask-map accepts it with a cut at half",
            )
    codes = codes_of(values, greys_as_colours=in_colour)
    if codes.dtype == np.uint8 and mapping.cut is not None:  # the usual mask, by one comparison
        highest, figure_is_low = mapping.cut
        figure = codes <= highest if figure_is_low else codes > highest
        return figure.view(np.uint8)[None], None
    if codes.dtype == np.uint8 and len(mapping.planes) < 127:
        # A byte has 256 values, so what each means is looked up once, and bytes are then swapped one for one.
        index = np.frombuffer(codes.tobytes().translate(mapping.bytes), np.int8).reshape(codes.shape)
        if -2 in index:
            raise _strange(codes[index == -2], mapping, file)
    else:
        index = _index(codes, mapping, file)
    mask = np.stack([(index == k + 1) for k in range(len(mapping.classes))]).view(np.uint8)
    known = index != -1
    return mask, None if known.all() else known


def _share_halfway(mapping: MaskMapping, values: np.ndarray) -> float:
    """Return the share of pixels that lie halfway between the lowest and the highest value of a mapping."""
    low, high = min(mapping.planes), max(mapping.planes)
    if values.dtype == np.uint8 and values.ndim == 2:
        first, last = _halfway(low, high)
        return np.count_nonzero((values >= first) & (values <= last)) / max(1, values.size)
    return share_between(count_values(codes_of(values, greys_as_colours=low >= COLOUR)), low, high)


@functools.lru_cache(maxsize=16)
def _halfway(low: int, high: int) -> tuple[int, int]:
    """Return the first and the last of the bytes halfway between two values; (1, 0) where there is none."""
    found = [value for value in range(256) if share_between({value: 1}, low, high)]
    return (found[0], found[-1]) if found else (1, 0)


def _index(codes: np.ndarray, mapping: MaskMapping, file: str) -> np.ndarray:
    """Return the plane of every pixel, of codes of any width."""
    keys = np.array(sorted(mapping.planes), dtype=np.int64)
    planes = np.array([mapping.planes[key] for key in keys.tolist()], dtype=np.int16)
    if mapping.nearest:
        return planes[np.searchsorted((keys[1:] + keys[:-1]) / 2, codes, side="left")]
    return _look_up(codes, keys, planes, mapping, file)


def _look_up(codes: np.ndarray, keys: np.ndarray, planes: np.ndarray, mapping: MaskMapping, file: str) -> np.ndarray:
    missing = np.int16(-2 if mapping.other is None else mapping.other)
    low, high = int(codes.min()), int(codes.max())
    if low >= 0 and high < 65536:
        table = np.full(high + 1, missing, dtype=np.int16)
        table[keys[keys <= high]] = planes[keys <= high]
        index: np.ndarray = table[codes]
    else:
        place = np.minimum(np.searchsorted(keys, codes), len(keys) - 1)
        index = np.where(keys[place] == codes, planes[place], missing)
    if (index == -2).any():
        raise _strange(codes[index == -2], mapping, file)
    return index


def _strange(codes: np.ndarray, mapping: MaskMapping, file: str) -> FileError:
    strange = sorted(count_values(codes))
    plural, expected = "s" if len(strange) > 1 else "", list_values(sorted(mapping.planes))
    return FileError(
        file,
        f"holds the value{plural} {list_values(strange)}, expected {expected}",
        "Mend it, or state every value with --mask-map (other=unknown leaves the rest out)",
    )


def soft_share(mapping: MaskMapping, look: MaskLook) -> float:
    """Return the share of a mask's pixels that lie halfway between the two values of a mapping by nearness."""
    return share_between(look.counts, min(mapping.planes), max(mapping.planes)) if mapping.nearest else 0.0


def _parse_value(text: str) -> int | None:
    if text.lower() in ("other", "*"):
        return OTHER
    try:
        if text.startswith("#") and len(text) == 7:
            return COLOUR | int(text[1:], 16)
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
    except ValueError:
        return None
