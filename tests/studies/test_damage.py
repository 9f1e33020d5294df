"""A study whose files were damaged, removed or half deleted says so; it never ends in another exception."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import basrelief as br
from basrelief import app
from basrelief.errors import BasreliefError, DataError
from support import write_folder

SMALL: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "epochs": 1, "batch_size": 4, "precision": "fp32", "seeds": 2,
    "losses": ("bce(mask)", "dice(mask)"),
}  # fmt: skip
TRIAL = "trials/00-bce-mask/seed-0"
FILES = [
    "plan.json", "splits.csv", "data/store.json", "data/index.parquet", "data/image-000.npy", "data/mask-000.npy",
    f"{TRIAL}/run.json", f"{TRIAL}/scores.parquet", f"{TRIAL}/history.csv", f"{TRIAL}/previews.npz",
    f"{TRIAL}/best.safetensors", f"{TRIAL}/history.parquet", "verdict.json", "baselines.json",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("finished")
    data = write_folder(root / "data")
    br.study(data, out=root / "study", **SMALL)
    return data, root / "study"


def spoil(path: Path, how: str) -> None:
    if how == "removed":
        path.unlink()
    elif how == "half":
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    else:
        path.write_bytes({"empty": b"", "another shape": b"{}", "a list": b"[1]"}[how])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["removed", "half", "empty", "another shape", "a list"])
def test_a_damaged_file_ends_in_a_message_or_is_made_again(
    finished: tuple[Path, Path], tmp_path: Path, name: str, how: str
) -> None:
    data, whole = finished
    commands: list[Callable[[Path], object]] = [
        app.report,
        br.evaluate,
        br.load_predictor,
        lambda folder: br.study(data, out=folder, **SMALL),
    ]
    for number, command in enumerate(commands):
        study = tmp_path / str(number)
        shutil.copytree(whole, study)
        spoil(study / name, how)
        said = str(study)
        try:
            command(study)
        except BasreliefError as error:
            said = str(error)
        assert str(study) in said or Path(name).name in said


def test_a_trial_that_lost_its_weights_is_trained_again(finished: tuple[Path, Path], tmp_path: Path) -> None:
    data, whole = finished
    study = shutil.copytree(whole, tmp_path / "study")
    (study / TRIAL / "best.safetensors").unlink()
    verdict = br.study(data, out=study, **SMALL)
    assert (study / TRIAL / "best.safetensors").read_bytes() == (whole / TRIAL / "best.safetensors").read_bytes()
    assert not any("trainings are there" in warning for warning in verdict["warnings"])


def test_a_report_on_some_of_the_trainings_says_so(finished: tuple[Path, Path], tmp_path: Path) -> None:
    study = shutil.copytree(finished[1], tmp_path / "study")
    shutil.rmtree(study / TRIAL)
    verdict = app.report(study)
    assert any("Only 3 of 4 trainings are there" in warning for warning in verdict["warnings"])


def test_links_that_lead_nowhere_or_in_a_circle(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data")
    (data / "images" / "loop").symlink_to(data / "images")
    (data / "images" / "03.png").unlink()
    (data / "images" / "03.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"03\.png"):
        br.study(data, out=tmp_path / "s", **SMALL)
    assert br.inspect(data).usable == 11
    br.study(data, out=tmp_path / "s", skip_broken=True, **SMALL)


def test_the_baseline_is_kept_and_computed_anew_where_that_is_damaged(
    finished: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = shutil.copytree(finished[1], tmp_path / "study")
    kept = (study / "baselines.json").read_bytes()
    before = app.report(study, to="json")["baselines"]
    spoil(study / "baselines.json", "half")
    assert app.report(study, to="json")["baselines"] == before
    assert (study / "baselines.json").read_bytes() == kept
    monkeypatch.setattr("basrelief.studies.results.mean_baseline", None)  # not to be called
    assert app.report(study, to="json")["baselines"] == before


def test_scores_of_other_images_are_refused(finished: tuple[Path, Path], tmp_path: Path) -> None:
    study = shutil.copytree(finished[1], tmp_path / "study")
    path = study / TRIAL / "scores.parquet"
    pl.read_parquet(path).with_columns(pl.col("row") + 1).write_parquet(path)
    with pytest.raises(DataError, match="are of other"):
        app.report(study)
