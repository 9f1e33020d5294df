"""Simulated studies whose truth is known, for benchmarks/verdict.py: thousands at a time, along the first axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.standard_normal(shape)


def t3(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draw from Student's t with 3 degrees of freedom, scaled to a standard deviation of 1."""
    return rng.standard_t(3, shape) / np.sqrt(3)


def lognormal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draw exp(N(0, 1)) less its mean, over its standard deviation: skewness 6.2."""
    return (np.exp(rng.standard_normal(shape)) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)


@dataclass(frozen=True)
class Regime:
    """How differences (seeds, images) come about, and whether the coverage asked for must hold.

    ``sd``: standard deviations of seeds, images (or groups), and the rest.
    """

    name: str
    seeds: int
    images: int = 50
    sd: tuple[float, float, float] = (1, 0.5, 1)
    seed: Draw = normal
    image: Draw = normal
    rest: Draw = normal
    kind: str = "plain"
    asked: bool = True


REGIMES = (
    Regime("3 seeds, seed noise rules", 3),
    Regime("5 seeds, seed noise rules", 5),
    Regime("10 seeds, seed noise rules", 10),
    Regime("3 seeds, image noise rules", 3, sd=(0.02, 1, 0.5)),
    Regime("5 seeds, image noise rules", 5, sd=(0.02, 1, 0.5)),
    Regime("10 seeds, image noise rules", 10, sd=(0.02, 1, 0.5)),
    Regime("3 seeds, both matter", 3, sd=(0.15, 1, 0.3)),
    Regime("5 seeds, both matter", 5, sd=(0.15, 1, 0.3)),
    Regime("5 seeds, neither matters", 5, sd=(0, 0, 1)),
    Regime("3 seeds, heavy tails (t3)", 3, seed=t3, image=t3, rest=t3),
    Regime("5 seeds, heavy tails (t3)", 5, sd=(0.15, 1, 0.5), seed=t3, image=t3, rest=t3),
    Regime("5 seeds, grouped images", 5, images=84, sd=(0.1, 1, 0.5), kind="grouped"),
    Regime("3 seeds, 6 images", 3, images=6),
    Regime("3 seeds, scores near 1", 3, kind="bounded"),
    Regime("5 seeds, scores near 1", 5, kind="bounded"),
    Regime("5 seeds, skewed seeds", 5, seed=lognormal, asked=False),
    Regime("5 seeds, skewed images", 5, sd=(0.05, 1, 0.5), image=lognormal, asked=False),
    Regime("3 seeds, 10 % collapse", 3, kind="collapsing", asked=False),
    Regime("5 seeds, 10 % collapse", 5, kind="collapsing", asked=False),
    Regime("10 seeds, 10 % collapse", 10, kind="collapsing", asked=False),
)

SIZES = (1, 2, 3, 6, 2, 4, 1, 5, 3, 1, 6, 2, 4, 3, 1, 5, 2, 6, 3, 2, 4, 1, 5, 12)  # images of each group
COLLAPSE = 0.1  # share of runs


def draw(regime: Regime, reps: int, seed: int) -> tuple[Floats, NDArray | None, float]:
    """Return differences (reps, seeds, images), a group for each image or None, and their true mean."""
    rng = np.random.default_rng(seed)
    n, m = regime.seeds, regime.images
    if regime.kind == "bounded":
        return *_bounded(rng, reps, n, m), 0.0
    seeds, images, rest = regime.sd
    groups = np.repeat(np.arange(len(SIZES)), SIZES) if regime.kind == "grouped" else None
    units = m if groups is None else len(SIZES)
    unit = images * regime.image(rng, (reps, 1, units))
    own = rest * regime.rest(rng, (reps, n, m))
    if groups is not None:  # frames of a scene share its effect, and a part of what is left in each run
        unit = (unit + rest * rng.standard_normal((reps, n, units)))[..., groups] + 0.3 * normal(rng, (reps, 1, m))
    if regime.kind == "collapsing":
        seed_effect = 0.02 * normal(rng, (reps, n, 1)) - 0.6 * (rng.random((reps, n, 1)) < COLLAPSE)
        return seed_effect + 0.05 * (unit + own), None, -0.6 * COLLAPSE
    return seeds * regime.seed(rng, (reps, n, 1)) + unit + own, groups, 0.0


def _bounded(rng: np.random.Generator, reps: int, seeds: int, images: int) -> tuple[Floats, None]:
    """Return differences of scores in [0, 1] near 1, as IoU is: hard images score low for both losses.

    The two losses' logits differ in mean and spread; b's mean score is added exactly, so that the difference's is 0.
    """
    hard = 1.2 * normal(rng, (reps, 1, images))

    def scores(mean: float, run: float, own: float) -> Floats:
        logit = mean + hard + run * normal(rng, (reps, seeds, 1)) + 0.4 * normal(rng, (reps, 1, images))
        return 1 / (1 + np.exp(-logit - own * normal(rng, (reps, seeds, images))))

    def true_mean(mean: float, run: float, own: float) -> float:
        nodes, weights = np.polynomial.hermite_e.hermegauss(80)
        spread = np.sqrt(1.2**2 + run**2 + 0.4**2 + own**2)
        return float((weights / (1 + np.exp(-mean - spread * nodes))).sum() / weights.sum())

    a, b = (2.8, 0.25, 0.5), (2.4, 0.1, 0.4)
    return scores(*a) - scores(*b) - (true_mean(*a) - true_mean(*b)), None


@dataclass(frozen=True)
class Family:
    """Losses with their true means and their seeds' spreads, in seed deviations; ``run`` draws the seeds' effects."""

    name: str
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    run: Draw = normal
    gap: bool = False  # every loss is beyond three seed deviations of the best

    @property
    def best(self) -> set[int]:
        """The losses with the highest mean."""
        return {loss for loss, mean in enumerate(self.means) if mean == max(self.means)}


FAMILIES = (
    Family("5 alike", (0,) * 5, (1,) * 5),
    Family("2 alike", (0,) * 2, (1,) * 2),
    Family("5 alike, one unsteady", (0,) * 5, (1, 1, 1, 1, 4)),
    Family("5 alike, spreads 0.2 to 4", (0,) * 5, (0.2, 0.2, 1, 1, 4)),
    Family("5 alike, heavy tails", (0,) * 5, (1,) * 5, t3),
    Family("two best alike, three behind by 1.5", (0, 0, -1.5, -1.5, -1.5), (1,) * 5),
    Family("ahead by 0.5, another unsteady", (0.5, 0, 0, 0, 0), (1, 1, 1, 1, 4)),
    Family("ahead by 0.5, spreads 0.2 and 4", (0.5, 0, 0, 0, 0), (0.2, 0.2, 0.2, 0.2, 4)),
    Family("ahead by 0.3", (0.3, 0, 0, 0, 0), (1,) * 5),
    Family("ahead by 1.5", (1.5, 0, 0, 0, 0), (1,) * 5),
    Family("ahead by 3", (3, 0, 0, 0, 0), (1,) * 5),
    Family("ahead by 3.5", (3.5, 0, 0, 0, 0), (1,) * 5, gap=True),
    Family("ahead by 5", (5, 0, 0, 0, 0), (1,) * 5, gap=True),
    Family("steps of 3.5", (14, 10.5, 7, 3.5, 0), (1,) * 5, gap=True),
    Family("8 losses, ahead by 4", (4, *(0,) * 7), (1,) * 8, gap=True),
)


def draw_family(family: Family, reps: int, seeds: int, images: int, seed: int) -> Floats:
    """Return scores (reps, losses, seeds, images); what is the same for all losses is left out, as it cancels."""
    rng = np.random.default_rng(seed)
    losses = len(family.means)
    runs = np.array(family.spreads)[:, None, None] * family.run(rng, (reps, losses, seeds, 1))
    unit, own = 0.5 * normal(rng, (reps, losses, 1, images)), normal(rng, (reps, losses, seeds, images))
    return np.array(family.means)[:, None, None] + runs + unit + own
