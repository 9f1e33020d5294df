"""Pictures of what a network makes of a few fixed validation samples, for whoever watches a training."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from basrelief.data.loader import Loader
from basrelief.data.store import StoreFacts
from basrelief.engine.evaluate import activate, forward
from basrelief.functional.colours import (
    HATCH,
    class_colours,
    colour_depth,
    colour_mask,
    depth_palette,
    depth_range,
    hatch,
)

SAMPLES = 8  # a glance's worth; more would only cost time and disk every epoch
SIDE = 256  # px, the longer side of a tile; larger ones are thinned
WHITE_ERROR = 0.25  # an error in depth of this share of the scale is shown white
_GAP = 2  # px between tiles


def sample_images(
    model: nn.Module, loader: Loader, activations: Mapping[str, str], facts: StoreFacts
) -> dict[str, np.ndarray]:
    """Return one picture for each of up to 8 samples, spread over the loader's and always the same.

    It leaves no trace in the training: modules' modes, batch norm's statistics and torch's generators are as before.

    Parameters
    ----------
    model
        The network. One process may call this alone: what wraps it for several processes or compiles it is passed by.
    loader
        The validation samples.
    activations
        Head -> activation.
    facts
        The store's: names of the classes.

    Returns
    -------
    dict
        ``samples/ROW`` -> uint8 (H, W, 3), where ROW is the sample's line in the store's index, as in the column
        ``row`` of ``scores.parquet``. From left to right, as far as there are such planes: image, background, true
        mask, predicted mask, its error, true depth, predicted depth, its error. Masks of one class are white; depth has
        one scale for all samples and epochs, that of the truth; errors are black where there is none, and white from
        1 for masks and from a quarter of the scale for depth. Unknown pixels are hatched. Empty without samples.
    """
    rows = loader.rows
    if not len(rows):
        return {}
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).astype(int))]
    batch = loader.batch(rows)
    network = bare_network(model)
    with undisturbed(network), torch.inference_mode():
        preds = {head: pred.cpu().numpy() for head, pred in activate(forward(network, batch), activations).items()}
    step = math.ceil(max(facts.resolution) / SIDE)
    planes = {name: plane.cpu().numpy()[..., ::step, ::step] for name, plane in batch.items()}
    preds = {head: pred[..., ::step, ::step] for head, pred in preds.items() if head in planes}
    columns = [_photo(planes[name]) for name in ("image", "background") if name in planes]
    if "mask" in planes:
        columns += _show_masks(planes, preds.get("mask"), facts.classes)
    if "depth" in planes:
        columns += _show_depths(planes, preds.get("depth"))
    return {f"samples/{row}": _join([column[n] for column in columns]) for n, row in enumerate(rows.tolist())}


def bare_network(model: nn.Module) -> nn.Module:
    """Return the network inside what compiles it or keeps several processes in step, which one process can't call."""
    while True:
        inner = getattr(model, "_orig_mod", None)  # torch.compile's
        if inner is None and isinstance(model, nn.parallel.DistributedDataParallel):
            inner = model.module
        if inner is None:
            return model
        model = inner


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Let ``model`` be called in evaluation mode; then each module's mode and torch's generators are as before."""
    modes = [(module, module.training) for module in model.modules()]  # one by one: parts may be frozen
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(device.index for device in devices)):
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


def _show_masks(planes: Mapping[str, np.ndarray], pred: np.ndarray | None, classes: Sequence[str]) -> list[np.ndarray]:
    truth = planes["mask"]
    colours = class_colours(classes, truth.shape[1])
    known = np.broadcast_to(planes.get("mask_valid", np.True_), truth.shape)
    codes = np.where(known, truth, 255).astype(np.uint8)
    columns = [_rgb(np.stack([colour_mask(one, colours, truth=True) for one in codes]))]
    if pred is not None:
        finite = np.isfinite(pred)
        share = np.where(finite, pred, 0).clip(0, 1)
        levels = np.rint(share * 255).astype(np.uint8)
        shown = _rgb(np.stack([colour_mask(one, colours, truth=False) for one in levels]))
        columns.append(_hatch_unknown(shown, finite.all(axis=1)))
        columns.append(_show_errors(np.abs(share - truth).max(axis=1), (finite & known).all(axis=1)))
    return columns


def _show_depths(planes: Mapping[str, np.ndarray], pred: np.ndarray | None) -> list[np.ndarray]:
    known = np.broadcast_to(planes.get("depth_valid", np.True_), planes["depth"].shape)[:, 0]
    truth = np.where(known, planes["depth"][:, 0], np.nan)
    low, high = depth_range([truth])
    palette = depth_palette()
    columns: list[np.ndarray] = [palette[np.stack([colour_depth(one, low, high) for one in truth])]]
    if pred is not None:
        columns.append(palette[np.stack([colour_depth(one, low, high) for one in pred[:, 0]])])
        errors = np.abs(pred[:, 0] - truth) / (WHITE_ERROR * (high - low))
        columns.append(_show_errors(errors, np.isfinite(errors)))
    return columns


def _photo(image: np.ndarray) -> np.ndarray:
    pixels: np.ndarray = np.rint(image.transpose(0, 2, 3, 1) * 255).astype(np.uint8)
    return pixels


def _rgb(pictures: np.ndarray) -> np.ndarray:
    """Return uint8 (N, H, W, 3) of pictures that may be grey."""
    return pictures if pictures.ndim == 4 else np.repeat(pictures[..., None], 3, axis=-1)


def _show_errors(errors: np.ndarray, known: np.ndarray) -> np.ndarray:
    return _hatch_unknown(_rgb(np.rint(np.where(known, errors, 0).clip(0, 1) * 255).astype(np.uint8)), known)


def _hatch_unknown(pictures: np.ndarray, known: np.ndarray) -> np.ndarray:
    stripes = np.array(HATCH, dtype=np.uint8)[hatch(known.shape[1:])]
    hatched: np.ndarray = np.where(known[..., None], pictures, stripes[None, ..., None])
    return hatched


def _join(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Put tiles side by side, with white between them."""
    gap = np.full((len(tiles[0]), _GAP, 3), 255, dtype=np.uint8)
    parts = [part for tile in tiles for part in (gap, tile)]
    return np.concatenate(parts[1:], axis=1)
