"""Error maps: where a prediction is wrong, as pictures that a colour-blind reader can tell apart.

A mask's map has orange where a figure is seen that is not there, blue where one is missed, and purple where it is
taken for another class; what is right is white (figure) or black. Depth's map is the absolute error, from black to
yellow. Pixels whose truth is unknown are hatched in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from basrelief.functional.colours import HATCH, hatch, label_classes

# What a pixel of a mask's map can be, with its colour, in the order of the places in `mistake_palette`.
MISTAKES = (
    ("right, no figure", "101010"),
    ("right, figure", "f0f0f0"),
    ("false: no figure here", "e69f00"),
    ("missed figure", "56b4e9"),
    ("wrong class", "cc79a7"),
)
# Ten anchors of inferno (CC0, S. van der Walt and N. Smith), interpolated linearly; its lightness rises evenly.
INFERNO = ("000004", "1b0c41", "4a0c6b", "781c6d", "a52c60", "cf4446", "ed6925", "fb9b06", "f7d13d", "fcffa4")
LEVELS = 48  # of an absolute error: enough to read, few enough to stay small


def mark_mistakes(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W): places in `mistake_palette`.

    Parameters
    ----------
    prediction
        uint8 (K, H, W), probabilities as 0 to 255; the strongest class counts where it reaches a half.
    truth
        uint8 (K, H, W), 0 and 1, 255 where unknown.
    """
    strongest = prediction.max(axis=0)
    seen = np.where(strongest >= 128, prediction.argmax(axis=0) + 1, 0)
    true = label_classes(truth)
    marks = np.zeros(true.shape, dtype=np.uint8)
    marks[(true > 0) & (seen > 0)] = 4
    marks[(true > 0) & (seen == 0)] = 3
    marks[(true == 0) & (seen > 0)] = 2
    # Where classes overlap in the truth, any of them is right.
    either = np.take_along_axis(truth == 1, np.maximum(seen - 1, 0)[None], axis=0)[0]
    marks[(seen > 0) & either] = 1
    unknown = (truth == 255).all(axis=0)
    return np.where(unknown, len(MISTAKES) + hatch(true.shape), marks).astype(np.uint8)


def mistake_palette() -> np.ndarray:
    """Return uint8 (7, 3): the colours of ``MISTAKES``, then the two greys of the hatching."""
    return np.array(
        [*(list(bytes.fromhex(colour)) for _, colour in MISTAKES), *([grey] * 3 for grey in HATCH)], np.uint8
    )


def error_limit(truth: np.ndarray, predictions: Sequence[np.ndarray | None]) -> float:
    """Return where the scale of absolute errors ends: at their 99th percentile over all predictions; 1 without any."""
    found = [np.abs(own - truth) for own in predictions if own is not None]
    values = np.concatenate([error[np.isfinite(error)] for error in found]) if found else np.empty(0)
    limit = float(np.quantile(values.astype(np.float64), 0.99)) if values.size else 0.0
    return limit if limit > 0 else 1.0


def shade_errors(prediction: np.ndarray, truth: np.ndarray, limit: float) -> np.ndarray:
    """Return uint8 (H, W): places in `error_palette`, the absolute error from 0 to ``limit`` and beyond."""
    error = np.abs(prediction.astype(np.float64) - truth)
    known = np.isfinite(error)
    places = np.rint(np.clip(np.where(known, error, 0) / limit, 0, 1) * (LEVELS - 1))
    return np.where(known, places, LEVELS + hatch(error.shape)).astype(np.uint8)


def error_palette() -> np.ndarray:
    """Return uint8 (LEVELS + 2, 3): inferno, then the two greys of the hatching."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in INFERNO], dtype=np.float64)
    at = np.linspace(0, len(INFERNO) - 1, LEVELS)
    ramp = np.stack([np.interp(at, np.arange(len(INFERNO)), anchors[:, channel]) for channel in range(3)], axis=1)
    return np.concatenate([np.rint(ramp), [[grey] * 3 for grey in HATCH]]).astype(np.uint8)
