"""The forest of paired differences: which pairs, in which order, and where their marks stand on the common axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from basrelief.report.contents import StudyContents
from basrelief.report.tables import Score, decimals_for, finite, format_number, order_losses, primary_facts

AT_ONCE = 10  # pairs; of more, those without the best loss are folded away


@dataclass(frozen=True)
class PairLine:
    """One row of the paired differences, a - b. ``kind`` is a, b, equal or undecided.

    ``mark`` places it in percent of the axis: point, low and width, and thin_low and thin_width of the bootstrap.
    ``bootstrap`` is that interval in words, ``care`` what the decision hangs on; "" where there is none.
    """

    a: str
    b: str
    a_index: int
    b_index: int
    score: Score
    bootstrap: str
    seeds: str
    kind: str
    words: str
    care: str
    mark: Mapping[str, float]


@dataclass(frozen=True)
class Forest:
    """The paired differences with their common axis; positions are percent of its width.

    ``pairs`` are those shown at once, ``others`` the rest. The better mean is always ``a``.
    """

    pairs: Sequence[PairLine]
    others: Sequence[PairLine]
    zero: float
    ticks: Sequence[tuple[float, str]]
    margin: tuple[float, float] | None
    left: str
    right: str
    has_seeds: bool
    has_bootstrap: bool


def format_pairs(contents: StudyContents) -> Forest | None:
    """Return the paired differences on their common axis, or None where the verdict compares nothing.

    Pairs come in the order of the losses' means, each turned so that the better mean comes first: then all marks of
    a decided study lie on one side.
    """
    pairs = sorted(
        (_turn(pair, contents) for pair in contents.verdict.get("pairs") or ()), key=lambda pair: _ranks(pair, contents)
    )
    if not pairs:
        return None
    primary = primary_facts(contents)
    margin = finite(contents.verdict.get("margin"))
    ends: list[float] = [0.0]
    if margin:
        ends += [-margin, margin]
    for pair in pairs:
        found = (finite(pair.get("difference")), *ends_of(pair, "ci"), *ends_of(pair, "bootstrap_ci"))
        ends += [value for value in found if value is not None]
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or 1.0
    low, high = low - pad, high + pad

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 3)

    means = [finite(row.scores.get(primary.name, (None,))[0]) for row in contents.losses]
    decimals = decimals_for(means if any(means) else ends)
    index = {row.name: place for place, row in enumerate(contents.losses)}
    unit = str(contents.verdict.get("unit", "image"))
    lines = [_format_pair(pair, index, decimals, place, unit) for pair in pairs]
    best = order_losses(contents)[0][1].name if contents.losses else ""
    first = [line for line in lines if best in (line.a, line.b)] if len(lines) > AT_ONCE else lines
    better, worse = ("b better", "a better") if primary.higher_is_better else ("a better", "b better")
    return Forest(
        pairs=first,
        others=[line for line in lines if line not in first],
        zero=place(0.0),
        ticks=[(place(value), text) for value, text in round_ticks(low, high)],
        margin=(place(-margin), place(margin)) if margin else None,
        left=better,
        right=worse,
        has_seeds=any(line.seeds for line in lines),
        has_bootstrap=any(line.bootstrap for line in lines),
    )


def ends_of(row: Mapping[str, Any], name: str) -> tuple[float | None, float | None]:
    """Return the ends of an interval of the verdict; None, None where it has none."""
    low, high = row.get(name) or (None, None)
    return finite(low), finite(high)


def say_interval(low: float | None, high: float | None, decimals: int, *, signed: bool = False) -> str:
    """Return "0.81 to 0.83", or "" where there is no interval."""
    if low is None or high is None:
        return ""
    return f"{format_number(low, decimals, signed=signed)} to {format_number(high, decimals, signed=signed)}"


def say_hanging(pair: Mapping[str, Any]) -> str:
    """Return what a decision hangs on: "seed 3", "image x", "group 7", "the last epoch"; "" where on nothing."""
    match pair.get("hangs_on"):
        case {"seed": seed}:
            return f"seed {seed}"
        case {"image": image}:
            return f"image {image}"
        case {"group": group}:
            return f"group {group} of the test images"
        case {"last_epoch": True}:
            return "the last epoch"
    return ""


def round_ticks(low: float, high: float, wanted: int = 5) -> list[tuple[float, str]]:
    """Return round values between the ends with their texts, signed, with zero among them."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [
        (count * step, format_number(count * step, decimals, signed=True) if count else "0")
        for count in range(math.ceil(low / step), math.floor(high / step) + 1)
    ]


