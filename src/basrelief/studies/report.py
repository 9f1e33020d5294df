"""What a study's report shows, gathered from its directory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from basrelief.errors import DataError
from basrelief.files import read_json
from basrelief.metrics import metric_spec
from basrelief.report.contents import Curve, LossRow, MetricFacts, RateSearch, StudyContents, TermCurve
from basrelief.report.words import factor_word
from basrelief.studies.decisions import bounds, shown_interval
from basrelief.studies.lr_search import read_searches
from basrelief.studies.plan import Trial
from basrelief.studies.repeat import repeat_command
from basrelief.studies.report_cost import cost_facts, gather_costs, search_steps
from basrelief.studies.report_facts import data_facts, environment_facts, held_fixed
from basrelief.studies.report_pictures import gather_pictures
from basrelief.studies.report_spreads import gather_spreads
from basrelief.studies.results import StudyResults, loss_interval
from basrelief.studies.stored import Prepared
from basrelief.studies.stores import PLAN
from basrelief.studies.verdict import is_rising


def study_contents(
    folder: Path, prepared: Prepared, results: StudyResults, verdict: Mapping[str, Any]
) -> StudyContents:
    """Return everything the report shows about the study in ``folder``."""
    plan, facts = prepared.plan, prepared.store.facts
    document = read_json(folder / PLAN)
    finished = [trial for trial in results.trials if (trial.name, trial.seed) in results.runs]
    metrics = list(results.scores.metrics)
    curves: list[Curve] = []
    training: list[Curve] = []
    steps: dict[str, int] = defaultdict(int)
    for trial in finished:
        history = _history(folder, trial)
        steps[trial.name] += int(history["step"][-1]) if len(history) and "step" in history.columns else 0
        curves += _curves(trial, history)
        training += _training(trial, history)
    scored = dict.fromkeys(name for run in results.runs.values() for name in run["metrics"])
    pooled = [name for name in scored if name not in metrics]
    divided = [note for split in prepared.splits for note in split.notes]
    verdict = {"factor": plan.factor, **verdict}
    return StudyContents(
        title=f"Which {factor_word(verdict)} for {facts.location.rstrip('/').rsplit('/', 1)[-1]}?",
        verdict=verdict,
        metrics=[_metric(name, facts.classes, facts.depth_unit or "") for name in [*metrics, *pooled]],
        losses=[_row(results, name, metrics, pooled) for name in plan.losses],
        curves=curves,
        pictures=gather_pictures(folder, prepared, results, finished),
        terms=[curve for name in plan.losses for curve in _terms(folder, finished, name)],
        training=training,
        spreads=gather_spreads(results),
        searches=_searches(folder),
        costs=gather_costs(folder, results, steps),
        baselines=results.baselines,
        warnings=verdict["warnings"],
        notes=list(dict.fromkeys([*facts.notes, *plan.said, *divided])),
        held_fixed=held_fixed(folder, prepared, results),
        data=data_facts(prepared, results),
        cost=cost_facts(results),
        environment=environment_facts(document, plan.machine),
        repeat=repeat_command(document),
    )


def _searches(folder: Path) -> list[RateSearch]:
    """Return the search of each loss and fold; where a range test was made several times, the first one's curve."""
    return [
        RateSearch(
            loss=entry["name"],
            rate=entry["lr"],
            reason=str(entry["reason"]),
            curve=[
                (float(row["smoothed_lr"]), float(row["smoothed"]))
                for row in entry.get("curve", ())
                if row.get("repeat", 1) == 1 and row.get("smoothed") is not None
            ],
            grid=[(float(point["lr"]), point.get("score")) for point in entry.get("grid") or ()],
            fold=entry["fold"],
            steps=search_steps(entry),
            seconds=entry.get("seconds"),
        )
        for entry in read_searches(folder)
    ]


def _metric(name: str, classes: tuple[str, ...], unit: str) -> MetricFacts:
    spec = metric_spec(name, classes)
    return MetricFacts(name, spec.higher_is_better, unit if spec.in_unit else "", spec.meaning, spec.main)


def _row(results: StudyResults, name: str, metrics: list[str], pooled: list[str]) -> LossRow:
    seeds = results.seeds_of(name)
    intervals = {metric: loss_interval(results, name, metric) for metric in metrics}
    runs = [results.runs[name, seed] for seed in seeds]
    scores: dict[str, tuple[float | None, float | None, float | None]] = dict.fromkeys(metrics, (None, None, None))
    for metric, i in intervals.items():
        if i is not None:
            low, high = shown_interval(i.low, i.high, i.difference, *bounds(metric))
            scores[metric] = (i.difference, low, high)
    for metric in pooled:  # one value a run: a mean over seeds, without an interval over images
        values = [run["metrics"][metric] for run in runs if run["metrics"].get(metric) is not None]
        scores[metric] = (float(np.mean(values)) if values else None, None, None)
    return LossRow(
        name=name,
        expression=results.plan.levels()[name],
        scores=scores,
        seeds=len(seeds),
        failed=len(results.failed(name)),
        failures=results.failed(name),
        best_epochs=[run["best_epoch"] for run in runs],
        rising=is_rising(results, name),
        seconds=float(np.mean([run["seconds"] for run in runs])) if runs else 0.0,
    )


def _history(folder: Path, trial: Trial) -> pl.DataFrame:
    path = folder / trial.folder / "history.csv"
    try:
        return pl.read_csv(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path} is missing or damaged ({str(error).splitlines()[0]}). Remove {path.parent} and run the study "
            "again."
        ) from None


def _curves(trial: Trial, history: pl.DataFrame) -> list[Curve]:
    return [
        Curve(trial.name, trial.seed, name.removeprefix("val/"), history["epoch"].to_list(), history[name].to_list())
        for name in history.columns
        if name.startswith("val/")
    ]


def _training(trial: Trial, history: pl.DataFrame) -> list[Curve]:
    if "train/loss" not in history.columns:
        return []
    values = history["train/loss"].cast(pl.Float64).to_list()
    return [Curve(trial.name, trial.seed, "loss", history["epoch"].to_list(), values)]


def _terms(folder: Path, finished: list[Trial], loss: str) -> list[TermCurve]:
    """Return the terms of a loss by epoch, as far as all its finished seeds came."""
    histories = [_history(folder, trial) for trial in finished if trial.name == loss]
    length = min((len(history) for history in histories), default=0)
    columns = histories[0].columns if length else []
    names = [name.removeprefix("weight/") for name in columns if name.startswith("weight/")]

    def mean(column: str) -> list[float]:
        rows = [history[column].cast(pl.Float64).to_numpy()[:length] for history in histories]
        return [float(value) for value in np.mean(rows, axis=0)]

    return [TermCurve(loss, name, *(mean(f"{kind}/{name}") for kind in ("train", "weight", "share"))) for name in names]
