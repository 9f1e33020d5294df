"""Statistics of a study: intervals, decisions, what more would take, and the race. numpy and scipy alone.

Two losses are trained on the same seeds and scored on the same images; d[seed, image] is their difference. Seeds and
images are both samples: a verdict should hold for another seed and for another image. Where images belong together, a
group takes the image's place; **unit** is the word for either.
"""

from __future__ import annotations

from basrelief.statistics.bootstrap import Bootstrap, bootstrap_interval, bootstrap_intervals
from basrelief.statistics.decisions import Decision, decide, failure_bound, holm, holm_limits
from basrelief.statistics.images import draw_images, images_interval, more_images, resampled_bounds
from basrelief.statistics.influence import Diagnosis, Influence, diagnose, influence
from basrelief.statistics.intervals import Interval, mean_interval, paired_interval
from basrelief.statistics.needs import MOST_SEEDS, Need, images_needed, more_seeds, seeds_needed
from basrelief.statistics.racing import Dropped, Race, RacedPair, race, race_pairs

__all__ = [
    "MOST_SEEDS",
    "Bootstrap",
    "Decision",
    "Diagnosis",
    "Dropped",
    "Influence",
    "Interval",
    "Need",
    "Race",
    "RacedPair",
    "bootstrap_interval",
    "bootstrap_intervals",
    "decide",
    "diagnose",
    "draw_images",
    "failure_bound",
    "holm",
    "holm_limits",
    "images_interval",
    "images_needed",
    "influence",
    "mean_interval",
    "more_images",
    "more_seeds",
    "paired_interval",
    "race",
    "race_pairs",
    "resampled_bounds",
    "seeds_needed",
]
