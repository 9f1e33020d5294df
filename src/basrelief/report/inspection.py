"""What is in the data, as one HTML page: numbers, faults, and pictures of samples spread over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from basrelief.batch import Sample
from basrelief.data.histogram import total
from basrelief.data.inspect import Inspection
from basrelief.data.leaks import leak_faults
from basrelief.data.source import Entry, Source
from basrelief.errors import DataError, OutputError
from basrelief.functional.colours import VIRIDIS, class_colours
from basrelief.report.page import read_part
from basrelief.report.tables import decimals_for, format_number
from basrelief.report.thumbnails import show_image, show_planes

MARK = '<meta name="generator" content="basrelief inspect">'  # tells our page from a file that must stay
SAMPLES = 24
PAIRS = 8
_CARD = 118  # px for each plane of a sample's card


def check_place(path: Path) -> None:
    """Raise where a page may not be written: at a folder, or in place of a file that is not such a page.

    Raises
    ------
    OutputError
        Naming the file.
    """
    if path.is_dir():
        raise OutputError(f"--html {path} is a folder; expected a file to write, such as {path / 'inspect.html'}.")
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            if MARK.encode() not in file.read(4096):
                raise OutputError(
                    f"--html {path} is there already and is no page that inspect wrote. Remove it, or choose another."
                )


def render_inspection(found: Inspection, source: Source) -> str:
    """Return the inspection as one self-contained HTML document.

    It needs no network and has no scripts; every text of the data is treated as text. The samples it shows are decoded
    again.

    Parameters
    ----------
    found
        What ``inspect_source`` returned.
    source
        The same source.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    fatal = sum(fault.fatal for fault in found.faults)
    leaky = bool(leak_faults(found.location, dict(found.leaks), ""))
    low, high = _depth_ends(found)
    colours = class_colours(found.classes, len(found.classes))
    samples = [
        {"id": sample.id, "planes": show_planes(sample, colours, low, high)} for sample in _spread(source, SAMPLES)
    ]
    unknown = bool(found.mask_unknown_share or found.depth_unknown_share)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    columns = max((len(sample["planes"]) for sample in samples), default=1)
    css = read_part("style.css") + read_part("inspection.css").replace("{{ card }}", str(_CARD * max(2, columns)))
    return environment.from_string(read_part("inspection.html.j2")).render(
        mark=Markup(MARK),
        style=Markup(css),
        title=Path(found.location).name or found.location,
        found=found,
        fatal=fatal,
        badge=f"{fatal} to mend" if fatal else "may leak" if leaky else "nothing to mend",
        careful=bool(fatal or leaky),
        summary=_summary(found),
        facts=_facts(found),
        notes=[note for note in found.notes if note != found.mask_mapping],
        samples=samples,
        classes=[
            (name, f"#{bytes(colour.tolist()).hex()}") for name, colour in zip(found.classes, colours, strict=True)
        ],
        scale=_scale(low, high) if found.depth_range is not None else None,
        gradient=", ".join(f"#{colour}" for colour in VIRIDIS),
        unknown=unknown,
        planes=list(_planes(found)),
        colours=[_colour_row(plane, row) for plane, row in found.colour.items()],
        histograms=[_plot(name, histogram, found) for name, histogram in found.histograms.items()],
        sizes=_sizes(found),
        more_sizes=sum(size["count"] for size in found.size_counts) < found.usable,
        splits=list(_splits(found)),
        alike=_alike(found),
        pairs=_pairs(found, source),
    )


def _summary(found: Inspection) -> str:
    says = f"{found.usable:,} usable samples" if found.usable == found.samples else ""
    says = says or f"{found.usable:,} of {found.samples:,} samples are usable"
    worth = sum(not fault.fatal for fault in found.faults)
    return f"{says}{f'; {worth} thing' + ('s' if worth > 1 else '') + ' worth knowing' if worth else ''}."


def _facts(found: Inspection) -> list[tuple[str, str]]:
    facts = [("Format", found.format), ("Samples", f"{found.samples:,}"), ("Usable", f"{found.usable:,}")]
    if found.sizes:
        least, most = found.sizes["min"], found.sizes["max"]
        facts.append(("Size", _size(least) if least == most else f"{_size(least)} to {_size(most)}"))
    facts += [(f"In {split}, as it comes", f"{count:,}") for split, count in found.splits.items()]
    if found.classes:
        facts.append(("Classes", ", ".join(found.classes)))
    return facts


def _size(size: Sequence[int]) -> str:
    return f"{size[0]} × {size[1]}"


def _planes(found: Inspection) -> Iterator[tuple[str, int, str]]:
    for plane, count in found.planes.items():
        says = ""
        if plane == "image":
            least, most = _size(found.sizes["min"]), _size(found.sizes["max"])
            says = f"{least} pixels" if least == most else f"{least} to {most} pixels, height × width"
        if plane == "background" and "background" in found.colour:
            says = f"{found.colour['background']['images']:,} distinct"
        if plane == "mask":
            shares = [f"{name} {row['mean']:.1%}" for name, row in found.foreground.items()]
            says = f"covered on average: {', '.join(shares)}; empty: {found.empty_masks:,}"
            says += f"; unknown: {found.mask_unknown_share:.1%} of pixels" if found.mask_unknown_share else ""
        if plane == "depth" and found.depth_range is not None:
            low, high = _numbers(found.depth_range)
            says = f"{low} to {high} {found.depth_unit or '(unit not known)'}; unknown: "
            says += f"{found.depth_unknown_share or 0:.1%} of pixels"
        yield plane, count, says


