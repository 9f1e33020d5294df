"""What commands do to hand a trained network on, as functions: export it, serve it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from basrelief.exporting.export import export_run


def export(
    run: str | Path,
    to: str = "onnx",
    *,
    out: str | Path | None = None,
    opset: int | None = None,
    int8: bool = False,
    data: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a trained network as one file that needs no Basrelief, and check it against the run.

    An ONNX file, or a program of torch.export, takes ``image`` (and ``background``), uint8 (N, H, W, 3) of any size,
    and gives ``mask`` (N, K, H, W), probabilities, and ``depth`` (N, 1, H, W) in the run's unit, at that size. A
    safetensors file holds the weights and what ``load_predictor`` needs beside them.

    Parameters
    ----------
    run
        The directory of a run or a study.
    to
        "onnx", "torch" or "safetensors".
    out
        The file; by default the run's name in the current folder, ending in .onnx, .pt2 or .safetensors.
    opset
        ONNX's; by default 18.
    int8
        Write a second file, NAME.int8.onnx, with the network in 8-bit whole numbers, and measure what that costs.
    data
        Images for both checks; by default the run's validation images.
    overwrite
        Replace files that are there.
    progress
        Called with steps done and steps in all.

    Returns
    -------
    dict
        ``run``, ``note`` (which run of a study), ``file``, ``to``, ``opset``, ``bytes``, ``parity`` (the largest
        differences to the run: ``mask`` in probability, ``depth`` over the depth maximum; ``images``, ``on``),
        ``int8`` (None, or ``file``, ``bytes``, ``images``, ``metric``, ``fp32``, ``int8``, ``cost``), ``seconds``.

    Raises
    ------
    OutputError
        When the file is there already, or differs from the run by more than 1e-3; then nothing is written.
    MissingExtraError
        Without the packages that ONNX needs: ``pip install "basrelief[export]"``.
    """
    return export_run(
        Path(run),
        to,
        out=None if out is None else Path(out),
        opset=opset,
        int8=int8,
        data=None if data is None else str(data),
        overwrite=overwrite,
        progress=progress,
    )
