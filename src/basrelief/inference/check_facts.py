"""Checking what a file says about its network, which may come from anybody, before anything is built from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from basrelief.errors import DataError
from basrelief.inference.facts import CARRIED_VERSION
from basrelief.losses.loss import ACTIVATIONS

MOST_PIXELS = 4096 * 4096  # of a resolution; what a network of one would need is beyond any machine we know
MOST_CLASSES = 4096
LARGEST_FACTS = 4 * 2**20  # bytes of JSON; those of a run are some 5000

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Side = Annotated[int, Field(ge=1, le=2**20)]
# A name goes into tables, pages and maybe file names: no control characters, and no way out of a folder.
_Name = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f\\]+$")]
_Class = Annotated[_Name, StringConstraints(max_length=200)]
_Text = Annotated[str, StringConstraints(max_length=2000)]
_Words = Annotated[str, StringConstraints(max_length=60)]
_Target = Literal["mask", "depth"]
_Metrics = dict[_Name, _Finite | None]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Thresholds(_Checked):
    best: list[_Share]
    score: list[_Finite | None] = []
    at_half: list[_Finite | None] = []


class _Settings(_Checked):
    metric: _Name
    mask_values: list[_Finite] | None = None


class _Inference(_Checked):
    threshold: _Share | Literal["best"] = 0.5
    tile: Annotated[int, Field(ge=1, le=2**16)] | Literal["auto", "none"] = "auto"
    mirror: bool = False


class _Data(_Checked):
    format: _Words | None = None
    split: _Words | None = None
    groups: Annotated[int, Field(ge=0)] | None = None
    cautions: list[_Text] = []


class _Training(_Checked):
    epochs: int | None = None
    best_epoch: int | None = None
    batch_size: int | None = None
    optimizer: _Words | None = None
    lr: _Finite | None = None
    schedule: _Words | None = None
    augment: _Text | None = None
    start: _Words | None = None
    precision: _Words | None = None


class _Verdict(_Checked):
    summary: _Text
    stand: Literal["won", "lost", "open"]
    warnings: list[_Text] = []


class _Interval(_Checked):
    mean: _Finite
    low: _Finite | None = None
    high: _Finite | None = None
    images: Annotated[int, Field(ge=0)]
    groups: Annotated[int, Field(ge=0)] | None = None


class _Origin(_Checked):
    data: _Data = _Data()
    training: _Training = _Training()
    verdict: _Verdict | None = None
    intervals: dict[_Name, _Interval] = {}


class _Carried(_Checked):
    basrelief: int
    network: _Text
    resolution: tuple[_Side, _Side]
    classes: Annotated[list[_Class], Field(max_length=MOST_CLASSES)]
    activations: dict[_Target, Literal[tuple(ACTIVATIONS)]]  # type: ignore[valid-type]
    targets: Annotated[list[_Target], Field(min_length=1, max_length=2)]
    heads: Annotated[list[_Target], Field(min_length=1, max_length=2)]
    background: bool
    settings: _Settings
    depth_max: _Positive | None = None
    depth_unit: _Words | None = None
    depth_kind: _Words | None = None
    image_size: tuple[_Side, _Side] | None = None
    thresholds: _Thresholds | None = None
    loss: _Text | None = None
    seed: int | None = None
    samples: dict[_Name, int] | None = None
    parameters: int | None = None
    metrics: _Metrics | None = None
    val_metrics: _Metrics | None = None
    counts: dict[_Name, int | None] | None = None
    definitions: int | None = None
    versions: dict[_Name, _Text] | None = None
    inference: _Inference = _Inference()
    origin: _Origin | None = None

    @model_validator(mode="after")
    def _agree(self) -> _Carried:
        classes = len(self.classes)
        if self.resolution[0] * self.resolution[1] > MOST_PIXELS:
            raise ValueError(f"resolution: more than {MOST_PIXELS} pixels")
        if not set(self.targets) <= set(self.heads):
            raise ValueError("targets: not all of them are heads")
        if ("mask" in self.heads) != bool(classes):
            raise ValueError("classes: a network has them exactly where it has a mask head")
        if "depth" in self.targets and self.depth_max is None:
            raise ValueError("depth_max: a network of depth needs one")
        if self.thresholds is not None and len(self.thresholds.best) != classes:
            raise ValueError("thresholds: expected one for each class")
        values = self.settings.mask_values
        if values and (len(values) != classes or not all(values)):
            raise ValueError("settings.mask_values: expected a number for each class, none of them 0")
        if any(part in (".", "..") for name in self.classes for part in name.split("/")):
            raise ValueError("classes: a name is a way out of a folder")
        return self


def check_carried(document: Any, where: str | Path) -> dict[str, Any]:
    """Return what a file carries of its network, checked: types, sizes, and that its parts agree.

    Parameters
    ----------
    document
        What stood in the file, as ``json.loads`` gave it: ``facts.carried`` of a run, and where a network was saved
        with them "inference" and "origin". Keys that are not known are left out.
    where
        What messages call the file.

    Raises
    ------
    DataError
        Naming the key that is missing or wrong, or the version where the file is newer than this program.
    """
    version = document.get("basrelief") if isinstance(document, dict) else None
    if type(version) is not int or version < 1:
        raise DataError(
            f"{where} is not of a network that Basrelief saved: it lacks the key 'basrelief' with a version. Give the "
            "directory of a run, or what save_pretrained or basrelief export wrote."
        )
    if version > CARRIED_VERSION:
        raise DataError(
            f"{where} was written by a newer Basrelief (its facts have version {version}, this program reads "
            f"{CARRIED_VERSION}): pip install --upgrade basrelief."
        )
    try:
        found = _Carried.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        written = ".".join(str(part) for part in first["loc"])[:100]
        key = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in written)
        why = f"{key}: {first['msg']}" if key else str(first["msg"]).removeprefix("Value error, ")
        raise DataError(
            f"{where} describes no network that can be built ({why}). It was changed or damaged; get it again from "
            "where it came from."
        ) from None
    checked = found.model_dump(mode="json", exclude_unset=True)
    return checked | {key: getattr(found, key) for key in ("depth_max", "depth_unit", "depth_kind")}


def parse_facts(text: str | bytes, where: str | Path) -> dict[str, Any]:
    """Read JSON from anybody and check it as ``check_carried`` does."""
    if len(text) > LARGEST_FACTS:
        raise DataError(
            f"{where} is no description of a network: it has more than {LARGEST_FACTS:,} bytes. Get it again from "
            "where it came from."
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where} cannot be read as JSON ({error}). It was changed or cut short; get it again from where it came "
            "from."
        ) from None
    return check_carried(document, where)
