"""What commands do to score trained networks, as functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from basrelief.data.source import Source
from basrelief.errors import DataError, UsageError
from basrelief.inference.load import Loaded, load
from basrelief.inference.predictor import Threshold
from basrelief.inference.tiles import Tile
from basrelief.metrics import DEFINITIONS_VERSION
from basrelief.scoring.comparison import compare_networks, say_comparison
from basrelief.scoring.evaluation import evaluate_source
from basrelief.scoring.files import check_out, write_comparison, write_evaluation
from basrelief.scoring.fit import Fit, fit_metrics
from basrelief.scoring.home import Home, unseen_by_all
from basrelief.scoring.own_size import Selection

Progress = Callable[[int, int], None]


def evaluate(
    run: str | Path,
    data: str | Path | None = None,
    *,
    device: str = "auto",
    threshold: Threshold | None = None,
    tile: Tile | str | None = None,
    mirror: bool | None = None,
    ensemble: bool = False,
    metric: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Score a trained network on data, at each image's own size.

    On the data that it was trained on (the default), only the test images count. Other data is read as the run's own
    was, unless ``options`` say otherwise, and images seen in training are left out of it. An exported file knows no
    data: it needs ``data``, and cannot tell what was seen.

    Parameters
    ----------
    run
        A run, a study, or an exported file.
    data
        Other data; None: the run's own.
    device, threshold, tile, mirror, ensemble
        As in ``load_predictor``; None: its defaults. Metrics of the hard mask use the threshold.
    metric
        What strata and the worst images go by; None: the run's own metric, where it fits.
    out
        Folder for ``evaluation.json``, ``images.parquet`` and ``report.html``; None: nothing is written.
    overwrite
        Whether files of an earlier evaluation there are replaced.
    progress
        Called with (done, all).
    **options
        How other data is read, by the names of ``DataSettings``.

    Returns
    -------
    dict
        ``run``, ``note`` (which run of a study), ``on`` (what was scored, in words), ``metrics`` (name -> mean or
        None), ``intervals`` (name -> [low, high] over further images, or None), ``level``, ``refused`` (metric -> why
        it does not fit), ``counts`` (of images with an empty mask and of those without a known pixel), ``images`` and
        ``groups`` (how many), ``seen`` (left out for having been seen in training), ``failed`` (sample -> why),
        ``primary`` (the metric of what follows), ``strata``, ``worst``, ``calibration``, ``threshold``,
        ``mask_threshold`` (one a class, as used), ``depth_unit``, ``notes``, ``definitions`` (the version of the
        metrics' definitions), ``out``.

    Raises
    ------
    UsageError
        For a metric that does not fit, an exported file without data, or options for the run's own data.
    DataError
        When nothing can be scored.
    OutputError
        When ``out`` holds an evaluation already.
    """
    folder = None if out is None else check_out(Path(out), "evaluation.json", overwrite=overwrite)
    use = {"threshold": threshold, "tile": tile, "mirror": mirror}
    network = Home(_load(run, device, ensemble, use))
    given = {name: value for name, value in options.items() if value is not None}
    source, own_data, groups = network.open(data, given)
    fit = fit_metrics(network.run, source, metric=metric, own_data=own_data)
    if own_data:
        size = network.loaded.predictor.resolution
        selection = Selection(wanted=network.test_images(), resolution=size, groups=groups)
        which = "test images"
    else:
        selection, which = Selection(seen=network.seen_images(), groups=groups), "images not seen in training"
        if network.prepared is None:
            which = "all images (an exported file does not tell which were seen in training)"
    found = evaluate_source(
        network.loaded.predictor,
        source,
        fit,
        metric=metric,
        selection=selection,
        pictures=folder is not None,
        progress=progress,
    )
    on = f"{source.location}, {which}, at their own size{_say_threshold(found.document['mask_threshold'])}"
    loaded = network.loaded
    document = {"run": str(loaded.source), "note": loaded.note, "on": on, **found.document}
    document |= {"definitions": DEFINITIONS_VERSION, "out": None if folder is None else str(folder)}
    if folder is not None:
        write_evaluation(folder, document, found, network.run)
    return document


