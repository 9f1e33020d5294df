"""Reading a recipe: a YAML file with the settings of one study or training, at three scales.

Options have the names that they have from Python (``losses``, ``batch_size``); whether they make sense is checked where
they are used, as if they had been typed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from basrelief.errors import DataError, UsageError, suggest, unknown_name
from basrelief.files import read_yaml

FOLDER = Path(__file__).parent
RECIPES = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))  # those that are shipped, by name
SCALES = ("smoke", "small", "full")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Part):
    """What is used where no DATA is given: a name of ``MADE``, and the options that hold at every scale."""

    made: str
    options: dict[str, Any] = {}


class Scale(_Part):
    """How large: what the options of the recipe and of its made data become."""

    takes: str
    data: dict[str, Any] = {}
    options: dict[str, Any] = {}


class Recipe(_Part):
    """One experiment.

    Attributes
    ----------
    name
        Of the file.
    command
        Which command runs it.
    title, about
        A line, and a few.
    write_up
        Whose experiment it is, and what was published of it.
    dataset
        The real data, and what DATA has to be.
    data
        What is made where no DATA is given.
    options
        Of the command, by their names in Python.
    scales
        Of each scale, what it changes, and how long it takes.
    """

    name: str
    command: Literal["study", "train"]
    title: str
    about: str = ""
    write_up: str = ""
    dataset: str = ""
    data: Data
    options: dict[str, Any] = {}
    scales: dict[Literal["smoke", "small", "full"], Scale]

    def options_at(self, scale: str) -> dict[str, Any]:
        """Return the command's options at a scale."""
        return {**self.options, **self._scale(scale).options}

    def data_at(self, scale: str) -> dict[str, Any]:
        """Return the options of the made data at a scale."""
        return {**self.data.options, **self._scale(scale).data}

    def _scale(self, scale: str) -> Scale:
        if scale not in self.scales:
            raise UsageError(f"--scale {scale!r}: the recipe {self.name} has {', '.join(self.scales)}.")
        return self.scales[scale]


def find_recipe(name: str, command: str) -> Recipe:
    """Return a shipped recipe by its name, or the one in a YAML file, for a command ("study" or "train").

    Raises
    ------
    UsageError
        For a name that is not known, or a recipe of another command.
    DataError
        For a file that is no recipe.
    """
    if Path(name).suffix.lower() in (".yaml", ".yml"):
        recipe = read_recipe(Path(name))
    elif name in RECIPES:
        recipe = read_recipe(FOLDER / f"{name}.yaml")
    else:
        raise unknown_name("recipe", name, RECIPES)
    if recipe.command != command:
        raise UsageError(f"{recipe.name} is a recipe of the other command: basrelief {recipe.command} --recipe {name}.")
    return recipe


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe's file.

    Raises
    ------
    DataError
        Naming the file, and the first thing in it that is wrong.
    """
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise DataError(f"{path} is no recipe: expected keys such as command, data, options and scales.")
    try:
        return Recipe(**{**document, "name": path.stem})
    except (ValidationError, TypeError) as error:
        raise DataError(f"{path}: {_first(error)}") from None


def _first(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):  # keys that are no words
        return "expected words as keys, such as command, data, options and scales."
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"{place} is not known.{suggest(str(first['loc'][-1]), Recipe.model_fields)}"
    return f"{place}: {str(first['msg'])[:1].lower()}{str(first['msg'])[1:]}."
