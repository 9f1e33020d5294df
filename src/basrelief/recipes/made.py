"""The data of recipes where no DATA is given: made once in the form of the write-up's own, then used again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from basrelief.errors import UsageError, unknown_name
from basrelief.files import read_json, write_json
from basrelief.folders import new_folder, only_writer
from basrelief.recipes.made_coco import make_objects
from basrelief.recipes.made_quartets import QUARTETS, make_quartets
from basrelief.recipes.made_shapes import make_shapes

FACTS = "made.json"  # written last; what stands beside it is whole
Progress = Callable[[int, int], None]


class Made(NamedTuple):
    """A kind of made data: the function that fills a folder, its options, and the part of the folder that is DATA."""

    make: Callable[..., None]
    options: Mapping[str, Any]
    location: str = "."


_OF_QUARTETS = {
    **{"layout": "a", "backgrounds": 20, "foregrounds": 20, "positions": 2, "resolution": 64, "jpeg": 60},
    **{"split": "70/15/15", "unseen": 0, "seed": 0},
}
MADE: dict[str, Made] = {
    "coco-objects": Made(make_objects, {"train": 200, "test": 50, "seed": 0}),
    "purdue-shapes": Made(make_shapes, {"train": 1000, "test": 200, "seed": 0}),
    "quartets": Made(make_quartets, _OF_QUARTETS, QUARTETS),
}


def make_data(kind: str, options: Mapping[str, Any], home: Path, progress: Progress | None = None) -> Path:
    """Return the DATA of a kind with these options, made below ``home`` unless it is there.

    Each kind and its options have a folder of their own, which appears whole or not at all.

    Raises
    ------
    UsageError
        For a kind or an option that is not known.
    OutputError
        When it cannot be written.
    """
    if kind not in MADE:
        raise unknown_name("kind of made data", kind, MADE)
    made = MADE[kind]
    for name in options:
        if name not in made.options:
            raise unknown_name(f"option of {kind}", name, made.options)
    chosen = {**made.options, **options}
    for name, value in chosen.items():
        if type(value) is not type(made.options[name]):
            raise UsageError(f"{name} of {kind}: expected {made.options[name]!r} or the like, not {value!r}.")
    key = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
    folder = home / f"{kind}-{key}"
    asked = {"made": kind, "options": chosen}
    with only_writer(home / f".{folder.name}", wait=3600.0):  # of two recipes at once, one makes it
        if not (folder / FACTS).exists() or read_json(folder / FACTS) != asked:
            with new_folder(folder, replace=True) as temporary:
                made.make(temporary, progress or (lambda _done, _total: None), **chosen)
                write_json(temporary / FACTS, asked)
    return folder / made.location