def _numbers(values: Sequence[float]) -> list[str]:
    decimals = max(decimals_for(values) - 1, 0)
    return [format_number(value, decimals) for value in values]


def _colour_row(plane: str, row: Mapping[str, Any]) -> dict[str, str]:
    css = ", ".join(str(round(255 * value)) for value in row["mean"])
    mean, std = (", ".join(f"{value:.5f}" for value in row[name]) for name in ("mean", "std"))
    return {"plane": plane, "css": f"rgb({css})", "mean": mean, "std": std, "images": f"{row['images']:,}"}


def _plot(name: str, histogram: Mapping[str, Any], found: Inspection) -> dict[str, Any]:
    edges, counts = histogram["edges"], histogram["counts"]
    kind, _, which = name.partition("/")
    title, says, percent = {
        "foreground": (f"Share covered: {which}", "of the known pixels, masks", True),
        "brightness": ("Brightness", "mean of an image, black to white; images", False),
        "depth": ("Depth", f"{found.depth_unit or 'unit not known'}; pixels", False),
    }[kind]
    ends = [edges[0], (edges[0] + edges[-1]) / 2, edges[-1]]
    texts = [f"{100 * end:.3g} %" for end in ends] if percent else _numbers(ends)
    top = max([*counts, 1])
    bars = [
        {
            "x": place,
            "y": f"{100 - 100 * count / top:.2f}",
            "width": 0.92,
            "height": f"{max(100 * count / top, 0.8):.2f}",
            "says": f"{edges[place]:.4g} to {edges[place + 1]:.4g}: {count:,}",
        }
        for place, count in enumerate(counts)
        if count
    ]
    return {"title": title, "says": f"{says} ({total(histogram):,})", "width": len(counts), "bars": bars, "ends": texts}


def _sizes(found: Inspection) -> list[dict[str, str]]:
    most = max((size["count"] for size in found.size_counts), default=1)
    return [
        {
            "name": _size((size["height"], size["width"])),
            "percent": f"{100 * size['count'] / most:.1f}",
            "count": f"{size['count']:,}",
        }
        for size in found.size_counts
    ]


def _splits(found: Inspection) -> Iterator[tuple[str, str, str, str]]:
    if "rule" not in found.split:
        return
    for name in ("train", "val", "test"):
        leak = found.leaks.get(name)
        counts = (f"{leak['same']:,}", f"{leak['similar']:,}") if leak is not None else ("", "")
        yield name, f"{found.split[name]:,}", *counts
    if found.split["left_out"]:
        yield "left out", f"{found.split['left_out']:,}", "", ""


def _alike(found: Inspection) -> str:
    near = found.near_duplicates
    says = []
    if found.duplicates:
        says.append(
            f"{sum(map(len, found.duplicates)):,} images are the same as another, pixel by pixel; they stay together."
        )
    if near["clusters"]:
        says.append(
            f"{near['images']:,} images in {near['clusters']:,} clusters look like one of another group, and "
            f"{near['across']:,} of these clusters stand in more than one split. Their perceptual hashes differ in at "
            f"most {near['distance']} of 64 bits; judge by looking."
        )
    return " ".join(says)


def _pairs(found: Inspection, source: Source) -> list[dict[str, Any]]:
    """Return pairs side by side: those across splits where there are any, else the nearest of each cluster."""
    chosen = [
        (own, other, f"{bits} bits differ" if bits else "") for own, other, bits in found.leaks.get("examples", [])
    ]
    chosen = chosen or [(*cluster["pair"], "") for cluster in found.near_duplicates["listed"]]
    chosen = chosen or [(ids[0], ids[1], "the same image") for ids in found.duplicates]
    entries = {entry.id: entry for entry in source.entries}
    pairs = []
    for own, other, says in chosen[:PAIRS]:
        pictures = [show_image(sample) for name in (own, other) if (sample := _load(source, entries[name])) is not None]
        if len(pictures) == 2:
            pairs.append({"pictures": pictures, "says": f"{own} · {other}{' · ' + says if says else ''}"})
    return pairs


def _spread(source: Source, count: int) -> Iterator[Sample]:
    """Yield up to so many samples that can be decoded, evenly spread; in place of a broken one, the next."""
    entries = source.entries
    shown = min(count, len(entries))
    for place in range(shown):
        start, stop = place * len(entries) // shown, (place + 1) * len(entries) // shown
        for entry in entries[start : min(stop, start + 5)]:
            sample = _load(source, entry)
            if sample is not None:
                yield sample
                break


def _load(source: Source, entry: Entry) -> Sample | None:
    try:
        return source.load(entry)
    except DataError:
        return None


def _depth_ends(found: Inspection) -> tuple[float, float]:
    low, high = found.depth_middle or (0.0, 1.0)
    return (low, high) if high > low else (low, low + (abs(low) or 1.0))


def _scale(low: float, high: float) -> list[str]:
    return _numbers([low, (low + high) / 2, high])
