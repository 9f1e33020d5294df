"""Networks as files to hand on: weights in safetensors, all else in JSON. No code is in them, and none is ever run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from basrelief.engine.checkpoint import restore_model
from basrelief.errors import BasreliefError, DataError, MissingExtraError, OutputError, UsageError
from basrelief.files import output_errors, write_atomic, write_json, write_text
from basrelief.inference.card import write_card
from basrelief.inference.check_facts import LARGEST_FACTS, check_carried, parse_facts
from basrelief.inference.facts import carried
from basrelief.inference.network import build_model
from basrelief.inference.origin import find_origin

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
KEY = "basrelief"  # of the header that holds the facts
MOST_TENSORS = 20_000  # of a file
CALLS_A_TENSOR = 100  # that building a network may make for each of its tensors; the greediest we know makes 35
LARGEST_HEADER = 16 * 2**20  # bytes; the largest networks with their facts need less than one megabyte
INFERENCE: Mapping[str, Any] = {
    "threshold": 0.5,
    "tile": "auto",
    "mirror": False,
}  # how a network is used where nothing else is said


@dataclass(frozen=True)
class Trained:
    """What a predictor needs to be saved, beside what it needs to predict.

    Attributes
    ----------
    model
        The network itself.
    inference
        "threshold", "tile", "mirror": how it is used unless said otherwise.
    folder, home
        The run's directory, and the one with its plan and data; None for a network that was saved before.
    origin
        Of a network that was saved before, what was then found about its data, training and verdict.
    """

    model: nn.Module
    inference: Mapping[str, Any]
    folder: Path | None = None
    home: Path | None = None
    origin: Mapping[str, Any] | None = None


def save_safetensors(
    run: Mapping[str, Any], model: nn.Module, path: Path, *, extra: Mapping[str, Any] | None = None
) -> None:
    """Write a network into one file: its tensors by name, and ``carried(run)`` with ``extra`` in the header as JSON.

    Equal networks of equal runs give equal files. It is written atomically, and replaces what stood there.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    config = check_carried({**carried(run), **(extra or {})}, "This run")  # else it could not be loaded again
    header = {KEY: json.dumps(config, allow_nan=False)}
    write_atomic(path, lambda temporary: save_file(tensors, temporary, header))


def load_safetensors(path: Path) -> tuple[dict[str, Any], nn.Module]:
    """Return the facts and the network of a file that ``save_safetensors`` wrote; see ``load_folder``."""
    _, metadata = _read_header(path)
    if KEY not in metadata:
        raise DataError(
            f"{path} does not say which network its tensors are of: it is not a file of basrelief export or "
            "save_pretrained. To train from such weights: basrelief train … --weights FILE."
        )
    config = parse_facts(metadata[KEY], f"{path} (its header)")
    return config, _load_network(config, path)


