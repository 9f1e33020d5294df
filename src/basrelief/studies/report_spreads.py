"""How scores are spread over the test images: a few hundred quantiles a loss, however many images there are."""

from __future__ import annotations

import numpy as np

from basrelief.metrics import higher_is_better
from basrelief.report.contents import Spread
from basrelief.studies.results import StudyResults, score_matrix

STEPS = 201  # quantiles, from the lowest score to the highest


def gather_spreads(results: StudyResults) -> list[Spread]:
    """Return the spread of the primary metric for each loss that has scores, and of its difference to the best mean.

    An image's score is the mean over the seeds that scored it. Differences are between images that both losses scored,
    over the seeds that both finished, as in the verdict.
    """
    metric = str(results.plan.train.metric)
    scores: dict[str, np.ndarray] = {}
    for name in results.plan.losses:
        values = score_matrix(results, name, metric)[0]
        if values.size and np.isfinite(values).any():
            scores[name] = values
    if not scores:
        return []
    sign = 1 if higher_is_better(metric) else -1
    best = max(scores, key=lambda name: sign * float(np.nanmean(scores[name])))
    spreads = []
    for name, values in scores.items():
        known = np.isfinite(values).all(axis=0)
        if not known.any():
            continue
        spread = Spread(name, int(known.sum()), _quantiles(values[:, known].mean(axis=0)))
        if name != best:
            spread = _against(results, spread, values, best, scores[best], sign)
        spreads.append(spread)
    return spreads


def _against(
    results: StudyResults, spread: Spread, values: np.ndarray, best: str, of_best: np.ndarray, sign: int
) -> Spread:
    seeds, best_seeds = results.seeds_of(spread.loss), results.seeds_of(best)
    both = [seed for seed in seeds if seed in best_seeds]
    if not both or values.shape[1] != of_best.shape[1]:
        return spread
    one = values[[seeds.index(seed) for seed in both]]
    two = of_best[[best_seeds.index(seed) for seed in both]]
    difference = (one - two).mean(axis=0)
    difference = difference[np.isfinite(difference)]
    if not difference.size:
        return spread
    return Spread(
        loss=spread.loss,
        images=spread.images,
        scores=spread.scores,
        differences=_quantiles(difference),
        against=best,
        ahead=float((sign * difference > 0).mean()),
        tied=float((difference == 0).mean()),
    )


def _quantiles(values: np.ndarray) -> list[float]:
    count = min(STEPS, len(values))
    return [float(value) for value in np.quantile(values, np.linspace(0, 1, count))]
