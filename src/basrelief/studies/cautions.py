"""What a reader must know before trusting a verdict: a sentence for each thing that one can do something about."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basrelief.engine.baseline import MEAN_BASELINE
from basrelief.losses.expression import parse_loss
from basrelief.metrics import higher_is_better
from basrelief.option_texts import SEARCH
from basrelief.statistics import diagnose, failure_bound
from basrelief.studies.behaviour import epochs_before
from basrelief.studies.decisions import margin_of
from basrelief.studies.results import StudyResults
from basrelief.studies.scores import scored_images
from basrelief.studies.standing import is_lopsided
from basrelief.studies.words import count, epochs, listed, noun, nouns, value

FEW_SEEDS = 3
FEW_GROUPS = 5
MANY_EMPTY, MOSTLY_EMPTY = 0.1, 0.5  # shares of masks
CLOSE = 0.005  # adjusted p-values above are a close call, which a skewed spread may have made
UNLIKELY = 0.01  # as far off as a seed is by luck in one of a hundred losses


def warnings(results: StudyResults, document: Mapping[str, Any]) -> list[str]:
    """Return the warnings, a sentence or two each; ``document`` is that of ``verdict.json`` so far."""
    found = [*_about_missing(results), *results.cautions, *_about_identical_scores(results)]
    if len(results.plan.losses) > 1:
        found += [*_about_hanging(results, document), *_about_budget(results)]
    found += _about_empty_masks(results)
    for row in document["losses"]:
        found += _about_loss(results, row)
    return [*found, *_about_groups(results), *_about_seeds(results), *_about_looks(results)]


def _about_missing(results: StudyResults) -> list[str]:
    race = results.race or {}
    dropped = {row["name"] for row in race.get("dropped", ())}
    raced = race["seeds"] if race.get("over") else len(results.plan.seeds)
    wanted = [t for t in results.trials if t.name not in dropped and t.seed in results.plan.seeds[:raced]]
    there = [trial for trial in wanted if (trial.name, trial.seed, trial.fold) in results.ended]
    if len(there) == len(wanted):
        return []
    folds = "" if results.plan.folds == 1 else ", and only a seed with all its folds counts"
    return [
        f"Only {len(there)} of {count(len(wanted), 'training')} are there{folds}, so the means are over different "
        "seeds. Run the same study again to have the rest."
    ]


def _about_identical_scores(results: StudyResults) -> list[str]:
    """Return a warning for losses whose networks scored alike on every image: most often they all predict nothing."""
    primary = str(results.plan.train.metric)
    matrices = {name: results.scores.matrix(name, primary) for name in results.plan.losses}
    alike = []
    for a, b in itertools.combinations(matrices, 2):
        one, two = matrices[a], matrices[b]
        if one.size and one.shape == two.shape and np.array_equal(one, two, equal_nan=True):
            alike += [a, b]
    names = list(dict.fromkeys(alike))
    same = len({results.plan.losses[name] for name in names}) == 1 and results.plan.factor == "loss"
    if not names or same:  # one loss compared with itself
        return []
    return [
        f"{listed(names)} scored alike on every test image, as networks do that predict the same thing everywhere. "
        "They have not learned yet: train longer, or at another rate."
    ]


def _about_hanging(results: StudyResults, document: Mapping[str, Any]) -> list[str]:
    """Return a warning for each of the winner's pairs that one seed, image, group or epoch decides, or few images."""
    winner, found, few = document["winner"], [], []
    for pair in document["pairs"]:
        if winner not in (pair["a"], pair["b"]):
            continue
        other = pair["b"] if pair["a"] == winner else pair["a"]
        if pair["hangs_on"] is None:
            close = pair["decision"] == "equal" or pair["p_adjusted"] is None or pair["p_adjusted"] > CLOSE
            few += [other] if close and is_lopsided(results, pair["a"], pair["b"]) else []
            continue
        ((kind, which),) = pair["hangs_on"].items()
        if kind == "last_epoch":
            found.append(
                f"{winner} is ahead of {other} at the chosen epochs alone: over the other late epochs {other} has the "
                "better validation scores. Train longer, or let the learning rate fall (--schedule cosine)."
            )
            continue
        claim = "practically equal to" if pair["decision"] == "equal" else "ahead of"
        advice = {
            "seed": "More seeds show whether it was luck.",
            "image": "Look at that image; more test images make the result stand on its own.",
            "group": "Look at that group's images; more groups in the test share make the result stand on its own.",
        }[kind]
        found.append(
            f"That {winner} is {claim} {other} hangs on {kind} {which}: without it the answer changes. {advice}"
        )
    if few:
        found.append(
            f"Few images make most of what tells {winner} from {listed(few)}, and it is a close call: the interval may "
            "be too narrow. More test images help."
        )
    return found


