"""Does the verdict keep its word? Simulated studies with known truth, and trainings of one loss under two names.

    python benchmarks/verdict.py [--quick] [--json]     a few minutes on one core
    python benchmarks/verdict.py --aa [--json]          20 studies of real trainings, under ten minutes on two cores

Prints the coverage of the verdict's 95 % interval and of the usual ones in every regime, the wrong winners over
families of losses, what the race saves and whether it agrees, and what is said where no interval holds. Exits with 1
where a limit is not kept: coverage from 0.93 to 0.99, wrong winners in at most 5 % (more than chance explains, since
between two equal losses 5 % is what the test promises), half the steps beyond three seed deviations. All of it goes
through the formulas of ``basrelief.statistics`` themselves.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats
from simulated import FAMILIES, REGIMES, Family, Floats, Regime, draw, draw_family

from basrelief.statistics import Interval, bootstrap_intervals, failure_bound, mean_interval, seeds_needed
from basrelief.statistics.influence import COCHRAN, outlying, skewness
from basrelief.statistics.intervals import MeanSquares, by_group, half_width, mean_squares, p_value
from basrelief.statistics.looks import Claims, Finish, Look, look_at, look_weights, run_looks, settle

LEVEL = 0.95
COVERAGE = (0.93, 0.99)
WRONG = 0.05
CHANCE = 2.33  # standard errors that one simulation in a hundred exceeds
SAVED = 0.5
PLANNED, IMAGES = 10, 40  # of the families
METHODS = ("verdict", "crossed bootstrap", "t over seeds", "images only", "Wilcoxon")


def coverage(regime: Regime, reps: int, draws: int) -> dict[str, Any]:
    """Return the coverage of each method's interval, and how often the signs of trouble are seen."""
    d, groups, truth = draw(regime, reps, seed=regime.seeds)
    values = by_group(d, groups)
    mean = values.mean(axis=(1, 2))
    half = half_width(mean_squares(values), (1 - LEVEL) / 2)
    rows, columns = values.mean(axis=2), d.mean(axis=1)
    drawn = bootstrap_intervals(d, groups=groups, pairs=(), draws=draws).losses
    wilcoxon = stats.wilcoxon((d - truth).reshape(reps, -1), axis=1, method="approx").pvalue
    trouble = {
        "outlying seed": float(outlying(rows).any(axis=1).mean()),
        "skewed images": float((values.shape[2] < COCHRAN * skewness(values.mean(axis=1)) ** 2).mean()),
    }
    if regime.kind == "collapsing":  # a sample without a collapse cannot show one
        seen = (rows < -0.3).any(axis=1) & (rows > -0.3).any(axis=1)
        trouble["seen"] = float(seen.mean())
        trouble["outlying seed, where seen"] = float(outlying(rows[seen]).any(axis=1).mean())
        trouble["bound without a failure"] = failure_bound(regime.seeds, 0)
    return {
        "regime": regime.name,
        "asked": regime.asked,
        "coverage": {
            "verdict": float((np.abs(mean - truth) <= half).mean()),
            "crossed bootstrap": float(np.mean([low <= truth <= high for low, high in drawn])),
            "t over seeds": _t_coverage(rows, truth),
            "images only": _t_coverage(columns, truth),
            "Wilcoxon": float((wilcoxon >= 1 - LEVEL).mean()),
        },
        "half_width": float(half.mean() / np.std(mean)),
        "trouble": trouble,
    }


def _t_coverage(values: Floats, truth: float) -> float:
    error = values.std(axis=1, ddof=1) / math.sqrt(values.shape[1])
    half = stats.t.ppf(0.5 + LEVEL / 2, values.shape[1] - 1) * error
    return float((np.abs(values.mean(axis=1) - truth) <= half).mean())


