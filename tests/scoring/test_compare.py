"""Comparing two networks: the difference, what it decides, and which images count."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from scipy import stats

import basrelief as br
from basrelief.errors import DataError, OutputError, UsageError
from commands import run as command
from support import write_folder

TRAIN = {"network": "resunet", "resolution": 16, "precision": "fp32", "split": "40/10/50"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Data, a network that learned something, and one that did not."""
    root = tmp_path_factory.mktemp("compare")
    data = write_folder(root / "data", 24)
    br.train(data, out=root / "good", loss="dice(mask)", epochs=6, lr=1e-2, **TRAIN)
    br.train(data, out=root / "poor", loss="bce(mask)", epochs=1, lr=1e-6, seed=1, **TRAIN)
    return data, root / "good", root / "poor"


@pytest.fixture(scope="module")
def others(runs: tuple[Path, Path, Path]) -> Path:
    return write_folder(runs[0].parent / "others", 30, (20, 28))


def test_the_difference_is_paired_and_decides(runs: tuple[Path, Path, Path], others: Path, tmp_path: Path) -> None:
    _, good, poor = runs
    found = br.compare(good, poor, others, out=tmp_path / "out")
    table = pl.read_parquet(tmp_path / "out" / "images.parquet")
    a, b = table["a/mask/iou"].to_numpy(), table["b/mask/iou"].to_numpy()
    expected = stats.ttest_rel(a, b)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert [found["low"], found["high"]] == pytest.approx(list(expected.confidence_interval()))
    assert found["difference"] == pytest.approx((a - b).mean())
    assert (found["a"]["mean"], found["b"]["mean"]) == (pytest.approx(a.mean()), pytest.approx(b.mean()))
    assert (found["decision"], found["winner"], found["margin"]) == ("a", "a", 0.005)
    assert "good is better than poor" in found["summary"]
    assert "not the losses" in found["summary"]
    for side, run in (("a", good), ("b", poor)):
        alone = br.evaluate(run, others)
        assert found["metrics"]["mask/dice"][side] == pytest.approx(alone["metrics"]["mask/dice"])
    turned = br.compare(poor, good, others)
    assert (turned["winner"], turned["difference"]) == ("b", pytest.approx(-found["difference"]))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"comparison.json", "images.parquet", "compare.html"}
    with pytest.raises(OutputError, match="--overwrite"):
        br.compare(good, poor, others, out=tmp_path / "out")


def test_a_network_is_practically_equal_to_itself(runs: tuple[Path, Path, Path], others: Path) -> None:
    _, good, _ = runs
    found = br.compare(good, good, others)
    assert (found["decision"], found["winner"], found["difference"]) == ("equal", None, 0)
    assert (found["a"]["name"], found["b"]["name"]) == ("good (a)", "good (b)")
    assert "the same network" in found["notes"][0]


def test_two_images_that_score_alike_do_not_make_networks_equal(runs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, good, poor = runs
    few = write_folder(tmp_path / "few", 2, (20, 28))
    found = br.compare(good, poor, few, metric="mask/checkerboard")
    assert (found["difference"], found["low"], found["decision"]) == (0, None, "undecided")
    assert "too few for an interval" in found["summary"]


def test_an_open_question_comes_with_how_many_more_images(runs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    data, good, _ = runs
    br.train(data, out=tmp_path / "near", loss="dice(mask)", epochs=6, lr=9e-3, **TRAIN)
    few = write_folder(tmp_path / "few", 2, (20, 28))
    found = br.compare(good, tmp_path / "near", few, margin=1e-9)
    assert found["decision"] == "undecided"
    assert found["more_images"]["what"] == "images"
    assert found["more_images"]["limit"] == 200
    assert "more images" in found["summary"]


def test_images_that_either_has_seen_are_left_out(runs: tuple[Path, Path, Path]) -> None:
    data, good, poor = runs
    found = br.compare(good, poor, data)
    tests = [set(pl.read_csv(run / "splits.csv").filter(pl.col("split") == "test")["id"].to_list()) for run in runs[1:]]
    seen = [
        set(pl.read_csv(run / "splits.csv").filter(pl.col("split").is_in(["train", "val"]))["id"].to_list())
        for run in runs[1:]
    ]
    assert found["images"] == len((tests[0] | tests[1]) - seen[0] - seen[1]) > 0
    copy = Path(shutil.copytree(data, data.parent / "copied"))
    there = br.compare(good, poor, copy)
    assert there["seen"] + there["images"] == 24
    assert there["images"] >= found["images"]


def test_runs_that_share_no_target_and_margins_that_are_none_are_refused(
    runs: tuple[Path, Path, Path], others: Path, tmp_path: Path
) -> None:
    _, good, poor = runs
    deep = write_folder(tmp_path / "deep", depths=True)
    br.train(deep, out=tmp_path / "depth", loss="rmse(depth)", epochs=1, depth_scale=0.001, **TRAIN)
    both = write_folder(tmp_path / "both", 4, (20, 28), depths=True)
    with pytest.raises(UsageError, match="no primary metric in common"):
        br.compare(good, tmp_path / "depth", both, depth_scale=0.001)
    with pytest.raises(DataError, match=r"/depth: .* has no depth"):  # which of the two it is about
        br.compare(good, tmp_path / "depth", others)
    with pytest.raises(UsageError, match="--margin -1"):
        br.compare(good, poor, others, margin=-1)


def test_the_command_says_what_was_decided(
    capsys: pytest.CaptureFixture[str], runs: tuple[Path, Path, Path], others: Path
) -> None:
    code, printed, _ = command(capsys, "compare", runs[1], runs[2], others)
    assert code == 0
    assert "good is better than poor by mask/iou on 30 images" in printed
    code, printed, _ = command(capsys, "compare", runs[1], runs[2], others, "--json", "--metric", "mask/dice")
    found = json.loads(printed, parse_constant=pytest.fail)
    assert (found["metric"], found["winner"]) == ("mask/dice", "a")
