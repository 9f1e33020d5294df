"""The recipes of write-ups A, B and C run at scale smoke: on made data, and on folders of the published form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from basrelief import app, app_data
from basrelief.recipes import make_data, read_recipe
from basrelief.recipes.recipe import FOLDER
from support import make_quartets, write_quartets_a, write_quartets_b, write_quartets_c

STUDIES = {
    "mask-losses": {"bce", "ssim", "dice"},
    "mask-depth-losses": {"rmse and bce and dice", "ssim and dice", "rmse and bce"},
    "resunet-losses": {"bce and ssim", "mse and mse", "smooth l1 and ssim", "ssim and ssim"},
    "checkerboard": {"shuffle", "icnr", "resize"},
}
HERE: dict[str, Any] = {"device": "cpu", "precision": "fp32", "threads": 1, "tracker": "none"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all, so that what two recipes have alike is made once."""
    return tmp_path_factory.mktemp("recipes")


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_with_nothing_given(home: Path, name: str) -> None:
    verdict = app.study(recipe=name, scale="smoke", out=home / name, jobs=1, resolution=(16, 16), limit=12, **HERE)
    assert {loss["name"] for loss in verdict["losses"]} == STUDIES[name]
    assert all(loss["failed"] == 0 for loss in verdict["losses"])
    assert (home / name / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "metric", "options"),
    [
        ("progressive", "depth/rmse", {"resolution": "16:8x1,32:4x1"}),
        ("depthmasknet", "depth/ssim", {}),
        ("resunet", "depth/ssim", {}),
    ],
)
def test_a_training_runs_with_nothing_given(home: Path, name: str, metric: str, options: dict[str, Any]) -> None:
    run = app.train(recipe=name, scale="smoke", out=home / name, limit=12, **options, **HERE)
    assert {metric, "mask/iou", "mask/soft_dice"} <= set(run["metrics"])
    assert len(list((home / "data").glob("quartets-*/made.json"))) >= 1


def test_the_write_ups_split_leaks_and_the_recipes_own_does_not(home: Path) -> None:
    """The two commands that docs/recipes.md names, on the same images."""
    recipe = read_recipe(FOLDER / "mask-losses.yaml")
    data = make_data(recipe.data.made, recipe.data_at("smoke"), home / "data")
    own, leaky = (app_data.inspect(data, **options).to_dict()["split"] for options in ({}, {"split": "random"}))
    assert not any("flattered" in note for note in own["notes"])
    assert any("flattered" in note for note in leaky["notes"])
    assert own["train"] <= leaky["train"] + 1  # neither has more to learn from
    assert own["left_out"] == leaky["left_out"] == 0


@pytest.mark.parametrize(
    ("name", "write"),
    [("progressive", write_quartets_a), ("depthmasknet", write_quartets_b), ("resunet", write_quartets_c)],
)
def test_a_folder_of_the_published_form_is_taken(tmp_path: Path, name: str, write: Any) -> None:
    data = write(tmp_path / "published", make_quartets(backgrounds=4))
    out = tmp_path / "out"
    app.train(data, recipe=name, scale="smoke", out=out, **HERE)
    assert (out / "run.json").exists()
    assert not (tmp_path / "data").exists()  # nothing was made
