"""A separable window over many planes, and its transpose: the filter below SSIM."""

from __future__ import annotations

import functools
from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["gaussian", "uniform"]
"""The shape of a window: a Gaussian with σ = 1.5 px, or equal weights."""

SIGMA = 1.5


def blur(planes: Tensor, window: int, kernel: Kernel) -> Tensor:
    """Return the weighted mean over every window that lies wholly inside its plane.

    Parameters
    ----------
    planes
        (H, …, W): the rows of all planes side by side, contiguous. So each direction of the filter is one matrix
        product for all planes together.
    window
        Width of the window in pixels; H and W are at least as large.
    kernel
        Its weights, which sum to 1.

    Returns
    -------
    Tensor
        (H - window + 1, …, W - window + 1).
    """
    height, width = planes.shape[0], planes.shape[-1]
    smaller, narrower = height - window + 1, width - window + 1
    rows = planes.new_empty(smaller, planes.numel() // height)
    _filter_rows(planes.view(height, -1), rows, window, kernel, 0)
    rows = rows.view(-1, width)
    windows = planes.new_empty(rows.shape[0], narrower)
    _filter_columns(rows, windows, window, kernel, 0)
    return windows.view(smaller, *planes.shape[1:-1], narrower)


def spread(windows: Tensor, window: int, kernel: Kernel) -> Tensor:
    """Return the transpose of ``blur``: each window's value, weighted, added to the pixels below it.

    This is how a gradient goes back through ``blur``.

    Parameters
    ----------
    windows
        (H - window + 1, …, W - window + 1), contiguous.
    window, kernel
        As for ``blur``.

    Returns
    -------
    Tensor
        (H, …, W).
    """
    height, width = windows.shape[0] + window - 1, windows.shape[-1] + window - 1
    narrow = windows.view(-1, windows.shape[-1])
    columns = windows.new_empty(narrow.shape[0], width)
    _filter_columns(narrow, columns, window, kernel, window - 1)
    columns = columns.view(windows.shape[0], -1)
    planes = windows.new_empty(height, columns.shape[1])
    _filter_rows(columns, planes, window, kernel, window - 1)
    return planes.view(height, *windows.shape[1:-1], width)


def _filter_rows(source: Tensor, result: Tensor, window: int, kernel: Kernel, margin: int) -> None:
    """Fill ``result``, whose row i is the weighted sum of the ``window`` rows of ``source`` from row i - margin."""
    # A whole filter as one matrix is nearly all zeros. In strips of rows the same small band serves each strip.
    band = _band(_strip(source), window, kernel, source.dtype, source.device)
    for start in range(0, result.shape[0], len(band)):
        count = min(len(band), result.shape[0] - start)
        first, last = max(0, start - margin), min(source.shape[0], start - margin + count + window - 1)
        part = band[:count, first - (start - margin) : last - (start - margin)]
        torch.mm(part, source[first:last], out=result[start : start + count])


def _filter_columns(source: Tensor, result: Tensor, window: int, kernel: Kernel, margin: int) -> None:
    """Do for columns what ``_filter_rows`` does for rows."""
    band = _band(_strip(source), window, kernel, source.dtype, source.device)
    for start in range(0, result.shape[1], len(band)):
        count = min(len(band), result.shape[1] - start)
        first, last = max(0, start - margin), min(source.shape[1], start - margin + count + window - 1)
        part = band[:count, first - (start - margin) : last - (start - margin)]
        torch.mm(source[:, first:last], part.T, out=result[:, start : start + count])


def _strip(source: Tensor) -> int:
    # Measured: narrow strips waste the least work on a CPU; elsewhere the number of calls counts for more.
    return 16 if source.device.type == "cpu" else 64


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)  # a matrix first needed in an evaluation must serve training too
def _band(strip: int, window: int, kernel: Kernel, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the (strip, strip + window - 1) matrix whose rows are the weights, each shifted by one."""
    offsets = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    weights = torch.ones_like(offsets) if kernel == "uniform" else torch.exp(-(offsets**2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    band = torch.zeros(strip, strip + window - 1, dtype=torch.float64)
    for row in range(strip):
        band[row, row : row + window] = weights
    return band.to(device=device, dtype=dtype)
