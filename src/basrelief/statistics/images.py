"""The interval for one network, or for two compared: over further images, and over nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from basrelief.statistics.bootstrap import CHUNK_BYTES, DRAWS
from basrelief.statistics.intervals import Floats, Interval, mean_interval
from basrelief.statistics.needs import Need, images_needed

FEWEST_UNITS = 5  # that are drawn again and again; of four, even from the least to the greatest is no 90 % interval


def images_interval(scores: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95) -> Interval:
    """Return the interval for the mean of one network's scores over further images.

    It is Student's, with the groups' sums in the images' place where images belong together. It says how this network
    does on other images like these; of another seed it says nothing. Its ``seeds`` is 1.

    Equal scores show no spread, and Student's interval would be a point however few they are. m values on one side are
    no surprise among fewer than 1 − log₂(1 − level) of them, the sign test says (six at 0.95): so few equal ones give
    no bounds.

    Parameters
    ----------
    scores
        (images,), finite. For two networks, the differences image by image.
    groups
        One label for each image.
    level
        Coverage, in (0, 1).
    """
    values = _twice(scores)
    found = replace(mean_interval(values, groups=groups, level=level), seeds=1)
    if values.size and np.ptp(values) == 0 and 2.0 ** (1 - found.units) >= 1 - level:
        return replace(found, low=None, high=None, p_value=None)
    return found


def resampled_bounds(draws: ArrayLike, *, units: int, level: float = 0.95) -> tuple[float, float] | None:
    """Return the interval that values of ``draw_images``'s draws give, as expanded percentiles.

    The plain percentiles are too narrow for few units: a draw spreads by √((n − 1)/n) of what it should, and is read
    off as if the variance were known. Percentiles further out mend both (T. C. Hesterberg, "What teachers should know
    about the bootstrap", The American Statistician 69(4), 2015, section 4.4). Draws never leave what was seen, though,
    so that of fewer than ``FEWEST_UNITS`` they say too little.

    Parameters
    ----------
    draws
        (draws,), of a statistic that is no mean of images; what is not finite is left out.
    units
        Number of images, or of groups.
    level
        Coverage aimed at, in (0, 1).

    Returns
    -------
    tuple or None
        None for fewer than ``FEWEST_UNITS``, and where no draw is finite.
    """
    values: Floats = np.asarray(draws, dtype=np.float64)
    values = values[np.isfinite(values)]
    if units < FEWEST_UNITS or not len(values):
        return None
    tail = float(special.ndtr(np.sqrt(units / (units - 1)) * special.stdtrit(units - 1, (1 - level) / 2)))
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def more_images(interval: Interval, *, margin: float) -> Need | None:
    """Return how many further images (or groups) would decide what ``images_interval`` leaves open.

    None where the interval has no bounds. See ``images_needed``.
    """
    return images_needed(replace(interval, seeds=2), margin=margin)


def draw_images(images: int, *, groups: ArrayLike | None = None, draws: int = DRAWS, seed: int = 0) -> Iterator[Floats]:
    """Yield how often draws with replacement take each image, (some draws, images), a part of the draws at a time.

    Groups are drawn as a whole. The same arguments give the same draws.
    """
    rng = np.random.default_rng(seed)
    _, index = np.unique(np.arange(images) if groups is None else np.asarray(groups), return_inverse=True)
    units = int(index.max()) + 1 if images else 0
    step = max(1, CHUNK_BYTES // (8 * max(images, 1)))
    for start in range(0, draws, step):
        number = min(step, draws - start)
        taken = rng.multinomial(units, np.full(units, 1 / units), size=number)
        yield taken[:, index].astype(np.float64)


def _twice(scores: ArrayLike) -> Floats:
    # Two seeds that agree on every image: the seeds then add nothing to the variance, and the interval over both
    # sources is the units' own, exactly.
    values: Floats = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"Scores have the shape {values.shape}; it must be (images,).")
    return np.stack([values, values])
