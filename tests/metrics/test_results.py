"""What the metrics leave in the files of runs and studies, and one with an alignment deciding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import basrelief as br
from basrelief import app
from basrelief.metrics import DEFINITIONS_VERSION, METRICS
from support import write_folder

METRIC = "depth/rmse@median"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two losses on six discs with depth, of which some masks are empty, decided by an aligned error."""
    place = tmp_path_factory.mktemp("study")
    data = write_folder(place / "data", 12, depths=True)
    for path in sorted((data / "masks").iterdir())[::3]:
        Image.fromarray(np.zeros((24, 32), np.uint8)).save(path)
    verdict = br.study(
        data,
        out=place / "out",
        losses=("bce(mask) + rmse(depth)", "bce(mask) + l1(depth)"),
        metric=METRIC,
        network="resunet",
        resolution=(16, 24),
        epochs=2,
        seeds=1,
        depth_scale=0.001,
        depth_unit="m",
        split="60/20/20",
    )
    return place / "out", verdict


def test_a_metric_with_an_alignment_decides(study: tuple[Path, dict[str, Any]]) -> None:
    folder, verdict = study
    assert verdict["primary"] == METRIC
    assert verdict["better"] == "lower"
    assert all(row["mean"] > 0 for row in verdict["losses"])
    assert all(METRIC in scores for scores in verdict["baselines"].values())
    run = json.loads(next(folder.glob("trials/*/seed-0/run.json")).read_text())
    assert len(run["curve"]) == 2
    assert None not in run["curve"]
    assert " m" in verdict["summary"]


def test_every_result_carries_the_version_of_the_definitions(study: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = study
    documents = [folder / "verdict.json", *folder.glob("trials/*/seed-0/run.json")]
    assert len(documents) == 3
    for path in documents:
        assert json.loads(path.read_text())["definitions"] == DEFINITIONS_VERSION == 2, path
    tables = [folder / "scores.parquet", *folder.glob("trials/*/seed-0/scores.parquet")]
    assert len(tables) == 3
    for path in tables:
        assert pl.read_parquet(path)["definitions"].unique().to_list() == [DEFINITIONS_VERSION], path
    assert br.evaluate(folder)["definitions"] == DEFINITIONS_VERSION


def test_images_that_stand_for_a_documented_value_are_counted(study: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = study
    run = json.loads(next(folder.glob("trials/*/seed-0/run.json")).read_text())
    evaluated = br.evaluate(folder)
    assert run["counts"].keys() == {"images", "mask_empty", "mask_unknown", "depth_unknown"}
    assert run["counts"]["images"] == run["samples"]["test"] == evaluated["images"]
    # Of four images in twelve the mask is empty; both look at the same test images.
    assert evaluated["counts"] == run["counts"]
    assert run["counts"]["mask_empty"] <= 4
    assert run["counts"]["mask_unknown"] == run["counts"]["depth_unknown"] == 0


def test_a_run_scores_everything_on_test_and_the_main_metrics_each_epoch(study: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = study
    trial = next(folder.glob("trials/*/seed-0"))
    run = json.loads((trial / "run.json").read_text())
    small = {name for name, spec in METRICS.items() if spec.smallest <= 16}
    assert small <= run["metrics"].keys()
    assert METRIC in run["metrics"]
    columns = pl.read_csv(trial / "history.csv").columns
    assert f"val/{METRIC}" in columns
    assert "val/mask/iou" in columns
    assert "val/mask/ece" not in columns
    scored = pl.read_parquet(trial / "scores.parquet").columns
    assert not any(name.startswith("_") for name in scored)


def test_the_report_keeps_its_first_table_small(study: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = study
    page = (folder / "report.html").read_text()
    first = page[page.index('<table class="losses">') : page.index("</table>")]
    assert METRIC in first
    assert "mask/iou<" in first
    assert "mask/ece" not in first
    assert "mask/ece" in page[page.index('<details class="more">') :]
    app.report(folder, to="markdown")
    assert "## More metrics" in (folder / "report.md").read_text()
