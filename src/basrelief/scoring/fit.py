"""Which metrics fit a network and some data, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from basrelief.data.source import Source
from basrelief.errors import DataError, UsageError
from basrelief.metrics import alignments_of, check_metric, metrics_for
from basrelief.metrics.table import ALIGNMENTS

METRES = {"mm": 0.001, "cm": 0.01, "m": 1.0, "km": 1000.0}  # units that are converted into each other


@dataclass(frozen=True)
class Fit:
    """What can be scored.

    Attributes
    ----------
    targets
        Those that the network predicts and the data has, and that can be compared at all.
    align
        Alignments of depth that are scored as well.
    refused
        Metric -> why it is not given.
    factor
        True depth times this is in the network's unit.
    notes
        What is to be known of the scores, a sentence each.
    """

    targets: tuple[str, ...]
    align: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    factor: float = 1.0
    notes: tuple[str, ...] = ()


def fit_metrics(run: Mapping[str, Any], source: Source, *, metric: str | None = None, own_data: bool = False) -> Fit:
    """Return which metrics fit.

    Depth of another kind than the network's has no scale in common with it: errors then count only after an alignment
    of each prediction to its truth. Disparity falls where depth rises, so no alignment brings the two together.

    Parameters
    ----------
    run
        ``run.json``, or what a file carries of it.
    source
        The data.
    metric
        The one asked for; None: the run's own.
    own_data
        Whether the data is what the network was trained on.

    Raises
    ------
    DataError
        When nothing can be scored: other classes, other units, targets or backgrounds that are not there.
    UsageError
        For an unknown metric, or one of a target that the network does not predict.
    """
    wanted = metric or run["settings"]["metric"]
    if run["background"] and not source.background:
        raise DataError(f"The network was trained with backgrounds, which {source.location} does not have. Add them.")
    if metric is not None:
        check_metric(metric, run["targets"], run["classes"])
    refused: dict[str, str] = {}
    targets = []
    align = list(alignments_of(wanted))
    factor, notes = 1.0, []
    for target in run["targets"]:
        why = _missing(target, run, source)
        if why is None and target == "depth":
            kinds = source.depth_kind or "", run["depth_kind"] or ""
            if kinds[0] == kinds[1]:
                factor = _factor(source, run)
                if kinds[0] == "relative" and not own_data:
                    align = list(ALIGNMENTS)
                    notes.append(
                        "Depth is relative in the data and in the network's training: errors without alignment hold "
                        "only if both have the same scale; those with @median or @scale_shift need none."
                    )
            elif "disparity" in kinds:
                why = (
                    f"{source.location} has {_kind(kinds[0])} and the network gives {_kind(kinds[1])}: one falls where "
                    "the other rises, so no alignment compares them. See --depth-kind."
                )
            else:
                align = list(ALIGNMENTS)
                reason = (
                    f"{source.location} has {_kind(kinds[0])} and the network gives {_kind(kinds[1])}, which share no "
                    "scale; only errors after an alignment (@median, @scale_shift) fit. See --depth-kind."
                )
                refused |= dict.fromkeys(metrics_for(("depth",)), reason)
        if why is None:
            targets.append(target)
        else:
            refused |= dict.fromkeys(metrics_for((target,), run["classes"], align=align), why)
    if not targets:
        raise DataError(" ".join(dict.fromkeys(refused.values())))
    if metric is not None and metric in refused:
        raise UsageError(f"--metric {metric} does not fit: {refused[metric]}")
    return Fit(tuple(targets), tuple(align), refused, factor, tuple(notes))


def primary_of(run: Mapping[str, Any], fit: Fit, metric: str | None) -> str:
    """Return the metric that details and decisions go by: the one asked for, the run's, or what is left."""
    wanted = str(metric or run["settings"]["metric"])
    if wanted not in fit.refused and wanted.partition("/")[0] in fit.targets:
        return wanted
    others = ["mask/iou"] if "mask" in fit.targets else ["depth/rmse", "depth/rmse@scale_shift"]
    return next(name for name in others if name not in fit.refused)


def _missing(target: str, run: Mapping[str, Any], source: Source) -> str | None:
    if target not in source.targets:
        return f"{source.location} has no {'masks' if target == 'mask' else target}."
    if target == "mask" and source.classes != tuple(run["classes"]):
        return (
            f"{source.location} has the classes {', '.join(source.classes)}; the network was trained on "
            f"{', '.join(run['classes'])}."
        )
    return None


def _factor(source: Source, run: Mapping[str, Any]) -> float:
    here, there = source.depth_unit or "", run["depth_unit"] or ""
    if here == there:
        return 1.0
    if here in METRES and there in METRES:
        return METRES[here] / METRES[there]
    raise DataError(
        f"{source.location}: depth unit is {here or 'not known'}, but the network was trained on "
        f"{there or 'an unknown one'}. See --depth-scale, --depth-unit and --depth-kind."
    )


def _kind(kind: str) -> str:
    return {"disparity": "disparity", "": "depth of an unknown kind"}.get(kind, f"{kind} depth")
