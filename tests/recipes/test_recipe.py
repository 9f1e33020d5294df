"""Recipes: each is read, names a command's own options, and what is wrong with one is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from basrelief.app import study
from basrelief.errors import DataError, UsageError
from basrelief.recipes import MADE, RECIPES, SCALES, find_recipe, read_recipe
from basrelief.recipes.recipe import FOLDER


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_have_three_scales_and_known_data(name: str) -> None:
    recipe = read_recipe(FOLDER / f"{name}.yaml")
    assert set(recipe.scales) == set(SCALES)
    assert recipe.data.made in MADE
    for scale in SCALES:
        assert set(recipe.data_at(scale)) <= set(MADE[recipe.data.made].options)
    assert (FOLDER / f"{name}.yaml").read_text().startswith("# ")  # what it asks, and how it is run


def test_a_recipe_of_the_other_command() -> None:
    with pytest.raises(UsageError, match="basrelief study --recipe purdue-shapes"):
        find_recipe("purdue-shapes", "train")


def test_an_unknown_recipe_is_named_with_its_neighbour() -> None:
    with pytest.raises(UsageError, match="purdue-shapes"):
        find_recipe("purdue-shape", "study")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "cannot be read as YAML"),
        ("- a", "expected keys"),
        ("command: study", "field required"),
        ("command: fly\ntitle: a\ndata: {made: x}\nscales: {}", "command"),
        ("command: study\ntitle: a\ndata: {made: x}\nscales: {}\ntitel: b", "titel is not known. Did you mean 'title'"),
        ("1: a", "expected words as keys"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        find_recipe(str(path), "study")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("epoks: 3", r"recipe .*own\.yaml: Unknown option 'epoks'. Did you mean 'epochs'"),
        ("losses: ['bce(mask)', 'dicee(mask)']", r"recipe .*own\.yaml: .*'dicee' is not a loss"),
        ("epochs: none", r"recipe .*own\.yaml: --epochs 'none'"),
    ],
)
def test_a_wrong_option_is_told_with_its_recipe_before_data_is_made(tmp_path: Path, options: str, said: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        f"command: study\ntitle: a\ndata: {{made: quartets}}\noptions: {{{options}}}\nscales: {{small: {{takes: a}}}}\n"
    )
    with pytest.raises(UsageError, match=said):
        study(recipe=str(path), out=tmp_path / "out")
    assert [item.name for item in tmp_path.iterdir()] == ["own.yaml"]
