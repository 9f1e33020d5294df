"""What the commands do, as functions: the same from Python as from the command line."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from basrelief.app_report import report
from basrelief.config import (
    DataSettings,
    ExecutionSettings,
    ExtensionSettings,
    LrRangeSettings,
    RunSettings,
    StudySettings,
    TrainSettings,
    WatchSettings,
    checked,
)
from basrelief.engine import processes
from basrelief.engine.watcher import Silent
from basrelief.errors import DataError, OutputError, UsageError, unknown_name
from basrelief.files import read_json
from basrelief.launch import launch
from basrelief.option_texts import LARGEST_BATCH
from basrelief.recipes import find_recipe, make_data
from basrelief.studies.extend import is_study
from basrelief.studies.factors import one_factor
from basrelief.studies.lr_tests import PAGE, run_lr_range
from basrelief.studies.plan import Trial
from basrelief.studies.prepare import canonical
from basrelief.studies.run import continue_study, run_study, run_training
from basrelief.studies.shared import begin_shared, is_kept_elsewhere, is_unplanned, is_url, open_shared
from basrelief.studies.stored import asked_for
from basrelief.studies.watcher import Running, StudyWatcher

DEMO: dict[str, Any] = {
    "losses": ("bce(mask)", "ssim(mask)", "dice(mask)"),
    "network": "masknet",
    "resolution": (64, 64),
    "epochs": 6,
    "lr": 3e-3,
    "ema": 0.0,  # the weights themselves, as write-up A judged them
}


class Quiet(Silent):
    """A study watcher that says nothing."""

    def packing(self, done: int, total: int) -> None:
        """Do nothing."""

    def trial(self, number: int, total: int, trial: Trial, outcome: str) -> None:
        """Do nothing."""

    def running(self, trials: Sequence[Running], left: float | None) -> None:
        """Do nothing."""


_NOT_TYPED = {"location", "levels", "stages"}  # settings that follow from DATA and other options


def settings_from(options: Mapping[str, Any], kind: type[StudySettings] | type[RunSettings]) -> Any:
    """Sort flat options (as on the command line, without dashes) into checked settings; None means not given."""
    parts: dict[str, type[BaseModel]] = {"data": DataSettings, "train": TrainSettings, "watch": WatchSettings}
    if issubclass(kind, StudySettings):
        parts["execution"] = ExecutionSettings
    known = {*kind.model_fields, *(name for part in parts.values() for name in part.model_fields)} - set(parts)
    for name in options:
        if name not in known:
            raise unknown_name("option", name, known - _NOT_TYPED)
    given = {name: value for name, value in options.items() if value is not None}
    sorted_in: dict[str, Any] = {
        part: checked(settings, {name: given.pop(name) for name in list(given) if name in settings.model_fields})
        for part, settings in parts.items()
    }
    return checked(kind, {**sorted_in, **given})


def study(
    data: str | Path | None = None,
    *,
    recipe: str | None = None,
    scale: str | None = None,
    out: str | Path | None = None,
    watcher: StudyWatcher | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Compare losses on data, and write verdict, scores and report.

    Parameters
    ----------
    data
        A folder, a file, or ``"scenes:500"``; with a recipe None: made data.
    recipe, scale
        A name of ``basrelief list recipes`` or a YAML file, and its scale: "smoke", "small" (the default) or "full".
        Options that are given win over the recipe's.
    out
        The study's directory; ``runs/NAME`` by default. An unfinished study there goes on. A URL that fsspec knows
        (``"s3://bucket/study"``) keeps it there, with a copy in ``runs/NAME``.
    watcher
        Told of progress; nothing by default.
    **options
        The command line's options with underscores: ``losses=("bce(mask)", "dice(mask)")``, ``seeds=3``,
        ``network="masknet"``, ``resolution=(64, 64)``, ``epochs=6``, ``lr=1e-3``, and those of ``StudySettings``,
        ``DataSettings`` and ``TrainSettings``. To compare something else than losses:
        ``vary="network", network=("masknet", "relief")``. With the directory of a study as ``data``, ``add_seeds=2``
        and ``add_losses=("focal(mask)",)`` extend it; such a directory alone goes on with its study.

    Returns
    -------
    dict
        The document of ``verdict.json``, with ``"out"``, the directory, added, and ``"url"`` where one was given.
    """
    _refuse_launcher("study")
    data, name, options = _prepared("study", data, recipe, scale, out, watcher, options)
    asked = checked(ExtensionSettings, {name: options.pop(name, None) for name in ExtensionSettings.model_fields})
    add_seeds, add_losses = asked.add_seeds or 0, asked.add_losses or ()
    if is_study(Path(data)):
        return _go_on(Path(data), watcher, add_seeds, add_losses, {"out": out, **options})
    if add_seeds or add_losses:
        raise DataError(f"{data} holds no study to extend. Expected the directory that basrelief study left.")
    settings = _settings("study", data, options)
    folder = begin_shared(str(out)) if is_url(out) else _out(out, name, asked_for(settings))
    with _latest(folder):
        run_study(folder, settings, watcher or Quiet())
    return _published(folder)


