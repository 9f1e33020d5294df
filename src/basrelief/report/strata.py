"""Where the verdict holds: the primary metric by stratum of the test images, and the order by every other metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from basrelief.report.contents import StudyContents
from basrelief.report.forest import ends_of, say_interval
from basrelief.report.tables import NOTHING, Score, decimals_for, finite, format_number, order_losses, primary_facts

HOLDS = {True: "holds", False: "changes", None: NOTHING}


@dataclass(frozen=True)
class StratumLine:
    """One stratum; ``scores`` are in the order of the table of losses, ``best`` the place of the best one there."""

    name: str
    meaning: str
    images: str
    scores: Sequence[Score]
    best: int | None
    winner: str
    holds: str


@dataclass(frozen=True)
class RankingLine:
    """One metric: which loss is best by it, whether one wins, and whether the order that was told apart holds."""

    metric: str
    best: str
    winner: str
    holds: str
    tau: str
    primary: bool


def format_strata(contents: StudyContents) -> list[StratumLine]:
    """Return the rows; none where the verdict has no strata."""
    names = [row.name for _, row in order_losses(contents)]
    strata = contents.verdict.get("strata") or ()
    means = [finite(one.get("mean")) for stratum in strata for one in stratum.get("losses") or ()]
    decimals = min(decimals_for(means), 4)
    lines = []
    for stratum in strata:
        found = {one["name"]: one for one in stratum.get("losses") or ()}
        scores = []
        for name in names:
            one = found.get(name, {})
            scores.append(
                Score(format_number(finite(one.get("mean")), decimals), say_interval(*ends_of(one, "ci"), decimals))
            )
        best = stratum.get("best")
        images, groups = stratum.get("images", 0), stratum.get("groups")
        apart = isinstance(groups, int) and groups != images
        lines.append(
            StratumLine(
                name=name_stratum(stratum),
                meaning=str(stratum.get("meaning", "")),
                images=f"{images:,}" + (f" ({groups} group{'' if groups == 1 else 's'})" if apart else ""),
                scores=scores,
                best=names.index(best) if best in names else None,
                winner=str(stratum.get("winner") or "none"),
                holds=HOLDS.get(stratum.get("holds"), NOTHING),
            )
        )
    return lines


def name_stratum(stratum: Mapping[str, Any]) -> str:
    """Return "no figure", "small figure", "near depth"."""
    kind, name = str(stratum.get("kind", "")), str(stratum.get("name", ""))
    return f"no {kind}" if name == "empty" else f"{name} {kind}"


def format_ranking(contents: StudyContents) -> list[RankingLine]:
    """Return the rows, the primary metric first; none where there is no other metric."""
    ranking = contents.verdict.get("ranking") or {}
    primary = primary_facts(contents).name
    entries = ranking.get("metrics") or ()
    if len(entries) < 2 or len(contents.losses) < 2:
        return []
    return [
        RankingLine(
            metric=str(entry.get("metric", "")),
            best=str((entry.get("order") or [NOTHING])[0]),
            winner=str(entry.get("winner") or "none"),
            holds="" if entry.get("metric") == primary else HOLDS.get(entry.get("holds"), NOTHING),
            tau=format_number(finite(entry.get("tau")), 2),
            primary=entry.get("metric") == primary,
        )
        for entry in entries
    ]
