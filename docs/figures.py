"""Draw the pictures of these pages that are made from code and from numbers: python docs/figures.py.

The verdict's pictures show simulated scores through the very functions of ``basrelief.statistics``; the picture of the
layers is drawn from pyproject.toml, and from the files that are there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from basrelief.statistics import decide, holm, paired_interval

HERE = Path(__file__).parent
INK, FAINT, BLUE, ORANGE, GREY = "#222222", "#777777", "#2b6cb0", "#c05621", "#a0aec0"
Scores = NDArray[np.float64]

# The study of verdict-explained.md: what each loss scores in the long run, and how much its seeds differ (deviation).
LOSSES = {"bce + dice": (0.800, 0.001), "dice": (0.800, 0.001), "bce": (0.785, 0.002), "focal": (0.785, 0.012)}
SEEDS, IMAGES, IMAGE_LUCK, CELL_LUCK, MARGIN = 5, 60, 0.006, 0.008, 0.005


def simulate_scores(seed: int = 0) -> dict[str, Scores]:
    """Return for each loss scores (seeds, images) round its mean in the long run, on images that all losses share."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 0.08, IMAGES)
    found = {}
    for name, (mean, seed_luck) in LOSSES.items():
        luck = rng.normal(0, seed_luck, (SEEDS, 1)) + rng.normal(0, IMAGE_LUCK, IMAGES)
        found[name] = np.clip(mean + hard + luck + rng.normal(0, CELL_LUCK, (SEEDS, IMAGES)), 0, 1)
    return found


def describe_pairs() -> list[tuple[str, str, float, float, float, float, str]]:
    """Return a line for each two losses: names, difference, bounds, p after Holm, and what is decided."""
    scores, names = simulate_scores(), list(LOSSES)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    intervals = [paired_interval(scores[a], scores[b]) for a, b in pairs]
    adjusted = holm([interval.p_value or 0.0 for interval in intervals])
    return [
        (a, b, i.difference, i.low or 0.0, i.high or 0.0, p, decide(i, p, margin=MARGIN, higher_is_better=True))
        for (a, b), i, p in zip(pairs, intervals, adjusted, strict=True)
    ]


def draw_table() -> str:
    """The table of differences: a row for each seed, a column for each image, means at both edges."""
    scores, shown = simulate_scores(), 16
    d = scores["dice"] - scores["focal"]
    cell, left, top = 38, 92, 58
    parts = [_text(left, 22, "dice − focal, in hundredths of IoU", bold=True)]
    parts += [_text(left + (j + 0.5) * cell, top - 8, f"{j + 1}", middle=True, fill=FAINT) for j in range(shown)]
    parts += [_text(left + (shown + 0.9) * cell, top - 8, "mean", middle=True, bold=True)]
    for i, row in enumerate([*d, d.mean(axis=0)]):
        y = top + i * cell + (8 if i == SEEDS else 0)
        label = f"seed {i}" if i < SEEDS else "mean"
        parts.append(_text(left - 10, y + 24, label, end=True, bold=i == SEEDS, fill=INK if i == SEEDS else FAINT))
        for j, value in enumerate([*row[:shown], row.mean()]):
            x = left + j * cell + (15 if j == shown else 0)
            parts.append(f'<rect x="{x}" y="{y}" width="{cell - 2}" height="{cell - 2}" fill="{_tint(value)}"/>')
            bold = i == SEEDS or j == shown
            parts.append(_text(x + cell / 2 - 1, y + 23, f"{round(100 * value)}", middle=True, bold=bold))
    foot = top + (SEEDS + 1) * cell + 32
    parts.append(
        _text(
            left,
            foot,
            f"columns: images, the first {shown} of {IMAGES} (means: all);  blue: dice better, orange: focal better",
        )
    )
    return _svg(left + (shown + 1) * cell + 30, foot + 18, parts, "Differences of two losses by seed and image")


