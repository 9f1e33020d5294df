"""What a study's report shows, gathered from its directory."""

from __future__ import annotations

import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from basrelief.batch import Sample
from basrelief.data.resize import UNKNOWN_MASK
from basrelief.data.splits import Split
from basrelief.engine.machine import Machine, device_name
from basrelief.errors import DataError
from basrelief.files import read_json
from basrelief.metrics import metric_spec
from basrelief.report.contents import Curve, LossRow, MetricFacts, Pictures, StudyContents, TermCurve
from basrelief.studies.lr_search import describe_rates, describe_search_cost, read_searches
from basrelief.studies.plan import Trial
from basrelief.studies.prepare import Prepared
from basrelief.studies.results import StudyResults, loss_interval
from basrelief.studies.stores import PLAN
from basrelief.studies.verdict import is_rising


def study_contents(
    folder: Path, prepared: Prepared, results: StudyResults, verdict: Mapping[str, Any]
) -> StudyContents:
    """Return everything the report shows about the study in ``folder``."""
    plan, facts = prepared.plan, prepared.store.facts
    document = read_json(folder / PLAN)
    finished = [trial for trial in results.trials if (trial.name, trial.seed) in results.runs]
    metrics = [name for name in results.scores.columns if "/" in name]
    curves = [curve for trial in finished for curve in _curves(folder, trial)]
    scored = dict.fromkeys(name for run in results.runs.values() for name in run["metrics"])
    pooled = [name for name in scored if name not in metrics]
    divided = [note for split in prepared.splits for note in split.notes]
    return StudyContents(
        title=f"Which loss for {facts.location.rstrip('/').rsplit('/', 1)[-1]}?",
        verdict=verdict,
        metrics=[_metric(name, facts.classes, facts.depth_unit or "") for name in [*metrics, *pooled]],
        losses=[_row(results, name, metrics, pooled) for name in plan.losses],
        curves=curves,
        pictures=_pictures(folder, prepared, results, finished),
        terms=[curve for name in plan.losses for curve in _terms(folder, finished, name)],
        baselines=results.baselines,
        warnings=verdict["warnings"],
        notes=list(dict.fromkeys([*facts.notes, *plan.said, *_searched(folder), *divided])),
        held_fixed=_held_fixed(folder, prepared, results),
        data=_data(prepared),
        cost=_cost(folder, results),
        environment=_environment(document, plan.machine),
        repeat=repeat_command(document),
    )


def _searched(folder: Path) -> list[str]:
    return [f"Learning rate of {entry['name']}: {entry['reason']}" for entry in read_searches(folder)]


def _metric(name: str, classes: tuple[str, ...], unit: str) -> MetricFacts:
    spec = metric_spec(name, classes)
    return MetricFacts(name, spec.higher_is_better, unit if spec.in_unit else "", spec.meaning, spec.main)


