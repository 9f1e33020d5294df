"""What a training writes for those who watch it: TensorBoard, and others through accelerate's trackers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from basrelief.batch import Batch
from basrelief.engine.tracker_boards import Board, open_board, other_output, said
from basrelief.errors import UsageError, unknown_name

NONE = "none"
STEPS = "steps/"  # curves with a point every few steps; those without have one an epoch, as in the history


def check_trackers(names: Sequence[str]) -> tuple[str, ...]:
    """Return each tracker asked for once, in order; ``none`` gives none. Call it before anything is trained.

    Raises
    ------
    UsageError
        For a name that accelerate does not know, ``none`` beside others, or a tracker whose package is not installed.
    """
    chosen = tuple(dict.fromkeys(names))
    if NONE in chosen:
        if len(chosen) > 1:
            others = ", ".join(name for name in chosen if name != NONE)
            raise UsageError(f"--tracker none stands beside {others}. Give one or the other.")
        return ()
    if set(chosen) <= {"tensorboard"}:  # comes with Basrelief, so accelerate's slow import can wait
        return chosen
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    shipped = ("aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "tensorboard", "trackio", "wandb")
    known = {str(name) for name in LOGGER_TYPE_TO_CLASS}
    # What a user registered with accelerate is there by being registered.
    there = {str(name) for name in get_available_trackers()} | known.difference(shipped)
    for name in chosen:
        if name not in known:
            raise unknown_name("tracker", name, known | {NONE})
        if name not in there:
            raise UsageError(
                f"--tracker {name} needs the package {name!r}, which is not installed: pip install {name}. "
                f"Installed are: {', '.join(sorted(there))}."
            )
    return chosen


def open_trackers(
    folder: Path,
    names: Sequence[str],
    plan: Mapping[str, Any],
    *,
    done: int,
    every: int,
    say: Callable[[str], None] | None = None,
) -> Trackers:
    """Start the trackers of a run. Several processes have them in the first alone.

    Parameters
    ----------
    folder
        The run's. TensorBoard's events go to ``folder/tensorboard``.
    names
        As for ``check_trackers``.
    plan
        The run's plan as JSON, shown as its settings; nothing of the environment is.
    done
        Steps already behind; what TensorBoard holds after them is forgotten.
    every
        Over how many steps the curves of steps average.
    say
        Is told once of a tracker that failed; None: a warning.

    Raises
    ------
    UsageError
        As ``check_trackers``, or when ``every`` is below 1.
    OutputError
        When a tracker does not start.
    """
    if every < 1:
        raise UsageError(f"--log-every {every}: expected 1 or more.")
    boards = [open_board(name, folder, plan, done) for name in check_trackers(names)]
    return Trackers(boards, every, say or _warn)


class Trackers:
    """Several trackers as one. What one of them raises while it writes ends that tracker, and not the training."""

    def __init__(self, boards: Sequence[Board], every: int, say: Callable[[str], None]) -> None:
        self.boards = list(boards)
        self.every = every
        self.say = say
        self.sums: dict[str, list[float]] = {}  # name -> sum and count, over the steps since the last point

    def graph(self, model: nn.Module, batch: Batch) -> None:
        """Draw the network, once, at the start of a new run; one that can't be traced is said and left out."""
        for board in self.boards:
            try:
                with other_output():
                    board.graph(model, batch)
            except Exception as error:  # a network of whatever kind
                self.say(f"The network can't be drawn for {board.name} {said(error)}; the run goes on without it.")

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Add a step (from 1) to the averages; at each multiple of ``every``, write them under ``steps/``.

        Windows run on over the ends of epochs. What is left of the last one when a training ends is in that epoch's
        record alone. A name that some steps lack is averaged over those that have it, and values that are not finite
        are left out: fp16 skips steps whose gradient overflowed.
        """
        for name, value in values.items():
            if math.isfinite(value):
                total = self.sums.setdefault(name, [0.0, 0])
                total[0] += value
                total[1] += 1
        if step % self.every == 0 and self.sums:
            means = {f"{STEPS}{name}": total / count for name, (total, count) in self.sums.items()}
            self.sums = {}
            self._each(lambda board: board.log(means, step))

    def epoch(self, step: int, record: Mapping[str, Any], images: Mapping[str, np.ndarray] | None) -> None:
        """Write an epoch's record, under the names that the history has, and pictures, uint8 (H, W, 3), where given.

        Call it before the epoch's checkpoint is saved: a training cut between the two then writes it again, and what
        stood there before is forgotten.
        """
        numbers = {
            name: float(value)
            for name, value in record.items()
            if name not in ("epoch", "step") and isinstance(value, int | float) and math.isfinite(value)
        }
        self._each(lambda board: board.log(numbers, step))
        if images:
            self._each(lambda board: board.log_images(images, step))
        self._each(lambda board: board.flush())

    def state(self) -> dict[str, Any]:
        """Return the open window as JSON, for a checkpoint; what was written until now is brought to disk."""
        self._each(lambda board: board.flush())
        return {"every": self.every, "sums": {name: list(total) for name, total in self.sums.items()}}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on with the window of a checkpoint, so that the curve is as without a break.

        Without one, or where it averaged over another number of steps, the first point covers fewer steps.
        """
        same = state is not None and state.get("every") == self.every
        self.sums = {name: [*total] for name, total in state["sums"].items()} if state is not None and same else {}

    def close(self) -> None:
        """Let every tracker finish; call it also when a training ends by an error."""
        self._each(lambda board: board.finish())
        self.boards = []

    def _each(self, act: Callable[[Board], None]) -> None:
        for board in list(self.boards):
            try:
                with other_output():
                    act(board)
            except Exception as error:  # of whatever kind, from code that is not ours
                self.boards.remove(board)
                self.say(f"The tracker {board.name} failed {said(error)}; the run goes on without it.")


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)
