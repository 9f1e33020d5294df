"""What a user types for an option, read into values (``48x64``, ``mask=identity``, ``max``), and the types of settings.

From Python the values themselves are taken as well.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from basrelief.data.mask_values import parse_mask_map
from basrelief.errors import UsageError

Positive = Annotated[int, Field(ge=1)]
LARGEST_BATCH = 0  # a batch size of "max", not measured yet
Side = Annotated[int, Field(ge=8, le=8192)]
SEARCH = "search"  # in place of a learning rate: short tests find it


def _read_resolution(value: Any) -> Any:
    """Read "64" and "48x64"; one number is both sides."""
    parts = str(value).lower().split("x") if isinstance(value, str | int) else value
    if isinstance(value, str) and (len(parts) > 2 or not all(_is_side(part.strip()) for part in parts)):
        raise UsageError(f"--resolution {value[:80]!r}: expected N or HEIGHTxWIDTH, such as 64 or 48x64.")
    return (int(parts[0]), int(parts[-1])) if isinstance(value, str | int) else value


def _is_side(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10  # "²" counts as a digit, and is no number


def _read_numbers(value: Any) -> Any:
    """Read "0,65535". Order does not matter, and what is not finite is unknown in any case."""
    try:
        numbers = [float(part) for part in (value.split(",") if isinstance(value, str) else value)]
    except (TypeError, ValueError):
        raise UsageError(f"--depth-invalid {value!r}: expected numbers with commas between, such as 0,65535.") from None
    return tuple(sorted(number for number in set(numbers) if math.isfinite(number)))


def _read_names(value: Any, option: str = "--categories", example: str = "names or ids, such as person,dog") -> Any:
    """Read "person,dog"."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        return value
    if not names or not all(str(name).strip() for name in names):
        raise UsageError(f"{option} {value!r}: expected, with commas between, {example}.")
    return tuple(dict.fromkeys(str(name).strip() for name in names))


def _read_activations(value: Any) -> Any:
    """Read "mask=identity,depth=softplus"."""
    if not isinstance(value, str):
        return value
    pairs = [part.split("=") for part in value.split(",")]
    if not all(len(pair) == 2 for pair in pairs):
        raise UsageError(f"--activation {value!r}: expected HEAD=NAME, such as mask=identity.")
    return {head.strip(): name.strip() for head, name in pairs}


def _read_batch_size(value: Any) -> Any:
    """Read "max"; it is 0 from here on, and ``prepare`` replaces it by the number that fits."""
    if value == "max":
        return LARGEST_BATCH
    number = int(value) if isinstance(value, str) and _is_side(value.strip()) else value
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise UsageError(f"--batch-size {value!r}: expected a number of 1 or more, or max.")
    return number


def _read_location(value: Any) -> Any:
    """Make a path absolute: a run must mean the same data from any folder. ``scenes:500`` stays as it is."""
    text = str(value)
    return text if ":" in text.partition("/")[0] else os.path.abspath(text)  # noqa: PTH100 - links stay links


def _read_place(value: Any) -> Any:
    """Make the path of a run or file absolute; names stay as they are."""
    return os.path.abspath(value) if isinstance(value, str | Path) and os.path.exists(value) else value  # noqa: PTH100, PTH110


def _read_split(value: Any) -> Any:
    """Make the path of a file absolute, as that of the data is; rules and shares stay as they are."""
    return os.path.abspath(value) if isinstance(value, str | Path) and os.path.isfile(value) else value  # noqa: PTH100, PTH113


def _read_freeze(value: Any) -> Any:
    """Read "encoder,norms"."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _read_rate(value: Any) -> Any:
    """Read "1e-3" and "search"; a number must be one that can be trained at."""
    if isinstance(value, str) and value.strip() == SEARCH:
        return SEARCH
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not 0 < rate < math.inf:
        raise UsageError(f"--lr {value}: expected a number above 0, such as 1e-3, or the word search.")
    return rate


def _read_jobs(value: Any) -> Any:
    """Read "2" and "auto"."""
    number = int(value) if isinstance(value, str) and _is_side(value.strip()) else value
    if number != "auto" and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
        raise UsageError(f"--jobs {value!r}: expected a number of 1 or more, or auto.")
    return number


BatchSize = Annotated[
    int, BeforeValidator(_read_batch_size), PlainSerializer(lambda size: "max" if size == LARGEST_BATCH else size)
]
Resolution = Annotated[tuple[Side, Side], BeforeValidator(_read_resolution)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_read_numbers)]
MaskMap = Annotated[dict[int, str], BeforeValidator(lambda v: parse_mask_map(v) if isinstance(v, str) else v)]
Names = Annotated[tuple[str, ...], BeforeValidator(_read_names), Field(min_length=1)]
Trackers = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda v: _read_names(v, "--tracker", "names, such as tensorboard, or none")),
    Field(min_length=1),
]
LabelValues = Annotated[
    tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...],
    BeforeValidator(lambda v: v.split(",") if isinstance(v, str) else v),
]
Activations = Annotated[dict[str, str], BeforeValidator(_read_activations)]
Jobs = Annotated[Positive | Literal["auto"], BeforeValidator(_read_jobs)]
LearningRate = Annotated[float | Literal["search"], BeforeValidator(_read_rate)]
Location = Annotated[str, BeforeValidator(_read_location)]
Place = Annotated[str, BeforeValidator(_read_place)]
SplitRule = Annotated[str, BeforeValidator(_read_split)]
GroupFile = Annotated[Path, BeforeValidator(_read_location)]
Freeze = Annotated[tuple[str, ...], BeforeValidator(_read_freeze)]
