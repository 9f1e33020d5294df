"""Starting from weights that another training left: a run's, or a file's, as far as they fit."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from basrelief.engine.checkpoint import BEST
from basrelief.errors import DataError, UsageError
from basrelief.models.network import Network

_WRAPPERS = ("state_dict", "model", "model_state_dict", "ema", "teacher")  # under which files keep their tensors
_PREFIXES = ("", "module.", "model.", "_orig_mod.", "encoder.", "backbone.")  # that other programs put before names


def start_from(model: Network, weights: str) -> str:
    """Load weights into ``model``, as far as names and shapes agree, and say how far.

    A run with other heads gives all but its heads; a file of an encoder's weights gives the encoder.

    Parameters
    ----------
    model
        Its parts that nothing is loaded into keep their fresh weights.
    weights
        A run's directory, a checkpoint, a folder of ``save_pretrained``, or another file of tensors: safetensors, or
        torch's own format, which is read without running anything in it.

    Returns
    -------
    str
        A sentence; empty where everything fitted.

    Raises
    ------
    UsageError
        When there is no such file.
    DataError
        When it cannot be read, or holds next to nothing that fits.
    """
    path = _file(weights)
    if (Path(weights) / "trials").is_dir():
        trained = sorted(Path(weights).glob(f"trials/*/*/{BEST}"))
        example = f", such as {trained[0].parent}" if trained else ""
        raise UsageError(f"--weights {weights} is a study; give one of its trainings{example}.")
    if not path.exists():
        raise UsageError(f"--weights {weights}: there is no such run or file.")
    found = _read(path)
    ours = model.state_dict()
    fitting = max((_fitting(ours, found, prefix) for prefix in _PREFIXES), key=len)
    for part in model.encoder_parts:  # a file of an encoder alone does not name it
        inner = _fitting(model.get_submodule(part).state_dict(), found, "")
        if len(inner) > len(fitting):
            fitting = {f"{part}.{name}": value for name, value in inner.items()}
    parameters = {name for name, _ in model.named_parameters()}
    body = {name for name in parameters if name.partition(".")[0] not in model.target_parts} or parameters
    taken = parameters & fitting.keys()
    if len(taken & body) < len(body) / 2:
        missing = next(name for name in ours if name in body and name not in fitting)
        theirs = tuple(found[missing].shape) if missing in found else "not there"
        raise DataError(
            f"{path} does not fit this network: {len(taken)} of its {len(parameters)} weights are in it with the "
            f"same name and shape ({missing} is {tuple(ours[missing].shape)} here, {theirs} there). Use the network, "
            "options and background that it was made with."
        )
    model.load_state_dict(fitting, strict=False)
    fresh = sorted({name.rpartition(".")[0] for name in parameters - taken})
    if not fresh:
        return ""
    listed = ", ".join(fresh[:3]) + (f" and {len(fresh) - 3} more" if len(fresh) > 3 else "")
    return f"Weights: {len(taken)} of {len(parameters)} from {weights}; fresh: {listed}."


def weights_digest(weights: str) -> str | None:
    """Return the SHA-256 of the file that ``weights`` means; None where it means none, or it is not there."""
    if weights == "none" or not _file(weights).is_file():
        return None
    with _file(weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(weights: str) -> Path:
    """Return the file that ``weights`` means: of a run its best checkpoint, of a folder of save_pretrained its own."""
    path = Path(weights)
    if not path.is_dir():
        return path
    saved = path / "model.safetensors"
    return saved if saved.exists() and not (path / BEST).exists() else path / BEST


def _fitting(ours: Mapping[str, Tensor], found: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors found that fit ours, where theirs are named with ``prefix`` before."""
    named = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    return {name: named[name] for name, value in ours.items() if name in named and named[name].shape == value.shape}


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                ours = "basrelief" in (file.metadata() or {})
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            # A checkpoint holds more than the network; a file made to be handed on holds nothing else.
            start = "model/" if ours and any(name.startswith("model/") for name in tensors) else ""
            return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's version, which nobody here chose
            document = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(
            f"{path} holds more than tensors, and running what is in it is not safe. Save its state_dict alone, best "
            "as safetensors, and give that."
        ) from None
    except Exception as error:  # torch's reader has any kind for a damaged file, asserts and struct.error among them
        raise DataError(
            f"{path} cannot be read as weights, or was cut short ({_first_line(error)}). Copy it again."
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(document, Mapping) and isinstance(document.get(wrapper), Mapping):
            document = document[wrapper]
    tensors = {str(n): v for n, v in document.items() if isinstance(v, Tensor)} if isinstance(document, Mapping) else {}
    if not tensors:
        raise DataError(f"{path} holds no tensors by name; expected a state_dict.")
    return tensors


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
