"""``basrelief compose`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from basrelief.data import open_source
from commands import run
from materials import write_cutouts, write_depths, write_rooms


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    rooms = write_rooms(tmp_path / "rooms")
    return rooms, write_cutouts(tmp_path / "cutouts"), write_depths(tmp_path / "depths", rooms)


def test_the_recipe_from_options_to_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    rooms, cutouts, depths = folders
    out = tmp_path / "quartets"
    words = ["compose", rooms, cutouts, "--depths", depths, "--depth-scale", "0.001", "--positions", "4", "--mirror"]
    words += ["--out", out, "--limit", "50", "--resolution", "48x64", "--jobs", "1"]
    code, printed, said = run(capsys, *words, "--json")
    assert code == 0, said
    made = json.loads(printed)
    # 5 rooms of 10 composites and 6 of 8 make 50 and 48; two thirds of the rooms and more may be taken.
    assert (made["count"], made["backgrounds"], made["composites_per_background"]) == (50, 5, 10)
    assert sum(made["splits"].values()) == 50
    assert made["depth"] == {"scale": 0.001, "unit": "m", "kind": "metric", "invalid": [0]}
    assert made["next"] == f"basrelief inspect {out}"
    code, printed, _ = run(capsys, "inspect", out, "--json")
    assert code == 0
    found = json.loads(printed)
    assert (found["format"], found["samples"], found["usable"]) == ("quartets-a", 50, 50)
    assert (found["depth_unit"], found["faults"], found["empty_masks"]) == ("m", [], 0)
    assert found["splits"] == made["splits"]
    facts = json.loads((out / "basrelief.json").read_text())
    assert facts["versions"]["basrelief"]
    assert facts["settings"]["resolution"] == [48, 64]
    code, printed, _ = run(capsys, *words)  # again, in words
    assert code == 0
    assert "50 composites (train " in printed
    assert "The set was finished before" in printed
    assert "of 5 backgrounds and" in printed
    assert "Look at them: basrelief inspect" in printed


def test_what_is_wrong_is_one_message(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    rooms, cutouts, _ = folders
    Image.new("RGB", (50, 50), "white").save(cutouts / "box.png")
    code, printed, said = run(capsys, "compose", rooms, cutouts, "--out", tmp_path / "out", "--json")
    assert code == 1
    assert "box.png: is wholly opaque" in json.loads(printed)["error"]
    assert "--skip-broken" in said
    code, printed, said = run(
        capsys, "compose", rooms, cutouts, "--out", tmp_path / "out", "--skip-broken", "--jobs", "1"
    )
    assert code == 0
    assert "1 file left out (--skip-broken)" in printed
    assert "box.png: is wholly opaque" in said
    for words, told in (
        (["--depth-invalid", "x"], "--depth-invalid 'x': expected numbers"),
        (["--depth-scale", "0"], "--depth-scale"),
        (["--resolution", "big"], "--resolution 'big'"),
        (["--layout", "d"], "Unknown layout 'd'"),
    ):
        code, _, said = run(capsys, "compose", rooms, cutouts, "--out", tmp_path / "new", *words)
        assert code == 2, words
        assert told in said
        assert not (tmp_path / "new").exists()
    code, _, said = run(capsys, "compose", rooms, tmp_path / "nowhere", "--out", tmp_path / "new")
    assert code == 1
    assert "nowhere is not there" in said


def test_a_store_is_written_with_pack(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    rooms, cutouts, _ = folders
    code, printed, said = run(capsys, "compose", rooms, cutouts, "--out", tmp_path / "store", "--pack", "--json")
    assert code == 0, said
    assert json.loads(printed)["layout"] == "store"
    assert (tmp_path / "store" / "store.json").exists()


def test_the_documented_files_are_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    rooms, cutouts, depths = folders
    wanted = {
        "a": {"bg", "bg_fg", "bg_fg_mask", "bg_fg_depth_map", "file_map.txt"},
        "b": {"bg", "bg_fg", "mask", "depth"},
        "c": {"Background", "data_part1.zip", "labels.txt"},
    }
    for layout, names in wanted.items():
        out = tmp_path / layout
        words = ["--depths", depths, "--depth-scale", "0.001", "--layout", layout, "--out", out, "--jobs", "1"]
        assert run(capsys, "compose", rooms, cutouts, *words)[0] == 0
        there = {item.name for item in out.iterdir() if not item.name.startswith(".")}
        assert there == names | {"basrelief.json", "samples.csv"}
        assert len(open_source(str(out)).entries) == 24