def _row(results: StudyResults, name: str, metrics: list[str], pooled: list[str]) -> LossRow:
    seeds = results.seeds_of(name)
    intervals = {metric: loss_interval(results, name, metric) for metric in metrics}
    runs = [results.runs[name, seed] for seed in seeds]
    scores: dict[str, tuple[float | None, float | None, float | None]]
    scores = {m: (None, None, None) if i is None else (i.difference, i.low, i.high) for m, i in intervals.items()}
    for metric in pooled:  # one value a run: a mean over seeds, without an interval over images
        values = [run["metrics"][metric] for run in runs if run["metrics"].get(metric) is not None]
        scores[metric] = (float(np.mean(values)) if values else None, None, None)
    return LossRow(
        name=name,
        expression=results.plan.losses[name],
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


def _curves(folder: Path, trial: Trial) -> list[Curve]:
    history = _history(folder, trial)
    return [
        Curve(trial.name, trial.seed, name.removeprefix("val/"), history["epoch"].to_list(), history[name].to_list())
        for name in history.columns
        if name.startswith("val/")
    ]


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


def _pictures(folder: Path, prepared: Prepared, results: StudyResults, finished: list[Trial]) -> Pictures | None:
    """Return the validation pictures of the first seed that most losses finished."""
    first = [trial for trial in finished if trial.fold == 0]  # folds have other pictures
    by_seed = {seed: [trial for trial in first if trial.seed == seed] for seed in prepared.plan.seeds}
    seed = max(by_seed, key=lambda s: len(by_seed[s]))
    predictions: dict[str, dict[str, np.ndarray]] = {}
    rows: np.ndarray | None = None
    for trial in by_seed[seed]:
        path = folder / trial.folder / "previews.npz"
        if not path.exists():
            continue
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                rows = arrays["rows"]
                targets = [t for t in ("mask", "depth") if t in arrays]
                trained = results.runs[trial.name, seed]["targets"]
                predictions[trial.name] = {target: arrays[target] for target in targets if target in trained}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is damaged ({error}). Remove {path.parent} and run the study again.") from None
    if rows is None:
        return None
    store, heads = prepared.store, prepared.plan.heads
    samples = [store.sample(int(row)) for row in rows]
    height, width = store.facts.resolution

    def stacked(planes: list[np.ndarray | None], absent: np.ndarray) -> np.ndarray:
        return np.stack([absent if plane is None else plane for plane in planes])

    mask = depth = None
    if "mask" in heads:
        unknown = np.full((len(store.facts.classes), height, width), UNKNOWN_MASK, np.uint8)
        mask = stacked([_with_unknown(sample) for sample in samples], unknown)
    if "depth" in heads:
        depth = stacked([sample.depth for sample in samples], np.full((height, width), np.nan, np.float32))
    backgrounds = [sample.background for sample in samples if sample.background is not None]
    return Pictures(
        ids=[sample.id for sample in samples],
        image=np.stack([sample.image for sample in samples]),
        predictions=predictions,
        scores={name: _val_scores(results, name, seed, rows) for name in predictions},
        seed=seed,
        background=np.stack(backgrounds) if backgrounds and prepared.plan.background else None,
        mask=mask,
        depth=depth,
        classes=store.facts.classes,
        depth_unit=store.facts.depth_unit or "",
    )


def _with_unknown(sample: Sample) -> np.ndarray | None:
    """Return a mask with 255 where it is unknown."""
    if sample.mask is None or sample.mask_valid is None:
        return sample.mask
    return np.where(sample.mask_valid, sample.mask, np.uint8(UNKNOWN_MASK))


def _val_scores(results: StudyResults, loss: str, seed: int, rows: np.ndarray) -> list[float | None]:
    part = results.scores.filter((pl.col("loss") == loss) & (pl.col("seed") == seed) & (pl.col("split") == "val"))
    by_row = dict(zip(part["row"].to_list(), part[str(results.plan.train.metric)].to_list(), strict=True))
    return [by_row.get(int(row)) for row in rows]


def _held_fixed(folder: Path, prepared: Prepared, results: StudyResults) -> list[tuple[str, str]]:
    train, machine = prepared.plan.train, prepared.plan.machine
    height, width = train.resolution or (0, 0)
    run = next(iter(results.runs.values()), {})
    samples = run.get("samples", {})
    steps = sum(-(-samples.get("train", 0) // stage.batch_size) * stage.epochs for stage in train.course())
    stages = ", ".join(_stage(stage.model_dump()) for stage in train.stages)
    batches = f"of up to {train.batch_size} images" if not train.stages else f"in stages {stages}"
    chosen = (
        f"the epoch with the best {train.metric} on val" if samples.get("val") else "the last epoch (no val images)"
    )
    rows = [
        ("Network", f"{train.network}, {run.get('parameters', 0):,} parameters, {' and '.join(prepared.plan.heads)}"),
        ("Input", "image and background" if prepared.plan.background else "image alone"),
        ("Resolution", f"{height} x {width} px (height x width), for training and for the scores here"),
        ("Budget", f"{_epochs(train.epochs or 0)}, {steps:,} steps {batches}"),
        ("Learning rate", f"{describe_rates(folder, prepared.plan)}; {_course(str(train.schedule))}"),
        (
            "Optimizer",
            f"{train.optimizer}{f', momentum {train.momentum:g}' if train.optimizer == 'sgd' else ''}, "
            f"weight decay {train.weight_decay:g}{f', gradients clipped at {train.clip:g}' if train.clip else ''}",
        ),
        ("Weights judged", f"their running average, decay {train.ema:g}" if train.ema else "as they are"),
        ("Augmentation", train.augment),
        ("Checkpoint", f"{chosen}, for every loss alike"),
        ("Seeds", f"{', '.join(map(str, prepared.plan.seeds))}; {_initial_weights(results)}"),
        ("Arithmetic", f"{machine.precision} on {machine.device}, losses in float32"),
    ]
    if train.weights != "none":
        rows.append(("Started from", train.weights))
    if train.freeze:
        rows.append(("Frozen", ", ".join(train.freeze)))
    if train.mask_values:
        rows.append(("Label values", ", ".join(f"{value:g}" for value in train.mask_values)))
    return rows


def _course(schedule: str) -> str:
    return f"{schedule}, with the rate at its top" if schedule.startswith("one-cycle") else schedule


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count != 1)}"


def _initial_weights(results: StudyResults) -> str:
    """Say whether the losses of each seed did start from the same weights, by their hashes."""
    hashes: dict[int, set[str]] = {}
    for (_, seed), run in results.runs.items():
        hashes.setdefault(seed, set()).add(run["initial_weights"])
    same = all(len(found) == 1 for found in hashes.values())
    return (
        "same initial weights (checked) and same batch order for all losses of a seed"
        if same
        else ("initial weights differ between losses")
    )


def _data(prepared: Prepared) -> list[tuple[str, str]]:
    facts, split = prepared.store.facts, prepared.split
    folds = f"; {len(prepared.splits)} folds, each judged by another part" if len(prepared.splits) > 1 else ""
    rows = [
        ("Source", f"{facts.location} ({facts.format})"),
        ("Samples", f"{facts.count}: {_counts(split)}"),
        ("Split", f"{split.rule}, {len(np.unique(split.groups))} groups{folds}"),
    ]
    if facts.classes and "mask" in prepared.plan.heads:
        rows.append(("Classes", ", ".join(facts.classes)))
        rows.append(("Empty masks", str(facts.empty_masks)))
    if "depth" in prepared.plan.heads:
        unit = facts.depth_unit or "stored units"
        rows.append(("Depth", f"{facts.depth_kind}, up to {facts.depth_max:.4g} {unit}"))
    if facts.skipped:
        rows.append(("Broken, left out", str(len(facts.skipped))))
    rows.append(("Fingerprint", facts.fingerprint[:16]))
    return rows


def _counts(split: Split) -> str:
    return ", ".join(f"{name} {len(rows)}" for name, rows in split.rows.items())


def _cost(folder: Path, results: StudyResults) -> list[tuple[str, str]]:
    runs = list(results.runs.values())
    if not runs:
        return []
    searched = describe_search_cost(folder, results.plan)
    return [
        ("Trainings", f"{len(runs)} finished, {len(results.failures)} failed"),
        ("Training time", f"{sum(run['seconds'] for run in runs):.0f} s in all"),
        *([("Search of learning rates", searched)] if searched else []),
        ("Throughput", f"{np.median([run['images_per_second'] for run in runs]):.0f} images/s (median of trainings)"),
    ]


def _environment(document: Mapping[str, Any], machine: Machine) -> list[tuple[str, str]]:
    return [("Device", device_name(machine)), *document["versions"].items()]


def repeat_command(document: Mapping[str, Any]) -> str:
    """Return the command line that asks for the same study or range test, with what was chosen spelt out."""
    asked, plan = document["asked"], document["plan"]
    words = ["basrelief", document["kind"], asked["data"]["location"]]
    for name, expression in plan["losses"].items():
        words += ["--loss", expression if name == expression else f"{name} = {expression}"]
    chosen = plan["train"] | {name: plan["machine"][name] for name in ("device", "precision", "threads", "compile")}
    if stages := chosen.pop("stages"):  # which say these three
        chosen |= {"resolution": ",".join(map(_stage, stages)), "epochs": None, "batch_size": None}
    if document["kind"] == "lr-range":
        own = {name: asked[name] for name in ("lr_min", "lr_max", "steps", "repeats")}
        chosen = {name: value for name, value in chosen.items() if name not in ("lr", "schedule", "epochs")}
    else:
        own = {"seeds": len(plan["seeds"]), "folds": asked.get("folds"), "margin": plan["margin"]}
    settings = {**own, **chosen, **asked["data"]}
    for name, value in settings.items():
        if name != "location":
            words += _option(name, value)
    return shlex.join(words)


def _stage(stage: Mapping[str, Any]) -> str:
    """Return a stage as it is typed."""
    height, width = stage["resolution"]
    side = str(height) if height == width else f"{height}x{width}"
    return f"{side}:{stage['batch_size']}x{stage['epochs']}"


def _option(name: str, value: Any) -> list[str]:
    """Return an option as it is typed; nothing for what is not set."""
    option = f"--{name.replace('_', '-')}"
    match name, value:
        case _, None | [] | {}:
            return []
        case "resolution", [height, width]:
            return [option, f"{height}x{width}"]
        case "skip_broken" | "single_instance" | "decay_all" | "compile" | "deterministic", False:
            return []
        case _, bool():
            return [option if value else option.replace("--", "--no-", 1)]
        case _, dict():
            return [option, ",".join(f"{key}={part}" for key, part in value.items())]
        case _, list():
            return [option, ",".join(part if isinstance(part, str) else f"{part:g}" for part in value)]
        case _, float():
            return [option, f"{value:g}"]
    return [option, str(value)]
