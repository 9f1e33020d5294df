"""What a study's directory says, from real trainings: strata, behaviour, costs, and the table of all scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import basrelief as br
from basrelief.studies.behaviour import step_costs
from basrelief.studies.results import collect
from basrelief.studies.stored import reopen

SMALL: dict[str, Any] = {
    "network": "masknet", "resolution": 16, "epochs": 4, "seeds": 2, "lr": 1e-2, "precision": "fp32",
    "losses": ("bce(mask) + dice(mask)", "dice(mask)"),
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collect") / "study"
    br.study("scenes:60", out=folder, **SMALL)
    return folder


def test_strata_and_behaviour_come_from_the_store_and_the_histories(study: Path) -> None:
    document = json.loads((study / "verdict.json").read_text())
    kinds = [entry["kind"] for entry in document["strata"]]
    assert set(kinds) == {"figure", "depth"}
    test_images = (pl.read_csv(study / "splits.csv")["split"] == "test").sum()
    for kind in ("figure", "depth"):
        assert sum(entry["images"] for entry in document["strata"] if entry["kind"] == kind) == test_images
    both, dice = document["behaviour"]
    assert (both["trainings"], both["epochs"]) == (2, 4)
    assert [row["term"] for row in both["shares"]] == ["bce(mask)", "dice(mask)"]
    assert sum(row["first"] for row in both["shares"]) == pytest.approx(1)
    assert dice["shares"] == [{"term": "dice(mask)", "first": pytest.approx(1), "last": pytest.approx(1)}]
    assert document["chosen_on_val"] in SMALL["losses"]
    metrics = [row["metric"] for row in document["ranking"]["metrics"]]
    assert metrics[0] == "mask/iou"
    assert {"mask/dice", "mask/recall", "mask/ece"} <= set(metrics)
    assert len(metrics) == len(set(metrics))


def test_no_time_is_in_the_verdict_and_steps_are_timed_beside_it(study: Path) -> None:
    text = (study / "verdict.json").read_text()
    assert "seconds" not in text
    assert "_ms" not in text
    costs = step_costs(collect(study, reopen(study)))
    assert [entry["name"] for entry in costs] == list(SMALL["losses"])
    assert all(entry["step_ms"] > 0 for entry in costs)
    assert all(entry["memory_kind"] == "counted" for entry in costs)
    assert costs[0]["step_memory"] > costs[1]["step_memory"] > 100_000  # two terms keep more than one


def test_the_studys_table_joins_the_trials_own(study: Path) -> None:
    table = pl.read_parquet(study / "scores.parquet")
    assert table.columns[:6] == ["loss", "seed", "split", "id", "group", "row"]
    trial = pl.read_parquet(study / "trials" / "01-dice-mask" / "seed-1" / "scores.parquet")
    part = table.filter((pl.col("loss") == "dice(mask)") & (pl.col("seed") == 1))
    assert part.select(trial.columns).equals(trial)
    groups = pl.read_csv(study / "splits.csv")
    by_id = dict(zip(groups["id"], groups["group"], strict=True))
    assert part["group"].to_list() == [by_id[name] for name in part["id"]]
    assert table.height == 4 * trial.height


def test_scores_in_memory_are_those_of_the_table(study: Path) -> None:
    results = collect(study, reopen(study))
    test = pl.read_parquet(study / "scores.parquet").filter(pl.col("split") == "test").sort("row")
    for metric in ("mask/iou", "mask/ece"):
        for place, seed in enumerate(results.seeds_of("dice(mask)")):
            part = test.filter((pl.col("loss") == "dice(mask)") & (pl.col("seed") == seed))
            assert results.scores.matrix("dice(mask)", metric)[place] == pytest.approx(part[metric].to_numpy())
            assert results.scores.rows().tolist() == part["row"].to_list()
            assert results.scores.groups().tolist() == part["group"].to_list()
            assert [results.scores.ids[row] for row in results.scores.rows()] == part["id"].to_list()
