"""The write-ups' experiments as files: one YAML each, which says the settings, three scales, and the data."""

from basrelief.recipes.made import MADE, make_data
from basrelief.recipes.recipe import RECIPES, SCALES, Recipe, find_recipe, read_recipe

__all__ = ["MADE", "RECIPES", "SCALES", "Recipe", "find_recipe", "make_data", "read_recipe"]
