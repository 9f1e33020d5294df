"""Checkpoints: tensors in safetensors with their facts inside the same file, and a readable JSON copy beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from basrelief.errors import DataError
from basrelief.files import write_atomic, write_json

_MODEL, _LOSS, _OPTIMIZER = "model/", "loss/", "optimizer/"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds: the network's state by name, the loss's, the optimizer's tensors, and facts."""

    model: dict[str, Tensor]
    loss: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    facts: dict[str, Any]


def save_checkpoint(
    path: Path,
    model: nn.Module,
    facts: Mapping[str, Any],
    optimizer: torch.optim.Optimizer | None = None,
    loss: nn.Module | None = None,
) -> None:
    """Write the network's state, and the optimizer's and the loss's where given, to ``path`` (``.safetensors``).

    It is written atomically. ``facts`` go into the file's own header, so that tensors and facts can't disagree, and as
    JSON beside it for people.
    """
    tensors = {f"{_MODEL}{name}": value for name, value in model.state_dict().items()}
    if loss is not None:
        tensors |= {f"{_LOSS}{name}": value for name, value in loss.state_dict().items()}
    if optimizer is not None:
        for index, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"{_OPTIMIZER}{index}/{name}"] = torch.as_tensor(value)
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    header = {"basrelief": json.dumps(facts, allow_nan=False)}
    write_atomic(path, lambda temporary: save_file(tensors, temporary, header))
    write_json(path.with_suffix(".json"), facts)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what ``save_checkpoint`` wrote; no code from the file is ever run.

    Raises
    ------
    DataError
        Naming the file, when it is missing, cut short or of another kind.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get("basrelief", ""))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise DataError(
            f"{path} is not there; expected a checkpoint of a Basrelief run. Start the run or study again to make it."
        ) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"{path} is not a checkpoint that Basrelief wrote, or was cut short ({error}). Remove {path.parent} and "
            "start the same run or study again to train it anew."
        ) from None

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    return Checkpoint(part(_MODEL), part(_LOSS), part(_OPTIMIZER), facts)


def restore_model(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load the network's state, or raise DataError that names what does not fit."""
    try:
        model.load_state_dict(dict(tensors))
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise DataError(f"{path} does not fit this network: {first}") from None


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load the optimizer's tensors; its settings (learning rate and the like) stay as they were built."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        index, _, field = name.partition("/")
        state.setdefault(int(index), {})[field] = value
    document = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": document["param_groups"]})
    for parameter, fields in optimizer.state.items():
        for field, value in fields.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # Fused optimizers walk through memory, so a moment must lie in it as its parameter does: a file holds
                # it row by row, a network in channels-last format does not.
                fields[field] = torch.empty_like(parameter).copy_(value)


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 of all weights and buffers, by name: equal exactly when they are bit for bit."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
