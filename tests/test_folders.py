from __future__ import annotations

import errno
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from basrelief.errors import OutputError
from basrelief.files import write_atomic
from basrelief.folders import new_folder, only_writer


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def stopped() -> None:
        with new_folder(tmp_path / "store") as temporary:
            (temporary / "part").write_text("x")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        stopped()
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "store") as temporary:
        (temporary / "part").write_text("x")
    assert (tmp_path / "store" / "part").read_text() == "x"


def test_what_a_killed_command_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / ".partial-abc.json").write_text("half")
    (tmp_path / ".partial-store").mkdir()
    with only_writer(tmp_path):
        assert not list(tmp_path.rglob(".partial-*"))
        with pytest.raises(OutputError, match="Another basrelief command"), only_writer(tmp_path):
            pass
    with only_writer(tmp_path):
        pass


def test_a_new_folder_removes_what_a_killed_command_left_of_it_and_nothing_else(tmp_path: Path) -> None:
    for name in (".partial-store-abc", ".partial-other-abc"):
        (tmp_path / name).mkdir()
    with new_folder(tmp_path / "store") as temporary:
        (temporary / "shard").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"store", ".partial-other-abc"}


def test_a_second_writer_of_the_same_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with new_folder(tmp_path / "store", replace=True) as temporary:
        with pytest.raises(OutputError, match="at work on"), new_folder(tmp_path / "store", replace=True):
            raise AssertionError
        (temporary / "shard").touch()
    assert (tmp_path / "store" / "shard").exists()


def test_a_folder_that_cannot_be_replaced_is_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "old").touch()
    replace = Path.replace

    def failing(path: Path, target: Path) -> Path:
        if path.name.startswith(".partial-") and any(path.iterdir()) and (path / "new").exists():
            raise PermissionError(errno.EACCES, "no", str(path))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", failing)
    monkeypatch.setattr("basrelief.folders._swap", lambda one, other: False)  # as where the system knows no exchange

    def write() -> None:
        with new_folder(tmp_path / "store", replace=True) as temporary:
            (temporary / "new").touch()

    with pytest.raises(OutputError):
        write()
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["old"]


def test_a_folder_that_no_system_makes_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be made"), only_writer(tmp_path / ("a" * 300)):
        pass


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere folders are exchanged in two steps")
def test_a_folder_that_is_replaced_is_never_gone(tmp_path: Path) -> None:
    place = tmp_path / "store"
    missing, done = [], threading.Event()

    def look() -> None:
        while not done.is_set():
            if not (place / "facts").exists():
                missing.append(1)

    with new_folder(place) as temporary:
        (temporary / "facts").touch()
    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(100):
        with new_folder(place, replace=True) as temporary:
            (temporary / "facts").touch()
    done.set()
    watcher.join()
    assert not missing
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_many_that_begin_one_folder_at_once_leave_one_whole(tmp_path: Path) -> None:
    """Each is refused, or its folder appears; none takes away what another has just begun."""
    place, ends = tmp_path / "store", []
    start = threading.Barrier(4)

    def make(name: str) -> None:
        for _ in range(25):
            start.wait(60)
            try:
                with new_folder(place, replace=True) as temporary:
                    (temporary / name).touch()
                ends.append("made")
            except OutputError as error:
                ends.append(str(error))

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(make, str(number)) for number in range(4)]:
            future.result(60)
    assert ends.count("made") >= 25
    assert all(end == "made" or "at work" in end for end in ends)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert len(list(place.iterdir())) == 1


def test_a_second_writer_leaves_alone_what_the_first_has_not_yet_put_in_place(tmp_path: Path) -> None:
    (tmp_path / ".partial-report.html-killed.html").touch()

    def write_another(temporary: Path) -> None:
        with only_writer(tmp_path):
            assert temporary.exists()
        temporary.write_text("first")

    write_atomic(tmp_path / "report.html", write_another)
    assert sorted(item.name for item in tmp_path.iterdir()) == [".lock", "report.html"]