def compare(
    run_a: str | Path,
    run_b: str | Path,
    data: str | Path,
    *,
    device: str = "auto",
    threshold: Threshold | None = None,
    tile: Tile | str | None = None,
    mirror: bool | None = None,
    ensemble: bool = False,
    metric: str | None = None,
    margin: float | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Compare two trained networks on the same images, those that neither has seen in training.

    Data that either was trained on is read as it was then, and its test images count; other data is read as a's own
    was, unless ``options`` say otherwise. This compares two networks: which loss is better needs a study.

    Parameters
    ----------
    run_a, run_b
        Runs, studies or exported files.
    data
        What they are compared on.
    metric
        The primary metric, which decides; None: that of a's run, where it fits both.
    margin
        Up to which difference they are practically equal; None: 0.005 for scores, 1 % for errors.
    out
        Folder for ``comparison.json``, ``images.parquet`` and ``compare.html``; None: nothing is written.
    device, threshold, tile, mirror, ensemble, overwrite, progress, **options
        As in ``evaluate``.

    Returns
    -------
    dict
        ``a`` and ``b`` (``run``, ``note``, ``mean``), ``metric``, ``difference`` (a − b) with ``low`` and ``high``
        over further images, ``p``, ``level``, ``decision`` ("a", "b": that one is better, "equal", "undecided"),
        ``winner``, ``margin``, ``more_images`` (how many would decide it), ``images``, ``scored`` (of them by both),
        ``groups``, ``metrics`` (name -> a, b, difference, low, high), ``refused``, ``seen``, ``failed``, ``on``,
        ``summary``, ``notes``, ``definitions``, ``out``.

    Raises
    ------
    UsageError, DataError, OutputError
        As ``evaluate``.
    """
    if margin is not None and not (np.isfinite(margin) and margin >= 0):
        raise UsageError(f"--margin {margin}: expected a difference of 0 or more.")
    folder = None if out is None else check_out(Path(out), "comparison.json", overwrite=overwrite)
    use = {"threshold": threshold, "tile": tile, "mirror": mirror}
    sides = [Home(_load(run, device, ensemble, use)) for run in (run_a, run_b)]
    given = {name: value for name, value in options.items() if value is not None}
    owners = [side for side in sides if side.owns(data)]
    reader = owners[0] if owners else sides[0]
    source, own_data, groups = reader.open(data, given)
    networks = [(side.loaded.predictor, _fit_of(side, source, metric, side in owners)) for side in sides]
    seen: dict[tuple[int, int], frozenset[str]] = {}
    for side in sides:
        if side not in owners:
            for size, hashes in side.seen_images().items():
                seen[size] = seen.get(size, frozenset()) | hashes
    selection = Selection(seen=seen, groups=groups)
    if own_data:
        wanted = unseen_by_all(owners, source)
        if not wanted:
            raise DataError(
                f"{data}: every test image of one run, or one of its group, was seen by the other in training. "
                "Compare them on other data."
            )
        selection = Selection(wanted=wanted, resolution=reader.loaded.predictor.resolution, seen=seen, groups=groups)
    names = _names(sides)
    found = compare_networks(
        networks,
        names,
        source,
        selection=selection,
        metric=metric,
        margin=margin,
        pictures=folder is not None,
        progress=progress,
    )
    document = dict(found.document)
    means = document.pop("means")
    heads = {
        key: {"run": str(side.loaded.source), "name": name, "note": side.loaded.note, "mean": means[key]}
        for key, side, name in zip(("a", "b"), sides, names, strict=True)
    }
    which = "test images that neither saw in training" if own_data else "images not seen in training"
    if any(side.prepared is None for side in sides):
        which += " (as far as known: an exported file does not tell)"
    thresholds = {key: list(side.loaded.predictor.thresholds) for key, side in zip(("a", "b"), sides, strict=True)}
    same = thresholds["a"] == thresholds["b"] and "mask" in networks[0][1].targets
    on = f"{source.location}, {which}, at their own size{_say_threshold(thresholds['a']) if same else ''}"
    document = {**heads, "on": on, "summary": say_comparison(document, *names), **document}
    if sides[0].loaded.source.resolve() == sides[1].loaded.source.resolve() and thresholds["a"] == thresholds["b"]:
        document["notes"] = [*document["notes"], "a and b are the same network: nothing can differ."]
    document |= {"mask_threshold": thresholds, "definitions": DEFINITIONS_VERSION}
    document |= {"out": None if folder is None else str(folder)}
    if folder is not None:
        write_comparison(folder, document, found)
    return document


def _load(run: str | Path, device: str, ensemble: bool, use: Mapping[str, Any]) -> Loaded:
    # What was not asked for is left to the loader, which may know better of a saved network.
    return load(run, device=device, ensemble=ensemble, **{name: one for name, one in use.items() if one is not None})


def _fit_of(side: Home, source: Source, metric: str | None, own_data: bool) -> Fit:
    """Return what fits one of two networks; an error says which one it is about."""
    try:
        return fit_metrics(side.run, source, metric=metric, own_data=own_data)
    except (DataError, UsageError) as error:
        raise type(error)(f"{side.loaded.source}: {error}") from None


def _names(sides: list[Home]) -> tuple[str, str]:
    """Return what the two are called: the name of the run's folder, and of the folder above where that is the same."""
    paths = [side.loaded.source for side in sides]
    first = 2 if any(path.name.startswith("seed-") for path in paths) else 1  # a trial's folder has its loss above it
    for parts in range(first, 4):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if names[0] != names[1]:
            return names[0], names[1]
    name = "/".join(paths[0].parts[-first:])
    return f"{name} (a)", f"{name} (b)"


def _say_threshold(thresholds: list[float] | None) -> str:
    if not thresholds:
        return ""
    return f", masks where the probability is above {', '.join(f'{one:g}' for one in dict.fromkeys(thresholds))}"