def _about_budget(results: StudyResults) -> list[str]:
    plan = results.plan
    found = []
    rising = [name for name in plan.losses if is_rising(results, name)]
    if rising:
        rates = (
            "at this learning rate" if plan.train.lr != SEARCH and plan.factor != "lr" else "at these learning rates"
        )
        other = "" if plan.factor == "lr" else " or another learning rate"
        found.append(
            f"{listed(rising)} {'was' if len(rising) == 1 else 'were'} still improving when training ended: {rates} "
            f"and {epochs(results)} the study compares speed, not what each {noun(results)} reaches. "
            f"More epochs{other} may change the order."
        )
    if plan.train.lr != SEARCH and results.plan.factor != "lr":
        rate = f" ({plan.train.lr:g})" if isinstance(plan.train.lr, float) else ""
        article = "an" if noun(results)[0] in "aeiou" else "a"
        found.append(
            f"All {nouns(results)} were trained at one learning rate{rate}; {article} {noun(results)} that wants "
            "another rate is at a disadvantage."
        )
    return found


def _about_loss(results: StudyResults, row: Mapping[str, Any]) -> list[str]:
    """Return what is to be known of a loss: trainings that failed, seeds far off, nothing learned."""
    name, primary, found = row["name"], str(results.plan.train.metric), []
    failed, tried = results.failed_trainings(name), results.ended_trainings(name)
    if failed:
        flatters = "" if row["mean"] is None else ", so its mean flatters it"
        found.append(
            f"{failed} of {tried} trainings with {name} failed; they are counted but not averaged{flatters}, and up to "
            f"{failure_bound(tried, failed):.0%} may fail in the long run. The first said: {results.failed(name)[0]}"
        )
    off = seeds_far_off(results, name)
    if off:
        seeds = results.seeds_of(name)
        words = f"seed {off[0]}" if len(off) == 1 else f"seeds {listed([str(seed) for seed in off])}"
        found.append(
            f"{name} came out far worse with {words} than with the others. With such luck an interval from "
            f"{len(seeds)} seeds is too narrow: up to {failure_bound(len(seeds), len(off)):.0%} of trainings may end "
            f"so. Look at {'its' if len(off) == 1 else 'their'} curve; more seeds, or a smaller learning rate, help."
        )
    baseline, mean = results.baselines[MEAN_BASELINE].get(primary), row["mean"]
    if mean is not None and baseline is not None and (mean <= baseline) == higher_is_better(primary):
        found.append(
            f"{name} is no better than predicting the {MEAN_BASELINE} ({value(results, baseline, primary)}): it has "
            "not learned yet."
        )
    return found


def seeds_far_off(results: StudyResults, loss: str) -> list[int]:
    """Return the seeds of a loss that came out far worse than its others, so that its interval is not to be trusted.

    They have lost more than half of the lead that the middle seed has on the mean baseline; or they lie farther off
    than luck has it (``diagnose``), behind the middle seed by more than the margin of practical equality.
    """
    primary = str(results.plan.train.metric)
    values, seeds = results.scores.matrix(loss, primary), results.seeds_of(loss)
    known = scored_images(values)
    if len(seeds) < 2 or not known.any():
        return []
    sign = 1 if higher_is_better(primary) else -1
    means = sign * values[:, known].mean(axis=1)
    off = np.zeros(len(seeds), bool)
    baseline = results.baselines[MEAN_BASELINE].get(primary)
    if baseline is not None and len(seeds) > 2:
        lead = means - sign * baseline
        off = lead < np.median(lead) / 2 if np.median(lead) > 0 else off
    signs = diagnose(values[:, known], groups=results.scores.units(known))
    if signs.outlying_p is not None and signs.outlying_p < UNLIKELY:
        for place in signs.outlying_seeds:
            behind = float(np.median(means) - means[place])
            off[place] |= behind > margin_of(results, primary, [float(abs(np.median(means)))])
    return [seed for seed, found in zip(seeds, off, strict=True) if found]


