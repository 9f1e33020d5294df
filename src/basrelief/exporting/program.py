"""The whole network as a program of torch.export, which ONNX is made from and which a ``.pt2`` file holds."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from basrelief.errors import DataError
from basrelief.exporting.whole_graph import WholeNetwork
from basrelief.inference.facts import carried

_EXAMPLE, _BEHIND = (2, 75, 83, 3), (2, 57, 49, 3)  # sizes that differ, and are no one's special case
_PLACES = ("stack_trace", "source_fn_stack", "torch_fn")  # what a node remembers of the machine it was traced on


def trace(whole: WholeNetwork, *, background: bool) -> ExportedProgram:
    """Trace the network for any number of images of any size.

    Raises
    ------
    DataError
        When torch.export cannot trace it.
    """
    inputs = {"image": torch.zeros(_EXAMPLE, dtype=torch.uint8)}
    batch = Dim("batch")
    shapes: dict[str, Any] = {"image": {0: batch, 1: Dim("height"), 2: Dim("width")}}
    if background:
        inputs["background"] = torch.zeros(_BEHIND, dtype=torch.uint8)
        shapes["background"] = {0: batch, 1: Dim("background_height"), 2: Dim("background_width")}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(whole.eval(), (), inputs, dynamic_shapes=shapes)
    except Exception as error:  # torch has many, and what they say is about its own graph
        raise DataError(
            f"This network cannot be exported: torch.export says {type(error).__name__}: {first_line(error)}"
        ) from None
    for node in program.graph.nodes:
        for place in _PLACES:
            node.meta.pop(place, None)
    return program


def save_program(program: ExportedProgram, run: Mapping[str, Any], path: Path) -> None:
    """Write a ``.pt2`` file that ``torch.export.load`` reads without Basrelief; the run's facts lie inside as JSON."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        facts = json.dumps(carried(run), ensure_ascii=False, allow_nan=False)
        torch.export.save(program, path, extra_files={"basrelief.json": facts})


class ProgramFile:
    """A ``.pt2`` file that we have just written ourselves, opened again as its users open it."""

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._module = torch.export.load(path).module()

    @torch.inference_mode()
    def __call__(self, planes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what the file gives for uint8 (N, H, W, 3) of each input."""
        given: dict[str, Tensor] = self._module(
            **{name: torch.from_numpy(np.array(plane)) for name, plane in planes.items()}
        )
        return {head: values.numpy() for head, values in given.items()}


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, at most 300 characters."""
    return (str(error).strip().splitlines() or [""])[0][:300]
