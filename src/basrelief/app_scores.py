"""What commands do to score trained networks, as functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from basrelief.config import DataSettings, checked
from basrelief.data import INSTANCE_FORMATS, find_format, open_source
from basrelief.data.store import READING, detect_store
from basrelief.errors import DataError, UsageError
from basrelief.inference.load import load
from basrelief.inference.own_size import score_source
from basrelief.metrics import DEFINITIONS_VERSION, alignments_of
from basrelief.studies.stored import reopen


def evaluate(
    run: str | Path, data: str | Path | None = None, *, device: str = "auto", **options: Any
) -> dict[str, Any]:
    """Score a run on data, at each image's own size.

    On the data that it was trained on (the default), only the test images count. Other data is read as the run's own
    was, unless ``options`` say otherwise, and images seen in training are left out of it.

    Returns
    -------
    dict
        ``run``, ``note`` (which run of a study), ``on`` (what was scored, in words), ``metrics`` (name -> mean or
        None), ``counts`` (of images with an empty mask and of those without a known pixel), ``images`` (how many),
        ``seen`` (left out for having been seen in training), ``depth_unit``, ``failed`` (sample -> why),
        ``definitions`` (the version of the metrics' definitions).
    """
    loaded = load(run, device=device)
    predictor, home_folder = loaded.predictor, loaded.home
    if home_folder is None:
        raise UsageError(f"{loaded.source} carries no data.")
    prepared = reopen(home_folder)
    home, index = prepared.plan.data, prepared.store.index
    rows = next((split.rows for split in prepared.splits if split.fingerprint() == predictor.run.get("split")), None)
    if rows is None:
        raise DataError(
            f"{loaded.source / 'run.json'} is of another split than {home_folder} holds. Put it back as it was."
        )
    given = {name: value for name, value in options.items() if value is not None}
    align = alignments_of(predictor.run["settings"]["metric"])
    settings = home
    if data is not None:
        fresh = {"location": str(data), "limit": None, "group_file": None, "group_blocks": None, "split": "group"}
        settings = checked(DataSettings, home.model_dump() | fresh | given)
        if find_format(settings.location, settings.options(None, 0)) not in INSTANCE_FORMATS:
            unset = {"categories": None, "single_instance": False, "min_box": None}
            settings = checked(DataSettings, settings.model_dump() | unset | given)
        if detect_store(
            settings.location
        ):  # its values are understood; how the run's own files were read is nothing to it
            settings = checked(
                DataSettings, settings.model_dump() | dict.fromkeys(READING) | {"depth_invalid": ()} | given
            )
    if settings.location == home.location or Path(settings.location).resolve() == Path(home.location).resolve():
        if given:
            raise UsageError(
                f"{home.location} is the run's own data and is read as it was then; leave the options out."
            )
        source = open_source(home.location, home.options(predictor.resolution, prepared.plan.train.seed))
        test = dict(index[rows["test"]].select("id", "image_hash").iter_rows())
        which, scores = "test images", score_source(predictor, source, wanted=test, align=align)
    else:
        source = open_source(settings.location, settings.options(predictor.resolution, prepared.plan.train.seed))
        seen = frozenset(index["image_hash"].to_numpy()[np.concatenate([rows["train"], rows["val"]])].tolist())
        which, scores = "images not seen in training", score_source(predictor, source, seen=seen, align=align)
    on = f"{settings.location}, {which}, at their own size"
    return {"run": str(loaded.source), "note": loaded.note, "on": on, **scores, "definitions": DEFINITIONS_VERSION}
