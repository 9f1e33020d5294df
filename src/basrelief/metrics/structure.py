"""Scores of structure, on masks' probabilities or on depth over its maximum: fn(planes) -> (N, K)."""

from __future__ import annotations

from torch import Tensor

from basrelief.functional import checkerboard as grid
from basrelief.functional.ms_ssim import WEIGHTS, ms_ssim_per_image
from basrelief.functional.ssim import ssim_per_image
from basrelief.metrics.spec import Planes

WINDOW = 11


def ssim(planes: Planes) -> Tensor:
    """Return the structural similarity, (N, K); NaN where no window is known well enough."""
    return ssim_per_image(planes.pred, planes.target, planes.valid, window=WINDOW)


def ms_ssim(planes: Planes) -> Tensor:
    """Return the structural similarity over as many of five scales as the image admits, (N, K).

    Each scale halves the image, and takes its side to be at least a window of 11 px: five scales from 161 px on, two
    from 21 px. NaN where some scale has no window known well enough.
    """
    fitting = sum(-(-planes.side // 2**scale) >= WINDOW for scale in range(len(WEIGHTS)))
    return ms_ssim_per_image(planes.pred, planes.target, planes.valid, window=WINDOW, scales=fitting)


def checkerboard(planes: Planes) -> Tensor:
    """Return the share of the error's local energy that repeats every 2 px, (N, K); NaN where no pixel is known."""
    return grid.checkerboard(planes.pred, planes.target, planes.valid)
