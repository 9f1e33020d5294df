"""Trials on a real Ray cluster of two nodes on this machine: the same bits, also when a node dies in the middle."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import basrelief as br
import killing
from basrelief.config import WatchSettings
from basrelief.errors import DataError, DeviceError, UsageError
from basrelief.studies import on_ray
from basrelief.studies.stored import reopen
from support import write_folder

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "discs")


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "s"
    br.study(data, out=out, jobs=1, **killing.SETTINGS)
    return out


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("node")))
        found = Cluster(initialize_head=True, head_node_args=NODE)
        yield found
        found.shutdown()


def assert_same(out: Path, other: Path) -> None:
    assert (out / "verdict.json").read_bytes() == (other / "verdict.json").read_bytes()
    assert killing.digests(out) == killing.digests(other)


def test_a_node_that_dies_costs_no_trial_and_changes_no_bit(
    cluster: Any, data: Path, alone: Path, tmp_path: Path
) -> None:
    """Both nodes train when it dies; the command says nothing of it but the results."""
    second = cluster.add_node(**NODE)
    process = killing.start(data, tmp_path / "s", "--executor", "ray", "--address", cluster.address, "--json")
    killing.wait_until_begun(process, tmp_path / "s", 2)
    cluster.remove_node(second, allow_graceful=False)
    said = process.communicate(timeout=killing.SECONDS)[1]
    assert process.returncode == 0, said
    assert_same(tmp_path / "s", alone)
    assert len(killing.finished(tmp_path / "s")) == 4


def test_a_study_at_a_url_is_exchanged_through_it(
    cluster: Any, data: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes fetch the data from there, and leave finished trials there; here they work in folders of their own."""
    monkeypatch.chdir(tmp_path)
    url = f"file://{tmp_path}/bucket/s"
    said = killing.run(data, url, "--executor", "ray", "--address", cluster.address, "--jobs", "1")  # type: ignore[arg-type]
    assert_same(tmp_path / "bucket" / "s", alone)
    assert_same(tmp_path / "runs" / "s", alone)
    assert "[4/4]" in said


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_any_moment(seed: int, data: Path, alone: Path, tmp_path: Path) -> None:
    killing.interrupted(data, tmp_path / "s", alone, 3, 300 + seed, "--executor", "ray", "--address", "local")


@pytest.mark.slow
def test_a_killed_and_a_stopped_driver_are_followed_by_another(
    cluster: Any, data: Path, alone: Path, tmp_path: Path
) -> None:
    """On a cluster that lives on, whose processes may still be at work for the driver that is gone."""
    more = ("--executor", "ray", "--address", cluster.address)
    for how in (signal.SIGKILL, signal.SIGTERM):
        process = killing.start(data, tmp_path / "s", *more)
        killing.wait_until_begun(process, tmp_path / "s", 1)
        said = killing.end(process, how)
        assert "Traceback" not in said
    killing.run(data, tmp_path / "s", *more)
    assert_same(tmp_path / "s", alone)


def task(folder: Path, alone: Path, version: str = on_ray.VERSION) -> on_ray.Task:
    plan = hashlib.sha256((alone / "plan.json").read_bytes()).hexdigest()
    trial = reopen(alone).plan.trials()[0]
    return on_ray.Task(folder, plan, version, trial, WatchSettings(tracker=("none",)))


def test_a_node_that_does_not_see_the_study_says_so(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "SEEN_AFTER", 0.0)
    monkeypatch.setattr(on_ray, "end_with", lambda parent: None)
    node, error = on_ray._train(task(tmp_path / "elsewhere" / "s", alone))
    assert isinstance(error, DataError)
    assert f"The node {node} does not see the study's {tmp_path}/elsewhere/s/plan.json" in str(error)
    assert "s3://" in str(error)
    (tmp_path / "plan.json").write_text(json.dumps({"another": "study"}))
    assert "sees another file at" in str(on_ray._train(task(tmp_path, alone))[1])
    assert "Install the same everywhere" in str(on_ray._train(task(alone, alone, "0.0.1"))[1])


def test_what_cannot_be_is_said_before_anything_starts(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="memory://"):
        br.study(data, out="memory://s", executor="ray", **{**killing.SETTINGS, "epochs": 1})
    with pytest.raises(UsageError, match="nowhere"):
        br.study(data, out="nowhere://s", **killing.SETTINGS)
    with pytest.raises(UsageError, match="only a study"):
        br.train(data, out="file:///tmp/s", network="masknet")


def test_no_cluster_at_the_address_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(DeviceError, match=r"--address .*: no Ray cluster answers there"),
        on_ray._cluster(ray, "127.0.0.1:1"),
    ):
        pass
    assert not ray.is_initialized()