def _go_on(
    folder: Path, watcher: StudyWatcher | None, seeds: int, losses: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Go on with a study that is there, extended where asked; its own settings hold."""
    own: dict[str, type[BaseModel]] = {"execution": ExecutionSettings, "watch": WatchSettings}
    given = {name: value for name, value in options.items() if value is not None}
    chosen: dict[str, Any] = {
        part: checked(kind, {name: given.pop(name) for name in list(given) if name in kind.model_fields})
        for part, kind in own.items()
    }
    if given:
        option = "--" + next(iter(given)).replace("losses", "loss").replace("_", "-")
        raise UsageError(
            f"{folder} is a study, whose own settings hold: leave {option} out. It grows by --add-seeds and --add-loss."
        )
    with _latest(folder):
        continue_study(folder, **chosen, watcher=watcher or Quiet(), seeds=seeds, losses=losses)
    return _published(folder)


def _published(folder: Path) -> dict[str, Any]:
    """Write the report of a study, also at the URL where it is kept, and return its verdict."""
    verdict = report(folder)
    shared = open_shared(folder)
    if shared is None:
        return verdict
    shared.push_study(folder)
    return {**verdict, "url": shared.url}


def train(
    data: str | Path | None = None,
    *,
    recipe: str | None = None,
    scale: str | None = None,
    out: str | Path | None = None,
    watcher: StudyWatcher | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train one network, and return the document of its ``run.json`` with ``"run"``, the directory, added.

    Parameters as for ``study``, with one ``loss`` in place of ``losses``. ``processes=2`` starts so many processes
    that train the network together (and show its progress themselves); where a launcher such as ``torchrun`` has
    started this one among others, it joins them.
    """
    data, name, options = _prepared("train", data, recipe, scale, out, watcher, options)
    started = processes.started_as_one_of()
    if started > 1:
        options["processes"] = started
    settings = _settings("train", data, options)
    parts, asked = settings.processes * settings.train.accumulate, settings.train.batch_size
    if settings.processes > 1 and LARGEST_BATCH < asked < parts:
        raise UsageError(
            f"A batch of {asked} images cannot be divided into {parts} parts, one for each process and each "
            "--accumulate. Use a larger --batch-size, or fewer parts."
        )
    if settings.processes > 1 and started == 1:
        folder = _out(out, name, asked_for(settings))
        with _latest(folder):
            return launch(settings.data.location, str(folder), _plain(options), settings.processes)
    with processes.joined(settings.train.device):
        if not processes.is_first():  # the first says where
            return run_training(Path(), settings, Quiet())
        folder = _out(out, name, asked_for(settings))
        with _latest(folder):
            run = run_training(folder, settings, watcher or Quiet())
    return {"run": str(folder), **run}


def _prepared(
    command: str,
    data: str | Path | None,
    recipe: str | None,
    scale: str | None,
    out: str | Path | None,
    watcher: StudyWatcher | None,
    options: dict[str, Any],
) -> tuple[str, str, dict[str, Any]]:
    """Return data, the name of what will be made, and the options of a command; a recipe fills in what is not given."""
    if recipe is None:
        if scale is not None:
            raise UsageError(f"--scale {scale} is that of a recipe: give --recipe NAME with it.")
        if data is None:
            raise UsageError("Give DATA, a folder or a file, or --recipe NAME (basrelief list recipes).")
        return str(data), Path(data).name, options
    found, size = find_recipe(recipe, command), scale or "small"
    filled = found.options_at(size)
    try:
        _settings(command, recipe, filled)  # before data is made, which may take long
    except UsageError as error:
        raise type(error)(f"The recipe {recipe}: {error}") from None
    given = {name: value for name, value in options.items() if value is not None}
    if data is None:
        home = Path("runs") if out is None or is_url(out) else Path(out).parent
        progress = None if watcher is None else watcher.packing
        data = make_data(found.data.made, found.data_at(size), home / "data", progress)
    return str(data), f"{found.name}-{size}", {**filled, **given}


def _settings(command: str, data: str | Path, options: Mapping[str, Any]) -> Any:
    """Return the checked settings of "study" or "train"."""
    if command == "study":
        return canonical(settings_from({"location": str(data), **one_factor(options)}, StudySettings))
    return canonical(settings_from({"location": str(data), **options}, RunSettings))


def _refuse_launcher(command: str) -> None:
    """Raise where a launcher started several processes, for a command that knows only one."""
    if processes.started_as_one_of() > 1:
        raise UsageError(
            f"basrelief {command} trains each network in one process; start it without torchrun or accelerate launch. "
            "To train one network in several processes, use basrelief train."
        )


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as JSON can say them: paths as texts."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}


def lr_range(
    data: str | Path, *, out: str | Path | None = None, watcher: StudyWatcher | None = None, **options: Any
) -> dict[str, Any]:
    """Find learning rates: train each loss shortly at growing rates, and see where it learns and where it breaks.

    Parameters as for ``study``, without those that a test does not have (``lr``, ``schedule``, ``epochs``, ``seeds``,
    ``folds``, ``margin``), and with ``lr_min=1e-6`` and ``lr_max=1.0`` (rates of the first and the last step),
    ``steps=100`` and ``repeats=1`` (tests of each loss, each with another seed).

    Returns
    -------
    dict
        ``losses`` (each with name, loss, suggestion, reason, and tests: low, high, steps, lowest_at, diverged_at,
        suggestion), ``out``, the directory, and ``written``, the page with the curves.
    """
    _refuse_launcher("lr-range")
    for name in ("lr", "schedule", "epochs", "seeds", "folds", "margin", "vary", "race", "budget", "minutes"):
        if options.get(name) is not None:
            raise UsageError(f"A range test has no {name}: it makes --steps steps at rates from --lr-min to --lr-max.")
    # One epoch, so that none are chosen and spoken of; stages have theirs.
    epochs = None if ":" in str(options.get("resolution")) else 1
    settings = canonical(settings_from({"location": str(data), **options, "epochs": epochs}, LrRangeSettings))
    folder = _out(out, Path(data).name, asked_for(settings))
    found = run_lr_range(folder, settings, watcher or Quiet())
    return {**found, "out": str(folder), "written": str(folder / PAGE)}


def demo(
    out: str | Path = "runs/demo", *, seeds: int = 3, device: str | None = None, watcher: StudyWatcher | None = None
) -> dict[str, Any]:
    """Ask write-up A's first question on generated scenes: which of BCE, SSIM and Dice for masknet's masks."""
    return study("scenes:360", out=out, watcher=watcher, seeds=seeds, device=device, **DEMO)


def _out(out: str | Path | None, name: str, asked: dict[str, Any]) -> Path:
    """Return the output directory: as given, or the next free (or equal, unfinished) ``runs/NAME``."""
    if is_url(out):
        raise UsageError(f"--out {out}: only a study can be kept at a URL. Give a folder.")
    if out is not None:
        folder = Path(out)
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"--out {folder} is a file; expected a folder, which is made if needed.")
        return folder.resolve() if folder.is_symlink() else folder
    stem = name.replace(":", "-") or "study"
    for number in itertools.count(1):
        folder = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        plan = folder / "plan.json"
        if plan.exists() and not is_kept_elsewhere(folder) and read_json(plan).get("asked") == asked:
            break
        if is_unplanned(folder):
            break
    return folder


@contextlib.contextmanager
def _latest(folder: Path) -> Iterator[None]:
    """Let ``runs/latest`` point at the newest run, once it has a plan; where the system has no links, do without."""
    try:
        yield
    finally:
        latest = folder.parent / "latest"
        ours = folder.parent.name == "runs" and (folder / "plan.json").exists()
        if ours and (latest.is_symlink() or not latest.exists()):
            with contextlib.suppress(OSError):
                temporary = latest.with_name(f".latest-{os.getpid()}")
                temporary.symlink_to(folder.name)
                temporary.replace(latest)
