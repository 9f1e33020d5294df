"""How the losses train: how restless their curves are and how fast they rise, their terms' pull, the cost of a step.

Every figure is taken from the last stage's epochs, since scores at other resolutions do not compare, and from one
training at a time; a loss then has the median of its trainings, with the lowest and the highest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from basrelief.metrics import higher_is_better
from basrelief.studies.results import StudyResults

MOST_OF_GAIN = 0.95
FEWEST = 3  # epochs with which a curve has a fluctuation


def behaviour(results: StudyResults) -> list[dict[str, Any]]:
    """Return how each loss trained, without times, so that it is the same wherever and however often it was resumed.

    Returns
    -------
    list of dict
        A loss at a time: name, trainings, failed, epochs, and, as {"median", "lowest", "highest"} over trainings,
        fluctuation, loss_fluctuation, epochs_to_95 and monotone, each None where it is not defined; drops (epochs, of
        all trainings together, whose score fell by more than half the gain); shares (term, first, last: its share of
        the gradient in the first and in the last epoch, the mean over trainings).
    """
    sign = 1 if higher_is_better(str(results.plan.train.metric)) else -1
    found = []
    for name in results.plan.losses:
        curves = [sign * curve for curve in score_curves(results, name)]
        histories = [frame for (loss, _, _), frame in results.histories.items() if loss == name]
        losses = [-_known(_column(_last_stage(results, frame), "train/loss")) for frame in histories]
        found.append(
            {
                "name": name,
                "trainings": len(curves),
                "failed": len(results.failed(name)),
                "epochs": max((len(curve) for curve in curves), default=0),
                "fluctuation": _spread(curves, fluctuation),
                "loss_fluctuation": _spread(losses, fluctuation),
                "epochs_to_95": _spread(curves, epochs_to),
                "monotone": _spread(curves, monotone_share),
                "drops": sum(drops(curve) for curve in curves),
                "shares": _shares([_last_stage(results, frame) for frame in histories]),
            }
        )
    return found


def step_costs(results: StudyResults) -> list[dict[str, Any]]:
    """Return what a step of each loss took: name, step_ms, step_memory (bytes), memory_kind; None where not known.

    ``step_ms`` is the median over trainings of the median epoch's, the first left out, which also warms caches up.
    ``memory_kind`` is "measured" (the peak of what torch had allocated on the GPU) or "counted" (see ``run.json``).
    """
    found = []
    for name in results.plan.losses:
        histories = [frame for (loss, _, _), frame in results.histories.items() if loss == name]
        times = [time for frame in histories if (time := _step_ms(frame, epochs_before(results))) is not None]
        runs = [run for (loss, _), run in results.runs.items() if loss == name]
        memory = [run["step_memory"] for run in runs if run.get("step_memory")]
        found.append(
            {
                "name": name,
                "step_ms": float(np.median(times)) if times else None,
                "step_memory": max((entry["bytes"] for entry in memory), default=None),
                "memory_kind": memory[0]["kind"] if memory else None,
            }
        )
    return found


def score_curves(results: StudyResults, loss: str) -> list[NDArray[np.float64]]:
    """Return the primary metric on the validation images by epoch of each training, epochs without a score left out.

    Where the histories are not there, the curves are those of ``run.json``, of all folds together.
    """
    column = f"val/{results.plan.train.metric}"
    histories = [frame for (name, _, _), frame in results.histories.items() if name == loss]
    if histories:
        curves = [_column(_last_stage(results, frame), column) for frame in histories]
    else:
        before = epochs_before(results)
        seeds = results.seeds_of(loss)
        curves = [np.array(results.runs[loss, seed]["curve"][before:], dtype=float) for seed in seeds]
    return [curve[np.isfinite(curve)] for curve in curves]


def epochs_before(results: StudyResults) -> int:
    """Return how many epochs lie before the last stage's."""
    return sum(stage.epochs for stage in results.plan.train.stages[:-1])


def fluctuation(curve: NDArray[np.float64]) -> float | None:
    """Return the standard deviation of a curve's noise round its trend, over its gain; None where it has none.

    With r_t = s_t - (s_{t-1} + s_{t+1})/2, which no straight trend moves, the variance of the noise is the mean of
    (2/3)·r_t² (T. Gasser, L. Sroka, C. Jennen-Steinmetz, "Residual variance and residual pattern in nonlinear
    regression", Biometrika 73(3), 1986). The mean is over the epochs from the one on that has half of the gain: the
    bend of the first steep rise is no noise. The gain is the best score less the first.

    Parameters
    ----------
    curve
        A score by epoch, higher is better.
    """
    gain = _gain(curve)
    if gain is None:
        return None
    start = int(np.argmax(curve >= curve[0] + gain / 2))
    rest = curve[start:]
    if len(rest) < FEWEST:
        return None
    off = rest[1:-1] - (rest[:-2] + rest[2:]) / 2
    return float(np.sqrt(2 / 3 * np.mean(np.square(off))) / gain)


def epochs_to(curve: NDArray[np.float64], share: float = MOST_OF_GAIN) -> float | None:
    """Return the first epoch (from 1) with this share of the curve's gain; None for a curve that never gained."""
    gain = _gain(curve)
    return None if gain is None else float(np.argmax(curve >= curve[0] + share * gain) + 1)


def monotone_share(curve: NDArray[np.float64]) -> float | None:
    """Return the share of the epochs, after the first, that were no worse than the one before."""
    return float(np.mean(np.diff(curve) >= 0)) if len(curve) > 1 else None


def drops(curve: NDArray[np.float64]) -> int:
    """Return how many epochs were worse than the one before by more than half of the curve's gain."""
    gain = _gain(curve)
    return 0 if gain is None else int((np.diff(curve) < -gain / 2).sum())


def _gain(curve: NDArray[np.float64]) -> float | None:
    gain = float(curve.max() - curve[0]) if len(curve) > 1 else 0.0
    return gain if gain > 0 else None


def _spread(
    curves: Sequence[NDArray[np.float64]], measure: Callable[[NDArray[np.float64]], float | None]
) -> dict[str, float] | None:
    found = [value for curve in curves if (value := measure(curve)) is not None]
    if not found:
        return None
    return {"median": float(np.median(found)), "lowest": min(found), "highest": max(found)}


def _last_stage(results: StudyResults, history: pl.DataFrame) -> pl.DataFrame:
    return history[epochs_before(results) :]


def _column(history: pl.DataFrame, name: str) -> NDArray[np.float64]:
    if name not in history.columns:
        return np.empty(0)
    return history[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _shares(histories: Sequence[pl.DataFrame]) -> list[dict[str, Any]]:
    """Return each term's share of the gradient in the first and the last epoch that has one, over trainings."""
    names = dict.fromkeys(name for frame in histories for name in frame.columns if name.startswith("share/"))
    found = []
    for name in names:
        rows = [values for frame in histories if len(values := _known(_column(frame, name)))]
        if rows:
            first, last = (float(np.mean([values[place] for values in rows])) for place in (0, -1))
            found.append({"term": name.removeprefix("share/"), "first": first, "last": last})
    return found


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known: NDArray[np.float64] = values[np.isfinite(values)]
    return known


def _step_ms(history: pl.DataFrame, before: int) -> float | None:
    seconds, steps = _column(history, "seconds")[before:], np.diff(_column(history, "step"), prepend=0)[before:]
    if not len(seconds) or len(steps) != len(seconds):
        return None
    if len(seconds) > 1:
        steps, seconds = steps[1:], seconds[1:]
    return float(1000 * np.median(seconds / np.maximum(steps, 1)))