def compete(family: Family, reps: int) -> dict[str, Any]:
    """Return how often full studies of 5 and 10 seeds and the race err, name the best loss, and agree."""
    counts = dict.fromkeys(("named_5", "wrong_5", "false_5", "named", "wrong", "false"), 0)
    raced = dict.fromkeys(("named", "wrong", "false", "best_dropped", "agrees"), 0)
    steps, most = 0.0, 0
    losses = len(family.means)
    first, second = np.triu_indices(losses, 1)
    done, chunk = 0, 20_000 // (losses * losses)
    while done < reps:
        size = min(chunk, reps - done)
        y = draw_family(family, size, PLANNED, IMAGES, seed=done)
        looks = {n: look_at(y[:, first, :n] - y[:, second, :n]) for n in sorted({5, *look_weights(PLANNED)})}
        for study in range(size):
            one = {n: _of_study(look, study) for n, look in looks.items()}
            five, full = _full(one[5], losses), _full(one[PLANNED], losses)
            finish = run_looks(
                one, losses=losses, planned=PLANNED, higher_is_better=True, margins=np.zeros(len(first)), level=LEVEL
            )
            race = settle(finish, losses=losses, level=LEVEL)
            winners = [_winner(claims, losses) for claims in (five, full, race)]
            for suffix, claims, winner in (("_5", five, winners[0]), ("", full, winners[1])):
                _count(counts, suffix, claims, winner, family)
            _count(raced, "", race, winners[2], family)
            raced["agrees"] += winners[2] == winners[1]
            after = {loss: look for loss, look, _, _ in finish.dropped}
            raced["best_dropped"] += bool(family.best <= set(after))
            last = finish.looked if len(after) == losses - 1 else PLANNED
            trained = sum(after.get(loss, last) for loss in range(losses))
            steps, most = steps + trained, max(most, trained)
        done += size
    shares = {name: count / reps for name, count in counts.items()}
    return {
        "family": family.name,
        "gap": family.gap,
        "full": shares,
        "race": {name: count / reps for name, count in raced.items()},
        "steps": steps / reps / (losses * PLANNED),
        "most_steps": most / (losses * PLANNED),
    }


def _of_study(look: Look, study: int) -> Look:
    return Look(look.mean[study], MeanSquares(*(part[study] for part in look.squares)))


def _full(look: Look, losses: int) -> Claims:
    """Return what a study without looks says: each pair's own p-value, by Holm."""
    first, second = np.triu_indices(losses, 1)
    p_values = p_value(look.mean, look.squares)
    ahead = np.where(look.mean > 0, first, second)
    return settle(Finish([], p_values, ahead, np.zeros(len(first), dtype=bool), 0), losses=losses, level=LEVEL)


def _winner(claims: Claims, losses: int) -> int | None:
    """Return the loss that is better than every other, or None."""
    won = np.bincount(claims.better[claims.better >= 0], minlength=losses)
    return int(won.argmax()) if won.max() == losses - 1 else None


def _count(counts: dict[str, int], suffix: str, claims: Claims, winner: int | None, family: Family) -> None:
    first, second = np.triu_indices(len(family.means), 1)
    means = np.array(family.means)
    loser = first + second - claims.better
    said = claims.better >= 0
    right = means[claims.better[said]] > means[loser[said]]
    named = winner is not None and family.best == {winner}
    counts["named" + suffix] += named
    counts["wrong" + suffix] += winner is not None and not named
    counts["false" + suffix] += not right.all()


def ranges(reps: int) -> dict[str, float]:
    """Return how often the range of ``seeds_needed`` holds the number that the truth asks for."""
    rng = np.random.default_rng(0)
    sd, margin = (1.0, 0.5, 1.0), 0.05
    truth = seeds_needed(Interval(0.7, 0.0, 0.0, 1.0, 5, 50, *(s**2 for s in sd)), margin=margin)
    needed = math.inf if truth is None or truth.number is None else truth.number
    holds, undecided = [], []
    for _ in range(reps):
        parts = [s * rng.standard_normal(shape) for s, shape in zip(sd, ((5, 1), (1, 50), (5, 50)), strict=True)]
        found = mean_interval(0.7 + sum(parts))
        need = seeds_needed(found, margin=margin)
        if need is not None and found.p_value is not None:
            holds.append((need.low or math.inf) <= needed <= (need.high or math.inf))
            undecided.append(found.p_value >= 1 - LEVEL)
    held = np.array(holds)
    return {"needed": needed, "holds": float(held.mean()), "holds_undecided": float(held[undecided].mean())}


