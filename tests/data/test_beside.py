"""Facts beside the data: they fill in what the user did not say, and a damaged file is an error, never a guess."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from basrelief.composing.run import compose_data
from basrelief.data import open_source
from basrelief.data.beside import with_facts, with_samples
from basrelief.data.source import DataOptions, Entry, Source
from basrelief.errors import DataError
from materials import materials
from support import write_folder

GOOD = {
    "made_by": "basrelief compose",
    "version": 1,
    "finished": True,
    "format": "quartets-a",
    "depth_scale": 0.001,
    "depth_unit": "m",
    "depth_kind": "metric",
    "depth_invalid": [0],
    "mask_figure_from": 128,
}


def put(folder: Path, facts: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "basrelief.json").write_text(facts if isinstance(facts, str) else json.dumps(facts))
    return str(folder)


def listed(folder: Path, table: str) -> Source:
    put(folder, {**GOOD, "samples": "samples.csv"})
    (folder / "samples.csv").write_text(table)
    source = Source("folder", str(folder), (Entry("a"), Entry("b")), ("mask",), load=lambda entry: None)  # type: ignore[arg-type,return-value]
    return with_samples(str(folder), source)


def test_facts_fill_in_what_was_not_said(tmp_path: Path) -> None:
    options = with_facts(put(tmp_path, GOOD), DataOptions(seed=7))
    assert (options.format, options.depth_scale, options.depth_unit) == ("quartets-a", 0.001, "m")
    assert (options.depth_kind, options.depth_invalid, options.seed) == ("metric", (0.0,), 7)
    assert options.mask_map is not None
    assert {value for value, name in options.mask_map.items() if name == "figure"} == set(range(128, 256))
    assert set(options.mask_map) == set(range(256))


def test_what_the_user_says_comes_first(tmp_path: Path) -> None:
    said = DataOptions("folder", True, 0.5, "ft", "relative", (7.0,), mask_map={255: "cup"})
    assert with_facts(put(tmp_path, GOOD), said) == said
    turned = with_facts(put(tmp_path, GOOD), DataOptions(invert_masks=True))
    assert turned.mask_map is None


def test_a_folder_without_facts_and_generated_data_are_left_alone(tmp_path: Path) -> None:
    options = DataOptions()
    for location in (str(tmp_path), "scenes:8", str(tmp_path / "nowhere"), str(Path(__file__))):
        assert with_facts(location, options) is options
    source = open_source(str(write_folder(tmp_path / "discs", 4)))
    assert [entry.split for entry in source.entries] == [None] * 4


def test_anyone_may_write_the_facts_of_their_own_data(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "discs", 4, depths=True)
    put(folder, {"depth_scale": 0.001, "depth_unit": "m", "samples": "samples.csv"})
    (folder / "samples.csv").write_text(
        "id,background,foreground,split\n" + "".join(f"{i:02d},,cup,\n" for i in range(4))
    )
    source = open_source(str(folder))
    assert source.depth_unit == "m"
    assert [entry.foreground for entry in source.entries] == ["cup"] * 4
    assert np.nanmax(source.load(source.entries[0]).depth) < 3  # type: ignore[arg-type]


def test_the_only_folder_of_an_unpacked_archive_is_looked_into(tmp_path: Path) -> None:
    put(tmp_path / "set", GOOD)
    assert with_facts(str(tmp_path), DataOptions()).depth_unit == "m"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "cannot be read as JSON"),
        ({**GOOD, "version": 2}, "another version"),
        ({**GOOD, "finished": False}, "is not finished.*Run the same command again"),
        ({**GOOD, "depth_scale": "0.001"}, "depth_scale is '0.001'"),
        ({**GOOD, "depth_invalid": 0}, "depth_invalid is 0"),
        ({**GOOD, "depth_invalid": [None]}, "depth_invalid is None"),
        ({**GOOD, "depth_unit": 1}, "depth_unit is 1"),
        ({**GOOD, "mask_figure_from": True}, "mask_figure_from is True"),
    ],
)
def test_damaged_facts_are_refused_by_name(tmp_path: Path, facts: Any, told: str) -> None:
    with pytest.raises(DataError, match=rf"(?s){tmp_path.name}.*{told}"):
        with_facts(put(tmp_path, facts), DataOptions())


def test_samples_name_group_foreground_and_split(tmp_path: Path) -> None:
    source = listed(tmp_path, "id,background,foreground,split\nb,room 2,cup,val\na,room 1,,\n")
    assert source.entries == (Entry("a", {}, "room 1"), Entry("b", {}, "room 2", "cup", "val"))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("id,background,foreground,split\na,x,y,train\n", "lacks the sample 'b'"),
        ("id,background,split\na,x,train\n", "has no column 'foreground'"),
        ("", "has no column 'id'"),
        ("id,background,foreground,split\na,x,y,trian\n", "the split of 'a' is 'trian'"),
        ("id,background,foreground,split\na,x\n", "is cut short"),
    ],
)
def test_a_damaged_table_of_samples_is_refused_by_name(tmp_path: Path, table: str, told: str) -> None:
    with pytest.raises(DataError, match=rf"samples\.csv.*{told}"):
        listed(tmp_path, table)


def test_a_missing_or_unreadable_table_is_refused(tmp_path: Path) -> None:
    source = listed(tmp_path, "id,background,foreground,split\na,x,y,\nb,x,y,\n")
    (tmp_path / "samples.csv").write_bytes(b"id,background,foreground,split\n\xff\xfe,x,y,z\n")
    with pytest.raises(DataError, match=r"samples\.csv cannot be read"):
        with_samples(str(tmp_path), source)
    (tmp_path / "samples.csv").unlink()
    with pytest.raises(DataError, match=r"samples\.csv is not there"):
        with_samples(str(tmp_path), source)


def test_a_composed_folder_is_data_without_options_and_the_users_options_still_count(tmp_path: Path) -> None:
    compose_data(materials(tmp_path, depths=True), tmp_path / "out", jobs=1)
    source = open_source(str(tmp_path / "out"))
    assert (source.depth_unit, source.depth_kind) == ("m", "metric")
    assert {entry.split for entry in source.entries} == {"train", "val", "test"}
    assert not [note for note in source.notes if "foregrounds" in note], "they are named, and recur in no other split"
    other = open_source(str(tmp_path / "out"), DataOptions(depth_scale=0.01, depth_unit="dm", background=False))
    assert (other.depth_unit, other.background) == ("dm", False)
    a, b = source.load(source.entries[0]).depth, other.load(other.entries[0]).depth
    assert a is not None
    assert b is not None
    assert b[-1, -1] == pytest.approx(10 * a[-1, -1])
    assert replace(other.entries[0], planes={}) == replace(source.entries[0], planes={})


@pytest.mark.parametrize(
    "said", [{"depth_scale": 10**400}, {"depth_invalid": [10**400]}, {"samples": "a\0b"}], ids=list
)
def test_facts_beyond_all_reason_are_refused(tmp_path: Path, said: dict[str, object]) -> None:
    source = listed(tmp_path, "id,background,foreground,split\na,x,y,\nb,x,y,\n")
    path = tmp_path / "basrelief.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    with pytest.raises(DataError, match="makes no sense"):
        with_facts(str(tmp_path), DataOptions()) if "samples" not in said else with_samples(str(tmp_path), source)
