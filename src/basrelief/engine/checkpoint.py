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

LAST, BEFORE, BEST = "last.safetensors", "before.safetensors", "best.safetensors"
_PARTS = ("model", "average", "loss", "optimizer")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds: state by name of the network, of the running average of its weights, of the loss
    and of the optimizer, each empty where there is none; and facts.
    """

    model: dict[str, Tensor]
    average: dict[str, Tensor]
    loss: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    facts: dict[str, Any]


def save_checkpoint(
    path: Path,
    model: nn.Module,
    facts: Mapping[str, Any],
    optimizer: torch.optim.Optimizer | None = None,
    loss: nn.Module | None = None,
    average: nn.Module | None = None,
    *,
    keep: Path | None = None,
) -> None:
    """Write the network's state, and that of the others where given, to ``path`` (``.safetensors``).

    It is written atomically. ``facts`` go into the file's own header, so that tensors and facts can't disagree, with a
    digest of every tensor; and as JSON beside it for people. What stood at ``path`` before goes to ``keep``, if given.
    """
    parts: dict[str, Mapping[str, Any]] = {"model": model.state_dict()}
    parts |= {name: part.state_dict() for name, part in (("average", average), ("loss", loss)) if part is not None}
    if optimizer is not None:
        states = optimizer.state_dict()["state"]
        parts["optimizer"] = {f"{i}/{name}": value for i, state in states.items() for name, value in state.items()}
    tensors = {
        f"{part}/{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for part, state in parts.items()
        for name, value in state.items()
    }
    # A single entry, since several would be written in no fixed order.
    header = {"basrelief": json.dumps({"digest": _digest(tensors), "facts": facts}, allow_nan=False)}
    if keep is None:
        write_atomic(path, lambda temporary: save_file(tensors, temporary, header))
    else:  # written whole before anything moves, so that a full disk costs neither of the two
        fresh = path.with_name(f"next-{path.name}")
        write_atomic(fresh, lambda temporary: save_file(tensors, temporary, header))
        if path.exists():
            path.replace(keep)
        fresh.replace(path)
    write_json(path.with_suffix(".json"), facts)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what ``save_checkpoint`` wrote; no code from the file is ever run.

    Raises
    ------
    DataError
        Naming the file, when it is missing, cut short, damaged or of another kind.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("basrelief", ""))
            digest, facts = header["digest"], header["facts"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        if digest != _digest(tensors):
            raise ValueError("its tensors are not what was written")
    except FileNotFoundError:
        raise DataError(
            f"{path} is not there; expected a checkpoint of a Basrelief run. Start the run or study again to make it."
        ) from None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a checkpoint that Basrelief wrote, or was cut short or damaged ({error}). Remove "
            f"{path.parent} and start the same run or study again to train it anew."
        ) from None
    found: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
    for name, value in tensors.items():
        part, _, rest = name.partition("/")
        found.setdefault(part, {})[rest] = value
    return Checkpoint(found["model"], found["average"], found["loss"], found["optimizer"], facts)


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the last whole checkpoint of a run that can be resumed: the newest, or the one before where that is
    damaged; None where there is none.
    """
    for name in (LAST, BEFORE):
        try:
            return load_checkpoint(folder / name)
        except DataError:
            continue
    return None


def remove_checkpoints(folder: Path, *, all_but_last: bool = False) -> None:
    """Remove what a run is resumed from, which the best checkpoint is no part of."""
    for name in (BEFORE,) if all_but_last else (BEFORE, LAST):
        (folder / name).unlink(missing_ok=True)
        (folder / name).with_suffix(".json").unlink(missing_ok=True)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of names and bytes; a power cut may leave a file of the right length with wrong contents."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(_bytes_of(value))
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


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
        digest.update(_bytes_of(value))
    return digest.hexdigest()
