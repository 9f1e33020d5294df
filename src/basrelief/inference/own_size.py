"""Scoring a network on a source, at each image's own size."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from basrelief.batch import Sample
from basrelief.data.resize import resize_sample
from basrelief.data.source import Entry, Source
from basrelief.data.store import hash_image, load_to_pack
from basrelief.errors import DataError
from basrelief.inference.prediction import Prediction
from basrelief.inference.predictor import Predictor
from basrelief.metrics import count_images, score_batch, summarise


def score_source(
    predictor: Predictor,
    source: Source,
    *,
    wanted: Mapping[str, str] | None = None,
    seen: Collection[str] = (),
    align: Sequence[str] = (),
) -> dict[str, Any]:
    """Score the samples of a source: all, or those whose id is wanted, without images seen in training.

    Parameters
    ----------
    predictor, source
        The network, and the data it is scored on.
    wanted
        Id -> hash of the images to score; None: all. One that is not there, or is another now, counts as failed.
    seen
        Hashes (``hash_image``) of images that the network was trained on or chosen by.
    align
        Alignments of depth that are scored as well ("median", "scale_shift").

    Returns
    -------
    dict
        ``metrics`` (name -> mean or None), ``counts`` (see ``count_images``), ``images`` (how many), ``seen`` (how many
        were left out for having been seen in training), ``depth_unit`` (of depth's errors, "" where not known),
        ``failed`` (sample -> why).

    Raises
    ------
    DataError
        When the source has other classes than the network, lacks its backgrounds, or no sample can be scored.
    """
    if source.classes and source.classes != tuple(predictor.run["classes"]) and "mask" in predictor.run["targets"]:
        raise DataError(
            f"{source.location} has the classes {', '.join(source.classes)}; the network was trained on "
            f"{', '.join(predictor.run['classes'])}."
        )
    for fact in ("depth_unit", "depth_kind"):
        here, there = getattr(source, fact), predictor.run[fact]
        if "depth" in predictor.run["targets"] and "depth" in source.targets and here != there:
            raise DataError(
                f"{source.location}: {fact.replace('_', ' ')} is {here or 'not known'}, but the network was trained on "
                f"{there or 'an unknown one'}. See --depth-scale, --depth-unit and --depth-kind."
            )
    if predictor.takes_background and not source.background:
        raise DataError(f"The network was trained with backgrounds, which {source.location} does not have.")
    parts: dict[str, list[np.ndarray]] = {}
    failed: dict[str, str] = {}
    depth_max = float(predictor.run["depth_max"] or 1.0)
    count = left_out = 0
    for entry in source.entries:
        if wanted is not None and entry.id not in wanted:
            continue
        try:
            sample = source.load(entry)
        except DataError as error:
            failed[entry.id] = str(error)
            continue
        known = _packed_hash(source, entry, predictor.resolution) if seen or wanted else ""
        if known in seen:
            left_out += 1
            continue
        if wanted is not None and wanted[entry.id] != known:
            failed[entry.id] = (
                f"{entry.planes.get('image', entry.id)}: is another image than when the network was trained."
            )
            continue
        result = predictor(sample.image, sample.background)
        targets, preds = _own_size(sample, result, depth_max)
        found = score_batch(preds, targets, classes=source.classes, depth_max=depth_max, align=align)
        for name, value in found.items():  # an image too small for a metric is left out of its mean
            parts.setdefault(name, []).append(value.double().numpy())
        count += 1
    for name in (wanted or {}).keys() - {entry.id for entry in source.entries}:
        failed[name] = f"{name}: is no longer in {source.location}."
    if not count:
        why = " ".join(list(failed.values())[:3]) or f"{left_out} of them were seen in training."
        raise DataError(f"{source.location}: none of its samples could be scored. {why}")
    scores = {name: np.concatenate(values) for name, values in parts.items()}
    return {
        "images": count,
        "seen": left_out,
        "metrics": summarise(scores, source.classes),
        "counts": count_images(scores, source.classes, images=count),
        "depth_unit": predictor.run["depth_unit"] or "",
        "failed": failed,
    }


def _packed_hash(source: Source, entry: Entry, resolution: tuple[int, int]) -> str:
    """Return the hash that the image has in a store at this resolution."""
    alone = dataclasses.replace(entry, planes={plane: file for plane, file in entry.planes.items() if plane == "image"})
    return hash_image(load_to_pack(source, alone, resolution).sample.image)


def _own_size(
    sample: Sample, result: Prediction, depth_max: float
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return targets and predictions of one image as the metrics want them."""
    size = sample.image.shape[:2]
    targets: dict[str, torch.Tensor] = {}
    preds: dict[str, torch.Tensor] = {}
    if sample.mask is not None and result.probability is not None:
        targets["mask"] = torch.from_numpy(sample.mask).float()[None]
        if sample.mask_valid is not None:
            targets["mask_valid"] = torch.from_numpy(sample.mask_valid)[None, None]
        probability = result.probability if result.probability.ndim == 3 else result.probability[None]
        preds["mask"] = torch.from_numpy(probability)[None]
    if sample.depth is not None and result.depth is not None:
        depth = sample.depth
        if depth.shape != size:  # measured at a lower resolution than the image: bring it up without mixing
            depth = np.asarray(resize_sample(sample, size).depth)
        known = np.isfinite(depth)
        targets["depth"] = torch.from_numpy(np.where(known, depth, 0).astype(np.float32) / depth_max)[None, None]
        targets["depth_valid"] = torch.from_numpy(known)[None, None]
        preds["depth"] = torch.from_numpy(result.depth / np.float32(depth_max))[None, None]
    return targets, preds
