"""One tracker each: TensorBoard with its pictures and graph, and what accelerate knows how to talk to."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import sys
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from basrelief.batch import Batch
from basrelief.engine.samples import bare_network, undisturbed
from basrelief.errors import BasreliefError, DataError, OutputError
from basrelief.files import output_errors, read_json, write_json

PROJECT = "basrelief"
CONTINUED = "trackers.json"  # in a run's folder: under which id a tracker goes on when the run is resumed


class Board(Protocol):
    """Where numbers and pictures of a run go."""

    name: str

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers."""

    def log_images(self, images: Mapping[str, np.ndarray], step: int) -> None:
        """Write pictures, uint8 (H, W, 3)."""

    def graph(self, model: nn.Module, batch: Batch) -> None:
        """Draw the network."""

    def flush(self) -> None:
        """Bring to disk what was written."""

    def finish(self) -> None:
        """Close it."""


def open_board(name: str, folder: Path, plan: Mapping[str, Any], done: int) -> Board:
    """Start one tracker, whose package is known to be there.

    Raises
    ------
    OutputError
        With the tracker's own words, when it does not start.
    """
    try:
        with other_output(), output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            board = TensorBoard(folder, plan, done) if name == "tensorboard" else Other(name, folder, plan, done)
    except BasreliefError:
        raise
    except Exception as error:  # of whatever kind, from code that is not ours
        raise OutputError(
            f"--tracker {name} does not start {said(error)}. Mend that, or leave the option out."
        ) from None
    return board


@contextlib.contextmanager
def other_output() -> Iterator[None]:
    """Send to standard error what trackers print, since standard output is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def said(error: BaseException) -> str:
    """Return an error's kind and the first line of its text, as far as it has one."""
    lines = str(error).strip().splitlines()
    return f"({type(error).__name__}: {lines[0][:200]})" if lines else f"({type(error).__name__})"


class TensorBoard:
    """TensorBoard's events in ``folder/tensorboard``; what they hold after step ``done`` is forgotten."""

    name = "tensorboard"

    def __init__(self, folder: Path, plan: Mapping[str, Any], done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, so only where a run is trained

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)
        if not done:
            text = json.dumps(plan, indent=2, ensure_ascii=False, default=str)
            self.writer.add_text("settings", "".join(f"    {line}\n" for line in text.splitlines()), 0)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def log_images(self, images: Mapping[str, np.ndarray], step: int) -> None:
        """Write pictures."""
        for name, image in images.items():
            self.writer.add_image(name, image, step, dataformats="HWC")

    def graph(self, model: nn.Module, batch: Batch) -> None:
        """Draw the network, traced in float32 and evaluation mode on one sample; it is left as it was."""
        network = bare_network(model)

        def as_tuple(*inputs: Tensor) -> tuple[Tensor, ...]:  # a graph can have no dict
            return tuple(type(network).forward(plain, *inputs).values())

        plain = copy.copy(network)  # shares everything, but not the forward that accelerate put on it for autocast
        plain.__dict__["forward"] = as_tuple
        inputs = tuple(batch[name][:1].detach().clone() for name in ("image", "background") if name in batch)
        with undisturbed(network), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that sizes become constants, which is right for a drawing
            plain.training = False
            self.writer.add_graph(plain, inputs)

    def flush(self) -> None:
        """Bring to disk what was written."""
        self.writer.flush()

    def finish(self) -> None:
        """Write the rest and close the file."""
        self.writer.close()


class Other:
    """One of accelerate's trackers, which needs no Accelerator of ours.

    Names keep their first slash; further ones become dots, and what is no letter, digit, dot or dash an underscore:
    ``train/tversky_mask_alpha_0.3``. Some trackers refuse other characters, or a name that is the beginning of another.
    """

    def __init__(self, name: str, folder: Path, plan: Mapping[str, Any], done: int) -> None:
        from accelerate.state import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState()  # what accelerate's trackers log to asks for it; it is the run's own where there is one
        made = LOGGER_TYPE_TO_CLASS[name]
        place = [str(folder)] if made.requires_logging_directory else []
        self.name = name
        self.names: dict[str, str] = {}  # theirs -> ours
        self.tracker = made(PROJECT, *place, **_start_options(name, folder, done))
        self.tracker.start()
        if name == "mlflow":
            _keep(folder, name, self.tracker.tracker.info.run_id)
        if not done:
            self.tracker.store_init_configuration(flat(plan))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers."""
        self.tracker.log({self._clean(name): value for name, value in values.items()}, step=step)

    def log_images(self, images: Mapping[str, np.ndarray], step: int) -> None:
        """Write pictures where accelerate knows how to for this tracker."""
        if not hasattr(self.tracker, "log_images"):
            return
        single = self.name in ("aim", "clearml")  # the others take lists
        shown = {self._clean(name): image if single else [image] for name, image in images.items()}
        self.tracker.log_images(shown, step=step)

    def graph(self, model: nn.Module, batch: Batch) -> None:
        """Do nothing: only TensorBoard draws networks."""

    def flush(self) -> None:
        """Do nothing: these bring to disk, or send, when they like."""

    def finish(self) -> None:
        """Close it."""
        self.tracker.finish()

    def _clean(self, name: str) -> str:
        group, _, rest = name.partition("/")
        parts = [re.sub(r"[^\w.-]+", "_", part.replace("/", ".")).strip("_") for part in (group, rest) if part]
        clean = "/".join(parts)
        while self.names.setdefault(clean, name) != name:  # two of our names that differ in other characters alone
            clean += "_"
        return clean


def flat(plan: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str | None]:
    """Return nested settings as one level, names joined by dots; lists become JSON."""
    found: dict[str, bool | int | float | str | None] = {}
    for name, value in plan.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            plain = value is None or isinstance(value, bool | int | float | str)
            found[f"{prefix}{name}"] = value if plain else json.dumps(value, default=str)
    return found


def _start_options(name: str, folder: Path, done: int) -> dict[str, Any]:
    """Return what a tracker is started with: the run's name, a place for its files, and its id when it is resumed."""
    title = "/".join(folder.resolve().parts[-2:])
    known = _kept(folder).get(name) if done else None
    if name == "wandb":
        known = known or uuid.uuid4().hex[:8]
        _keep(folder, name, known)
        return {"name": title, "id": known, "resume": "allow", "dir": str(folder)}
    if name == "mlflow":
        return {"run_name": title, "run_id": known}
    if name == "dvclive":
        return {"dir": str(folder / "dvclive"), "resume": bool(done)}
    return {}


def _kept(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / CONTINUED)
    except DataError:
        return {}


def _keep(folder: Path, name: str, known: str) -> None:
    write_json(folder / CONTINUED, _kept(folder) | {name: known})
