"""What the system refuses, and faults of ours: words for the first, and a traceback for nothing but the second."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from basrelief import app_data, cli
from basrelief.errors import OutputError
from basrelief.files import write_text
from basrelief.folders import new_folder, only_writer
from basrelief.launch import is_neighbour_lost
from commands import run

KINDS = (
    *(errno.EMFILE, errno.ENFILE, errno.EIO, errno.ELOOP, errno.ENOENT, errno.ESTALE, errno.ENOMEM, errno.EBUSY),
    *(errno.EACCES, errno.ENOSPC, errno.EROFS, errno.ENXIO),
)


def raising(error: BaseException):  # type: ignore[no-untyped-def]
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("number", KINDS)
def test_a_refusal_of_the_system_names_the_file_and_never_ends_in_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(app_data, "inspect", raising(OSError(number, os.strerror(number), "/data/a.png")))
    code, printed, said = run(capsys, "inspect", "data", "--json")
    assert code == 1
    assert f"{os.strerror(number)}: /data/a.png." in json.loads(printed)["error"]
    assert cli.REMEDIES.get(number, "") in said


def test_names_in_bytes_and_no_name_at_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_data, "inspect", raising(OSError(errno.EIO, "Input/output error", b"/data/\xff.png")))
    assert "/data/" in run(capsys, "inspect", "data")[2]
    monkeypatch.setattr(app_data, "inspect", raising(OSError(errno.EIO, "Input/output error")))
    assert "a file that was being read or written" in run(capsys, "inspect", "data")[2]


def test_memory_and_packages_are_not_our_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_data, "inspect", raising(MemoryError()))
    assert "Memory does not suffice" in run(capsys, "inspect", "data")[2]
    monkeypatch.setattr(app_data, "inspect", raising(ModuleNotFoundError("No module named 'polars'", name="polars")))
    assert "basrelief doctor" in run(capsys, "inspect", "data")[2]


def test_a_fault_of_ours_says_so_below_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_data, "inspect", raising(KeyError("planes")))
    monkeypatch.setattr(sys, "argv", ["basrelief", "inspect", "data", "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    printed = capsys.readouterr()
    assert end.value.code == 1
    assert "This is a fault in Basrelief" in json.loads(printed.out)["error"]
    assert printed.err.index("Traceback") < printed.err.index("This is a fault in Basrelief")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_a_place_that_cannot_be_made_is_refused_in_words() -> None:
    place = Path("/proc/nowhere/out")
    with pytest.raises(OutputError, match="cannot be made"):
        write_text(place / "a.txt", "a")
    with pytest.raises(OutputError, match="cannot be made"), new_folder(place / "a"):
        pass
    with pytest.raises(OutputError, match="cannot be made"), only_writer(place):
        pass


def test_a_file_that_vanished_while_a_folder_was_made_is_not_called_the_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "a"):
        (tmp_path / "gone.png").read_bytes()


def test_of_several_processes_the_one_that_ended_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1234")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not is_neighbour_lost(lost)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert is_neighbour_lost(lost)
    assert not is_neighbour_lost(RuntimeError("shapes differ"))
