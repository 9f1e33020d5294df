"""Made quartets: as many as asked, composed of what lies beside them, whole or not there, and made once."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basrelief.data import open_source
from basrelief.errors import BasreliefError
from basrelief.files import PARTIAL
from basrelief.recipes import make_data
from basrelief.recipes.made_quartets import MATERIAL, UNSEEN

FEW = {"backgrounds": 3, "foregrounds": 2, "positions": 2, "resolution": 48, "seed": 3}


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every figure on every background, as the write-ups had them, with unseen ones beside."""
    options = {**FEW, "split": "random", "unseen": 1, "jpeg": 90}
    return make_data("quartets", options, tmp_path_factory.mktemp("made"))


def test_crossed_quartets_have_every_figure_on_every_background(crossed: Path) -> None:
    with (crossed / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    cells = {(row["background"], row["foreground"], row["mirror"], row["position"]) for row in rows}
    assert len(rows) == len(cells) == 3 * 2 * 2 * 2  # backgrounds x figures x mirrored x positions
    assert not any(row["split"] for row in rows)  # so that a random split leaks


def test_a_composite_is_its_background_where_no_figure_is(crossed: Path) -> None:
    source = open_source(str(crossed))
    assert source.depth_kind == "relative"
    for entry in source.entries:
        sample = source.load(entry)
        assert sample.background is not None
        assert sample.mask is not None
        assert sample.depth is not None
        with Image.open(entry.planes["mask"]) as picture:
            alpha = np.asarray(picture)
        assert 0 < sample.mask.mean() < 0.3
        # Blocks of 16 px, as JPEG joins colours, without anything of the figure; it smooths across their edges.
        free = (alpha.reshape(3, 16, 3, 16).max((1, 3)) == 0).repeat(16, 0).repeat(16, 1)
        inner = np.tile(np.pad(np.ones((12, 12), bool), 2), (3, 3))
        assert (free & inner).any()
        assert np.array_equal(sample.image[free & inner], sample.background[free & inner])
        with Image.open(crossed.parent / MATERIAL / "quartets" / "depths" / f"{entry.group}.png") as picture:
            exact = np.asarray(picture) / 65534
        behind = sample.mask[0] == 0
        assert np.abs(sample.depth - exact)[behind].max() < 1e-4
        assert (sample.depth < exact)[~behind].all()  # the figure stands before the room


def test_facts_name_the_material_where_it_lies_and_no_temporary_folder(crossed: Path) -> None:
    for quartets in (crossed, crossed.parent / UNSEEN):
        text = (quartets / "basrelief.json").read_text()
        settings = json.loads(text)["settings"]
        for part in ("backgrounds", "foregrounds", "depths"):
            assert any((quartets / settings[part]).iterdir())
        assert PARTIAL not in text


def test_unseen_quartets_share_neither_rooms_nor_figures(crossed: Path) -> None:
    material = crossed.parent / MATERIAL
    for folder in ("backgrounds", "cutouts"):
        seen, unseen = (
            {path.read_bytes() for path in (material / part / folder).iterdir()} for part in ("quartets", UNSEEN)
        )
        assert not seen & unseen
    assert len(open_source(str(crossed.parent / UNSEEN)).entries) == 1 * 1 * 2 * 2


@pytest.mark.parametrize(("layout", "named"), [("b", "quartets-b"), ("c", "quartets-c")])
def test_divided_quartets_share_nothing_between_splits(tmp_path: Path, layout: str, named: str) -> None:
    made = make_data("quartets", {**FEW, "foregrounds": 3, "positions": 1, "layout": layout}, tmp_path)
    source = open_source(str(made))
    assert source.format == named
    for part in ("group", "foreground"):
        splits: dict[str, set[str | None]] = {}
        for entry in source.entries:
            splits.setdefault(str(getattr(entry, part)), set()).add(entry.split)
        assert all(len(found) == 1 for found in splits.values())
    assert {entry.split for entry in source.entries} == {"train", "val", "test"}


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BasreliefError, match="positions 0"):
        make_data("quartets", {**FEW, "positions": 0}, tmp_path)
    assert not list(tmp_path.glob("*/made.json"))
    assert not list(tmp_path.glob(f"{PARTIAL}*"))


def test_two_processes_at_once_make_it_once(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from basrelief.recipes import make_data
calls = []
if __name__ == "__main__":
    print(make_data("quartets", {FEW | {"split": "random"}!r}, Path(sys.argv[1]), lambda *now: calls.append(now)))
    print(len(calls) > 0)
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0].split() for process in both]
    assert said[0][0] == said[1][0]
    assert sorted(lines[1] for lines in said) == ["False", "True"]  # one of them found it made
    before = (Path(said[0][0]) / "samples.csv").stat().st_mtime_ns
    make_data("quartets", FEW | {"split": "random"}, tmp_path)
    assert (Path(said[0][0]) / "samples.csv").stat().st_mtime_ns == before
