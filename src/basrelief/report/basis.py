"""What the verdict rests on: the closest difference, the choice on validation, other metrics, strata, weak spots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basrelief.report.contents import StudyContents
from basrelief.report.forest import ends_of, say_hanging, say_interval
from basrelief.report.strata import name_stratum
from basrelief.report.tables import (
    decimals_for,
    finite,
    format_number,
    order_losses,
    primary_facts,
)
from basrelief.report.words import factor_words

MANY = 3  # weak spots that are named, before the rest is counted


def format_basis(contents: StudyContents) -> list[tuple[str, str]]:
    """Return rows of a name and a sentence; those whose facts the verdict lacks are left out."""
    rows = [
        ("Best and next", _next_to_best(contents)),
        ("Rests on", _count(contents)),
        ("Practically equal", _margin(contents)),
        ("Chosen on validation", _choice(contents)),
        ("Other metrics", _other_metrics(contents)),
        ("Strata", _strata(contents)),
        ("Hangs on", _weak_spots(contents)),
    ]
    return [(name, text) for name, text in rows if text]


def _next_to_best(contents: StudyContents) -> str:
    """Return the paired difference of the two best means with its interval."""
    primary = primary_facts(contents)
    ranked = [row for _, row in order_losses(contents) if finite(row.scores.get(primary.name, (None,))[0]) is not None]
    if len(ranked) < 2:
        return ""
    best, second = ranked[0].name, ranked[1].name
    pair = next((p for p in contents.verdict.get("pairs") or () if {p["a"], p["b"]} == {best, second}), None)
    difference = None if pair is None else finite(pair.get("difference"))
    if pair is None or difference is None:
        return ""
    low, high = ends_of(pair, "ci")
    if pair["a"] != best:
        difference = -difference
        low, high = (None, None) if low is None or high is None else (-high, -low)
    decimals = decimals_for([finite(row.scores[primary.name][0]) for row in ranked])
    interval = say_interval(low, high, decimals, signed=True)
    unit = f" {primary.unit}" if primary.unit else ""
    said = f"{best} − {second}: {format_number(difference, decimals, signed=True)}{unit} in {primary.name}"
    level = contents.verdict.get("level", 0.95)
    return f"{said} ({100 * level:g} % interval {interval})" if interval else f"{said}, without an interval"


def _count(contents: StudyContents) -> str:
    seeds = sorted({row.seeds for row in contents.losses})
    images = {spread.images for spread in contents.spreads}
    parts = []
    if seeds and seeds[-1]:
        span = f"{seeds[0]}" if seeds[0] == seeds[-1] else f"{seeds[0]} to {seeds[-1]}"
        parts.append(
            f"{span} seed{'' if seeds == [1] else 's'} of each of the {len(contents.losses)}"
            f" {factor_words(contents.verdict)}"
            if len(contents.losses) > 1
            else f"{span} seed{'' if seeds == [1] else 's'}"
        )
    if images:
        parts.append(f"{max(images):,} test images")
    return ", ".join(parts)


def _margin(contents: StudyContents) -> str:
    margin = finite(contents.verdict.get("margin"))
    if not margin or sum(row.seeds > 0 for row in contents.losses) < 2:
        return ""
    unit = primary_facts(contents).unit
    return f"where the whole interval lies within ± {margin:.3g}{' ' + unit if unit else ''}"


def _choice(contents: StudyContents) -> str:
    chosen = contents.verdict.get("chosen_on_val")
    if chosen is None or len(contents.losses) < 2:
        return ""
    after = {True: "the test images confirm it", False: "the test images do not confirm it"}
    confirmed = after.get(contents.verdict.get("confirmed"), "the test images cannot tell")  # type: ignore[arg-type]
    return f"{chosen}; {confirmed}"


def _other_metrics(contents: StudyContents) -> str:
    ranking = contents.verdict.get("ranking") or {}
    others = [entry for entry in ranking.get("metrics") or () if entry.get("metric") != primary_facts(contents).name]
    told = [entry for entry in others if entry.get("holds") is not None]
    if not told:
        return ""
    broken = [str(entry["metric"]) for entry in told if not entry["holds"]]
    if not broken:
        return f"the order that was told apart holds in all {len(told)} others"
    return f"the order changes in {len(broken)} of {len(told)} others: {_some(broken)}"


def _strata(contents: StudyContents) -> str:
    told = [stratum for stratum in contents.verdict.get("strata") or () if stratum.get("holds") is not None]
    if not told:
        return ""
    broken = [name_stratum(stratum) for stratum in told if not stratum["holds"]]
    if not broken:
        return f"the order that was told apart holds in all {len(told)}"
    return f"the order changes in {len(broken)} of {len(told)}: {_some(broken)}"


def _weak_spots(contents: StudyContents) -> str:
    """Return which decisions would be others without one seed, image, group or epoch."""
    found = [
        f"{pair['a']} − {pair['b']} on {hanging}"
        for pair in contents.verdict.get("pairs") or ()
        if (hanging := say_hanging(pair))
    ]
    return f"{_some(found)}; without it the decision is another" if found else ""


def _some(names: list[str]) -> str:
    shown = names[:MANY] if len(names) > MANY + 1 else names
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def format_race(contents: StudyContents) -> dict[str, Any] | None:
    """Return what the race saved: ``rows`` of those that left early, ``said`` in sentences; None without a race."""
    race = contents.verdict.get("race")
    if not isinstance(race, Mapping):
        return None
    unit = primary_facts(contents).unit
    rows = [
        {
            "name": str(one.get("name", "")),
            "when": _when(one),
            "why": _why(one, unit),
        }
        for one in race.get("dropped") or ()
    ]
    said = []
    if race.get("over") and race.get("seeds") is not None and race.get("planned") is not None:
        said.append(f"It was over after {race['seeds']} of {race['planned']} seeds.")
    saved = finite_number(race.get("saved"))
    if race.get("trainings") is not None and race.get("of") is not None and saved is not None:
        made = f"{race['trainings']:,} of {race['of']:,} trainings were made"
        said.append(f"{made}, which saved {100 * saved:.0f} % of the steps.")
    return {"rows": rows, "said": said, "reasons": any(row["why"] for row in rows)}


def _when(one: Mapping[str, Any]) -> str:
    seeds = one.get("seeds")
    return "" if seeds is None else f"after {seeds} seed{'' if seeds == 1 else 's'}"


def _why(one: Mapping[str, Any], unit: str) -> str:
    behind, p_value = finite_number(one.get("behind")), finite_number(one.get("p_value"))
    if behind is None or not one.get("by"):
        return ""
    text = f"{behind:.3g}{' ' + unit if unit else ''} behind {one['by']}"
    return text if p_value is None else f"{text} (p {p_value:.2g}, for all looks and rivals)"


def finite_number(value: Any) -> float | None:
    """Return ``value`` as a float where it is a finite number, else None."""
    return finite(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
