"""The method's own validation: fast here, at full length where slow tests run."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("verdict_benchmark", BENCHMARKS / "verdict.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "verdict_benchmark", module)
    spec.loader.exec_module(module)
    return module


def test_a_quick_validation_keeps_every_limit(benchmark_module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark_module.main(["--quick", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["faults"] == []
    worst = {row["regime"]: row["coverage"] for row in results["coverage"]}
    # What REFERENCE-like studies found of the usual methods shows here too, so the simulation is no easy one.
    assert worst["10 seeds, image noise rules"]["t over seeds"] < 0.7
    assert worst["3 seeds, seed noise rules"]["images only"] < 0.6


def test_limits_that_are_not_kept_are_told(benchmark_module: ModuleType) -> None:
    coverage = {"regime": "bad", "asked": True, "coverage": {"verdict": 0.9}}
    family = {
        "family": "worse", "gap": True, "steps": 0.7, "most_steps": 1.1,
        "full": {"wrong_5": 0.2, "wrong": 0.0}, "race": {"wrong": 0.2},
    }  # fmt: skip
    told = benchmark_module.faults({"coverage": [coverage], "families": [family]}, 3000, quick=False)
    assert len(told) == 5


@pytest.mark.slow
def test_the_full_validation_keeps_every_limit(benchmark_module: ModuleType) -> None:
    assert benchmark_module.main([]) == 0
