"""Trials run anywhere leave the same bits, and whatever dies, none runs twice and none is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

import basrelief as br
import killing
from basrelief.app import Quiet
from basrelief.config import WatchSettings
from basrelief.errors import MissingExtraError, OutOfMemoryError, OutputError
from basrelief.files import read_json
from basrelief.folders import only_writer
from basrelief.studies import local
from basrelief.studies.plan import Trial
from basrelief.studies.stored import reopen
from basrelief.studies.trials import train_trial
from basrelief.studies.watcher import Running
from support import write_folder


class Heard(Quiet):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.rows: list[Running] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def trial(self, number: int, total: int, trial: Trial, outcome: str) -> None:
        self.said.append(f"[{number}/{total}] {outcome}")

    def running(self, trials: Sequence[Running], left: float | None) -> None:
        self.rows += trials


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "discs")


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, one training after another in this process."""
    out = tmp_path_factory.mktemp("alone") / "s"
    br.study(data, out=out, jobs=1, **killing.SETTINGS)
    return out


def assert_same(out: Path, other: Path) -> None:
    assert (out / "verdict.json").read_bytes() == (other / "verdict.json").read_bytes()
    assert killing.digests(out) == killing.digests(other)
    assert len(killing.digests(out)) == 4


def test_two_at_once_leave_the_same_bits_as_one_after_another(data: Path, alone: Path, tmp_path: Path) -> None:
    heard = Heard()
    br.study(data, out=tmp_path / "s", jobs=2, watcher=heard, **killing.SETTINGS)
    assert_same(tmp_path / "s", alone)
    ended = [text for text in heard.said if text.startswith("[") and "finished" in text]
    assert [text[:5] for text in ended] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert {row.epochs for row in heard.rows} == {4}
    plan = read_json(tmp_path / "s" / "plan.json")["plan"]
    assert plan["jobs"] == 2
    assert "Trainings at once: 2, with 1 thread each (as asked)." in plan["said"]
    again = Heard()
    br.study(data, out=tmp_path / "s", jobs=2, watcher=again, **killing.SETTINGS)
    assert [text for text in again.said if text.startswith("[")] == [f"[{n}/4] kept" for n in (1, 2, 3, 4)]


def test_memory_that_runs_out_makes_fewer_at_once_and_costs_no_trial(
    data: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    monkeypatch.setattr(local, "_train", killing.hungry)
    br.study(data, out=tmp_path / "s", jobs=2, watcher=heard, **killing.SETTINGS)
    assert "Out of memory on cpu. Going on with 1 at once from what was saved." in heard.said
    for tried in (tmp_path / "s").rglob("tried"):
        tried.unlink()
    assert_same(tmp_path / "s", alone)


def test_memory_that_one_alone_lacks_is_said_as_it_is(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_train", killing.starving)
    with pytest.raises(OutOfMemoryError, match="masknet at 16x16"):
        br.study(data, out=tmp_path / "s", jobs=2, **killing.SETTINGS)
    assert not killing.finished(tmp_path / "s"), "no trial has failed for it"


def test_an_error_comes_from_another_process_as_what_it_is(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_train", killing.refused)
    with pytest.raises(MissingExtraError, match="This training needs the package 'nothing'"):
        br.study(data, out=tmp_path / "s", jobs=2, **killing.SETTINGS)


def test_a_killed_process_costs_no_trial(data: Path, alone: Path, tmp_path: Path) -> None:
    """As Linux kills one when memory runs out."""
    out, heard, killed = tmp_path / "s", Heard(), []

    def kill_one() -> None:
        until = time.monotonic() + killing.SECONDS
        while not list(out.glob("trials/*/seed-*/run.json")) and time.monotonic() < until:
            time.sleep(0.02)
        workers = [p for p in psutil.Process().children() if "loky.backend.popen_loky" in " ".join(p.cmdline())]
        workers[0].kill()
        killed.append(workers[0].pid)

    killer = threading.Thread(target=kill_one)
    killer.start()
    br.study(data, out=out, jobs=2, watcher=heard, **{**killing.SETTINGS, "checkpoint_every": 0})
    killer.join()
    assert killed
    assert any("One of 2 processes was killed" in text and "Going on with 1" in text for text in heard.said)
    assert_same(out, alone)


def test_a_script_needs_no_guard(data: Path, tmp_path: Path) -> None:
    """As in a notebook; processes that import the script again would start the study again."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import basrelief as br\nprint('begun')\nbr.study({str(data)!r}, out={str(tmp_path / 's')!r}, jobs=2, "
        f"**{ {**killing.SETTINGS, 'epochs': 1} })\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=killing.SECONDS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "begun\n"
    assert len(killing.finished(tmp_path / "s")) == 4


def test_a_trial_that_an_orphan_still_trains_is_waited_for(
    alone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its driver was killed a moment ago, and the same command has been started again."""
    prepared = reopen(alone)
    trial = prepared.plan.trials()[0]
    before = (alone / trial.folder / "run.json").read_bytes()
    orphan = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(alone / trial.folder)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    assert orphan.stdout is not None
    assert orphan.stdout.readline() == "held\n"
    writing = next((alone / trial.folder).glob(".partial-*"))
    with only_writer(alone):
        assert writing.exists(), "what a living process writes is left alone"
    monkeypatch.setattr("basrelief.studies.trials.PATIENCE", 0.2)
    with pytest.raises(OutputError, match="at work in"):
        train_trial(alone, prepared, trial, WATCH, Quiet())
    monkeypatch.setattr("basrelief.studies.trials.PATIENCE", 60.0)
    threading.Timer(0.3, orphan.kill).start()
    assert train_trial(alone, prepared, trial, WATCH, Quiet()).startswith("finished")
    assert (alone / trial.folder / "run.json").read_bytes() == before
    assert not writing.exists()
    orphan.communicate()


WATCH = WatchSettings(tracker=("none",))
HOLDS = """
import sys, time
from pathlib import Path
from basrelief.folders import only_writer
with only_writer(Path(sys.argv[1])):
    (Path(sys.argv[1]) / ".partial-history.csv").touch()
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_study_that_is_killed_and_stopped_is_finished_by_the_same_command(
    data: Path, alone: Path, tmp_path: Path
) -> None:
    killing.interrupted(data, tmp_path / "s", alone, 2, 0, "--jobs", "2")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_killed_at_any_moment(jobs: str, seed: int, data: Path, alone: Path, tmp_path: Path) -> None:
    killing.interrupted(data, tmp_path / "s", alone, 3, 100 * int(jobs) + seed, "--jobs", jobs)


def test_ctrl_c_says_how_to_go_on_and_leaves_nothing_running(data: Path, tmp_path: Path) -> None:
    process = killing.start(data, tmp_path / "s", "--jobs", "2", "--epochs", "400")
    killing.wait_until_begun(process, tmp_path / "s", 2)
    said = killing.end(process, signal.SIGINT)
    assert process.returncode == 1
    assert said.endswith("basrelief: Stopped. The same command goes on from whatever was finished.\n")
    assert "Traceback" not in said
    assert not psutil.pid_exists(process.pid)
