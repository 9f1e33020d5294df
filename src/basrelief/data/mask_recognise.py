"""Finding out what mask values mean, by looking at many masks, or taking the user's word for it.

Masks come as 0/255, 0/1, two colours, class numbers, palettes, JPEG with noise, or inverted. Three observations decide:
which values there are, which of them lie on the image border (that is background), and which of them fill areas
(class numbers do, the greys of a smoothed edge do not). Where these do not decide, the user is asked for a mapping;
nothing is guessed silently, and what was found is said in one sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from basrelief.data.decode import FileError
from basrelief.data.mask_looks import (
    COLOUR,
    NOISE,
    MaskLook,
    grey_as_colour,
    list_values,
    restate_in_colour,
    share_between,
    show_value,
    sum_counts,
)
from basrelief.data.mask_values import BACKGROUND_NAMES, OTHER, ClassNames, MaskMapping
from basrelief.errors import DataError, UsageError

_UNKNOWN = 255  # in class masks
_MAX_CLASSES = 64
_VOC_VOID = COLOUR | 0xE0E0C0
_ASK = (
    "State the values with --mask-map, for example --mask-map 0=background,255=figure "
    "(a value named unknown is left out, other=NAME stands for the rest)"
)


def recognise(
    looks: Sequence[MaskLook],
    *,
    names: ClassNames | None = None,
    mask_map: Mapping[int, str] | None = None,
    invert: bool | None = None,
) -> MaskMapping:
    """Decide what the values of these masks mean.

    Parameters
    ----------
    looks
        Of a spread-out sample of the masks.
    names
        From a classes file.
    mask_map, invert
        The user's word, which overrules.

    Raises
    ------
    DataError
        If the values do not decide it; the message shows them and asks for ``--mask-map``.
    UsageError
        If ``mask_map`` names no class, or ``invert`` is set where there are more than two values.
    """
    if any(look.colour for look in looks):
        looks = [restate_in_colour(look) for look in looks]
    counts = sum_counts(look.counts for look in looks)
    names = names or ClassNames()
    if mask_map:
        mapping = _stated(looks, counts, mask_map)
    elif len(counts) == 1:
        value = next(iter(counts))
        raise DataError(
            f"{_where(looks)}: all masks are empty or full: every pixel of the {len(looks)} masks has the value "
            f"{show_value(value)}, so there is no figure. Expected a second value for the figure; check how the masks "
            "were saved, or take the masks away to train on depth alone."
        )
    elif looks[0].colour:
        mapping = _colours(looks, counts, names)
    else:
        mapping = _greys(looks, counts, names)
    if not mask_map or invert is not None:
        mapping = _turned(mapping, looks, invert)
    looked_at = f"{len(looks)} mask{'' if len(looks) == 1 else 's'} looked at"
    return replace(mapping, says=f"Masks: {mapping.says} ({looked_at}).")


def _greys(looks: Sequence[MaskLook], counts: Counter[int], names: ClassNames) -> MaskMapping:
    values = sorted(counts)
    low, high = values[0], values[-1]
    if low < 0:
        raise DataError(f"{_where(looks)}: masks hold negative values ({list_values(values)}). {_ask(looks)}")
    figures = len(names.figures)
    palette = any(look.palette for look in looks)
    lossy = any(look.lossy for look in looks)
    classes = [v for v in values if v not in (0, _UNKNOWN)]
    if classes and figures > 1 and not lossy and max(classes) <= figures:
        return _labels(looks, values, names)
    if lossy and (len(values) > 2 or high - low >= 2 * NOISE):
        return _noisy(looks, counts, names, "JPEG noise")
    if palette and not classes:
        raise DataError(
            f"{_where(looks)}: all masks are empty: they hold only 0, and 255, which means unknown. {_ask(looks)}"
        )
    if len(values) == 2 and not (palette and _UNKNOWN in values):
        return _two(low, high, names, f"{low} is background, {high} the figure")
    solid = sum_counts(look.solid for look in looks)
    between = [v for v in values if v not in (low, high)]
    area = sum(counts[v] for v in between)
    filled = sum(solid[v] for v in between) / max(1, area)
    halfway = any(low + NOISE < v < high - NOISE for v in between)  # never so for class numbers, however thin
    if halfway and filled < 0.05 and len(between) > 2 and area < 0.2 * counts.total():
        return _noisy(looks, counts, names, "soft edges")
    if len(values) > _MAX_CLASSES:
        if filled < 0.2:
            return _noisy(looks, counts, names, "noise")
        raise DataError(
            f"{_where(looks)}: masks hold {len(values)} different values from {low} to {high}; that looks like a "
            "number for each object, not classes. To take all objects together as the figure: "
            "--mask-map 0=background,other=figure"
        )
    if _UNKNOWN in values and classes and max(classes) > 100 and not palette:
        raise DataError(
            f"{_where(looks)}: masks hold the values {list_values(values)}; it cannot be told whether those between "
            f"are classes, unknown or half figure. {_ask(looks)}"
        )
    if 0 in values and len(classes) == 1:
        return _two(0, classes[0], names, f"0 is background, {classes[0]} the figure, 255 unknown", unknown=True)
    if 0 not in values and not names.names:
        raise DataError(
            f"{_where(looks)}: masks hold the values {list_values(values)} and no 0, so it cannot be told which is "
            f"background. {_ask(looks)}"
        )
    return _labels(looks, values, names)


def _labels(looks: Sequence[MaskLook], values: Sequence[int], names: ClassNames) -> MaskMapping:
    top = max((v for v in values if v != _UNKNOWN), default=0)
    unknown = ", 255 unknown" if _UNKNOWN in values else ""
    if names.names:
        listed = list(names.names)
        if listed[0].lower() in BACKGROUND_NAMES:
            listed = listed[1:]
            planes = {0: 0} | {i: i for i in range(1, len(listed) + 1)}
        elif top == len(listed):  # the file leaves background out
            planes = {i: i for i in range(len(listed) + 1)}
        else:
            planes = {i: i + 1 for i in range(len(listed))}
        if top not in planes:
            raise DataError(
                f"{_where(looks)}: masks hold the value {top}, and the classes file names {len(names.names)} classes. "
                "Expected a name for each value, the first for value 0; add the missing names to the classes file."
            )
    else:
        seen = [v for v in values if v not in (0, _UNKNOWN)]
        named = range(1, top + 1) if top <= 2 * len(seen) else seen
        listed = [f"class_{v}" for v in named]
        planes = {0: 0} | {v: i + 1 for i, v in enumerate(named)}
    words = [f"{v} is {'background' if p == 0 else listed[p - 1]}" for v, p in planes.items()]
    shown = words if len(words) <= 8 else [*words[:4], f"... {words[-1]}"]
    return MaskMapping(
        tuple(listed), planes | {_UNKNOWN: planes.get(_UNKNOWN, -1)}, f"class numbers: {', '.join(shown)}{unknown}"
    )


def _two(low: int, high: int, names: ClassNames, says: str, *, unknown: bool = False) -> MaskMapping:
    classes = names.figures if len(names.figures) == 1 else ("figure",)
    return MaskMapping(classes, {low: 0, high: 1} | ({_UNKNOWN: -1} if unknown else {}), says)


def _noisy(looks: Sequence[MaskLook], counts: Counter[int], names: ClassNames, cause: str) -> MaskMapping:
    """Cut at half where nearly all pixels lie near two values."""
    low, high = _two_peaks(counts)
    soft = share_between(counts, low, high)
    between = [v for v in counts if low + NOISE < v < high - NOISE]
    solid = sum_counts(look.solid for look in looks)
    flat = sum(solid[v] for v in between)
    third = flat > 0.005 * counts.total() and flat > 0.25 * sum(counts[v] for v in between)
    if high - low < 2 * NOISE or soft > 0.15 or third:
        areas = ", some of them filling areas" if third else ""
        raise DataError(
            f"{_where(looks)}: masks hold {len(counts)} grey values from {min(counts)} to {max(counts)}, {soft:.0%} of "
            f"the pixels halfway between dark and bright{areas}; two values, or class numbers saved without loss "
            f"(PNG), were expected. {_ask(looks)}"
        )
    mapping = _two(low, high, names, f"{cause} around {low} and {high}, cut at half: dark is background, bright")
    return replace(mapping, nearest=True, says=f"{mapping.says} the figure")


def _colours(looks: Sequence[MaskLook], counts: Counter[int], names: ClassNames) -> MaskMapping:
    codes = sorted(counts)
    if names.colours:
        if strange := [code for code in codes if code not in names.colours]:
            raise FileError(
                _first_with(strange[0], looks),
                f"holds the colour {show_value(strange[0])}, which the classes file does not name",
                "Add the colour to the classes file (name r g b)",
            )
        listed = [n for n in names.names if n.lower() not in BACKGROUND_NAMES | {"unknown", "void"}]
        planes = {
            code: listed.index(name) + 1 if name in listed else -1 if name.lower() in ("unknown", "void") else 0
            for name, code in zip(names.names, names.colours, strict=True)
        }
        return MaskMapping(tuple(listed), planes, "colours as the classes file names them", colours=True)
    if len(codes) > _MAX_CLASSES or any(look.lossy for look in looks):
        raise DataError(
            f"{_where(looks)}: masks hold {len(codes)} colours; a few exact ones were expected, one a class. Save the "
            "masks as PNG (JPEG changes colours), or check that these are masks and not images."
        )
    if len(codes) == 2:
        dark, bright = sorted(codes, key=_brightness)
        return replace(
            _two(dark, bright, names, f"{show_value(dark)} is background, {show_value(bright)} the figure"),
            colours=True,
        )
    border = sum_counts(look.border for look in looks)
    ground = COLOUR if COLOUR in codes else max(codes, key=lambda code: border[code])
    planes = {ground: 0} | ({_VOC_VOID: -1} if _VOC_VOID in codes else {})
    rest = [code for code in codes if code not in planes]
    listed = list(names.figures) if len(names.figures) == len(rest) else [f"class_{i + 1}" for i in range(len(rest))]
    planes |= {code: i + 1 for i, code in enumerate(rest)}
    words = ", ".join(f"{show_value(code)} is {name}" for code, name in zip(rest, listed, strict=True))
    void = f", {show_value(_VOC_VOID)} unknown" if _VOC_VOID in planes else ""
    return MaskMapping(
        tuple(listed), planes, f"colours: {show_value(ground)} is background, {words}{void}", colours=True
    )


def _stated(looks: Sequence[MaskLook], counts: Counter[int], mask_map: Mapping[int, str]) -> MaskMapping:
    colours = looks[0].colour
    if not {0, COLOUR, OTHER} & set(mask_map) and not BACKGROUND_NAMES & {name.lower() for name in mask_map.values()}:
        mask_map = {0: "background", **mask_map}
    planes: dict[int, int] = {}
    classes: list[str] = []
    for value, word in mask_map.items():
        name = f"class_{word}" if word.isdigit() and word != "0" else word
        if name.lower() in BACKGROUND_NAMES:
            plane = 0
        elif name.lower() == "unknown":
            plane = -1
        else:
            if name not in classes:
                classes.append(name)
            plane = classes.index(name) + 1
        planes[grey_as_colour(value) if colours and 0 <= value < 256 else value] = plane
    if not classes:
        raise UsageError("--mask-map names no class besides background and unknown; expected one, such as 255=figure.")
    other = planes.pop(OTHER, None)
    words = ("unknown", "background", *classes)
    says = ", ".join(f"{_run(values)} is {words[plane + 1]}" for plane, values in _runs(planes))
    says += "" if other is None else f", every other value {('unknown', 'background', *classes)[other + 1]}"
    mapping = MaskMapping(tuple(classes), planes, f"{says} (as stated)", colours=colours, other=other)
    strange = sorted(set(counts) - set(planes)) if other is None else []
    noisy = any(look.lossy for look in looks) or len(strange) > 16
    if strange and noisy and not colours and len(planes) > 1:
        return replace(mapping, nearest=True, strict=False, says=f"{mapping.says[:-1]}, others go to the nearest)")
    if strange:
        raise FileError(
            _first_with(strange[0], looks),
            f"holds the value {show_value(strange[0])}, which --mask-map does not name (values found: "
            f"{list_values(sorted(counts))})",
            "Add it to --mask-map; unknown leaves it out",
        )
    if not any(planes.get(v, other if other is not None else 0) > 0 for v in counts):
        raise DataError(
            f"{_where(looks)}: all masks are empty: no pixel has a value that --mask-map names as a class (values "
            f"found: {list_values(sorted(counts))}). Name the figure's value in --mask-map."
        )
    return mapping


def _runs(planes: Mapping[int, int]) -> list[tuple[int, list[int]]]:
    """Return (plane, values) for runs of neighbouring values of one plane, in the order in which they are named."""
    runs: list[tuple[int, list[int]]] = []
    for value, plane in planes.items():
        if runs and runs[-1][0] == plane and runs[-1][1][-1] == value - 1 and value < COLOUR:
            runs[-1][1].append(value)
        else:
            runs.append((plane, [value]))
    return runs


def _run(values: Sequence[int]) -> str:
    return show_value(values[0]) if len(values) == 1 else f"{show_value(values[0])} to {show_value(values[-1])}"


def _turned(mapping: MaskMapping, looks: Sequence[MaskLook], invert: bool | None) -> MaskMapping:
    """Swap figure and background if told to, or if the figure would lie along the border of nearly all masks."""
    keys = {plane: code for code, plane in mapping.planes.items() if plane >= 0}
    two = len(mapping.classes) == 1 and set(keys) == {0, 1} and mapping.other is None
    if not two:
        if invert:
            raise UsageError("--invert-masks works on masks with two values; state the values with --mask-map instead.")
        return mapping
    half = (keys[0] + keys[1]) / 2

    def figure_share(counts: Mapping[int, int]) -> float:
        known = {v: n for v, n in counts.items() if mapping.planes.get(v, 0) != -1}
        if mapping.nearest and keys[0] < COLOUR:
            figure = sum(n for v, n in known.items() if (v > half) == (keys[1] > half))
        else:
            figure = known.get(keys[1], 0)
        return figure / max(1, sum(known.values()))

    # Evidence comes from masks that hold both; an empty mask says nothing about which side is the figure.
    pairs = [(figure_share(look.border), figure_share(look.counts)) for look in looks]
    pairs = [(border, whole) for border, whole in pairs if 0 < whole < 1]
    on_border = sum(border > 0.5 for border, _ in pairs) / max(1, len(pairs))
    border = float(np.mean([b for b, _ in pairs])) if pairs else 0.0
    whole = float(np.mean([w for _, w in pairs])) if pairs else 0.0
    if invert is None:
        invert = bool(on_border >= 0.6 and border >= 0.75 and border > whole)
        how = (
            f"taken as inverted, since the bright value covers {border:.0%} of the border; --no-invert-masks overrules"
        )
        if not invert and on_border >= 0.5:
            doubt = (
                f"the figure covers {border:.0%} of the border; if figure and background are swapped: --invert-masks"
            )
            return replace(mapping, says=f"{mapping.says}; {doubt}")
    else:
        how = "inverted, as stated"
    if not invert:
        return mapping
    planes = {code: 1 - plane if plane >= 0 else plane for code, plane in mapping.planes.items()}
    says = f"{show_value(keys[1])} is background, {show_value(keys[0])} the figure ({how})"
    if mapping.nearest:
        says = f"noise or soft edges, cut at half: bright is background, dark the figure ({how})"
    return replace(mapping, planes=planes, says=says)


def _two_peaks(counts: Counter[int]) -> tuple[int, int]:
    """Return the most frequent value of the dark and of the bright half."""
    half = (min(counts) + max(counts)) / 2
    dark = {v: n for v, n in counts.items() if v <= half}
    bright = {v: n for v, n in counts.items() if v > half}
    return max(dark, key=lambda v: dark[v]), max(bright, key=lambda v: bright[v])


def _brightness(code: int) -> tuple[int, int]:
    return 299 * (code >> 16 & 255) + 587 * (code >> 8 & 255) + 114 * (code & 255), code


def _first_with(code: int, looks: Sequence[MaskLook]) -> str:
    return next(look.file for look in looks if code in look.counts)


def _where(looks: Sequence[MaskLook]) -> str:
    return str(Path(looks[0].file).parent) if len(looks) > 1 else looks[0].file


def _ask(looks: Sequence[MaskLook]) -> str:
    return f"{_ASK}. One such file: {looks[0].file}"
