"""Cross-validation within a study: every image judged once, by a network that never saw its group."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import basrelief as br
from basrelief.app_report import report
from basrelief.errors import UsageError
from basrelief.studies.stored import reopen
from support import write_folder

SMALL: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "epochs": 1, "seeds": 2, "losses": ("bce(mask)", "dice(mask)"), "folds": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folds")
    br.study(write_folder(root / "discs", 12), out=root / "study", **SMALL)
    return root / "study"


def test_every_loss_and_seed_judges_every_image_once(study: Path) -> None:
    scores = pl.read_parquet(study / "scores.parquet").filter(pl.col("split") == "test")
    counted = scores.group_by("loss", "seed").agg(pl.len().alias("lines"), pl.col("id").n_unique().alias("images"))
    assert counted["lines"].to_list() == counted["images"].to_list() == [12] * 4
    verdict = report(study, to="json")
    assert [row["seeds"] for row in verdict["losses"]] == [2, 2]
    assert "3 folds" in verdict["summary"]
    by_hand = scores.filter(pl.col("loss") == "bce(mask)")["mask/iou"].mean()
    assert next(row["mean"] for row in verdict["losses"] if row["name"] == "bce(mask)") == pytest.approx(by_hand)


def test_each_training_has_its_folds_own_split(study: Path) -> None:
    prepared = reopen(study)
    assert len(prepared.splits) == 3
    frame = pl.read_csv(study / "splits.csv")
    assert frame.columns == ["id", "group", "fold_1", "fold_2", "fold_3"]
    for row in frame.select("fold_1", "fold_2", "fold_3").iter_rows():
        assert sorted(row) == ["test", "train", "val"]
    result = br.evaluate(study / "trials" / "00-bce-mask" / "seed-1-fold-2")
    assert result["images"] == (frame["fold_2"] == "test").sum()


def test_the_same_command_keeps_what_is_there_and_fewer_folds_are_refused(study: Path) -> None:
    before = (study / "verdict.json").read_bytes()
    data = study.parent / "discs"
    br.study(data, out=study, **SMALL)
    assert (study / "verdict.json").read_bytes() == before
    with pytest.raises(br.BasreliefError, match="folds: 3 there, 4 asked for"):
        br.study(data, out=study, **{**SMALL, "folds": 4})
    with pytest.raises(UsageError, match="--folds"):
        br.study(data, out=study.parent / "other", **{**SMALL, "folds": 2})


def test_what_uses_one_fold_of_a_study_says_which_and_missing_folds_are_said(study: Path, tmp_path: Path) -> None:
    assert re.search(r"seed \d, fold [123] \(its best", br.evaluate(study)["note"])
    shutil.copytree(study, tmp_path / "study")
    shutil.rmtree(tmp_path / "study" / "trials" / "00-bce-mask" / "seed-1-fold-2")
    warned = " ".join(report(tmp_path / "study", to="json")["warnings"])
    assert "Only 11 of 12 trainings are there, and only a seed with all its folds counts" in warned


def test_a_split_that_flatters_is_a_warning_of_the_verdict(tmp_path: Path) -> None:
    plain = {**SMALL, "folds": None, "seeds": 1}
    leaky = br.study("scenes:24", out=tmp_path / "random", split="random", **plain)
    assert any("test scores are flattered" in warning for warning in leaky["warnings"])
    assert "test scores are flattered" in (tmp_path / "random" / "report.html").read_text()
    clean = br.study("scenes:24", out=tmp_path / "group", **plain)
    assert not any("flattered" in warning for warning in clean["warnings"])


def test_folds_that_stop_at_different_epochs_are_compared(tmp_path: Path) -> None:
    asked = {**SMALL, "seeds": 1, "epochs": 5, "patience": 1, "lr": 0.03}
    verdict = br.study(write_folder(tmp_path / "discs", 12), out=tmp_path / "s", **asked)
    lengths = {len(pl.read_csv(place)) for place in (tmp_path / "s" / "trials").glob("*/*/history.csv")}
    assert len(lengths) > 1, "another rate is needed for this test"
    assert all(row["mean"] is not None for row in verdict["losses"])


def test_parts_that_one_fold_is_too_small_for_are_refused(tmp_path: Path) -> None:
    """Of 4, 4 and 5 training images the 5 make the smallest batches, of 2 and 3."""
    with pytest.raises(UsageError, match="A batch of 2 images cannot be divided into 3 parts"):
        br.study("scenes:13", out=tmp_path / "s", batch_size=4, accumulate=3, **SMALL)