def _ranks(pair: Mapping[str, Any], contents: StudyContents) -> tuple[int, int]:
    names = [row.name for _, row in order_losses(contents)]
    return tuple(names.index(pair[side]) if pair[side] in names else len(names) for side in ("a", "b"))  # type: ignore[return-value]


def _turn(pair: Mapping[str, Any], contents: StudyContents) -> Mapping[str, Any]:
    """Return the pair with the better mean as a, its difference and intervals turned along."""
    a, b = _ranks(pair, contents)
    if a <= b:
        return pair
    difference = finite(pair.get("difference"))
    turned = dict(pair) | {"a": pair["b"], "b": pair["a"], "difference": None if difference is None else -difference}
    for name in ("ci", "bootstrap_ci"):
        low, high = ends_of(pair, name)
        turned[name] = [None if high is None else -high, None if low is None else -low]
    turned["decision"] = {"a": "b", "b": "a"}.get(str(pair.get("decision")), pair.get("decision"))
    return turned


def _format_pair(
    pair: Mapping[str, Any], index: Mapping[str, int], decimals: int, place: Callable[[float], float], unit: str
) -> PairLine:
    a, b, kind = str(pair["a"]), str(pair["b"]), str(pair.get("decision", "undecided"))
    difference, (low, high), (thin_low, thin_high) = (
        finite(pair.get("difference")),
        ends_of(pair, "ci"),
        ends_of(pair, "bootstrap_ci"),
    )
    if kind in ("a", "b"):
        words = f"{pair[kind]} better{', by the race' if pair.get('by_race') else ''}"
    elif kind == "equal":
        words = "practically equal"
    else:
        kind, words = "undecided", f"undecided{_say_more(pair, unit)}"
    mark = {} if difference is None else {"point": place(difference)}
    if low is not None and high is not None:
        mark |= {"low": place(low), "width": round(place(high) - place(low), 3)}
    if thin_low is not None and thin_high is not None:
        mark |= {"thin_low": place(thin_low), "thin_width": round(place(thin_high) - place(thin_low), 3)}
    seeds, failed = pair.get("seeds"), pair.get("failed")
    seeds_text = str(seeds) if isinstance(seeds, int) else ""
    if isinstance(failed, int) and failed:
        seeds_text += f" ({failed} failed)"
    hanging = say_hanging(pair)
    return PairLine(
        a=a,
        b=b,
        a_index=index.get(a, 0),
        b_index=index.get(b, 0),
        score=Score(format_number(difference, decimals, signed=True), say_interval(low, high, decimals, signed=True)),
        bootstrap=say_interval(thin_low, thin_high, decimals, signed=True),
        seeds=seeds_text.strip(),
        kind=kind,
        words=words,
        care=f"hangs on {hanging}" if hanging else "",
        mark=mark,
    )


def _say_more(pair: Mapping[str, Any], unit: str) -> str:
    """Return how many more seeds, or images or groups, would decide the pair, each with its range; "" where unknown."""
    said = []
    for thing, word in (("seed", "seed"), ("image", f"test {unit}")):
        more = pair.get(f"more_{thing}s")
        if not isinstance(more, int) or more <= 0:
            continue
        low, high = pair.get(f"more_{thing}s_range") or (None, None)
        span = ""
        if low is not None and (low, high) != (more, more):
            span = f" ({low} to {high})" if high is not None else f" ({low} or more)"
        said.append(f"about {more:,} more {word}{'' if more == 1 else 's'}{span}")
    return f"; {', or '.join(said)}" if said else ""