def faults(results: dict[str, Any], reps: int, *, quick: bool) -> list[str]:
    """Return which limits are not kept, a sentence each; a quick run allows for three standard errors."""
    error = math.sqrt(WRONG * (1 - WRONG) / (reps // 3 if quick else reps))
    slack = 3 * error if quick else 0.0
    low, high = COVERAGE[0] - slack, COVERAGE[1] + slack
    most_wrong = WRONG + max(slack, CHANCE * error)
    found = [
        f"{row['regime']}: coverage {row['coverage']['verdict']:.3f}, asked {COVERAGE[0]} to {COVERAGE[1]}."
        for row in results["coverage"]
        if row["asked"] and not low <= row["coverage"]["verdict"] <= high
    ]
    for row in results["families"]:
        wrong = {"5 seeds": row["full"]["wrong_5"], "10 seeds": row["full"]["wrong"], "the race": row["race"]["wrong"]}
        found += [
            f"{row['family']}: wrong winners with {name} {share:.3f}, asked {WRONG} at most."
            for name, share in wrong.items()
            if share > most_wrong
        ]
        if row["most_steps"] > 1:
            found.append(f"{row['family']}: the race took more steps than the full study.")
        if row["gap"] and row["steps"] > SAVED + slack:
            found.append(f"{row['family']}: the race took {row['steps']:.2f} of the steps, asked {SAVED} at most.")
    return found


def print_tables(results: dict[str, Any]) -> None:
    print(f"\nCoverage of 95 % intervals, {results['repetitions']} simulated studies each\n")
    rows = [
        [row["regime"], *(f"{row['coverage'][name]:.3f}" for name in METHODS), f"{row['half_width']:.2f}"]
        for row in results["coverage"]
    ]
    _print_table(["regime", *METHODS, "half width / sd"], rows)
    print("\nWhat the tool sees there: share of studies\n")
    rows = [
        [row["regime"], f"{row['trouble']['outlying seed']:.3f}", f"{row['trouble']['skewed images']:.3f}", _seen(row)]
        for row in results["coverage"]
    ]
    _print_table(["regime", "an outlying seed", "images too few for their skewness", "collapses"], rows)
    print(f"\nFamilies of losses, gaps in seed deviations, {results['repetitions']} studies each\n")
    head = ["family", "5 seeds: wrong winner", "false pair", "right winner", "10 seeds: wrong winner", "false pair"]
    rows = []
    for row in results["families"]:
        full, race = row["full"], row["race"]
        shares = [full[name] for name in ("wrong_5", "false_5", "named_5", "wrong", "false", "named")]
        shares += [race[name] for name in ("wrong", "false", "named", "best_dropped", "agrees")]
        rows.append([row["family"], *(f"{share:.3f}" for share in shares), f"{row['steps']:.2f}"])
    race_head = ["race: wrong winner", "false pair", "right winner", "best dropped", "agrees with full", "steps"]
    _print_table([*head, "right winner", *race_head], rows)
    need = results["ranges"]
    print(
        f"\nThe 80 % range of further seeds holds the true number ({need['needed']}) in {need['holds']:.0%} of studies "
        f"with 5 seeds, and in {need['holds_undecided']:.0%} of those that are undecided."
    )


def _seen(row: dict[str, Any]) -> str:
    trouble = row["trouble"]
    if "seen" not in trouble:
        return ""
    return (
        f"in {trouble['seen']:.2f} of the studies, flagged in {trouble['outlying seed, where seen']:.2f} of those; "
        f"bound without one: {trouble['bound without a failure']:.0%}"
    )


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for line in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(line) + " |")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 studies, 67 families; limits allow for chance")
    parser.add_argument("--aa", action="store_true", help="train one loss under two names instead")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    options = parser.parse_args(arguments)
    if options.aa:
        from verdict_aa import main as train_alike

        return train_alike(json_wanted=options.json)
    reps = 200 if options.quick else 3000
    results: dict[str, Any] = {"repetitions": reps, "coverage": [], "families": []}
    for regime in REGIMES:
        print(regime.name, file=sys.stderr)
        results["coverage"].append(coverage(regime, reps, 100 if options.quick else 1000))
    for family in FAMILIES:
        print(family.name, file=sys.stderr)
        results["families"].append(compete(family, reps // 3 if options.quick else reps))
    results["ranges"] = ranges(reps // 3)
    results["faults"] = faults(results, reps, quick=options.quick)
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        print_tables(results)
        print("\n" + "\n".join(results["faults"] or ["Every limit is kept."]))
    return 1 if results["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
