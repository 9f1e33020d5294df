"""Small pictures of the images that stand out, kept while scoring goes on: image, truth and predictions."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from basrelief.data.resize import pick_nearest, resize_sample
from basrelief.functional.align import align_scale_shift
from basrelief.inference.prediction import Prediction
from basrelief.inference.predictor import Predictor
from basrelief.report import Pictures
from basrelief.scoring.fit import Fit
from basrelief.scoring.own_size import ScoredSample

SIDE = 160  # px of the longer side of a picture


@dataclass(frozen=True)
class _Kept:
    id: str
    values: Sequence[float]
    planes: dict[str, np.ndarray]
    predictions: Sequence[dict[str, np.ndarray]]


class Gallery:
    """The ``limit`` images offered with the greatest keys; of equal keys the first ones. All have one shape.

    Parameters
    ----------
    networks
        Whose predictions are shown.
    fit
        What is compared of them.
    limit
        How many are kept; memory does not grow beyond them.
    """

    def __init__(self, networks: Sequence[Predictor], fit: Fit, limit: int) -> None:
        self._networks, self._fit, self._limit = networks, fit, limit
        self._kept: list[tuple[float, int, _Kept]] = []
        self._size: tuple[int, int] | None = None
        self._offered = 0

    def offer(self, key: float, found: ScoredSample, values: Sequence[float]) -> None:
        """Keep pictures of an image if its key is among the greatest; ``values`` are its score by network."""
        self._offered += 1
        rank = (key, -self._offered)
        if len(self._kept) == self._limit and rank <= self._kept[0][:2]:
            return
        if self._size is None:
            self._size = _fitting(self._networks[0].run.get("image_size") or found.sample.image.shape[:2])
        predictions = [
            _shrink_prediction(result, network.thresholds, self._size)
            for network, result in zip(self._networks, found.results, strict=True)
        ]
        truth = _shrink_truth(found, self._fit, self._size)
        for planes in predictions:
            if "depth" not in self._fit.targets:
                planes.pop("depth", None)
            elif "depth" in truth and "depth/rmse" in self._fit.refused:
                planes["depth"] = _align(planes["depth"], truth["depth"])
        kept = _Kept(found.entry.id, values, truth, predictions)
        entry = (*rank, kept)
        if len(self._kept) == self._limit:
            heapq.heapreplace(self._kept, entry)
        else:
            heapq.heappush(self._kept, entry)

    def ordered(self) -> list[_Kept]:
        """Return what is kept, the greatest key first."""
        return [kept for _, _, kept in sorted(self._kept, key=lambda entry: entry[:2], reverse=True)]

    def pictures(self, names: Sequence[str]) -> Pictures | None:
        """Return what is kept as a report shows it, the networks by these names; None where nothing is."""
        return gather(self.ordered(), names, self._networks[0])


def gather(kept: Sequence[Any], names: Sequence[str], network: Predictor) -> Pictures | None:
    """Return pictures in the order given as a report shows them, the networks by these names."""
    if not kept:
        return None

    def stack(name: str) -> np.ndarray | None:
        there = [one.planes.get(name) for one in kept]
        example = next((plane for plane in there if plane is not None), None)
        if example is None:
            return None
        unknown = np.full_like(example, np.nan if example.dtype.kind == "f" else 255)
        return np.stack([unknown if plane is None else plane for plane in there])

    image = stack("image")
    assert image is not None
    return Pictures(
        ids=[one.id for one in kept],
        image=image,
        predictions={
            name: {
                plane: np.stack([one.predictions[place][plane] for one in kept]) for plane in kept[0].predictions[place]
            }
            for place, name in enumerate(names)
        },
        scores={name: [one.values[place] for one in kept] for place, name in enumerate(names)},
        seed=int(network.run.get("seed") or 0),
        background=stack("background"),
        mask=stack("mask"),
        depth=stack("depth"),
        classes=tuple(network.run["classes"]),
        depth_unit=network.run["depth_unit"] or "",
    )


def _fitting(size: Sequence[int]) -> tuple[int, int]:
    scale = SIDE / max(size[0], size[1])
    return max(16, round(size[0] * scale)), max(16, round(size[1] * scale))


def _shrink_truth(found: ScoredSample, fit: Fit, size: tuple[int, int]) -> dict[str, np.ndarray]:
    small = resize_sample(found.sample, size)
    planes = {"image": small.image}
    if small.background is not None:
        planes["background"] = small.background
    if small.mask is not None and "mask" in fit.targets:
        planes["mask"] = small.mask
    if small.depth is not None and "depth" in fit.targets:
        planes["depth"] = (small.depth * fit.factor).astype(np.float32)
    return planes


def _shrink_prediction(result: Prediction, thresholds: Sequence[float], size: tuple[int, int]) -> dict[str, np.ndarray]:
    planes = {}
    if result.probability is not None:
        probability = result.probability if result.probability.ndim == 3 else result.probability[None]
        shares = [_around_half(plane, at) for plane, at in zip(probability, thresholds, strict=True)]
        bytes_of = [np.rint(share * 255).astype(np.uint8) for share in shares]
        pictures = [Image.fromarray(one).resize(size[::-1], Image.Resampling.BILINEAR) for one in bytes_of]
        planes["mask"] = np.stack([np.asarray(picture) for picture in pictures])
    if result.depth is not None:
        planes["depth"] = pick_nearest(result.depth, size)
    return planes


def _align(depth: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return a prediction with the scale and the shift that fit the truth best, where the two share none."""
    known = np.isfinite(true)
    planes = [torch.from_numpy(np.asarray(plane)[None, None]) for plane in (depth, np.where(known, true, 0), known)]
    aligned: np.ndarray = align_scale_shift(planes[0], planes[1].float(), planes[2])[0, 0].numpy()
    return aligned


def _around_half(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Return probabilities with the threshold moved to a half, where the maps of mistakes take a mask to begin."""
    probability = probability.clip(0, 1)
    if threshold in (0.0, 0.5, 1.0):
        return probability
    below, above = probability / threshold / 2, 0.5 + (probability - threshold) / (1 - threshold) / 2
    return np.where(probability <= threshold, below, above)
