from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from basrelief.errors import DataError, OutputError
from basrelief.files import read_json, read_yaml, write_atomic, write_json, write_text, write_together
from basrelief.seeding import stream, stream_seed


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": math.nan})

    def broken(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        write_atomic(path, broken)
    assert read_json(path) == {"a": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["result.json"]


def test_json_of_another_kind_is_named(tmp_path: Path) -> None:
    for text in ("[1]", "{", "", "[" * 100_000):
        write_text(tmp_path / "x.json", text)
        with pytest.raises(DataError, match=r"x\.json"):
            read_json(tmp_path / "x.json")
    with pytest.raises(DataError, match=r"y\.json is not there"):
        read_json(tmp_path / "y.json")


def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file"):
        write_text(tmp_path / "file" / "inside.txt", "y")


def test_streams_of_a_seed_are_their_own() -> None:
    draws = {
        (seed, name, i): stream_seed(seed, name, i) for seed in (0, 1) for name in ("order", "weights") for i in (0, 1)
    }
    assert len(set(draws.values())) == len(draws)
    assert np.array_equal(stream(3, "order", 1).permutation(50), stream(3, "order", 1).permutation(50))


def test_json_with_words_that_are_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text('{"depth_max": NaN}')
    with pytest.raises(DataError, match="NaN"):
        read_json(tmp_path / "facts.json")


def test_files_written_together_appear_all_or_none(tmp_path: Path) -> None:
    first, second = tmp_path / "images.parquet", tmp_path / "evaluation.json"

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"No space left to write .*evaluation\.json"):
        write_together({first: lambda temporary: temporary.write_text("whole"), second: full})
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_command_left_of_a_file_is_swept_but_not_what_a_living_one_writes(tmp_path: Path) -> None:
    path = tmp_path / "page[1].html"
    (tmp_path / ".partial-page[1].html-killed.html").touch()
    (tmp_path / ".partial-other.html-killed.html").touch()

    def write_another(temporary: Path) -> None:
        write_text(path, "another", sweep=True)
        assert temporary.exists()
        temporary.write_text("first")

    write_atomic(path, write_another, sweep=True)
    assert path.read_text() == "first"
    assert sorted(item.name for item in tmp_path.iterdir()) == [".partial-other.html-killed.html", "page[1].html"]


@pytest.mark.parametrize(
    "words",
    [
        "a: !!bool x",
        "a: !!int ''", "a: !!float ''", "a: !!timestamp x",
        "!!python/object/apply:os.system ['true']",
        "a: 0000-01-01",
        "&a {<<: *a}", "[" * 100_000, "{a: " * 5_000, "? [a]\n: 1", "a: \0",
        "a: " + "9" * 5_000, "a: \xff",
        "\n".join(["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 9))]),
        "# " + "x" * 1_000_000,
    ],
)  # fmt: skip
def test_yaml_made_to_do_harm_is_refused_by_name(words: str, tmp_path: Path) -> None:
    """A tag that does not fit was a traceback, and merge keys of merge keys multiplied."""
    (tmp_path / "x.yaml").write_bytes(words.encode("latin-1"))
    with pytest.raises(DataError, match=r"x\.yaml cannot be read"):
        read_yaml(tmp_path / "x.yaml")


def test_yaml_numbers_in_base_60_stay_text(tmp_path: Path) -> None:
    """A megabyte of them was one number, and took minutes."""
    (tmp_path / "x.yaml").write_text("a: 1" + ":1" * 20_000 + "\nb: 12:30\nc: 7\nd: 1:2.5\n")
    found = read_yaml(tmp_path / "x.yaml")
    assert isinstance(found["a"], str)
    assert (found["b"], found["c"], found["d"]) == ("12:30", 7, "1:2.5")


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_a_pipe_in_a_files_place_is_not_waited_for(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(DataError, match=r"run\.json cannot be read"):
        read(tmp_path / "run.json")
