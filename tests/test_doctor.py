"""The doctor: honest about what is there, whole where packages are missing, and leaving nothing behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from basrelief import app_doctor
from basrelief.checkup import packages, speeds, surroundings
from commands import run

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def names(lines: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines}


def test_its_tables_are_those_of_the_installation() -> None:
    assert set(packages.CORE) == names(PROJECT["dependencies"])
    extras = {name: names(lines) for name, lines in PROJECT["optional-dependencies"].items()}
    assert {name: set(extra.packages) for name, extra in packages.EXTRAS.items()} == {
        name: wanted for name, wanted in extras.items() if name not in ("all", "dev")
    }


def test_a_healthy_machine_in_one_document(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed, _ = run(capsys, "doctor", "--quick", "--json")
    document = json.loads(printed)
    assert code == 0
    assert document["healthy"] is True
    assert document["speeds"] is None
    assert {line["name"] for line in document["packages"] if line["why"] is None} == set(packages.CORE)
    assert document["versions"]["definitions"] >= 1
    assert document["devices"][0]["device"] == "cpu"
    assert document["surroundings"]["memory"] > 0
    assert not list(tmp_path.iterdir())


def test_without_a_core_package_it_says_so_and_ends_with_1(tmp_path: Path) -> None:
    """In a process where torch and rich cannot be imported, whoever asks for them."""
    script = (
        "import sys; sys.modules['torch'] = None; sys.modules['rich'] = None; "
        "sys.argv = ['basrelief', 'doctor', '--no-speed']; from basrelief.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "The package torch" in done.stdout
    assert 'pip install --upgrade "torch' in done.stdout
    assert "Basrelief cannot train here" in done.stdout
    assert "Traceback" not in done.stderr


def test_it_fits_80_columns_and_commands_stay_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    wanted = "predict with videos, " * 5
    monkeypatch.setattr(packages, "EXTRAS", {"video": packages.Extra(wanted, {"no-such-package": "no_such_module"})})
    _, printed, _ = run(capsys, "doctor", "--quick")
    lines = printed.splitlines()
    assert '    pip install "basrelief[video]"' in lines
    assert max(map(len, lines)) <= 80


def test_a_missing_extra_is_named_with_the_command_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = packages.Extra("predict with videos", {"no-such-package": "no_such_module"})
    monkeypatch.setattr(packages, "EXTRAS", {"video": extra})
    (line,) = packages.check_extras()
    assert line["installed"] is False
    assert line["packages"][0]["why"] == "is not installed"
    assert line["install"] == 'pip install "basrelief[video]"'


def test_a_package_that_is_too_old_or_breaks_as_it_loads_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_for_doctor.py").write_text("raise OSError('libnothing.so is not there')")
    monkeypatch.syspath_prepend(tmp_path)
    assert "libnothing.so" in str(packages._why("broken_for_doctor", "1.0", "", load=True))
    assert packages._why("json", "1.0", ">=2", load=True) == "is 1.0, and >=2 is needed"
    assert packages._why("json", "2.1", ">=2", load=True) is None


def test_what_is_short_is_said_with_a_remedy(tmp_path: Path) -> None:
    around = surroundings.look_around(tmp_path) | {
        "memory_left_in_container": 10**8,
        "disk_free": 10**8,
        "open_files": 256,
        "shared_memory": 10**6,
        "browser": None,
        "writable": False,
        "load": 64.0 * (os.cpu_count() or 1),
    }
    said = [finding["what"] + finding["do"] for finding in app_doctor._of_surroundings(around)]
    for word in ("--batch-size", "--out", "disk", "ulimit -n", "--shm-size", "--to html", "processes shared"):
        assert any(word in line for line in said), word


def test_speeds_are_measured_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speeds, "SIDE", 64)
    monkeypatch.setattr(speeds, "FILE", 1 << 20)
    monkeypatch.setattr(speeds, "BATCH", 2)
    monkeypatch.setattr(speeds, "RESOLUTION", 16)
    found = speeds.measure_speeds(tmp_path)
    assert not [line for line in found.values() if line["failed"]]
    assert all(found[name]["value"] > 0 for name in ("matmul_fp32", "training", "disk_write", "disk_read", "jpeg"))
    assert not list(tmp_path.iterdir())


def test_a_speed_that_cannot_be_measured_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {name: line for name, line in speeds.SPEEDS.items() if name == "disk_write"}
    monkeypatch.setattr(speeds, "SPEEDS", lines)
    found = app_doctor.doctor(folder=tmp_path / "not there")
    assert found["speeds"]["disk_write"]["value"] is None
    assert any("disk_write" in finding["what"] for finding in found["findings"])
    assert not list(tmp_path.iterdir())