def draw_intervals() -> str:
    """Every pair's interval, with the margin of practical equality and what was decided."""
    left, wide, row, top, furthest = 170, 420, 34, 54, 0.045
    pairs = describe_pairs()

    def at(value: float) -> float:
        return left + wide * (value + 0.015) / (furthest + 0.015)

    bottom = top + row * len(pairs)
    parts = [_text(14, 24, "Paired differences in IoU, 95 % intervals", bold=True)]
    strip = at(MARGIN) - at(-MARGIN)
    parts.append(
        f'<rect x="{at(-MARGIN):.1f}" y="{top - 12}" width="{strip:.1f}" height="{bottom - top + 8}" fill="#e2e8f0"/>'
    )
    parts.append(_line(at(0), top - 12, at(0), bottom - 4, FAINT))
    for number, (a, b, mean, low, high, _, decision) in enumerate(pairs):
        y = top + number * row + 6
        colour = {"undecided": GREY, "equal": INK}.get(decision, BLUE if decision == "a" else ORANGE)
        said = {"a": f"{a} better", "b": f"{b} better", "equal": "practically equal"}.get(decision, decision)
        parts.append(_text(left - 12, y + 5, f"{a} − {b}", end=True))
        parts.append(_line(at(low), y, at(high), y, colour, 3))
        parts.append(f'<circle cx="{at(mean):.1f}" cy="{y}" r="5" fill="{colour}"/>')
        parts.append(_text(left + wide + 12, y + 5, said, fill=colour if decision != "undecided" else FAINT))
    for value in (-0.01, 0.0, 0.01, 0.02, 0.03, 0.04):
        parts.append(_text(at(value), bottom + 18, f"{value:+.2f}" if value else "0", middle=True, fill=FAINT))
    return _svg(left + wide + 150, bottom + 32, parts, "Intervals of the differences between four losses")


def read_layers() -> list[list[str]]:
    """Return the layers of pyproject.toml, the highest first, each with its modules and packages."""
    contracts = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in layers]


def draw_layers() -> str:
    """A row for each layer, a box for each package with its number of files, thin for single files."""
    home, row, top, wide = HERE.parent / "src" / "basrelief", 30, 50, 900
    parts = [_text(14, 26, "Imports run downward only", bold=True)]
    for number, names in enumerate(read_layers()):
        y, box = top + number * row, (wide - 28) / len(names)
        for place, name in enumerate(names):
            files = len(list((home / name).rglob("*.py"))) if (home / name).is_dir() else 0
            fill, x = ("#dbe7f5" if files else "#f3f4f6"), 14 + place * box
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{box - 4:.1f}" height="{row - 5}" fill="{fill}" stroke="{GREY}"/>'
            )
            many = f'<tspan fill="{FAINT}" font-size="11">  {files} files</tspan>' if files else ""
            parts.append(_text(x + box / 2 - 2, y + 17, f"<tspan>{name}</tspan>{many}", middle=True, raw=True))
    foot = top + row * len(read_layers()) + 18
    parts.append(_text(14, foot, "blue: a package; grey: a single file", fill=FAINT))
    return _svg(wide, foot + 14, parts, "The layers of the program")


def _tint(value: float) -> str:
    share = min(1.0, abs(value) / 0.08)
    full = (0x2B, 0x6C, 0xB0) if value > 0 else (0xC0, 0x56, 0x21)
    return "#" + "".join(f"{round(255 - 0.65 * share * (255 - part)):02x}" for part in full)


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1}" x2="{x2:.1f}" y2="{y2}" stroke="{stroke}" stroke-width="{width}"/>'


def _text(
    x: float,
    y: float,
    words: str,
    *,
    middle: bool = False,
    end: bool = False,
    bold: bool = False,
    fill: str = INK,
    raw: bool = False,
) -> str:
    anchor = "middle" if middle else "end" if end else "start"
    weight = ' font-weight="bold"' if bold else ""
    shown = words if raw else words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{weight}>{shown}</text>'


def _svg(width: float, height: float, parts: Iterable[str], title: str) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'font-family="sans-serif" font-size="13" role="img">\n<title>{title}</title>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


FIGURES: dict[str, Callable[[], str]] = {
    "verdict-table.svg": draw_table,
    "verdict-intervals.svg": draw_intervals,
    "layers.svg": draw_layers,
}


def main() -> None:
    """Write every picture, and print the pairs that verdict-explained.md quotes."""
    (HERE / "figures").mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        (HERE / "figures" / name).write_text(draw())
    for a, b, mean, low, high, p, decision in describe_pairs():
        print(f"{a} - {b}: {mean:+.4f}  {low:+.4f} to {high:+.4f}  p after Holm {p:.4f}  {decision}")


if __name__ == "__main__":
    main()
