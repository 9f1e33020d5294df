"""What a study's report shows, as plain data: the page is drawn from this and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class MetricFacts:
    """How a metric is to be read: ``higher_is_better``, its unit ("" for a share) and what it is, in a sentence.

    The ``main`` ones and the primary one are in the first table and have curves; the others have a table of their own.
    """

    name: str
    higher_is_better: bool
    unit: str
    meaning: str
    main: bool = True


@dataclass(frozen=True)
class LossRow:
    """One loss of the study, over its seeds.

    ``scores`` maps a metric's name to (mean, low, high) on the test images, low and high None with one seed.
    ``best_epochs`` has one entry a finished seed. ``rising`` is True where the curve of the primary metric had not
    flattened when training ended. ``seconds`` is the training time of one trial, the mean over seeds.
    """

    name: str
    expression: str
    scores: Mapping[str, tuple[float | None, float | None, float | None]]
    seeds: int
    failed: int
    failures: Sequence[str] = ()
    best_epochs: Sequence[int] = ()
    rising: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Curve:
    """One metric of one trial on the validation images, by epoch (from 1); of ``training``, the loss on its batches."""

    loss: str
    seed: int
    metric: str
    epochs: Sequence[int]
    values: Sequence[float | None]


@dataclass(frozen=True)
class TermCurve:
    """One term of one loss by epoch on the training batches, the mean over seeds.

    ``values`` are unweighted; ``shares`` are of the gradient at the network's outputs, in [0, 1].
    """

    loss: str
    term: str
    values: Sequence[float]
    weights: Sequence[float]
    shares: Sequence[float]


@dataclass(frozen=True)
class Pictures:
    """The same validation images for every loss, at the training resolution.

    image, background: uint8 (n, H, W, 3). mask: uint8 (n, K, H, W), 0 or 1, 255 unknown. depth: float32 (n, H, W) in
    the data's unit, NaN unknown. ``predictions[loss]`` has "mask" (probabilities as uint8 0..255, (n, K, H, W)) and
    "depth" (float32 (n, H, W)) as far as the network has those heads. ``scores[loss]`` is the primary metric of each
    image.
    """

    ids: Sequence[str]
    image: np.ndarray
    predictions: Mapping[str, Mapping[str, np.ndarray]]
    scores: Mapping[str, Sequence[float | None]]
    seed: int
    background: np.ndarray | None = None
    mask: np.ndarray | None = None
    depth: np.ndarray | None = None
    classes: Sequence[str] = ()
    depth_unit: str = ""


@dataclass(frozen=True)
class Spread:
    """How the primary metric of one loss is spread over the test images, each image the mean over seeds.

    ``scores`` are quantiles at even steps of probability from 0 to 1, ascending: of 100,000 images a few hundred
    numbers. ``differences`` are those of this loss minus the best one, image by image; empty for the best one itself.
    ``ahead`` is the share of the images on which this loss is the better of the two, ``tied`` where they are the same.
    """

    loss: str
    images: int
    scores: Sequence[float]
    differences: Sequence[float] = ()
    against: str = ""
    ahead: float | None = None
    tied: float | None = None


@dataclass(frozen=True)
class RateSearch:
    """How the learning rate of one loss was found: ``rate`` is None where none was.

    ``curve`` is the range test, (learning rate, loss) smoothed; ``grid`` the rates that were tried after it with the
    score of each on the validation images, None where the trial failed. ``steps`` and ``seconds`` are the cost of both.
    """

    loss: str
    rate: float | None
    reason: str
    curve: Sequence[tuple[float, float]] = ()
    grid: Sequence[tuple[float, float | None]] = ()
    fold: int = 0
    steps: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class LossCost:
    """What one loss cost, all its seeds and folds together; None where it is not known.

    ``step_ms`` and ``step_memory`` (bytes) are those of one step; ``memory_kind`` says how the memory was found.
    """

    loss: str
    trainings: int
    steps: int | None
    seconds: float
    search_steps: int | None = None
    search_seconds: float | None = None
    step_ms: float | None = None
    step_memory: int | None = None
    memory_kind: str | None = None


@dataclass(frozen=True)
class StudyContents:
    """Everything on the page.

    ``verdict`` is the document of verdict.json; what it lacks is left out of the page. ``training`` are the losses' own
    values on the training batches, by trial. ``baselines`` maps a baseline's name to its score by metric.
    ``held_fixed``, ``data``, ``cost`` and ``environment`` are (name, value) rows; ``warnings`` and ``notes`` are
    sentences; ``repeat`` is the command line that makes the study again.
    """

    title: str
    verdict: Mapping[str, Any]
    metrics: Sequence[MetricFacts]
    losses: Sequence[LossRow]
    curves: Sequence[Curve]
    pictures: Pictures | None
    terms: Sequence[TermCurve] = ()
    training: Sequence[Curve] = ()
    spreads: Sequence[Spread] = ()
    searches: Sequence[RateSearch] = ()
    costs: Sequence[LossCost] = ()
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    held_fixed: Sequence[tuple[str, str]] = ()
    data: Sequence[tuple[str, str]] = ()
    cost: Sequence[tuple[str, str]] = ()
    environment: Sequence[tuple[str, str]] = ()
    repeat: str = ""
