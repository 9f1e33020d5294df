"""Evaluating a trained network: what the numbers are, what is left out, and what is written."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy import stats

import basrelief as br
from basrelief import app_scores
from basrelief.errors import OutputError, UsageError
from commands import run as command
from support import write_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("scores") / "data", 24, depths=True)


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    out = data.parent / "run"
    br.train(data, out=out, loss="bce(mask) + rmse(depth)", network="resunet", resolution=(16, 32), epochs=3, lr=3e-3,
             depth_scale=0.001, precision="fp32", split="60/20/20")  # fmt: skip
    return out


@pytest.fixture(scope="module")
def others(data: Path) -> Path:
    """Images that no training has seen, with one empty mask."""
    folder = write_folder(data.parent / "others", 32, (20, 28), depths=True)
    Image.fromarray(np.zeros((20, 28), np.uint8)).save(folder / "masks" / "05.png")
    return folder


@pytest.fixture(scope="module")
def written(run: Path, others: Path) -> tuple[dict[str, Any], Path]:
    out = run.parent / "scored"
    return br.evaluate(run, others, out=out), out


def test_saved_masks_have_the_iou_that_evaluate_gives(run: Path, others: Path, tmp_path: Path) -> None:
    for threshold in (0.5, 0.37):
        br.evaluate(run, others, threshold=threshold, out=tmp_path / f"e{threshold}")
        br.predict(run, [others / "images"], tmp_path / f"p{threshold}", threshold=threshold)
        table = pl.read_parquet(tmp_path / f"e{threshold}" / "images.parquet")
        assert len(table) == 32
        for name, iou in table.select("id", "mask/iou").iter_rows():
            mask = np.asarray(Image.open(tmp_path / f"p{threshold}" / f"{name}_mask.png")) == 255
            true = np.asarray(Image.open(others / "masks" / f"{name}.png")) > 127
            union = (mask | true).sum()
            assert iou == pytest.approx((mask & true).sum() / union if union else 1.0, abs=1e-6)


def test_intervals_are_students_over_images(written: tuple[dict[str, Any], Path]) -> None:
    document, out = written
    values = pl.read_parquet(out / "images.parquet")["depth/rmse"].to_numpy()
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert document["intervals"]["depth/rmse"] == pytest.approx([expected.low, expected.high])
    assert document["metrics"]["depth/rmse"] == pytest.approx(values.mean())
    assert document["images"] == document["groups"] == 32
    assert set(document["intervals"]) == set(document["metrics"])
    for name, value in document["metrics"].items():
        low, high = document["intervals"][name]
        assert low <= value <= high or "pooled" in name
        assert low < high or name.endswith("checkerboard")


def test_groups_widen_the_interval_and_are_counted(run: Path, others: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.csv"
    pl.DataFrame({"id": [f"{n:02d}" for n in range(32)], "group": [n // 8 for n in range(32)]}).write_csv(groups)
    found = br.evaluate(run, others, group_file=groups, out=tmp_path / "out")
    assert (found["images"], found["groups"]) == (32, 4)
    values = pl.read_parquet(tmp_path / "out" / "images.parquet")["mask/iou"].to_numpy().reshape(4, 8)
    expected = stats.ttest_1samp(values.mean(1), 0).confidence_interval()  # groups of one size
    assert found["intervals"]["mask/iou"] == pytest.approx([expected.low, min(expected.high, 1.0)])


def test_calibration_agrees_with_the_pooled_metric_and_the_curve_with_the_mean(
    written: tuple[dict[str, Any], Path],
) -> None:
    document, _ = written
    assert document["calibration"]["ece"] == pytest.approx(document["metrics"]["mask/ece_pooled"], abs=1e-6)
    bins = document["calibration"]["classes"][0]["bins"]
    assert sum(line["share"] for line in bins) == pytest.approx(1)
    for line in bins:
        assert line["predicted"] is None or line["low"] - 1e-6 <= line["predicted"] <= line["high"] + 1e-6
    found = document["threshold"]
    assert found["used"] == document["mask_threshold"] == [0.5]
    at_half = found["iou"]["figure"][found["thresholds"].index(0.5)]
    assert at_half == pytest.approx(document["metrics"]["mask/iou"], abs=1e-6)
    assert found["stored"] is not None
    assert "validation" in found["says"]


def test_strata_and_worst_images_are_those_of_the_table(written: tuple[dict[str, Any], Path]) -> None:
    document, out = written
    table = pl.read_parquet(out / "images.parquet")
    by_name = {(part["kind"], part["name"]): part for part in document["strata"]}
    assert {("figure", "empty"), ("depth", "near"), ("depth", "far")} <= set(by_name)
    assert by_name["figure", "empty"]["interval"] is None, "of one image"
    for (kind, name), part in by_name.items():
        inside = table.filter(pl.col(f"stratum/{kind}") == name)
        assert len(inside) == part["images"]
        assert inside["mask/iou"].mean() == pytest.approx(part["mean"])
    values = [one["value"] for one in document["worst"]]
    assert values == sorted(table["mask/iou"].to_list())[: len(values)]


def test_of_an_error_the_worst_is_the_largest(run: Path, others: Path) -> None:
    found = br.evaluate(run, others, metric="depth/mae")
    values = [one["value"] for one in found["worst"]]
    assert found["primary"] == "depth/mae"
    assert values == sorted(values, reverse=True)


def test_the_best_threshold_is_that_of_the_run_and_is_said(run: Path, others: Path) -> None:
    stored = json.loads((run / "run.json").read_text())["thresholds"]["best"]
    found = br.evaluate(run, others, threshold="best")
    assert found["mask_threshold"] == stored
    assert f"above {stored[0]:g}" in found["on"]


def test_metric_errors_of_a_relative_network_are_refused_and_aligned_ones_given(data: Path, tmp_path: Path) -> None:
    br.train(data, out=tmp_path / "run", loss="rmse(depth)", network="resunet", resolution=16, epochs=1)
    found = br.evaluate(tmp_path / "run", write_folder(tmp_path / "new", 4, (20, 28), depths=True),
                        depth_scale=0.001, depth_kind="metric")  # fmt: skip
    assert "depth/rmse" not in found["metrics"]
    assert found["metrics"]["depth/rmse@scale_shift"] <= found["metrics"]["depth/rmse@median"] + 1e-9
    assert "share no scale" in found["refused"]["depth/rmse"]
    assert found["primary"] == "depth/rmse@scale_shift"
    with pytest.raises(UsageError, match=r"--metric depth/rmse does not fit"):
        br.evaluate(tmp_path / "run", tmp_path / "new", depth_scale=0.001, depth_kind="metric", metric="depth/rmse")


def test_millimetres_are_brought_to_the_networks_metres(run: Path, others: Path) -> None:
    metres = br.evaluate(run, others)
    millimetres = br.evaluate(run, others, depth_scale=1.0, depth_unit="mm")
    assert millimetres["metrics"]["depth/rmse"] == pytest.approx(metres["metrics"]["depth/rmse"], rel=1e-5)
    assert millimetres["depth_unit"] == "m"


def test_what_was_seen_in_training_is_left_out_and_the_rest_fails_one_by_one(run: Path, data: Path) -> None:
    copy = Path(shutil.copytree(data, run.parent / "copy"))
    (copy / "images" / "03.png").write_bytes((copy / "images" / "03.png").read_bytes()[:100])
    home = br.evaluate(run)
    found = br.evaluate(run, copy)
    assert found["seen"] + found["images"] == 23
    assert list(found["failed"]) == ["03"]
    assert home["images"] - found["images"] in (0, 1)


def test_nothing_is_overwritten_unless_asked(run: Path, others: Path, written: tuple[dict[str, Any], Path]) -> None:
    _, out = written
    before = (out / "evaluation.json").stat().st_mtime_ns
    with pytest.raises(OutputError, match="--overwrite"):
        br.evaluate(run, others, out=out)
    assert (out / "evaluation.json").stat().st_mtime_ns == before
    br.evaluate(run, others, out=out, overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.json", "images.parquet", "report.html"]


def test_what_cannot_be_written_is_said_before_anything_is_scored(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(app_scores, "load", lambda *_, **__: pytest.fail("the network is loaded"))
    for out in ("file", "file/inside"):
        with pytest.raises(OutputError, match=r"file is a file. Choose a folder"):
            br.evaluate(run, out=tmp_path / out)


def test_a_file_without_a_home_needs_data(run: Path, others: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = app_scores.load
    monkeypatch.setattr(
        app_scores, "load", lambda *path, **options: dataclasses.replace(load(*path, **options), home=None)
    )
    with pytest.raises(UsageError, match="carries no data"):
        br.evaluate(run)
    found = br.evaluate(run, others, depth_scale=0.001)
    assert found["seen"] == 0
    assert "does not tell which were seen" in found["on"]


def test_the_command_shows_intervals_and_what_was_refused(
    capsys: pytest.CaptureFixture[str], run: Path, others: Path, tmp_path: Path
) -> None:
    code, printed, _ = command(capsys, "evaluate", run, others, "--out", tmp_path / "o")
    assert code == 0
    assert "95 % interval" in printed
    assert "of another seed's training they say nothing" in printed
    assert "Empty true masks among 32 images: 1" in printed
    code, printed, error = command(capsys, "evaluate", run, others, "--metric", "mask/nothing")
    assert code == 2
    assert "mask/nothing" in error
    code, _, error = command(capsys, "evaluate", run, "--threshold", "much")
    assert code == 2
    assert "--threshold much" in error
    code, printed, _ = command(capsys, "evaluate", run, others, "--json")
    assert json.loads(printed, parse_constant=pytest.fail)["images"] == 32
