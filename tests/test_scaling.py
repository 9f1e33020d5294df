"""The arithmetic and the simulation of docs/scaling.md, on costs that are made up, so that the answers are known."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NETWORK = {"precision": "fp32", "step": 0.01, "evaluate": 0.005, "weights": 4, "checkpoint": 12, "parameters": 1}
PLANES = {"image": 12288.0, "background": 12288.0, "mask": 512.0, "depth": 8192.0, "rows": 21845.0, "shard": 2.0**28}
COSTS = {
    "machine": "made up",
    "side": 64,
    "effort": {"count": 96, "batch": 16, "repeats": 3},
    "compose": {"64": 0.01},
    "pack": {"64": 0.001},
    "gather": {"64": 1e-5},
    "bytes": {"64": PLANES},
    "file_bytes": 30_000.0,
    "networks": {"relief": NETWORK},
    "lists": {n: {"1000": {"bytes": 1e5}} for n in ("entries", "index", "split", "names", "disk")},
    "maps": 65530,
}


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import scaling

    yield scaling
    for name in ("scaling", "scaling_study"):
        sys.modules.pop(name, None)


def test_a_simulated_study_without_trouble_takes_what_the_arithmetic_says(scaling: ModuleType) -> None:
    for hosts, each in ((1, 1), (3, 2), (64, 1)):
        world = scaling.World(hosts, each, spread=0.0, losses=(1.0,) * 4, start=0.0)
        found = scaling.simulate(2.0, 5, world, seed=0)
        assert found.hours == pytest.approx(scaling.arithmetic(2.0, 20, world))
        assert (found.again, found.given_up) == (0, 0)
        assert found.work == pytest.approx(40.0)


def test_lost_hosts_cost_what_was_done_since_the_last_checkpoint(scaling: ModuleType) -> None:
    world = scaling.World(4, spread=0.0, losses=(1.0,) * 4, start=0.0, lost_every=8.0, back=0.5, checkpoint=0.25)
    for seed in range(20):
        found = scaling.simulate(2.0, 5, world, seed)
        if not found.given_up:
            assert 40.0 - 1e-9 <= found.work <= 40.0 + 0.25 * found.again + 1e-9
            assert found.hours >= 10.0 - 1e-9


def test_a_trial_whose_hosts_are_lost_again_and_again_is_given_up(scaling: ModuleType) -> None:
    found = scaling.simulate(100.0, 1, scaling.World(2, spread=0.0, lost_every=0.1, back=0.01, checkpoint=1e9), seed=0)
    assert found.given_up == 1
    assert found.again == scaling.RETRIES


def test_what_takes_longest_is_named_the_bottleneck(scaling: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(json.dumps(COSTS))
    costs = scaling.read_costs(tmp_path / "costs.json")
    place = scaling.Place(hosts=2, cores=10)
    made = scaling.compose(costs, place, 36_000_000, 64)
    assert (made.bottleneck, made.rate) == ("cores", pytest.approx(2000))
    assert made.hours == pytest.approx(5.0)
    assert scaling.compose(costs, scaling.Place(network=3e4, cores=10), 1000, 64).bottleneck == "network"
    slow = scaling.Place(cores=64, memory=1e9, disk=1e6)
    assert scaling.training(costs, slow, 10**6, 64, "relief").bottleneck == "disk, bytes"
    assert scaling.training(costs, scaling.Place(), 10**6, 64, "relief").bottleneck == "cores"


def test_the_page_is_written_between_its_marks(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(json.dumps(COSTS))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- made by benchmarks/scaling.py -->\nSTALE\n<!-- end of what is made -->\nafter\n")
    words = [sys.executable, str(BENCHMARKS / "scaling.py"), "--costs", str(tmp_path / "costs.json")]
    for _ in range(2):
        subprocess.run([*words, "--net", "relief", "--write", str(page)], check=True)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("-->\nafter\n")
    assert "STALE" not in text
    assert "| 4·10⁸ | 64 |" in text
    done = subprocess.run([*words, "--gpus", "8", "--net", "relief"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "--gpu-rate" in done.stderr