def save_folder(
    run: Mapping[str, Any],
    trained: Trained,
    folder: Path,
    *,
    name: str | None = None,
    license: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write ``model.safetensors``, ``config.json`` and ``README.md`` (the model card) into a folder.

    Parameters
    ----------
    run
        ``run.json``, or what is carried of it.
    trained
        The network and where its facts are.
    folder
        Made if needed. Other files in it stay.
    name
        What the card calls the network and loads it by; the folder's name if not given.
    license
        An identifier such as "apache-2.0", for the card; the card says so if there is none.
    overwrite
        Whether the three files are replaced if they are there.

    Raises
    ------
    OutputError
        When one of the files is there already, or cannot be written.
    """
    there = [file for file in (CONFIG, WEIGHTS, CARD) if (folder / file).exists()]
    if there and not overwrite:
        raise OutputError(
            f"{folder} holds {', '.join(there)} already. Choose another folder, or say overwrite=True to replace what "
            "is there."
        )
    origin = trained.origin
    if trained.folder is not None and trained.home is not None:
        origin = find_origin(run, trained.folder, trained.home)
    extra: dict[str, Any] = {"inference": dict(trained.inference)}
    if origin is not None:
        extra["origin"] = dict(origin)
    config = check_carried({**carried(run), **extra}, "This run")
    card = write_card(config, name or folder.resolve().name, license=license)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    save_safetensors(run, trained.model, folder / WEIGHTS, extra=extra)
    write_json(folder / CONFIG, config)
    write_text(folder / CARD, card)


def load_folder(folder: Path) -> tuple[dict[str, Any], nn.Module]:
    """Return the facts (``config.json``) and the network, on the CPU, of a folder that ``save_folder`` wrote.

    The files may come from anybody. Nothing in them is run, and nothing is asked of any network. The network is first
    built without memory, and its tensors' shapes compared with those in the file's header, so that the facts cannot ask
    for more than the file holds.

    Raises
    ------
    DataError
        When a file is missing, damaged, of another kind or of a newer version, when the two do not fit each other, or
        a weight is not a finite number.
    """
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise DataError(
                f"{folder} has no {file}. Expected a folder of save_pretrained: {CONFIG} and {WEIGHTS}, or the "
                "directory of a run or a study."
            )
    config = parse_facts(_read_start(folder / CONFIG, LARGEST_FACTS + 1), folder / CONFIG)
    return config, _load_network(config, folder / WEIGHTS)


def _load_network(config: Mapping[str, Any], path: Path) -> nn.Module:
    shapes, _ = _read_header(path)
    # The outermost puts gradients back as they were: being stopped may fall into an initialisation that is without.
    grad, steps = torch.set_grad_enabled(torch.is_grad_enabled()), CALLS_A_TENSOR * (len(shapes) + 100)
    with grad, torch.device("meta"), _Sketching(steps):
        sketch = _build(config, path).state_dict()
    ours = {name: tuple(value.shape) for name, value in sketch.items()}
    for name, shape in ours.items():
        if shapes.get(name) != shape:
            theirs = "is not there" if name not in shapes else f"is {shapes[name]}"
            raise DataError(f"{path} does not fit the network of its description: {name} {theirs}, expected {shape}.")
    for name in shapes:
        if name not in ours:
            raise DataError(f"{path} does not fit the network of its description, which has no {name[:100]!r}.")
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, "pt") as file:
            for name, meant in sketch.items():
                tensors[name] = value = file.get_tensor(name)
                if value.is_floating_point() != meant.is_floating_point() or value.is_complex():
                    raise DataError(f"{path} holds {name} as {value.dtype}, expected {meant.dtype}.")
                if value.is_floating_point() and not torch.isfinite(value.float()).all():
                    raise DataError(
                        f"{path} holds values in {name} that are no finite numbers; such a network predicts nothing. "
                        "Its training diverged, or the file is damaged."
                    )
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from None
    model = _build(config, path)
    restore_model(model, tensors, path)
    return model.eval()


def _build(config: Mapping[str, Any], path: Path) -> nn.Module:
    """Build the network that the facts describe."""
    try:
        return build_model(config)
    except (MissingExtraError, DataError):
        raise
    except BasreliefError as error:
        raise DataError(
            f"{path}: the network {str(config['network'])[:100]!r} of its description cannot be built here: {error}"
        ) from None
    # Whatever layers make of sizes that nobody would choose.
    except (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, MemoryError) as error:
        raise DataError(
            f"{path}: the network {str(config['network'])[:100]!r} of its description cannot be built ({error})."
        ) from None


class _Sketching(TorchFunctionMode):
    """Watches a network being built without memory, and stops one that gets far more parts than the file has tensors.

    It also keeps ``linspace`` on the CPU: some encoders read their rates of dropout out of one.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left < 0:
            raise UsageError("it has far more layers than the file has tensors.")
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault("device", "cpu")
        return func(*args, **kwargs)


def _read_header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Return the shapes by name and the metadata of a safetensors file, from its header alone.

    The header is 8 bytes of its length, then JSON (https://github.com/huggingface/safetensors, "Format").
    """
    if not path.is_file():
        raise DataError(f"{path} is not there. Expected a safetensors file of basrelief export or save_pretrained.")
    length = int.from_bytes(_read_start(path, 8), "little")
    size = path.stat().st_size
    if size < 8 or 8 + length > size:
        raise _damaged(path, "it ends inside its header")
    if length > LARGEST_HEADER:
        raise _damaged(path, f"its header has {length:,} bytes, more than any network of ours needs")
    try:
        header = json.loads(_read_start(path, 8 + length)[8:])
        metadata = header.pop("__metadata__", None) or {}
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("its metadata are not texts")
        shapes = {str(name): tuple(int(side) for side in entry["shape"]) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise _damaged(path, error) from None
    if len(shapes) > MOST_TENSORS:
        raise _damaged(path, f"it names {len(shapes):,} tensors, more than any network of ours has")
    return shapes, metadata


def _read_start(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None


def _damaged(path: Path, why: object) -> DataError:
    return DataError(
        f"{path} is not a safetensors file, or was cut short or damaged ({why}). Get it again from where it came from."
    )