def _about_groups(results: StudyResults) -> list[str]:
    groups = results.scores.groups()
    images, count_ = len(groups), len(np.unique(groups))
    if not (0 < count_ <= FEW_GROUPS and count_ < images):
        return []
    s = "s" if count_ > 1 else ""
    return [
        f"The {images} test images come from {count_} group{s}, which count like {count_} image{s}, so the intervals "
        "are wide. More, smaller groups (--group-blocks) or a larger test share (--split) narrow them."
    ]


def _about_seeds(results: StudyResults) -> list[str]:
    seeds = len(results.plan.seeds)
    if seeds > FEW_SEEDS:
        return []
    return [
        f"{seeds} seed{'s are' if seeds > 1 else ' is'} provisional: with no failure seen, up to "
        f"{failure_bound(seeds, 0):.0%} of trainings may still fail. Five seeds or more make it sound."
    ]


def _about_empty_masks(results: StudyResults) -> list[str]:
    """Return a warning where many masks are empty and a loss has no term that would learn from them."""
    if "mask" not in results.plan.heads or results.empty_masks < MANY_EMPTY:
        return []
    primary = str(results.plan.train.metric)
    found = []
    if results.empty_masks >= MOSTLY_EMPTY and primary.startswith("mask/"):
        found = [
            f"{results.empty_masks:.0%} of the masks are empty, and each that is predicted empty scores 1 in IoU and "
            "Dice: a network that predicts nothing does well. Read the pooled scores beside them."
        ]
    losses = {name: parse_loss(text) for name, text in results.plan.losses.items()}
    if results.plan.factor != "loss":  # one loss for all of them, which is named by its expression
        losses = {text: parse_loss(text) for text in dict.fromkeys(results.plan.losses.values())}
    blind = [name for name, loss in losses.items() if "mask" in loss.targets and "mask" not in loss.pixelwise]
    if not blind:
        return found
    learn = "learns" if len(blind) == 1 else "learn"
    return [
        *found,
        f"{results.empty_masks:.0%} of the masks are empty, and {listed(blind)} hardly {learn} from those: an overlap "
        "has next to no gradient there. Add a pixelwise term such as bce(mask).",
    ]


def mean_curve(results: StudyResults, loss: str, seeds: Sequence[int]) -> NDArray[np.float64]:
    """Return the mean validation curve of a loss over seeds, of the last stage, as far as all of them came.

    Higher is better, whatever the metric; epochs without a score are left out of each curve.
    """
    before = epochs_before(results)  # at other resolutions, with other scores
    curves = [results.runs[loss, seed]["curve"][before:] for seed in seeds]
    curves = [[score for score in curve if score is not None] for curve in curves]
    length = min((len(curve) for curve in curves), default=0)
    if not length:
        return np.empty(0)
    sign = 1 if higher_is_better(str(results.plan.train.metric)) else -1
    mean: NDArray[np.float64] = sign * np.mean([curve[:length] for curve in curves], axis=0)
    return mean


def is_rising(results: StudyResults, loss: str) -> bool:
    """Tell whether the mean validation curve still gained a tenth of its whole gain in the last quarter of epochs."""
    mean = mean_curve(results, loss, results.seeds_of(loss))
    if len(mean) < 2:
        return bool(len(mean))
    late = mean[: min(len(mean) - 1, int(np.ceil(0.75 * len(mean))))].max()
    gain = mean.max() - mean[0]
    return bool(gain > 0 and mean.max() - late > 0.1 * gain)


def _about_looks(results: StudyResults) -> list[str]:
    """Return a warning where seeds were added to a study that had a verdict."""
    before = [seeds for seeds in results.plan.extended if seeds < len(results.plan.seeds)]
    if not before:
        return []
    return [
        f"Seeds were added after a verdict with {' and one with '.join(count(n, 'seed') for n in before)}. Every "
        "further look gives luck another chance, so what is only just decided is less sure than it says. Where their "
        "number is open from the start, --race accounts for the looks."
    ]
